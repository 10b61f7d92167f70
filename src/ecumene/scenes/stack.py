"""Several scenes (dates, sensors, adjacent tiles) on one grid, read window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ContractError, SceneError
from ecumene.core.window import Window
from ecumene.scenes.contract import Block, Channel, SceneSource
from ecumene.scenes.damage import read_around_damage
from ecumene.scenes.frames import Frame, by_sensor, choose_channels, make_frames
from ecumene.scenes.grid import ground_sampling_m, window_geobox
from ecumene.scenes.masks import clear_sky
from ecumene.scenes.reading import read_bands


@dataclass(frozen=True)
class SceneStack:
    """Scenes on one grid; holds no pixels.

    Attributes:
        geobox: The common grid.
        channels: Channels in the order of the image's axis C.
        frames: Dates, ascending, each with the scenes of every sensor.
        mask_clouds: Whether pixels that a scene's own mask calls cloud, shadow or defect become NaN.
    """

    geobox: GeoBox
    channels: tuple[Channel, ...]
    frames: tuple[Frame, ...]
    mask_clouds: bool = True

    @property
    def times(self) -> tuple[np.datetime64 | None, ...]:
        """Acquisition times, one a frame, ascending."""
        return tuple(frame.time for frame in self.frames)

    @property
    def sources(self) -> tuple[SceneSource, ...]:
        """All scenes in the stack, each once, in order of time."""
        unique: list[SceneSource] = []
        for frame in self.frames:
            for mosaic in frame.mosaics:
                unique += [source for source in mosaic if not any(source is other for other in unique)]
        return tuple(unique)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, C, H, W) of the whole stack."""
        height, width = self.geobox.shape
        return len(self.frames), len(self.channels), int(height), int(width)

    def read(self, window: Window) -> Block:
        """Read a window; it may reach over the border (NaN there). Thread-safe.

        Args:
            window: Rows and columns of `geobox`.

        Returns:
            The pixels: image `[T, C, H, W]`, valid `[T, H, W]`, dates `[T]`.

        Raises:
            SceneError: If a file is gone or damaged.
        """
        grid = window_geobox(self.geobox, window)
        image = np.empty((len(self.frames), len(self.channels), window.height, window.width), np.float32)
        sensors = {channel.sensor for channel in self.channels}
        for position, frame in enumerate(self.frames):
            if not sensors <= {mosaic[0].sensor for mosaic in frame.mosaics}:
                image[position] = np.nan  # a sensor without a scene on this date
            for mosaic in frame.mosaics:
                self._read_mosaic(mosaic, grid, image[position])
        valid = ~np.isnan(image.sum(axis=1)) if self.channels else np.zeros((len(self.frames), *grid.shape), bool)
        dates = [0 if time is None else int(time.astype("datetime64[D]").astype(np.int64)) for time in self.times]
        return Block(image=image, valid=valid, dates=np.array(dates, np.int32))

    def read_intact(self, window: Window) -> tuple[Block, tuple[Window, ...]]:
        """Read a window with NaN for what cannot be decoded; see `scenes.contract.Stack`."""
        return read_around_damage(self, window)

    def _read_mosaic(self, mosaic: Sequence[SceneSource], grid: GeoBox, image: NDArray[np.float32]) -> None:
        """Fill one sensor's channels of `image` `[C, H, W]` from adjacent scenes.

        The first scene wins; a pixel is taken whole from a later scene where that has more bands, so
        that no spectrum is put together from two scenes.
        """
        positions = [p for p, channel in enumerate(self.channels) if channel.sensor == mosaic[0].sensor]
        if not positions:
            return
        names = [self.channels[position].band for position in positions]
        contiguous = positions == list(range(positions[0], positions[0] + len(positions)))
        first = image[positions[0] : positions[0] + len(positions)] if contiguous else None
        merged = self._read_scene(mosaic[0], names, grid, first)
        for source in mosaic[1:]:
            gaps = np.isnan(merged).sum(axis=0)
            if not gaps.any():
                break
            more = self._read_scene(source, names, grid, None)
            better = np.isnan(more).sum(axis=0) < gaps
            np.copyto(merged, more, where=better[None])
        if not contiguous:
            image[positions] = merged

    def _read_scene(
        self, source: SceneSource, names: Sequence[str], grid: GeoBox, out: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        """Read one scene and blank what its mask calls bad."""
        values = read_bands(source, names, grid, out)
        if self.mask_clouds and source.mask is not None and not np.isnan(values).all():
            np.copyto(values, np.float32(np.nan), where=~clear_sky(source, grid)[None])
        return values

    def select(self, channels: Sequence[str]) -> SceneStack:
        """Return the stack with these channel keys (`sensor/band`), in this order.

        A band name alone is enough where only one sensor has it.

        Raises:
            ContractError: If a channel is missing or a band name is ambiguous.
        """
        chosen = []
        for key in channels:
            found = [channel for channel in self.channels if key in (channel.key, channel.band)]
            if len(found) != 1:
                have = ", ".join(channel.key for channel in self.channels)
                problem = "is ambiguous" if found else "is missing"
                raise ContractError(f"The channel {key} {problem} in the scenes, which have {have}.")
            chosen.append(found[0])
        return replace(self, channels=tuple(chosen))

    def crop(self, window: Window) -> SceneStack:
        """Return the stack on a window of its grid (which may reach over the border)."""
        return replace(self, geobox=window_geobox(self.geobox, window))

    def at(self, time_index: int) -> SceneStack:
        """Return the stack with one frame only.

        Raises:
            SceneError: If there is no such frame.
        """
        if not -len(self.frames) <= time_index < len(self.frames):
            raise SceneError(f"There is no frame {time_index}; the scenes have {len(self.frames)} dates.")
        return replace(self, frames=(self.frames[time_index],))


def align_scenes(
    sources: Sequence[SceneSource],
    *,
    geobox: GeoBox | None = None,
    resolution: float | None = None,
    mask_clouds: bool = True,
    bands: Sequence[str] | None = None,
) -> SceneStack:
    """Put scenes of several dates, sensors and adjacent tiles on one grid.

    The first scene is the reference: its sensor's dates are the frames, and its grid (the finest of its
    bands), extended over the adjacent scenes of the same day, is the default grid. A scene of another
    sensor belongs to the frame nearest in time (see `frames.make_frames`). Processing baselines may be
    mixed, since every scene becomes physical by its own metadata; product levels may not.

    Args:
        sources: The scenes.
        geobox: The grid, instead of the default.
        resolution: Pixel size in metres, instead of the default grid's (same origin and CRS).
        mask_clouds: Make NaN what the scenes' masks call cloud, shadow or defect. A scene without a
            mask is not masked; `masks.with_rule_mask` gives it the rule-based one.
        bands: Band names or `sensor/band` to keep, in the order wanted.

    Returns:
        The stack.

    Raises:
        SceneError: If there is no scene, a scene of a series has no date, or `resolution` is not positive.
        ContractError: If levels, units or bands do not fit together.
    """
    groups = by_sensor(sources)
    channels = choose_channels(groups, bands)
    frames = make_frames(groups)
    grid = geobox if geobox is not None else _reference_grid(sources[0], frames)
    if resolution is not None:
        grid = with_resolution(grid, resolution)
    used = {channel.sensor for channel in channels}
    kept = tuple(
        Frame(f.time, tuple(m for p, m in enumerate(f.mosaics) if p == 0 or m[0].sensor in used)) for f in frames
    )
    return SceneStack(geobox=grid, channels=channels, frames=kept, mask_clouds=mask_clouds)


def _reference_grid(reference: SceneSource, frames: Sequence[Frame]) -> GeoBox:
    """Return the reference's grid, extended on its own lattice over the scenes of the same frame."""
    grid = reference.geobox
    if grid.crs is None:
        raise SceneError(f"Scene {reference.id} has no coordinate reference system; declare it with --crs.")
    mosaic = next(f.mosaics[0] for f in frames if any(source is reference for source in f.mosaics[0]))
    corners = []
    for source in mosaic:
        if source.geobox.crs == grid.crs:
            height, width = source.geobox.shape
            relative = ~grid.affine * source.geobox.affine
            corners += [relative * corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    tolerance = 1e-3
    left, top = (math.floor(min(c[axis] for c in corners) + tolerance) for axis in (0, 1))
    right, bottom = (math.ceil(max(c[axis] for c in corners) - tolerance) for axis in (0, 1))
    return window_geobox(grid, Window(top, left, bottom - top, right - left))


def with_resolution(geobox: GeoBox, resolution: float) -> GeoBox:
    """Return a grid with the same origin and at least the same extent at another pixel size in metres.

    On a geographic CRS both steps are scaled alike, so that the mean pixel size at the centre fits.

    Raises:
        SceneError: If the resolution is not positive.
    """
    if not (math.isfinite(resolution) and resolution > 0):
        raise SceneError(f"The resolution must be a positive number of metres, not {resolution}.")
    factor = resolution / ground_sampling_m(geobox)
    if abs(factor - 1) < 1e-9:
        return geobox
    height, width = (max(1, math.ceil(size / factor - 1e-6)) for size in geobox.shape)
    return GeoBox((height, width), geobox.affine * Affine.scale(factor), geobox.crs)
