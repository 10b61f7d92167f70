"""Deterministic randomness: hashes that give every object its own numbers, and fractal fields.

Objects (fields, parcels, buildings) are known by a 64-bit key. A property of an object is a hash of its
key and a salt, so that all pixels of an object agree without any table and without any loop.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, special

Keys = NDArray[np.uint64]


@numba.njit(nogil=True, cache=True)
def _avalanche(values: Any) -> None:
    """Finaliser of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA): each input bit moves each output bit; in place."""
    for index in range(values.size):
        value = values[index]
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        values[index] = value ^ (value >> np.uint64(31))


def _hashed(total: Keys, word: Keys | np.uint64) -> Keys:
    """Return the hash of a sum, as a new array."""
    values = np.ascontiguousarray(total + word)
    _avalanche(values.reshape(-1))
    return values


def keys_of(*parts: ArrayLike) -> Keys:
    """Return 64-bit keys of integer tuples, broadcast against each other.

    Args:
        *parts: Integer arrays or scalars; negative numbers are fine.

    Returns:
        uint64 array (0-d input gives shape `(1,)`).
    """
    arrays = [np.atleast_1d(np.asarray(part)) for part in parts]
    words = [part if part.dtype == np.uint64 else part.astype(np.int64, copy=False).view(np.uint64) for part in arrays]
    golden = np.uint64(0x9E3779B97F4A7C15)
    return reduce(lambda total, word: _hashed(total, word + golden), words, np.zeros(1, np.uint64))


def uniform_of(keys: Keys, salt: int) -> NDArray[np.float32]:
    """Return a number in (0, 1) for each key; another salt gives an independent number."""
    step = np.uint64((salt * 0xD1342543DE82EF95 + 1) % 2**64)
    bits = _hashed(np.asarray(keys), step)
    return ((bits >> np.uint64(41)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)


def normal_of(keys: Keys, salt: int) -> NDArray[np.float32]:
    """Return a standard normal number for each key."""
    return special.ndtri(uniform_of(keys, salt)).astype(np.float32)


def generator(*words: int) -> np.random.Generator:
    """Return a numpy generator seeded by integers (the sign is kept: -1 and 1 differ)."""
    return np.random.default_rng([part for word in words for part in (abs(word), int(word < 0))])


def fractal_field(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    longest: float,
    exponent: float = 3.0,
    shortest: float = 2.0,
) -> NDArray[np.float32]:
    """Return a Gaussian random field with a power-law spectrum (spectral synthesis, Saupe 1988).

    Args:
        rng: Source of randomness.
        shape: Rows and columns.
        longest: Wavelength in pixels above which the spectrum is flat.
        exponent: Decay of the two-dimensional power spectrum with frequency; 3 to 4 looks like relief,
            2 to 3 like clouds.
        shortest: Wavelength in pixels below which there is no power.

    Returns:
        float32 `shape`, mean 0 and standard deviation 1.
    """
    # The inverse transform is periodic; the margin is cut off so that opposite borders differ.
    margin = int(min(max(longest, 8), 0.5 * max(shape) + 8))
    rows, cols = (fft.next_fast_len(size + margin, real=True) for size in shape)
    frequency = np.hypot(fft.fftfreq(rows)[:, None], fft.rfftfreq(cols)[None, :])
    amplitude = np.maximum(frequency, 1.0 / longest) ** (-exponent / 2.0)
    amplitude[frequency > 1.0 / shortest] = 0.0
    amplitude[0, 0] = 0.0
    spectrum = fft.rfft2(rng.standard_normal((rows, cols), dtype=np.float32)) * amplitude.astype(np.float32)
    field = fft.irfft2(spectrum, s=(rows, cols))[: shape[0], : shape[1]]
    field = field - field.mean()
    return np.asarray(field / max(float(field.std()), 1e-12), np.float32)


def block_mean(values: NDArray, factor: int) -> NDArray[np.float32]:
    """Return the mean of `factor` x `factor` cells; the last two axes must be multiples of `factor`."""
    rows, cols = values.shape[-2] // factor, values.shape[-1] // factor
    parts = values.reshape(*values.shape[:-2], rows, factor, cols, factor)
    return np.asarray(parts.mean(axis=(-3, -1), dtype=np.float32))
