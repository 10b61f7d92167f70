"""The places of `restoration.py`: real scenes as arrays on one grid, with what is known of their clouds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from common import data_root
from ecumene.core.window import Window
from ecumene.restoration.contract import SeriesPixels
from ecumene.scenes.contract import Channel
from ecumene.workflows.clear_scenes import ClearInput, open_clear_input

Array = NDArray[Any]


UNDATED = np.datetime64("2019-09-15")
"""Stands for the day of a scene without one: where the sun stood when clouds are put on it."""


@dataclass(frozen=True)
class Place:
    """A real series on one grid.

    Attributes:
        name: Of the place.
        level: Product level.
        image: float32 `[T, K, H, W]`, reflectance as measured.
        usable: bool `[T, H, W]`: clear, as far as is known.
        days: `[T]`.
        radar: float32 `[T, R, H, W]` in dB, or None.
        channels: The K bands.
        source: How it was opened.
        judged: Dates that are clear, so that clouds can be put on them.
        files: What was read.
    """

    name: str
    level: str
    image: NDArray[np.float32]
    usable: NDArray[np.bool_]
    days: NDArray[np.float64]
    radar: NDArray[np.float32] | None
    channels: tuple[Channel, ...]
    source: ClearInput
    judged: tuple[int, ...]
    files: tuple[Path, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.image.shape[2]), int(self.image.shape[3])

    def series(self, clear: NDArray[np.bool_]) -> SeriesPixels:
        """Return the pixels as if the sky were clear only there (`[T, H, W]`)."""
        dates, bands = self.image.shape[:2]
        flat = clear.reshape(dates, -1)
        image = np.where(flat[:, None], self.image.reshape(dates, bands, -1), np.float32(np.nan))
        radar = None if self.radar is None else self.radar.reshape(dates, self.radar.shape[1], -1)
        return SeriesPixels(image, flat, self.days, radar)


class Learned(Protocol):
    """A method that has learned elsewhere; see `restoration_models`."""

    def applies(self, place: Place) -> bool:
        """Whether it can fill dates of this place, and has others to learn from."""

    def fill(
        self, place: Place, image: NDArray[np.float32], date: int, covered: NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        """Return mean, standard deviation and half width of 90 % intervals `[K, H, W]` of a date.

        Args:
            place: As measured.
            image: float32 `[T, K, H, W]`, that date under simulated clouds.
            date: Place of the date.
            covered: bool `[H, W]`, under them.
        """

    def training_of(self, place: Place) -> dict[str, Any]:
        """Return how it was trained for a place that it has filled (JSON values)."""


def moment(text: str) -> str:
    """Return `20200604T054639` as ISO 8601."""
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:11]}:{text[11:13]}:{text[13:15]}"


def slovenia() -> Place:
    """Five dates of Sentinel-2 L1C; 2015-07-31 and 2015-08-20 are wholly clouded."""
    folder = data_root() / "s2_eopatch_slovenia"
    paths = tuple(sorted(folder.glob("S2_L1C_*.tif")))
    clouded = ("2015-07-31", "2015-08-20")
    clear = [not any(day in path.name for day in clouded) for path in paths]
    return _place("slovenia", "L1C", paths, (), np.array(clear))


def pakistan() -> Place:
    """Two dates of L1C and two of radar; on 2020-08-23 a third of the patch is clouded and the rest hazy."""
    return _pakistan("pakistan", "L1C", "s2c")


def pakistan_surface() -> Place:
    """Two clear dates of L2A and the same radar."""
    return _pakistan("pakistan-l2a", "L2A", "s2a")


def _pakistan(name: str, level: str, folder: str) -> Place:
    root = data_root() / "ssl4eo_s12_patch_0000200"
    scenes = sorted((root / folder / "0000200").iterdir())
    waves = sorted((root / "s1" / "0000200").iterdir())
    times = {"time": [moment(scene.name) for scene in scenes]}
    radar_times = [moment(wave.name[17:]) for wave in waves]
    clear = np.array([True, level == "L2A"])
    return _place(name, level, tuple(scenes), tuple(waves), clear, times, radar_times)


def spain() -> Place:
    """One date of L1C and radar, a flood."""
    stem = data_root() / "sen1floods11_spain_7370579" / "Spain_7370579_"
    return _place("spain", "L1C", (Path(f"{stem}S2Hand.tif"),), (Path(f"{stem}S1Hand.tif"),), np.array([True]))


def thailand() -> Place:
    """One date of L2A, no radar; 512 x 512 pixels of the tile."""
    stem = data_root() / "majortom_s2l2a_199U_1099R" / "S2B_L2A_20200223_T48QUE_"
    paths = tuple(Path(f"{stem}{size}m.tif") for size in (10, 20, 60))
    times = {"time": "2020-02-23T03:37:00"}
    return _place("thailand", "L2A", ("+".join(map(str, paths)),), (), np.array([True]), times, files=paths, crop=512)


def _place(
    name: str,
    level: str,
    scenes: tuple[Any, ...],
    radar: tuple[Path, ...],
    clear: NDArray[np.bool_],
    times: dict[str, Any] | None = None,
    radar_times: list[str] | None = None,
    files: tuple[Path, ...] = (),
    crop: int | None = None,
) -> Place:
    source = open_clear_input(
        [str(scene) for scene in scenes],
        [str(wave) for wave in radar] or None,
        mask_clouds=False,
        radar_declaration={"sensor": "sentinel-1", "level": "GRD", "time": radar_times},
        sensor="sentinel-2",
        level=level,
        offset=0,
        **(times or {}),
    )
    height, width = source.shape
    window = Window(0, 0, min(crop or height, height), min(crop or width, width))
    pixels = source.read(window)
    shape = (window.height, window.width)
    dates = len(source.days)
    usable = pixels.clear.reshape(dates, *shape) & clear[:, None, None]
    image = pixels.image.reshape(dates, -1, *shape)
    waves = None if pixels.radar is None else pixels.radar.reshape(dates, -1, *shape)
    listed = files or tuple(_files([*scenes, *radar]))
    judged = tuple(int(date) for date in np.flatnonzero(clear))
    return Place(name, level, image, usable, source.days, waves, source.channels, source, judged, listed)


def _files(paths: list[Any]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(path.glob("*.tif")) if path.is_dir() else [path]
    return found


def cloudy_patch() -> ClearInput:
    """Return the patch of SEN12MS-CR with real clouds and radar, whose clear partner is not known."""
    stem = data_root() / "sen12mscr_cloudy_patch" / "ROIs1868_summer_"
    return open_clear_input(
        f"{stem}s2_cloudy_19_p30.tif",
        f"{stem}s1_19_p30.tif",
        mask_clouds=True,
        radar_declaration={"sensor": "sentinel-1", "level": "GRD"},
        sensor="sentinel-2",
        level="L1C",
        offset=0,
    )


PLACES: dict[str, Callable[[], Place]] = {
    "slovenia": slovenia,
    "pakistan": pakistan,
    "spain": spain,
    "pakistan-l2a": pakistan_surface,
    "thailand": thailand,
}
"""All places by name."""
