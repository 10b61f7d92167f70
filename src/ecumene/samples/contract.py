"""Samples as the field names them, and the parts of a leakage-safe split."""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

IGNORE = -1
"""Label value of pixels without a label (in class index space) ."""


class Part(IntEnum):
    """Part of a split that a pixel belongs to."""

    NONE = 0  # buffer between blocks, or unlabelled
    TRAIN = 1
    VALIDATION = 2  # early stopping
    CALIBRATION = 3  # temperature, conformal sets, outlier threshold
    TEST = 4  # accuracy in the card


class Sample(TypedDict):
    """One training sample; torchgeo's names, plus `valid`, `dates`, `sensor`.

    `image` is float32 `[C,H,W]` or `[T,C,H,W]` in physical units with NaN for nodata; `mask` int64
    `[H,W]` class indices with -1 for unlabelled, or float32 for regression with NaN; `valid` bool
    `[H,W]` or `[T,H,W]`; `dates` int64 `[T]` days since 1970-01-01.
    """

    image: NDArray[np.float32]
    mask: NotRequired[NDArray[np.int64] | NDArray[np.float32]]
    label: NotRequired[int | NDArray[np.int64]]
    bbox_xyxy: NotRequired[NDArray[np.float32]]
    valid: NDArray[np.bool_]
    dates: NotRequired[NDArray[np.int64]]
    sensor: NotRequired[str]


def digest_of(*arrays: NDArray[Any]) -> bytes:
    """Return the SHA-256 of the contents of arrays, which changes whenever a sample or their order does."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
