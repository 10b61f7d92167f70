"""Decades of Landsat as one series: every sensor's surface reflectance as OLI would have measured it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.change.landsat_harmonisation import ETM_TO_OLI, SENSORS, harmonise_reflectance
from ecumene.core.errors import ContractError
from ecumene.core.window import Window
from ecumene.scenes.common_names import common_bands
from ecumene.scenes.contract import Block, Channel, SceneSource
from ecumene.scenes.stack import SceneStack, align_scenes

_OLI = "landsat-8"
_SURFACE = "L2"


def is_landsat_series(sources: Sequence[SceneSource]) -> bool:
    """Whether scenes are of several Landsat sensors that have lines to OLI."""
    sensors = {source.sensor for source in sources}
    return len(sensors) > 1 and sensors <= set(SENSORS)


@dataclass(frozen=True)
class LandsatStack:
    """Scenes of several Landsat sensors on one grid, in the bands of OLI.

    Attributes:
        stacks: One a sensor.
        channels: Bands of OLI that all sensors have.
        bands: Common names of the channels.
    """

    stacks: tuple[SceneStack, ...]
    channels: tuple[Channel, ...]
    bands: tuple[str, ...]

    @classmethod
    def of(cls, sources: Sequence[SceneSource], *, mask_clouds: bool, wanted: Sequence[str] | None) -> LandsatStack:
        """Put the scenes on the grid of the first.

        Args:
            sources: Scenes with dates.
            mask_clouds: Whether the scenes' own masks count.
            wanted: Bands by their names of OLI or by common names; None: all that can be harmonised.

        Raises:
            ContractError: If scenes are no surface reflectance, or a band is not there.
        """
        for source in sources:
            if source.level != _SURFACE or source.quantity != "reflectance":
                raise ContractError(
                    "Landsat sensors are brought to one scale by their surface reflectance, but "
                    f"{source.id} is of level {source.level}; give scenes of level {_SURFACE}."
                )
        names = _bands(sources, wanted)
        grid: GeoBox | None = None
        stacks = []
        for sensor in dict.fromkeys(source.sensor for source in sources):
            members = [source for source in sources if source.sensor == sensor]
            known = common_bands(sensor, members[0].band_names)
            stack = align_scenes(members, geobox=grid, mask_clouds=mask_clouds, bands=[known[name] for name in names])
            grid = stack.geobox
            stacks.append(stack)
        oli = _oli_names()
        described = tuple(
            replace(channel, sensor=_OLI, band=oli[name])
            for channel, name in zip(stacks[0].channels, names, strict=True)
        )
        return cls(tuple(stacks), described, names)

    @property
    def geobox(self) -> GeoBox:
        """The common grid."""
        return self.stacks[0].geobox

    @property
    def _order(self) -> NDArray[np.intp]:
        times = [time for stack in self.stacks for time in stack.times]
        return np.argsort(np.array(times, "datetime64[s]"), kind="stable")

    @property
    def times(self) -> tuple[np.datetime64 | None, ...]:
        """Acquisition times, ascending."""
        times = [time for stack in self.stacks for time in stack.times]
        return tuple(times[k] for k in self._order)

    @property
    def sources(self) -> tuple[SceneSource, ...]:
        """All scenes."""
        return tuple(source for stack in self.stacks for source in stack.sources)

    def read(self, window: Window) -> Block:
        """Read a window: image `[T, C, h, w]` as OLI would have measured it."""
        blocks = [stack.read(window) for stack in self.stacks]
        images = [
            np.moveaxis(
                harmonise_reflectance(np.moveaxis(block.image, 1, 0), self.bands, stack.channels[0].sensor), 0, 1
            )
            for block, stack in zip(blocks, self.stacks, strict=True)
        ]
        order = self._order
        return Block(
            image=np.concatenate(images)[order],
            valid=np.concatenate([block.valid for block in blocks])[order],
            dates=np.concatenate([block.dates for block in blocks])[order],
        )

    def select(self, channels: Sequence[str]) -> LandsatStack:
        """Return the stack with these channels (band or `sensor/band`), in this order."""
        places = [next(p for p, c in enumerate(self.channels) if key in (c.key, c.band)) for key in channels]
        stacks = tuple(stack.select([stack.channels[p].key for p in places]) for stack in self.stacks)
        return LandsatStack(stacks, tuple(self.channels[p] for p in places), tuple(self.bands[p] for p in places))


def _oli_names() -> dict[str, str]:
    """Return OLI's names of the bands that can be harmonised, by common name."""
    from ecumene.sensors import get_sensor

    known = common_bands(_OLI, [band.name for band in get_sensor(_OLI).bands])
    return {name: known[name] for name in ETM_TO_OLI}


def _bands(sources: Sequence[SceneSource], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return common names of the bands that are read."""
    oli = _oli_names()
    shared = [name for name in oli if all(name in common_bands(source.sensor, source.band_names) for source in sources)]
    if wanted is None:
        if not shared:
            raise ContractError(f"The Landsat scenes share none of the bands {', '.join(oli)}; declare their bands.")
        return tuple(shared)
    by_band = {band: name for name, band in oli.items()}
    names = [by_band.get(entry, entry) for entry in wanted]
    for entry, name in zip(wanted, names, strict=True):
        if name not in shared:
            raise ContractError(
                f"The band {entry} is not in all Landsat scenes; they share {', '.join(shared) or 'none'}, so name "
                "these, or the bands as Landsat 8 does."
            )
    return tuple(dict.fromkeys(names))
