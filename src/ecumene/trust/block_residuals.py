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
        shared_mean: K means over blocks of the residual of a block in units of what it would be if all its pixels erred
            together, (sum of labels - sum of p) / sum of sqrt(p (1 - p)); None in models of earlier versions.
        shared_deviation: K standard deviations of it; 1 would be errors that blocks share wholly, and independent
            pixels give nearly 0. 1 where fewer than two blocks are uncertain of a class.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    n_blocks: int
    block_area_m2: float
    shared_mean: tuple[float, ...] | None = None
    shared_deviation: tuple[float, ...] | None = None

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
        spread = np.sqrt(np.clip(values * (1.0 - values), 0.0, None))
        shared = [
            _shared(means[:, k] * counts, np.asarray(np.bincount(position, weights=spread[:, k]), np.float64))
            for k in range(values.shape[1])
        ]
        return cls(
            tuple(means.mean(axis=0).tolist()),
            tuple(means.std(axis=0, ddof=1).tolist()),
            len(counts),
            float(block_area_m2),
            tuple(mean for mean, _ in shared),
            tuple(deviation for _, deviation in shared),
        )

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        found: dict[str, Any] = {
            "mean": list(self.mean),
            "deviation": list(self.deviation),
            "n_blocks": self.n_blocks,
            "block_area_m2": self.block_area_m2,
        }
        if self.shared_mean is not None and self.shared_deviation is not None:
            found |= {"shared_mean": list(self.shared_mean), "shared_deviation": list(self.shared_deviation)}
        return found

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> BlockResiduals:
        """Rebuild from `to_config`.

        Raises:
            ModelError: If the description is damaged.
        """
        try:
            mean, deviation = (tuple(float(v) for v in config[key]) for key in ("mean", "deviation"))
            given = [config.get(key) for key in ("shared_mean", "shared_deviation")]
            shared = [None if part is None else tuple(float(v) for v in part) for part in given]
            rebuilt = cls(mean, deviation, int(config["n_blocks"]), float(config["block_area_m2"]), *shared)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError("The model's calibration is damaged; get the model again from its source.") from error
        finite = all(map(math.isfinite, (*mean, *deviation, rebuilt.block_area_m2)))
        parts = [part for part in (rebuilt.shared_mean, rebuilt.shared_deviation) if part is not None]
        whole = len(parts) in (0, 2) and all(len(p) == len(mean) and all(map(math.isfinite, p)) for p in parts)
        if not whole or min(rebuilt.shared_deviation or (0.0,)) < 0.0:
            raise ModelError("The model's calibration is damaged; get the model again from its source.")
        if len(mean) != len(deviation) or not finite or min(deviation, default=-1.0) < 0.0:
            raise ModelError("The model's calibration is damaged; get the model again from its source.")
        if rebuilt.n_blocks < 2 or rebuilt.block_area_m2 <= 0.0:
            raise ModelError("The model's calibration is damaged; get the model again from its source.")
        return rebuilt


def _shared(residuals: NDArray[np.float64], worst: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation over blocks of residuals in units of fully shared errors."""
    uncertain = worst > 1e-9
    if uncertain.sum() < 2:
        return 0.0, 1.0
    shares = residuals[uncertain] / worst[uncertain]
    return float(shares.mean()), float(shares.std(ddof=1))


def correlation_of_dates(
    chances: tuple[NDArray[np.floating], NDArray[np.floating]],
    labels: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    groups: NDArray[np.generic],
) -> float:
    """Return how the errors of the same blocks at two dates are correlated, for changes between two maps.

    The correlation over blocks of (sum of labels - sum of chances) / sum of sqrt(q (1 - q)). Maps of one place often
    err alike, so that a change is known better than either state.

    Args:
        chances: `[N]` probability of what is counted at each date, of places that neither map's model has learned from.
        labels: `[N]` whether it was there at each date.
        groups: `[N]` block of each place.

    Returns:
        In [-1, 1].

    Raises:
        ConfigurationError: If shapes do not fit, or fewer than three blocks are uncertain at both dates.
    """
    shapes = {np.shape(part) for part in (*chances, *labels, groups)}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        raise ConfigurationError("The correlation of two dates needs chances [N], labels [N] and groups [N] of both.")
    _, position = np.unique(groups, return_inverse=True)
    residual, worst = (np.stack(part) for part in zip(*(
        (np.bincount(position, weights=label - chance.astype(np.float64)),
         np.bincount(position, weights=np.sqrt(np.clip(chance * (1.0 - chance), 0.0, None))))
        for chance, label in zip(chances, labels, strict=True)
    ), strict=True))  # fmt: skip
    uncertain = (worst > 1e-9).all(axis=0)
    if uncertain.sum() < 3:
        raise ConfigurationError("The correlation of two dates needs at least three blocks that both maps hesitate in.")
    shares = residual[:, uncertain] / worst[:, uncertain]
    if (shares.std(axis=1) == 0.0).any():
        return 0.0
    return float(np.clip(np.corrcoef(shares)[0, 1], -1.0, 1.0))
