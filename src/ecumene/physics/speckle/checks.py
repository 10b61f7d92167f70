"""Input checks that the functions of this folder share."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, SceneError


def intensity_image(intensity: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (float64 intensity with 0 where unusable, mask of usable pixels) of a 2-D image.

    Usable is what is finite and greater than 0: the gamma law gives intensity 0 no probability, and
    providers store it where there are no data.

    Raises:
        SceneError: If the array is complex, not two-dimensional, or has no usable pixel.
    """
    if np.iscomplexobj(intensity):
        raise SceneError("The image is complex; hand in intensities (squared magnitudes), or use the network method.")
    image = np.asarray(intensity, np.float64)
    if image.ndim != 2:
        raise SceneError(f"Speckle filters take one band as rows x columns, but got an array of shape {image.shape}.")
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(image) & (image > 0.0)
    if not usable.any():
        raise SceneError("The image has no finite positive intensity; check nodata, and convert dB to linear power.")
    return np.where(usable, image, 0.0), usable


def check_looks(looks: float) -> float:
    """Return the number of looks.

    Raises:
        ConfigurationError: If it is not a positive finite number.
    """
    if not (math.isfinite(looks) and looks > 0.0):
        raise ConfigurationError(f"The number of looks must be a positive number, but is {looks}.")
    return float(looks)


def check_share(share: float) -> float:
    """Return the share of independent samples.

    Raises:
        ConfigurationError: If it is not in (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ConfigurationError(f"The share of independent samples must be in (0, 1], but is {share}.")
    return float(share)


def check_window(size: int, smallest: int = 3) -> int:
    """Return an odd window size.

    Raises:
        ConfigurationError: If it is even or smaller than `smallest`.
    """
    if size < smallest or size % 2 == 0:
        raise ConfigurationError(f"A window must be an odd number of pixels of at least {smallest}, but is {size}.")
    return int(size)
