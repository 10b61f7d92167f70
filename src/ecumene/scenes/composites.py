"""One image from a series with gaps: median, geometric median, best pixel; each with its dispersion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

_CHUNK = 1 << 16  # pixels that the geometric median holds at once


@dataclass(frozen=True)
class Composite:
    """A composite and how well it is founded.

    Attributes:
        image: float32 `[C, H, W]`, NaN where there was no observation.
        count: int32 `[C, H, W]`, observations used.
        mad: float32 `[C, H, W]`, median absolute deviation of the observations from `image`, in its unit
            (times 1.4826 it estimates a standard deviation under normal noise); NaN without observation.
        smad: float32 `[H, W]`, spectral median absolute deviation: median of 1 - cosine between the
            observed spectra and `image` (Roberts, Dunn and Mueller 2018, IGARSS, "Open Data Cube
            products using high-dimensional statistics of time series"); None for the median.
        index: int32 `[H, W]`, date taken by the best-pixel composite, -1 where none; None otherwise.
    """

    image: NDArray[np.float32]
    count: NDArray[np.int32]
    mad: NDArray[np.float32]
    smad: NDArray[np.float32] | None = None
    index: NDArray[np.int32] | None = None


def _check(image: NDArray[np.floating]) -> None:
    if image.ndim != 4 or image.shape[0] == 0 or image.shape[1] == 0:
        raise ConfigurationError(
            f"A composite needs an array [T, C, H, W] with at least one date and channel, not {image.shape}."
        )


def _nanmedian(values: NDArray[np.floating]) -> NDArray[np.float32]:
    """Median over axis 0 without NaN; NaN where there is nothing, without a warning."""
    count = np.isfinite(values).sum(axis=0)
    ordered = np.sort(np.where(np.isfinite(values), values, np.inf), axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    below = np.take_along_axis(ordered, low[None], axis=0)[0]
    above = np.take_along_axis(ordered, high[None], axis=0)[0]
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, (below + above) / 2, np.nan).astype(np.float32)


def _spectral_deviation(image: NDArray[np.floating], centre: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the spectral median absolute deviation `[H, W]`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        norm = np.linalg.norm(image, axis=1) * np.linalg.norm(centre, axis=0)
        cosine = (image * centre).sum(axis=1) / norm
        return _nanmedian(np.maximum(1 - cosine, 0))


def _complete(image: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the observations as float64 with NaN in all channels if one misses, and where they are whole."""
    whole = np.isfinite(image).all(axis=1)
    return np.where(whole[:, None], image, np.nan).astype(np.float64), whole


def median_composite(image: NDArray[np.floating]) -> Composite:
    """Return the median of every channel by itself.

    Args:
        image: `[T, C, H, W]`, NaN in gaps.

    Raises:
        ConfigurationError: If the array has another shape.
    """
    _check(image)
    centre = _nanmedian(image)
    with np.errstate(invalid="ignore"):
        mad = _nanmedian(np.abs(image - centre))
    return Composite(centre, np.isfinite(image).sum(axis=0).astype(np.int32), mad)


def geometric_median(
    points: NDArray[np.float64], tolerance: float = 1e-6, iterations: int = 200
) -> NDArray[np.float64]:
    """Return the geometric median of many small point sets at once.

    Weiszfeld's iteration with the step of Vardi and Zhang (2000, PNAS 97(4), 1423-1426, equation 2.6),
    which does not stick to a data point that is not the median. Starts at the mean.

    Args:
        points: float64 `[N, T, C]`; an observation with NaN in any channel is left out.
        tolerance: Stops where a step is shorter than this share of the set's mean distance.
        iterations: Upper bound of steps.

    Returns:
        float64 `[N, C]`, NaN where a set is empty.
    """
    whole = np.asarray(np.isfinite(points).all(axis=2), np.bool_)
    count: NDArray[np.intp] = whole.sum(axis=1)
    values = np.where(whole[:, :, None], points, 0.0)
    centre: NDArray[np.float64] = values.sum(axis=1) / np.maximum(count, 1)[:, None]
    spread = (np.linalg.norm(values - centre[:, None], axis=2) * whole).sum(axis=1) / np.maximum(count, 1)
    active = np.flatnonzero((count > 1) & (spread > 0))
    for _ in range(iterations):
        if active.size == 0:
            break
        x, y, used = values[active], centre[active], whole[active]
        difference = x - y[:, None]
        distance = np.linalg.norm(difference, axis=2)
        at_point = used & (distance <= 1e-12 * spread[active, None])
        inverse = np.where(used & ~at_point, 1.0 / np.where(distance > 0, distance, 1.0), 0.0)
        total = inverse.sum(axis=1)
        pull = (difference * inverse[:, :, None]).sum(axis=1)
        strength = np.linalg.norm(pull, axis=1)
        multiplicity = at_point.sum(axis=1)
        stay = np.where(strength > multiplicity, multiplicity / np.where(strength > 0, strength, 1.0), 1.0)
        step = (1 - stay)[:, None] * pull / np.where(total > 0, total, 1.0)[:, None]
        centre[active] = y + step
        active = active[np.linalg.norm(step, axis=1) > tolerance * spread[active]]
    centre[count == 0] = np.nan
    return centre


def geomedian_composite(image: NDArray[np.floating]) -> Composite:
    """Return the geometric median of the spectra, which keeps the relations between bands.

    Roberts, Mueller and McIntyre (2017), IEEE TGRS 55(11), 6254-6264. Dates where a channel is missing
    do not count at that pixel.

    Args:
        image: `[T, C, H, W]`, NaN in gaps.

    Raises:
        ConfigurationError: If the array has another shape.
    """
    _check(image)
    dates, channels, height, width = image.shape
    flat = image.reshape(dates, channels, -1)
    centre = np.empty((channels, height * width), np.float32)
    for start in range(0, height * width, _CHUNK):
        points = flat[:, :, start : start + _CHUNK].transpose(2, 0, 1).astype(np.float64)
        centre[:, start : start + _CHUNK] = geometric_median(points).T
    return _around(image, centre.reshape(channels, height, width), None)


def _around(image: NDArray[np.floating], centre: NDArray[np.float32], index: NDArray[np.int32] | None) -> Composite:
    """Attach count and dispersion of whole observations to a composite."""
    observed, whole = _complete(image)
    count = np.broadcast_to(whole.sum(axis=0, dtype=np.int32), centre.shape).copy()
    mad = _nanmedian(np.abs(observed - centre))
    return Composite(centre, count, mad, _spectral_deviation(observed, centre), index)


def best_pixel_composite(
    image: NDArray[np.floating],
    by: Literal["clearest", "closest", "medoid"] = "medoid",
    *,
    dates: NDArray[np.integer] | None = None,
    target: int | None = None,
    clear_fractions: NDArray[np.floating] | None = None,
) -> Composite:
    """Return, for every pixel, one of the observed spectra.

    - `clearest`: from the date with the largest clear share.
    - `closest`: from the date closest to `target`.
    - `medoid`: the spectrum with the smallest summed distance to the others (Flood 2013, Remote Sensing
      5(12), 6481-6500).

    Of equally good dates the earlier is taken. Dates where a channel is missing do not count at a pixel.

    Args:
        image: `[T, C, H, W]`, NaN in gaps.
        by: Criterion.
        dates: `[T]` days since 1970-01-01, for `closest`.
        target: Day since 1970-01-01, for `closest`.
        clear_fractions: `[T]` clear shares of the whole scenes, for `clearest`; without it the shares of
            this array, which depend on its extent.

    Raises:
        ConfigurationError: If the array has another shape, or `closest` lacks dates or target.
    """
    _check(image)
    observed, whole = _complete(image)
    if by == "medoid":
        cost = np.stack(
            [np.nansum(np.linalg.norm(observed - observed[t], axis=1), axis=0) for t in range(len(observed))]
        )
    elif by == "closest":
        if dates is None or target is None or len(dates) != len(image):
            raise ConfigurationError("The best pixel closest to a date needs the dates of all frames and a target day.")
        cost = np.broadcast_to(np.abs(np.asarray(dates, np.float64) - target)[:, None, None], whole.shape)
    else:
        shares = whole.mean(axis=(1, 2)) if clear_fractions is None else np.asarray(clear_fractions, np.float64)
        if len(shares) != len(image):
            raise ConfigurationError("The clearest pixel needs one clear fraction for every date.")
        cost = np.broadcast_to(-shares[:, None, None], whole.shape)
    index = np.argmin(np.where(whole, cost, np.inf), axis=0)
    centre = np.take_along_axis(observed, index[None, None], axis=0)[0].astype(np.float32)
    return _around(image, centre, np.where(whole.any(axis=0), index, -1).astype(np.int32))
