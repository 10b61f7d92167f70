"""A rising map from predicted to observed variance, which recalibrates the error bars of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from ecumene.core.errors import ConfigurationError
from ecumene.objectives import arrays

MOST_KNOTS = 64
"""Of a map; more would be the noise of the elements that it was fitted on."""


@dataclass(frozen=True)
class VarianceMap:
    """Piecewise linear between knots, in squared units of the target.

    Below the first knot the variance is that of the first knot. Above the last one it grows in proportion to the
    predicted variance: where a model is less sure than anywhere on the calibration data, a constant would claim more
    than is known.

    Attributes:
        predicted: Predicted variances at the knots, rising, positive.
        observed: Variance at each knot, never falling, positive.

    Raises:
        ConfigurationError: If the knots are not of that kind.
    """

    predicted: tuple[float, ...]
    observed: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = self.predicted, self.observed
        good = len(x) == len(y) and 1 <= len(x) <= MOST_KNOTS
        good = good and all(math.isfinite(number) and number > 0.0 for number in (*x, *y))
        if not good or any(b <= a for a, b in pairwise(x)) or any(b < a for a, b in pairwise(y)):
            raise ConfigurationError(
                f"A variance map needs 1 to {MOST_KNOTS} knots whose predicted variances rise, whose observed ones do "
                "not fall, and which are all positive."
            )

    def ratio(self, variance: Any) -> Any:
        """Return recalibrated over predicted variance, like `variance`, an array or a tensor of positive numbers."""
        library = arrays.namespace(variance)
        wide = arrays.double(variance)
        at, observed = arrays.constant(self.predicted, wide), arrays.constant(self.observed, wide)
        found = wide * (self.observed[-1] / self.predicted[-1])
        if len(self.predicted) > 1:
            low = arrays.clip(library.searchsorted(at, wide), 1, len(self.predicted) - 1) - 1
            slope = (observed[1:] - observed[:-1]) / (at[1:] - at[:-1])
            inside = observed[low] + slope[low] * (wide - at[low])
            found = library.where(wide < self.predicted[-1], inside, found)
        found = library.where(wide <= self.predicted[0], observed[0] + 0.0 * wide, found)
        return arrays.like_type(found / arrays.clip(wide, 1e-300, None), variance)

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return {"predicted": list(self.predicted), "observed": list(self.observed)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `to_config`.

        Raises:
            ConfigurationError: If the description is damaged.
        """
        if not isinstance(config, Mapping) or set(config) != {"predicted", "observed"}:
            raise ConfigurationError("A variance map is described by its predicted and observed variances.")
        try:
            x, y = (tuple(float(number) for number in config[key]) for key in ("predicted", "observed"))
        except (TypeError, ValueError) as error:
            raise ConfigurationError("The knots of a variance map are numbers.") from error
        return cls(x, y)
