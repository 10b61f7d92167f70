"""Which activations of a model an outlier detector reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ecumene.core.errors import ConfigurationError

BANDS = "bands"
FEATURES = "features"
LOGITS = "logits"
OWN_PARTS = (BANDS, FEATURES, LOGITS)
MAX_POOLING_RADIUS = 16
_POOLINGS = ("mean", "max")


@dataclass(frozen=True)
class FeatureChoice:
    """What a feature vector consists of, part after part.

    Attributes:
        parts: `bands` (standardised bands, averaged over a small neighbourhood), `features` (what the network offers
            for outlier scores), `logits` (raw output before scaling), or the name of an inner layer of the network,
            such as `down.2`. Inner layers are brought to the pixel grid by repetition (nearest neighbour).
        radius: Pixels of an inner layer's own grid on each side over which its activations are pooled.
        pooling: `mean` or `max` of that neighbourhood.
    """

    parts: tuple[str, ...] = (BANDS, FEATURES)
    radius: int = 0
    pooling: str = "mean"

    def __post_init__(self) -> None:
        named = all(isinstance(part, str) and 0 < len(part) <= 200 for part in self.parts)
        if not self.parts or not named or len(set(self.parts)) != len(self.parts):
            raise ConfigurationError(
                f"An outlier detector reads one or more different parts of a model, but got {self.parts!r:.200}."
            )
        if not isinstance(self.radius, int) or not 0 <= self.radius <= MAX_POOLING_RADIUS:
            raise ConfigurationError(
                f"The pooling radius must be a whole number from 0 to {MAX_POOLING_RADIUS}, but is {self.radius!r:.40}."
            )
        if self.pooling not in _POOLINGS:
            raise ConfigurationError(f"Activations are pooled by 'mean' or 'max', not by {self.pooling!r:.40}.")

    @property
    def layers(self) -> tuple[str, ...]:
        """The parts that are inner layers of a network."""
        return tuple(part for part in self.parts if part not in OWN_PARTS)

    @property
    def single_layer(self) -> str | None:
        """The inner layer, where it is the only part."""
        return self.layers[0] if self.layers and len(self.parts) == 1 else None

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description."""
        return {"parts": list(self.parts), "radius": self.radius, "pooling": self.pooling}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `to_config`.

        Raises:
            ConfigurationError: If it is not a description of a choice.
        """
        try:
            parts, radius, pooling = config["parts"], config["radius"], config["pooling"]
        except (KeyError, TypeError) as error:
            raise ConfigurationError(
                "A choice of features needs the entries parts, radius and pooling; get the model again."
            ) from error
        if not isinstance(parts, list | tuple) or isinstance(radius, bool):
            raise ConfigurationError("The parts of a choice of features must be a list of names; get the model again.")
        return cls(tuple(parts), radius, pooling)
