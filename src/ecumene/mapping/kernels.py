"""One-pass kernels after a classifying network: softmax, entropy, class, rounding, in one sweep of memory.

On a processor the exponentials of ten class scores a pixel cost as much as the network if each step is
an array operation of its own. The kernels work on rows that stay in the cache; every operation is a
plain IEEE single-precision one in fixed order (no fast-math), so that a pixel's result does not depend
on where in a window it lies.

exp is the classic reduction exp(z) = 2^n * exp(r), |r| <= ln(2)/2, with a degree-6 polynomial whose
relative error stays below 3e-7 (Cody and Waite, 1980, chapter 6, for the reduction).
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

_F = np.float32
_LOG2E = _F(1.4426950408889634)
_LN2_HIGH = _F(0.693359375)
_LN2_LOW = _F(-2.12194440e-4)
_FLOOR = _F(-80.0)  # exp(-80) is 1.8e-35: still normal, and nothing beside 1
_HALF, _ONE, _ZERO = _F(0.5), _F(1.0), _F(0.0)
_ROOT_HALF_BITS = np.int32(0x3F3504F3)  # of 1 / sqrt(2)
_C2, _C3, _C4, _C5, _C6 = _F(0.5), _F(1 / 6), _F(1 / 24), _F(1 / 120), _F(1 / 720)


_VECTOR, _BITS = "float32[::1]", "int32[::1]"
_PLANE, _MASK, _CUBE, _STORED = "uint8[:,:]", "boolean[:,:]", "float32[:,:,:]", "uint8[:,:,:]"
_COMMON = f"{_MASK}, uint8[::1], float32, float32, float64[::1], {_PLANE}, {_PLANE}, {_STORED}, uint32[:,:]"
# Signatures are fixed, so that views of any strides share one compilation.


@numba.njit(f"void({_VECTOR}, {_VECTOR}, {_BITS}, {_VECTOR})", nogil=True, cache=True, error_model="numpy")
def _exp_row(shifted: Any, power: Any, power_bits: Any, result: Any) -> None:
    """Fill `result` with exp of a row of values in [-80, 0]; `power`, `power_bits`: two views of one scratch row."""
    for x in range(shifted.shape[0]):
        z = shifted[x]
        n = np.floor(z * _LOG2E + _HALF)
        r = (z - n * _LN2_HIGH) - n * _LN2_LOW
        poly = ((((_C6 * r + _C5) * r + _C4) * r + _C3) * r + _C2) * r
        result[x] = (poly + _ONE) * r + _ONE
        power_bits[x] = (np.int32(n) + np.int32(127)) << np.int32(23)
    for x in range(shifted.shape[0]):
        result[x] *= power[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _softmax_row(scores: Any, best: Any, scratch: Any, bits: Any, total: Any, weighted: Any) -> None:
    """Turn one row of scores `[K, W]` into exponentials of (score - largest), with what entropy needs.

    Fills `best` (channel of the largest score), `total` (sum of the exponentials) and `weighted` (sum of
    exponential times exponent); `scratch` `[2, W]` and `bits` `[W]` are overwritten.
    """
    channels, width = scores.shape
    top, shifted = scratch[0], scratch[1]
    power = bits.view(np.float32)
    for x in range(width):
        top[x] = scores[0, x]
        best[x] = 0
        total[x] = _ZERO
        weighted[x] = _ZERO
    for k in range(1, channels):
        for x in range(width):
            better = scores[k, x] > top[x]
            best[x] = np.int32(k) if better else best[x]
            top[x] = scores[k, x] if better else top[x]
    for k in range(channels):
        row = scores[k]
        for x in range(width):
            shifted[x] = max(row[x] - top[x], _FLOOR)
        _exp_row(shifted, power, bits, row)
        for x in range(width):
            total[x] += row[x]
            weighted[x] += row[x] * shifted[x]


@numba.njit(f"void({_VECTOR}, {_BITS}, {_VECTOR})", nogil=True, cache=True, error_model="numpy")
def _log_row(values: Any, bits: Any, result: Any) -> None:
    """Fill `result` with log of a row of positive normal values; `values` and `bits` are two views of it, overwritten.

    x = 2^n m with m in [1/sqrt(2), sqrt(2)), log m = 2 artanh((m - 1) / (m + 1)) by its series; error below 2e-7.
    """
    for x in range(values.shape[0]):
        n = (bits[x] - _ROOT_HALF_BITS) >> np.int32(23)
        bits[x] -= n << np.int32(23)
        result[x] = _F(n)
    for x in range(values.shape[0]):
        s = (values[x] - _ONE) / (values[x] + _ONE)
        q = s * s
        poly = (((_F(1 / 9) * q + _F(1 / 7)) * q + _F(1 / 5)) * q + _F(1 / 3)) * q + _ONE
        result[x] = result[x] * _LN2_HIGH + (result[x] * _LN2_LOW + _F(2.0) * s * poly)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _entropy_row(
    total: Any, weighted: Any, normaliser: Any, scale: Any, needed: Any, stored: Any, bits: Any, logs: Any
) -> None:
    """Store the normalised entropy log(total) - weighted / total of one row, in steps of `scale`."""
    copy = bits.view(np.float32)
    for x in range(total.shape[0]):
        copy[x] = total[x]
    _log_row(copy, bits, logs)
    for x in range(total.shape[0]):
        entropy = (logs[x] - weighted[x] / total[x]) * normaliser
        step = np.uint8(np.rint(min(max(entropy, _ZERO), _ONE) / scale))
        stored[x] = step if needed[x] else stored[x]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _load_row(logits: Any, y: int, scores: Any) -> None:
    """Copy row `y` of scores `[K, H, W]`, whichever axis lies last in memory."""
    channels, _, width = logits.shape
    if logits.strides[0] < logits.strides[2]:
        for x in range(width):
            for k in range(channels):
                scores[k, x] = logits[k, y, x]
    else:
        for k in range(channels):
            for x in range(width):
                scores[k, x] = logits[k, y, x]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _store_row(shares: Any, scale: Any, needed: Any, stored: Any) -> None:
    """Store one row of shares `[K, W]` in steps of `scale` where needed."""
    for k in range(shares.shape[0]):
        for x in range(shares.shape[1]):
            if needed[x]:
                stored[k, x] = np.uint8(np.rint(shares[k, x] / scale))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _sets_row(shares: Any, best: Any, limits: Any, needed: Any, sets: Any) -> None:
    """Store as bits which classes k of one row have 1 - p_k <= limits[k]; the best one always."""
    width = shares.shape[1]
    bits = np.empty(width, np.uint32)
    for x in range(width):
        bits[x] = np.uint32(1) << np.uint32(best[x])
    for k in range(shares.shape[0]):
        row, limit, bit = shares[k], limits[k], np.uint32(1) << np.uint32(k)
        for x in range(width):
            bits[x] |= bit if 1.0 - np.float64(row[x]) <= limit else np.uint32(0)
    for x in range(width):
        sets[x] = bits[x] if needed[x] else np.uint32(0)


@numba.njit(f"void({_CUBE}, {_COMMON}, {_CUBE})", nogil=True, cache=True, error_model="numpy")
def classify_logits(
    logits: Any,
    needed: Any,
    codes: Any,
    entropy_scale: Any,
    probability_scale: Any,
    limits: Any,
    value: Any,
    uncertainty: Any,
    stored_probability: Any,
    sets: Any,
    probability: Any,
) -> None:
    """Class, normalised entropy and probabilities of class scores, stored as bytes.

    Args:
        logits: float32 `[K, H, W]`.
        needed: bool `[H, W]`; other pixels are left as they are.
        codes: uint8 `[K]`, the code of each channel.
        entropy_scale: float32, entropy in [0, 1] per stored step.
        probability_scale: float32, probability per stored step.
        limits: float64 `[K]`, largest score 1 - p of a class in the conformal set.
        value: uint8 `[H, W]`, filled with codes (empty: not wanted).
        uncertainty: uint8 `[H, W]`, filled with rounded entropy (empty: not wanted).
        stored_probability: uint8 `[K, H, W]`, filled with rounded probabilities (empty: not wanted).
        sets: uint32 `[H, W]`, filled with the sets as bits, 0 where not needed (empty: not wanted).
        probability: float32 `[K, H, W]`, filled with probabilities, also where not needed (empty: not wanted).
    """
    channels, height, width = logits.shape
    best = np.empty(width, np.int32)
    bits = np.empty(width, np.int32)
    total = np.empty(width, np.float32)
    weighted = np.empty(width, np.float32)
    scratch = np.empty((2, width), np.float32)
    scores = np.empty((channels, width), np.float32)
    normaliser = _F(1.0 / math.log(channels))
    for y in range(height):
        _load_row(logits, y, scores)
        _softmax_row(scores, best, scratch, bits, total, weighted)
        if value.size:
            for x in range(width):
                value[y, x] = codes[best[x]] if needed[y, x] else value[y, x]
        if uncertainty.size:
            _entropy_row(total, weighted, normaliser, entropy_scale, needed[y], uncertainty[y], bits, scratch[1])
        if probability.size or stored_probability.size or sets.size:
            for k in range(channels):
                for x in range(width):
                    scores[k, x] /= total[x]
        if probability.size:
            probability[:, y, :] = scores
        if stored_probability.size:
            _store_row(scores, probability_scale, needed[y], stored_probability[:, y, :])
        if sets.size:
            _sets_row(scores, best, limits, needed[y], sets[y])


@numba.njit(f"void({_CUBE}, {_COMMON})", nogil=True, cache=True, error_model="numpy")
def classify_probabilities(
    probability: Any,
    needed: Any,
    codes: Any,
    entropy_scale: Any,
    probability_scale: Any,
    limits: Any,
    value: Any,
    uncertainty: Any,
    stored_probability: Any,
    sets: Any,
) -> None:
    """Class, normalised entropy and stored probabilities of blended probabilities; as `classify_logits`."""
    channels, height, width = probability.shape
    normaliser = _F(1.0 / math.log(channels))
    best_row = np.zeros(width, np.int32)
    for y in range(height):
        for x in range(width):
            if not needed[y, x]:
                continue
            best = 0
            entropy = _ZERO
            for k in range(channels):
                share = probability[k, y, x]
                if share > probability[best, y, x]:
                    best = k
                if share > _ZERO:
                    entropy -= share * _F(math.log(share))
                if stored_probability.size:
                    stored_probability[k, y, x] = np.uint8(np.rint(share / probability_scale))
            best_row[x] = best
            if value.size:
                value[y, x] = codes[best]
            if uncertainty.size:
                entropy *= normaliser
                uncertainty[y, x] = np.uint8(np.rint(min(max(entropy, _ZERO), _ONE) / entropy_scale))
        if sets.size:
            _sets_row(probability[:, y, :], best_row, limits, needed[y], sets[y])


@numba.njit(f"void({_PLANE}, {_MASK}, int64[::1])", nogil=True, cache=True, error_model="numpy")
def count_codes(stored: Any, counted: Any, counts: Any) -> None:
    """Add how often each code occurs in `stored` `[H, W]`, where `counted`, to `counts` `[256]`."""
    # Equal neighbours would wait for each other's sum, so that four tables take turns.
    tables = np.zeros((4, 256), np.int64)
    height, width = stored.shape
    for y in range(height):
        for x in range(width):
            tables[x & 3, stored[y, x]] += np.int64(counted[y, x])
    for table in tables:
        for code in range(256):
            counts[code] += table[code]
