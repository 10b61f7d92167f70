"""Options of training a network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ClassBalance = Literal["none", "inverse-sqrt", "inverse-fourth-root", "inverse", "median-frequency", "effective-number"]


class TrainingOptions(BaseModel):
    """How a network is trained; see `fit_network`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=60, ge=1, description="Most passes over the training set.")
    batch_size: int | None = Field(default=None, ge=1, description="Samples of a step; None: about 32,768 pixels.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Peak of the schedule.")
    weight_decay: float = Field(default=1e-2, ge=0)
    optimiser: Literal["adamw", "nadam", "adadelta"] = "adamw"
    schedule: Literal["cosine", "step"] = Field(default="cosine", description="After the warm-up.")
    step_epochs: int = Field(default=5, ge=1, description="Epochs between two falls of the schedule `step`.")
    step_factor: float = Field(default=0.5, gt=0, le=1, description="What a fall leaves of the learning rate.")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps with a rising learning rate.")
    final_learning_rate: float = Field(
        default=0.01, ge=0, le=1, description="Share of the peak at the end of the cosine."
    )
    patience: int = Field(default=15, ge=1, description="Epochs without a better validation metric before it stops.")
    class_balance: ClassBalance = "none"
    gradient_clip: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    ema_decay: float | None = Field(default=None, gt=0, lt=1, description="Exponential moving average of the weights.")
    precision: Literal["auto", "32", "bf16-mixed"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    augment: bool = True
    seed: int = Field(default=0, ge=0)
    max_time_s: float | None = Field(default=None, gt=0, description="No epoch is begun that would end after this.")
    log_dir: Path | None = Field(default=None, description="Where logs go; None: `logs` in the training folder.")
    resume: bool = Field(
        default=True, description="Go on where a killed training with the same data and options stopped."
    )
