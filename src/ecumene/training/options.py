"""Options of training a network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Figure = Literal["overall_accuracy", "macro_f1", "mean_iou", "micro_f1", "accuracy", "validation_loss"]
ClassBalance = Literal["none", "inverse-sqrt", "inverse-fourth-root", "inverse", "median-frequency", "effective-number"]


class TrainingOptions(BaseModel):
    """How a network is trained; see `fit_network`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=60, ge=1, description="Most passes over the training set.")
    batch_size: int | None = Field(default=None, ge=1, description="Samples of a step; None: about 32,768 pixels.")
    learning_rate: float = Field(default=2e-3, gt=0, description="Peak of the schedule.")
    weight_decay: float = Field(default=1e-2, ge=0)
    optimiser: Literal["adamw", "adam", "nadam", "adadelta", "rmsprop"] = "adamw"
    schedule: Literal["cosine", "step", "plateau", "constant"] = Field(default="cosine", description="After warm-up.")
    step_epochs: int = Field(
        default=5,
        ge=1,
        description="Epochs between two falls of the schedule `step`; of `plateau`, epochs without a lower validation "
        "loss before the rate falls.",
    )
    step_factor: float = Field(default=0.5, gt=0, le=1, description="What a fall leaves of the learning rate.")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps with a rising learning rate.")
    final_learning_rate: float = Field(
        default=0.01, ge=0, le=1, description="Share of the peak at the end of the cosine."
    )
    patience: int = Field(default=15, ge=1, description="Epochs without a better validation metric before it stops.")
    monitor: Figure | None = Field(
        default=None, description="Validation figure that chooses the best epoch; None: the objective's own."
    )
    stop_monitor: Figure | None = Field(
        default=None, description="Validation figure that `patience` counts by; None: the one that chooses."
    )
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
