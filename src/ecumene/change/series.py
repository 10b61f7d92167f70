"""What every method on a series of images takes: ascending dates, values of bands, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.core.threads import run_ranges

Float = NDArray[np.float64]

DAYS_A_YEAR = 365.25
_BLOCK = 16384  # pixels of one call of a kernel: a multiple of its lanes, small enough to share out evenly


@dataclass(frozen=True)
class PixelSeries:
    """Series of many pixels on common dates.

    Attributes:
        days: int64 `[T]`, days since 1970-01-01, ascending, each once.
        values: float32 or float64 `[B, T, P]`, C-contiguous; NaN: missing.
        valid: bool `[B or 1, T, P]`, or empty (`[1, 0, 0]`) where only NaN says what is missing.
        space: Shape of the pixels, such as (rows, columns); its product is P.
    """

    days: NDArray[np.int64]
    values: NDArray[Any]
    valid: NDArray[np.bool_]
    space: tuple[int, ...]

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.values.shape[0])

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return int(self.values.shape[2])

    def observed(self) -> NDArray[np.bool_]:
        """Return bool `[B, T, P]`: which values are there."""
        seen: NDArray[np.bool_] = ~np.isnan(self.values)
        return np.logical_and(seen, self.valid) if self.valid.size else seen

    def spread(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return `[..., P]` as `[..., *space]`."""
        return values.reshape(values.shape[:-1] + self.space)


def days_of(dates: Any, *, least: int = 3) -> NDArray[np.int64]:
    """Return dates as days since 1970-01-01, after checking them.

    Args:
        dates: datetime64, dates or ISO texts `[T]`, or integer days since 1970-01-01.
        least: Smallest number of dates that the method can work with.

    Returns:
        int64 `[T]`, ascending.

    Raises:
        SceneError: If dates repeat or run backwards, or are fewer than `least`.
        ConfigurationError: If they are not dates.
    """
    given = np.asarray(dates)
    if given.ndim != 1 or (given.dtype.kind not in "iuMUO"):
        raise ConfigurationError("Dates must be one list of dates or of whole days since 1970-01-01.")
    try:
        days = given.astype("datetime64[D]").astype(np.int64) if given.dtype.kind in "MUO" else given.astype(np.int64)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"A date of the series cannot be read ({error}); write it as YYYY-MM-DD.") from error
    if given.dtype.kind in "MUO" and np.isnat(given.astype("datetime64[D]")).any():
        raise ConfigurationError("A date of the series is missing; give every image its date.")
    if days.size < least:
        many = "date" if days.size == 1 else "dates"
        raise SceneError(f"A series of {days.size} {many} is too short here; give images of at least {least} dates.")
    step = np.diff(days)
    if (step == 0).any():
        twice = np.datetime64(int(days[int(np.argmax(step == 0))]), "D")
        raise SceneError(f"The date {twice} comes twice in the series; keep one image a date, or merge them first.")
    if (step < 0).any():
        late = np.datetime64(int(days[int(np.argmax(step < 0)) + 1]), "D")
        raise SceneError(f"The dates of the series run backwards at {late}; sort the images by date.")
    return days


def pixel_series(values: Any, dates: Any, valid: Any = None, *, least: int = 3) -> PixelSeries:
    """Bring a series into the form that kernels read.

    Nothing is copied that has it already: C-contiguous, writable, float32 or float64.

    Args:
        values: `[B, T, *space]`, any number type; NaN: missing.
        dates: As `days_of` takes them, `[T]`.
        valid: bool `[T, *space]` (all bands alike) or `[B, T, *space]`; False: missing. None: NaN alone says so.
        least: Smallest number of dates.

    Returns:
        The series.

    Raises:
        ConfigurationError: If shapes differ.
        SceneError: If dates are not usable, or no pixel has any observation.
    """
    days = days_of(dates, least=least)
    array = np.asarray(values)
    if array.ndim < 2 or array.shape[1] != days.size:
        raise ConfigurationError(
            f"A series must be [bands, dates, ...] with {days.size} dates, not of shape {list(array.shape)}."
        )
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    space = array.shape[2:]
    flat = _plain(array).reshape(array.shape[0], days.size, -1)
    mask = np.empty((1, 0, 0), np.bool_)
    if valid is not None:
        mask = mask_of(valid, array.shape[1:], array.shape[0])
    if flat.shape[2] and not _any_observation(flat, mask):
        raise SceneError("No pixel of the series has a valid observation on any date; check cloud masks and nodata.")
    return PixelSeries(days, flat, mask, space)


def mask_of(valid: Any, shape: tuple[int, ...], bands: int | None = None) -> NDArray[np.bool_]:
    """Return a mask in the form that kernels read.

    Args:
        valid: bool `[T, *space]`; where there are bands, `[B, T, *space]` as well.
        shape: (T, *space).
        bands: None: there are none.

    Returns:
        bool `[B or 1, T, P]`, C-contiguous.

    Raises:
        ConfigurationError: If the shape differs.
    """
    mask = np.asarray(valid, np.bool_)
    if mask.shape != shape and (bands is None or mask.shape != (bands, *shape)):
        raise ConfigurationError(
            f"The mask has the shape {list(mask.shape)}; it must be that of the series, {list(shape)}"
            + (", or have its bands before that." if bands is not None else ".")
        )
    pixels = int(np.prod(shape[1:], dtype=np.int64))
    return _plain(mask).reshape(-1, shape[0], pixels)


def day_of(date: Any, what: str = "date") -> int:
    """Return one date as days since 1970-01-01.

    Args:
        date: datetime64, a date, an ISO text, or whole days since 1970-01-01.
        what: Its name in the sentence that refuses it.

    Raises:
        ConfigurationError: If it is not a date.
    """
    if isinstance(date, int | np.integer) and not isinstance(date, bool):
        return int(date)
    if isinstance(date, float | np.floating) and float(date).is_integer():
        return int(date)
    try:
        day = np.asarray(date, "datetime64[D]")
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"The {what} {date!r} cannot be read; write it as YYYY-MM-DD.") from error
    if day.ndim or np.isnat(day):
        raise ConfigurationError(f"The {what} must be one date; write it as YYYY-MM-DD.")
    return int(day.astype(np.int64))


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return a C-contiguous array that may be written: kernels would be compiled anew for read-only ones."""
    return np.require(array, requirements=["C", "W"])


def _any_observation(values: NDArray[Any], valid: NDArray[np.bool_]) -> bool:
    for t in range(values.shape[1]):  # date by date: no temporary of the size of the series
        for b in range(values.shape[0]):
            seen = ~np.isnan(values[b, t])
            if valid.size:
                seen &= valid[b if valid.shape[0] > 1 else 0, t]
            if seen.any():
                return True
    return False


def run_blocks(work: Callable[[int, int], None], pixels: int, threads: int | None) -> None:
    """Call `work(start, stop)` for blocks of pixels that are a multiple of the kernels' lanes; see `run_ranges`."""
    run_ranges(work, pixels, threads, length=_BLOCK)
