"""A loaded network as a function of tensors that can be differentiated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.explanation.scores import explained_layer
from ecumene.models.bundle import Model

if TYPE_CHECKING:
    from torch import Tensor


class DifferentiableModel:
    """A network bundle whose scores have gradients with respect to its physical inputs.

    Args:
        model: A network; trees have no gradients.
        what: The method that asks, for the sentence.
        threads: Threads of torch.

    Raises:
        ConfigurationError: If the model is a forest or boosted trees.
    """

    def __init__(self, model: Model, what: str, threads: int | None = None) -> None:
        if model.spec.kind != "network":
            raise ConfigurationError(
                f"{what} needs a network, but the model {model.spec.name} is made of trees; use --method occlusion."
            )
        executor: Any = model.executor("torch", "fp32", threads, "cpu")
        self.module: Any = executor.module
        self.network: Any = self.module.network
        self.objective = model.objective
        self.layer = explained_layer(model.objective).name
        self.temporal = model.spec.temporal

    def raw(self, image: Tensor, dates: Tensor | None = None) -> Tensor:
        """Return the calibrated raw output (logits), `[B, n, H, W]`, or `[B, n]` of a scene classifier."""
        if self.objective.unit_of_work == "scene":
            from ecumene.models.deployed import normalise_tensor

            x, valid = normalise_tensor(image, self.module.mean, self.module.std)
            output: Tensor = self.network(x, None, valid)
            return output
        output = self.module(image, dates)[0]
        return output

    def scores(self, image: Tensor, dates: Tensor | None = None) -> Tensor:
        """Return what is explained, `[B, K, H, W]`, see `Scores`."""
        result: Tensor = self.objective.predict(self.raw(image, dates)).layers[self.layer]
        return result

    def tensors(self, image: NDArray[np.float32], dates: NDArray[np.float32] | None) -> tuple[Tensor, Tensor | None]:
        """Return one window `[T, C, H, W]` and its dates `[T]` as a batch of one, as the network takes it."""
        import torch

        x = torch.from_numpy(np.ascontiguousarray(image if self.temporal else image[0], np.float32))[None]
        if not self.temporal or dates is None:
            return x, None
        return x, torch.from_numpy(np.asarray(dates, np.float32))[None]
