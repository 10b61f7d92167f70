"""The number that is explained: the probability of a class, or the predicted value, of any model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.models.bundle import Model
from ecumene.objectives.contract import Objective
from ecumene.objectives.prediction import LayerSpec

Float = NDArray[np.float32]


def explained_layer(objective: Objective) -> LayerSpec:
    """Return the layer whose bands are explained: the probabilities where there are any, else the value."""
    specs = objective.layer_specs()
    return next((spec for spec in specs if spec.role == "probability"), specs[0])


class Scores:
    """Calls a model and returns what is explained, after calibration, as it would be mapped.

    Args:
        model: The model.
        threads: Threads of one run; None: all cores.
    """

    def __init__(self, model: Model, threads: int | None = None) -> None:
        self.model = model
        self.layer = explained_layer(model.objective)
        self._executor = model.executor("torch", "fp32", threads)

    @property
    def names(self) -> tuple[str, ...]:
        """What can be explained: classes, labels or targets."""
        return self.layer.band_names

    @property
    def unit(self) -> str:
        """Unit of the scores: `probability`, or that of the value."""
        return "probability" if self.layer.role == "probability" else self.layer.unit

    def __call__(self, image: Float, dates: Float | None = None) -> Float:
        """Return the scores of a batch.

        Args:
            image: float32 `[B, C, H, W]`, or `[B, T, C, H, W]` of a series; physical units, NaN without data.
            dates: float32 `[B, T]`, days since 1970-01-01, for series.

        Returns:
            float32 `[B, K, H, W]`, one channel a name; undefined but finite where there are no data.
        """
        output, _ = self._executor.run(image, dates)
        layers = self.model.objective.predict(output).layers
        return np.asarray(layers[self.layer.name], np.float32)

    def shown(self, scores: Float) -> NDArray[np.int64]:
        """Return the class that a map shows, int64 `[B, ...]`, of the scores of all classes `[B, K, ...]`."""
        return np.asarray(self.model.objective.decide(scores), np.int64)

    def index(self, name: str) -> int:
        """Return the channel of a name.

        Raises:
            ConfigurationError: If the model does not know it.
        """
        if name not in self.names:
            raise ConfigurationError(f"The model has no class {name!r}; it has: {', '.join(self.names)}.")
        return self.names.index(name)
