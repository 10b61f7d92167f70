"""Kernels after a network whose members give class scores: mean probabilities, and the parts of the entropy.

They use the row operations of `kernels`, so that the probabilities of one member are those of a plain class map.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from ecumene.mapping.kernels import _sets_row, _softmax_row, _store_row

_F = np.float32
_ONE, _ZERO = _F(1.0), _F(0.0)
_PLANE, _MASK, _CUBE, _STORED = "uint8[:,:]", "boolean[:,:]", "float32[:,:,:]", "uint8[:,:,:]"


@numba.njit(f"void({_CUBE}, int64, {_CUBE})", nogil=True, cache=True, error_model="numpy")
def mean_of_members(logits: Any, members: Any, moments: Any) -> None:
    """Fill moments with the members' mean probabilities and, last, the mean of their entropies in nat.

    Args:
        logits: float32 `[M * K, H, W]`, member-major.
        members: M.
        moments: float32 `[K + 1, H, W]`.
    """
    channels, (height, width) = moments.shape[0] - 1, logits.shape[1:]
    best = np.empty(width, np.int32)
    bits = np.empty(width, np.int32)
    total = np.empty(width, np.float32)
    weighted = np.empty(width, np.float32)
    scratch = np.empty((2, width), np.float32)
    scores = np.empty((channels, width), np.float32)
    share = _F(1.0 / members)
    for y in range(height):
        for member in range(members):
            for k in range(channels):
                scores[k] = logits[member * channels + k, y]
            _softmax_row(scores, best, scratch, bits, total, weighted)
            for x in range(width):
                inner = (_F(math.log(total[x])) - weighted[x] / total[x]) * share
                moments[channels, y, x] = inner if member == 0 else moments[channels, y, x] + inner
                total[x] = share / total[x]
            for k in range(channels):
                for x in range(width):
                    part = scores[k, x] * total[x]
                    moments[k, y, x] = part if member == 0 else moments[k, y, x] + part


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _entropies_row(moments: Any, best: Any, outer: Any, inner: Any) -> None:
    """Fill the most probable channel, and total and mean entropy of the members over ln K, of one row `[K + 1, W]`."""
    channels, width = moments.shape[0] - 1, moments.shape[1]
    normaliser = _F(1.0 / math.log(channels))
    for x in range(width):
        best[x] = 0
        entropy = _ZERO
        for k in range(channels):
            part = moments[k, x]
            if part > moments[best[x], x]:
                best[x] = k
            if part > _ZERO:
                entropy -= part * _F(math.log(part))
        outer[x] = min(max(entropy * normaliser, _ZERO), _ONE)
        # Rounding may put the mean of entropies above the entropy of the mean by a digit.
        inner[x] = min(max(moments[channels, x] * normaliser, _ZERO), outer[x])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _steps_row(values: Any, scale: Any, needed: Any, stored: Any) -> None:
    """Store one row in steps of `scale` where needed."""
    for x in range(values.shape[0]):
        if needed[x]:
            stored[x] = np.uint8(np.rint(values[x] / scale))


@numba.njit(
    f"void({_CUBE}, {_MASK}, uint8[::1], float32[::1], float64[::1], {_PLANE}, {_PLANE}, {_PLANE}, {_PLANE}, {_STORED},"
    " uint32[:,:])",
    nogil=True,
    cache=True,
    error_model="numpy",
)
def store_members(
    moments: Any,
    needed: Any,
    codes: Any,
    scales: Any,
    limits: Any,
    value: Any,
    uncertainty: Any,
    aleatoric: Any,
    epistemic: Any,
    probability: Any,
    sets: Any,
) -> None:
    """Class, entropy with its parts, probabilities and sets of (blended) moments, stored as bytes.

    Args:
        moments: float32 `[K + 1, H, W]`, see `mean_of_members`.
        needed: bool `[H, W]`; other pixels are left as they are.
        codes: uint8 `[K]`, the code of each channel.
        scales: float32 `[4]`, step of uncertainty, aleatoric, epistemic and probability.
        limits: float64 `[K]`, largest score 1 - p of a class in the conformal set.
        value: uint8 `[H, W]`, filled with codes (empty: not wanted; so are the following).
        uncertainty: uint8 `[H, W]`, rounded entropy of the mean.
        aleatoric: uint8 `[H, W]`, rounded mean entropy.
        epistemic: uint8 `[H, W]`, rounded difference of both.
        probability: uint8 `[K, H, W]`, rounded mean probabilities.
        sets: uint32 `[H, W]`, sets as bits, 0 where not needed.
    """
    channels, (height, width) = moments.shape[0] - 1, moments.shape[1:]
    best = np.zeros(width, np.int32)
    outer = np.empty(width, np.float32)
    inner = np.empty(width, np.float32)
    for y in range(height):
        _entropies_row(moments[:, y, :], best, outer, inner)
        if value.size:
            for x in range(width):
                if needed[y, x]:
                    value[y, x] = codes[best[x]]
        if uncertainty.size:
            _steps_row(outer, scales[0], needed[y], uncertainty[y])
        if aleatoric.size:
            _steps_row(inner, scales[1], needed[y], aleatoric[y])
        if epistemic.size:
            for x in range(width):
                inner[x] = outer[x] - inner[x]
            _steps_row(inner, scales[2], needed[y], epistemic[y])
        if probability.size:
            _store_row(moments[:channels, y, :], scales[3], needed[y], probability[:, y, :])
        if sets.size:
            _sets_row(moments[:channels, y, :], best, limits, needed[y], sets[y])
