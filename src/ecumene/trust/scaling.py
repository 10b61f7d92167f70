"""Maps of a classifier's logits that make its probabilities honest: temperature, vector, Dirichlet."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError

LARGEST = 1e4
"""No weight of a stored scaling is larger; probabilities would be 0 or 1 long before."""

Logits = NDArray[np.floating]


class Scaling(ABC):
    """A map from logits to calibrated logits, class channels on axis 1.

    Where the raw output holds several members of K classes each (member-major, `[B, M * K, ...]`), every member is
    mapped by itself: the members are calibrated, and their probabilities are averaged afterwards. A scaling that was
    fitted with members is fitted to the likelihood of that average.
    """

    name: ClassVar[str]

    @property
    def n_classes(self) -> int | None:
        """K, or None where any number of classes will do."""
        return None

    @abstractmethod
    def apply(self, logits: Logits) -> Logits:
        """Return the calibrated logits, like `logits` `[B, M * K, ...]`.

        Raises:
            ConfigurationError: If axis 1 is no multiple of K.
        """

    @abstractmethod
    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description with the key `name`."""


@dataclass(frozen=True)
class Identity(Scaling):
    """Logits as they are."""

    name: ClassVar[str] = "identity"

    def apply(self, logits: Logits) -> Logits:
        """See `Scaling.apply`."""
        return logits

    def to_config(self) -> dict[str, Any]:
        """See `Scaling.to_config`."""
        return {"name": self.name}


@dataclass(frozen=True)
class Temperature(Scaling):
    """Logits divided by one number (Guo et al. 2017, "On calibration of modern neural networks", section 4.2).

    Attributes:
        temperature: Positive; larger than one makes probabilities more even.
    """

    temperature: float

    name: ClassVar[str] = "temperature"

    def apply(self, logits: Logits) -> Logits:
        """See `Scaling.apply`."""
        return np.asarray(logits / np.asarray(self.temperature, logits.dtype))

    def to_config(self) -> dict[str, Any]:
        """See `Scaling.to_config`."""
        return {"name": self.name, "temperature": self.temperature}


@dataclass(frozen=True)
class VectorScaling(Scaling):
    """One factor and one offset a class: w_k z_k + b_k (Guo et al. 2017, section 4.2).

    Attributes:
        weight: K factors.
        bias: K offsets.
    """

    weight: tuple[float, ...]
    bias: tuple[float, ...]

    name: ClassVar[str] = "vector"

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.weight)

    def apply(self, logits: Logits) -> Logits:
        """See `Scaling.apply`."""
        members = members_of(self, logits.shape[1])
        shape = (1, -1) + (1,) * (logits.ndim - 2)
        weight = np.tile(np.asarray(self.weight, logits.dtype), members).reshape(shape)
        bias = np.tile(np.asarray(self.bias, logits.dtype), members).reshape(shape)
        return np.asarray(logits * weight + bias)

    def to_config(self) -> dict[str, Any]:
        """See `Scaling.to_config`."""
        return {"name": self.name, "weight": list(self.weight), "bias": list(self.bias)}


@dataclass(frozen=True)
class DirichletScaling(Scaling):
    """A linear map of log-probabilities, W ln p + b, in its linear parametrisation.

    Kull et al. 2019, "Beyond temperature scaling: Obtaining well-calibrated multiclass probabilities with Dirichlet
    calibration", eq. 5.

    Attributes:
        matrix: K rows of K; row i gives the new logit of class i.
        bias: K offsets.
    """

    matrix: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    name: ClassVar[str] = "dirichlet"

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.bias)

    def apply(self, logits: Logits) -> Logits:
        """See `Scaling.apply`."""
        members = members_of(self, logits.shape[1])
        apart = logits.reshape(len(logits), members, self.n_classes, *logits.shape[2:])
        shifted = apart - apart.max(axis=2, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
        mapped = np.moveaxis(log_p, 2, -1) @ np.asarray(self.matrix, logits.dtype).T + np.asarray(
            self.bias, logits.dtype
        )
        return np.ascontiguousarray(np.moveaxis(mapped, -1, 2)).reshape(logits.shape)

    def to_config(self) -> dict[str, Any]:
        """See `Scaling.to_config`."""
        return {"name": self.name, "matrix": [list(row) for row in self.matrix], "bias": list(self.bias)}


IDENTITY = Identity()


def members_of(scaling: Scaling, channels: int) -> int:
    """Return how many members `channels` hold, 1 for a scaling that fits any number of classes.

    Raises:
        ConfigurationError: If the channels are no multiple of the scaling's classes.
    """
    classes = scaling.n_classes
    if classes is None:
        return 1
    if channels == 0 or channels % classes:
        raise ConfigurationError(
            f"The scaling of the logits is for {classes} classes, but the model puts out {channels} channels."
        )
    return channels // classes


def scaling_from_config(config: Any) -> Scaling:
    """Rebuild a scaling from `to_config`.

    Raises:
        ModelError: If the description is damaged.
    """
    damaged = ModelError("The model's calibration is damaged; get the model again from its source.")
    if not isinstance(config, Mapping):
        raise damaged
    name = config.get("name")
    if name == Identity.name:
        return IDENTITY
    try:
        if name == Temperature.name:
            value = _number(config["temperature"])
            if value > 0.0:
                return Temperature(value)
        elif name == VectorScaling.name:
            weight, bias = _numbers(config["weight"]), _numbers(config["bias"])
            if len(weight) == len(bias) >= 2:
                return VectorScaling(weight, bias)
        elif name == DirichletScaling.name:
            rows, bias = tuple(_numbers(row) for row in config["matrix"]), _numbers(config["bias"])
            if len(rows) == len(bias) >= 2 and all(len(row) == len(bias) for row in rows):
                return DirichletScaling(rows, bias)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged from error
    raise damaged


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise ValueError(f"not a usable number: {str(value)[:20]}")
    return float(value)


def _numbers(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list | tuple) or len(values) > 256:
        raise ValueError("not a list of numbers")
    return tuple(_number(value) for value in values)


def temperature_of(scaling: Scaling) -> float | None:
    """Return the temperature of a scaling that has only that: 1 for the identity, None for others."""
    if isinstance(scaling, Identity):
        return 1.0
    return scaling.temperature if isinstance(scaling, Temperature) and math.isfinite(scaling.temperature) else None
