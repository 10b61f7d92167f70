"""What the verb `series` reads of scenes: dates, and the values that are followed through time, tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.change.series import days_of
from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.window import Window
from ecumene.scenes.contract import Block, Channel, SceneSource
from ecumene.scenes.grid import same_grid
from ecumene.scenes.indices import channel_index
from ecumene.scenes.intensity import as_decibels, as_power
from ecumene.scenes.normalised_differences import NORMALISED, normalised_difference, possible_indices
from ecumene.scenes.stack import align_scenes
from ecumene.workflows.series_landsat import LandsatStack, is_landsat_series

_DEFAULT = ("NDBI", "NDVI")
_BYTES = 192 << 20  # of the pixels of one tile
_EDGES = (64, 1024)


class DatedStack(Protocol):
    """Scenes of several dates on one grid; `SceneStack` explains the parts."""

    @property
    def geobox(self) -> GeoBox: ...  # noqa: D102
    @property
    def channels(self) -> tuple[Channel, ...]: ...  # noqa: D102
    @property
    def times(self) -> tuple[np.datetime64 | None, ...]: ...  # noqa: D102
    @property
    def sources(self) -> tuple[SceneSource, ...]: ...  # noqa: D102
    def read(self, window: Window) -> Block:
        """Read a window."""

    def select(self, channels: Sequence[str]) -> DatedStack:
        """Return the stack with these channels only."""


@dataclass
class SeriesInput:
    """Values of several dates on one grid.

    Attributes:
        stack: The scenes.
        names: What is followed: indices or bands.
        indices: Whether the names are spectral indices.
        decibels: Whether intensities are given as decibels (else linear); of radar only.
        seen: Valid pixels of each date, counted while tiles are read.
    """

    stack: DatedStack
    names: tuple[str, ...]
    indices: bool
    decibels: bool = True
    seen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def radar(self) -> bool:
        """Whether the scenes are backscatter."""
        return self.stack.sources[0].quantity == "backscatter"

    @property
    def sensors(self) -> tuple[str, ...]:
        """Sensors of the scenes, in the order of their first date."""
        return tuple(dict.fromkeys(source.sensor for source in self.stack.sources))

    @property
    def days(self) -> NDArray[np.int64]:
        """Days since 1970-01-01 of the dates, ascending, `[T]`."""
        return np.array(
            [time.astype("datetime64[D]").astype(np.int64) for time in self.stack.times if time is not None]
        )

    def first(self) -> SeriesInput:
        """Return the series of the first followed value alone."""
        name = self.names[:1]
        if self.indices:
            return replace(self, stack=_needed(self.stack, name), names=name)
        return replace(self, stack=self.stack.select([self.stack.channels[0].key]), names=name)

    @property
    def edge(self) -> int:
        """Edge of a tile whose pixels fit into memory."""
        total = len(self.stack.times) * max(len(self.stack.channels), 1) * 8
        return int(np.clip(int(np.sqrt(_BYTES / total)) // 64 * 64, *_EDGES))

    def read(self, window: Window, *, count: bool = True) -> NDArray[np.float32]:
        """Return the values in a window, `[B, T, h, w]`, NaN where masked or without data.

        Args:
            window: Inside the grid.
            count: Whether the valid pixels are counted in `seen`.
        """
        block = self.stack.read(window)
        if self.indices:
            values = np.stack([self._index(name, block.image) for name in self.names])
        else:
            values = np.moveaxis(block.image, 1, 0).copy()
            if self.radar:
                values = self._backscatter(values)
        if count:
            self.count(values)
        return values

    def count(self, values: NDArray[np.float32]) -> None:
        """Count the valid pixels of each date of a tile `[B, T, h, w]`."""
        if not self.seen.size:
            self.seen = np.zeros(values.shape[1], np.int64)
        self.seen += np.isfinite(values).all(axis=0).sum(axis=(1, 2))

    def _index(self, name: str, image: NDArray[np.float32]) -> NDArray[np.float32]:
        if name in NORMALISED:
            return normalised_difference(name, image, self.stack.channels)
        return channel_index(name, image, self.stack.channels)

    def _backscatter(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return bands as decibels or as linear intensities, whatever they are stored as."""
        convert = as_decibels if self.decibels else as_power
        for band, channel in zip(values, self.stack.channels, strict=True):
            band[:] = convert(band, channel.unit)
        return values

    def silent_dates(self) -> list[str]:
        """Return the dates without a single valid pixel, after all tiles were read."""
        return [str(np.datetime64(int(day), "D")) for day, seen in zip(self.days, self.seen, strict=True) if not seen]

    def require_dates(self, least: int) -> None:
        """Refuse a series that has too few dates with data, after all tiles were read.

        Raises:
            SceneError: If that is so.
        """
        silent = self.silent_dates()
        left = len(self.days) - len(silent)
        if left < least:
            raise SceneError(
                f"Only {left} of {len(self.days)} dates have a clear pixel (none has: {', '.join(silent[:5])}); the "
                f"method needs {least}, so give more dates, or --no-cloud-mask if the masks are wrong."
            )


def open_series(
    sources: Sequence[SceneSource],
    *,
    least: int,
    indices: Sequence[str] | None,
    bands: Sequence[str] | None,
    align: bool,
    mask_clouds: bool,
) -> SeriesInput:
    """Check a series of scenes and choose what is followed.

    Args:
        sources: Scenes in the order of time.
        least: Dates that the method needs.
        indices: Spectral indices; None: NDBI and NDVI where the bands are there, else bands.
        bands: Bands instead of indices.
        align: Whether grids may differ; everything is then brought onto the first scene's.
        mask_clouds: Whether the scenes' own masks count.

    Raises:
        ConfigurationError: If indices and bands are both named.
        SceneError: If dates are missing, repeat, run backwards or are too few.
        ContractError: If grids differ, or bands are not there.
    """
    if indices and bands:
        raise ConfigurationError("Name spectral indices or bands, not both.")
    check_dates(sources, least)
    if not align:
        check_grids(sources)
    stack: DatedStack
    if is_landsat_series(sources):
        stack = LandsatStack.of(sources, mask_clouds=mask_clouds, wanted=bands)
    else:
        stack = align_scenes(sources, mask_clouds=mask_clouds, bands=bands)
    radar = sources[0].quantity == "backscatter"
    if bands or radar:
        return SeriesInput(stack, tuple(channel.band for channel in stack.channels), False)
    possible = possible_indices(stack.channels)
    chosen = tuple(indices) if indices else tuple(name for name in _DEFAULT if name in possible)
    if not chosen:
        if len(stack.channels) > 3:
            raise ContractError(
                "The scenes have no bands for NDBI or NDVI; name what is to be followed with --index or --use."
            )
        return SeriesInput(stack, tuple(channel.band for channel in stack.channels), False)
    return SeriesInput(_needed(stack, chosen), chosen, True)


def _needed(stack: DatedStack, indices: Sequence[str]) -> DatedStack:
    """Return the stack with the bands of normalised differences only; others may need any band."""
    from ecumene.scenes.common_names import common_bands

    if any(name not in NORMALISED for name in indices):
        return stack
    wanted: list[str] = []
    for sensor in dict.fromkeys(channel.sensor for channel in stack.channels):
        known = common_bands(sensor, [channel.band for channel in stack.channels if channel.sensor == sensor])
        for name in indices:
            wanted += [f"{sensor}/{known[band]}" for band in NORMALISED[name] if band in known]
    return stack.select(list(dict.fromkeys(wanted))) if wanted else stack


def check_dates(sources: Sequence[SceneSource], least: int) -> None:
    """Refuse series whose dates are missing, repeat, run backwards or are too few.

    Neighbouring scenes of one day count as one date; scenes of other sensors than the first's have dates of their own,
    except that all Landsat sensors make one series.

    Raises:
        SceneError: If that is so.
    """
    if not sources:
        raise ConfigurationError("No scene was given; name at least one file or folder.")
    for source in sources:
        if source.time is None and source.quantity != "elevation":
            raise SceneError(f"Scene {source.id} has no date; give every scene its date with --time or in scene.yaml.")
    together = is_landsat_series(sources)
    reference = [source for source in sources if together or source.sensor == sources[0].sensor]
    days: list[int] = []
    last: SceneSource | None = None
    for source in reference:
        assert source.time is not None
        day = int(source.time.astype("datetime64[D]").astype(np.int64))
        if last is not None and days[-1] == day and not same_grid(last.geobox, source.geobox):
            continue  # a neighbouring tile of the same acquisition
        days.append(day)
        last = source
    days_of(np.array(days, np.int64), least=least)


def check_grids(sources: Sequence[SceneSource]) -> None:
    """Refuse scenes that do not lie on the grids of the first date's scenes.

    Raises:
        ContractError: If that is so.
    """
    first = sources[0]
    grids = [
        source.geobox
        for source in sources
        if source is first or (source.time is not None and source.time.astype("datetime64[D]") == _day(first))
    ]
    for other in sources[1:]:
        if not any(same_grid(grid, other.geobox) for grid in grids):
            raise ContractError(
                f"{first.id} and {other.id} lie on different grids; add --align to bring all scenes onto the grid of "
                "the first."
            )


def _day(source: SceneSource) -> np.datetime64 | None:
    return None if source.time is None else source.time.astype("datetime64[D]")
