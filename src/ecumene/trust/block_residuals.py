"""How far class shares of whole blocks are from the sum of their probabilities: what an area's error bar rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError


@dataclass(frozen=True)
class BlockResiduals:
    """Mean and spread over blocks of (share of a class in the labels - mean probability of that class).

    Errors of neighbouring pixels repeat each other, so that the error of a sum of probabilities over an area is far
    larger than that of as many independent pixels. Within a block all of that is in the block's residual, whatever
    its shape in space; blocks are taken as independent.

    Attributes:
        mean: K mean residuals; their sum is 0.
        deviation: K standard deviations over blocks.
        n_blocks: Blocks, at least 2.
        block_area_m2: Mean labelled area of a block.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    n_blocks: int
    block_area_m2: float

    @classmethod
    def fit(
        cls,
        probabilities: NDArray[np.floating],
        target: NDArray[np.integer],
        groups: NDArray[np.generic],
        block_area_m2: float,
    ) -> BlockResiduals:
        """Measure residuals on blocks that the model has not learned from.

        Args:
            probabilities: `[N, K]`, as the map will hold them.
            target: `[N]` class indices.
            groups: `[N]` block of each element.
            block_area_m2: Mean labelled area of a block.

        Raises:
            ConfigurationError: If shapes do not fit, or there are fewer than two blocks.
        """
        values, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(target)
        blocks = np.asarray(groups)
        if values.ndim != 2 or truth.shape != (len(values),) or blocks.shape != truth.shape:
            raise ConfigurationError("Block residuals need probabilities [N, K], targets [N] and groups [N].")
        if not 0.0 < block_area_m2 < math.inf:
            raise ConfigurationError(f"The area of a block must be positive, but is {block_area_m2}.")
        _, position, counts = np.unique(blocks, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            raise ConfigurationError("Areas from probabilities need at least two calibration blocks for an error bar.")
        residual = -values
        residual[np.arange(len(truth)), truth] += 1.0
        means = np.stack(
            [np.bincount(position, weights=residual[:, k]) / counts for k in range(values.shape[1])], axis=1
        )
        return cls(
            tuple(means.mean(axis=0).tolist()),
            tuple(means.std(axis=0, ddof=1).tolist()),
            len(counts),
            float(block_area_m2),
        )

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return {
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "n_blocks": self.n_blocks,
            "block_area_m2": self.block_area_m2,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BlockResiduals:
        """Rebuild from `to_config`.

        Raises:
            ModelError: If the description is damaged.
        """
        try:
            mean, deviation = (tuple(float(v) for v in config[key]) for key in ("mean", "deviation"))
            rebuilt = cls(mean, deviation, int(config["n_blocks"]), float(config["block_area_m2"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("The model's calibration is damaged; get the model again from its source.") from error
        finite = all(map(math.isfinite, (*mean, *deviation, rebuilt.block_area_m2)))
        if len(mean) != len(deviation) or not finite or min(deviation, default=-1.0) < 0.0:
            raise ModelError("The model's calibration is damaged; get the model again from its source.")
        if rebuilt.n_blocks < 2 or rebuilt.block_area_m2 <= 0.0:
            raise ModelError("The model's calibration is damaged; get the model again from its source.")
        return rebuilt
