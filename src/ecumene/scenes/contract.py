"""What the rooms after `scenes` rely on: a scene's description, a stack of scenes, a block of pixels.

A `SceneSource` says where the pixels of one acquisition are and how they become physical values; it
holds no pixels. A `SceneStack` puts several of them (dates, sensors) on one grid and reads windows of
it. `open_scene` turns a source into the `xarray.Dataset` of the Scene contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window

Resampling = Literal["nearest", "bilinear", "cubic", "average", "mode"]


@dataclass(frozen=True)
class BandSource:
    """One band of one acquisition: physical value = stored value * scale + offset, in `unit`."""

    name: str
    href: str
    index: int
    geobox: GeoBox
    dtype: str
    scale: float
    offset: float
    nodata: float | None
    unit: str
    resampling: Resampling = "bilinear"


@dataclass(frozen=True)
class MaskSource:
    """A raster that says where clouds, shadows and defects are.

    `kind` names how to read it: `scl` (Sentinel-2 scene classification), `landsat_qa` (bit field),
    `binary` (`bad_values` listed), `rule` (no raster: the stated rule on the scene's own bands).
    """

    kind: Literal["scl", "landsat_qa", "binary", "rule"]
    href: str | None = None
    index: int = 1
    geobox: GeoBox | None = None
    bad_values: tuple[int, ...] = ()


@dataclass(frozen=True)
class SceneSource:
    """One acquisition (or product without a date) of one sensor at one level."""

    id: str
    sensor: str
    level: str
    quantity: str
    unit: str
    time: np.datetime64 | None
    bands: tuple[BandSource, ...]
    geobox: GeoBox
    mask: MaskSource | None = None
    files: tuple[str, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def band_names(self) -> tuple[str, ...]:
        """Names of the bands, in the order of `bands`."""
        return tuple(band.name for band in self.bands)


@dataclass(frozen=True)
class Channel:
    """One input channel of a stack: a band of a sensor at a level, in a unit."""

    sensor: str
    level: str
    band: str
    unit: str
    center_wavelength_um: float | None = None
    ground_sampling_m: float | None = None

    @property
    def key(self) -> str:
        """`sensor/band`, unique in a stack."""
        return f"{self.sensor}/{self.band}"


@dataclass(frozen=True)
class Block:
    """Pixels of one window of a stack.

    Attributes:
        image: float32 `[T, C, H, W]`, physical units, NaN where a channel has no data or the pixel
            is masked (cloud, shadow, defect) when the stack masks clouds.
        valid: bool `[T, H, W]`, True where all channels are finite.
        dates: int32 `[T]`, days since 1970-01-01 (0 where a frame has no date).
    """

    image: NDArray[np.float32]
    valid: NDArray[np.bool_]
    dates: NDArray[np.int32]


@runtime_checkable
class Stack(Protocol):
    """What samples and mapping need of any stack of scenes (implemented by `scenes.stack.SceneStack`)."""

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels in the order of the image's axis C."""

    @property
    def times(self) -> tuple[np.datetime64 | None, ...]:
        """Acquisition times, one a frame, ascending."""

    @property
    def sources(self) -> tuple[SceneSource, ...]:
        """All scenes in the stack, for provenance."""

    def read(self, window: Window) -> Block:
        """Read a window (it may reach over the border: NaN there). Thread-safe."""

    def read_intact(self, window: Window) -> tuple[Block, tuple[Window, ...]]:
        """Return what `read` does with NaN where pixels cannot be decoded, and the windows of the grid they are in.

        See `scenes.damage.read_around_damage`.
        """

    def select(self, channels: Sequence[str]) -> Stack:
        """Return the stack with these channel keys, in this order."""
