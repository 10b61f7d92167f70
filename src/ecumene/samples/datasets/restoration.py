"""What published data sets of cloudy and clear images have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends import Legend
from ecumene.legends.legend import LegendClass
from ecumene.samples.datasets.contract import DataSet
from ecumene.samples.datasets.official_files import OfficialFiles
from ecumene.samples.datasets.tiff import read_header, read_tiff
from ecumene.samples.restoration_set import RestorationSet
from ecumene.samples.scene_set import SceneSet
from ecumene.scenes.cloud_rule import bad_by_rule
from ecumene.sensors import get_sensor

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Order of the bands in a Sentinel-2 file: B8A is the ninth."""
S1_BANDS = ("VV", "VH")
PIXEL_M = 10.0
RULE_BANDS = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08"} | {
    "swir16": "B11",
    "swir22": "B12",
    "cirrus": "B10",
}
"""Common names of the bands that the cloud rule reads."""
_HEADER_BYTES = 1 << 16
_LEGEND = Legend(name="restoration", classes=(LegendClass(value=0, name="image", colour="#000000"),))


class RestorationData(DataSet):
    """Cloudy images with clear ones; `read_pairs` takes the place of `read`.

    Clouds and shadows are found by the rule of `scenes.cloud_rule` (Fmask's spectral tests), because no data set of
    this kind ships masks; the papers use s2cloudless and a shadow index instead.

    Attributes:
        targets: Names of the restored bands, the first of `channels`.
        temporal: Whether the images are series.
        crop: Side of the random window that training takes of a sample; None: all of it.
        variant: What options change about the samples beside their channels, as text.
    """

    targets: tuple[str, ...]
    temporal: bool = False
    crop: int | None = None
    variant: str = ""
    resolution_m = PIXEL_M

    def _describe(self, ids: Sequence[str], places: Sequence[Any]) -> None:
        """Set what every data set must have: names, places, and a label that says nothing."""
        self.legend = _LEGEND
        self.ids = tuple(ids)
        self.label: NDArray[np.int64] = np.zeros(len(ids), np.int64)
        order = {place: number for number, place in enumerate(sorted(set(places)))}
        self.group: NDArray[np.int32] = np.array([order[place] for place in places], np.int32)

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Refuse: these images have no classes.

        Raises:
            LabelError: Always.
        """
        raise LabelError(
            f"The data set {self.info.name} holds cloudy images with clear ones and no classes; choose a system that "
            "removes clouds, such as dsen2-cr or uncrtaints."
        )

    @abstractmethod
    def read_pairs(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSet:
        """Return these samples in physical units, in this order; may be called from several threads at once.

        Raises:
            SceneError: If a file is damaged, or has other bands or another size.
        """


class PatchFiles:
    """Reads the patches of one data set and holds them to their published shape.

    Args:
        files: Where they are.
        title: Name of the data set in errors.
    """

    def __init__(self, files: OfficialFiles, title: str) -> None:
        self.files, self.title = files, title
        scale = get_sensor("sentinel-2").level("L1C").scale
        assert scale is not None  # stated in the sensor's description
        self._scale = np.float32(scale)

    def side(self, name: str) -> int:
        """Return rows of the patches, from the header of one of them.

        Raises:
            SceneError: If it is no TIFF file, or not square.
        """
        header = read_header(self.files.read(name, _HEADER_BYTES), name)
        shape = read_tiff(self.files.read(name), name).shape if header is None else header.shape
        if shape[1] != shape[2]:
            raise SceneError(f"{name} is not square; patches of {self.title} are, so download it again.")
        return int(shape[1])

    def optical(self, name: str, side: int) -> NDArray[np.float32]:
        """Return reflectance `[13, side, side]`, NaN where the file holds no data (0 in all bands)."""
        stored = self._pixels(name, len(S2_BANDS), side, "Sentinel-2")
        image = np.asarray(stored * self._scale, np.float32)
        image[:, ~stored.any(axis=0)] = np.nan
        return image

    def radar(self, name: str, side: int) -> NDArray[np.float32]:
        """Return backscatter in dB `[2, side, side]`, VV and VH; NaN where the file holds no number or 0 in both."""
        stored = self._pixels(name, len(S1_BANDS), side, "Sentinel-1")
        missing = ~np.isfinite(stored).all(axis=0) | ~stored.any(axis=0)
        return np.where(missing, np.float32(np.nan), stored)

    def _pixels(self, name: str, bands: int, side: int, sensor: str) -> NDArray[np.float32]:
        stored = read_tiff(self.files.read(name), name)
        if stored.shape != (bands, side, side):
            shape = " x ".join(str(number) for number in stored.shape)
            raise SceneError(
                f"{name} has {shape} bands, rows and columns, but {sensor} patches of {self.title} have "
                f"{bands} x {side} x {side} here; download it again."
            )
        return stored.astype(np.float32)


def cloud_mask(optical: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return bool `[H, W]`: clouds and shadows of reflectance `[13, H, W]` by rule; pixels without data count too."""
    bands = {common: optical[S2_BANDS.index(name)] for common, name in RULE_BANDS.items()}
    return bad_by_rule(bands, PIXEL_M) | ~np.isfinite(optical).all(axis=0)


def one_of(option: str, value: Any, known: Sequence[str], title: str) -> str:
    """Return an option's value.

    Raises:
        ConfigurationError: If it is not known.
    """
    if value not in known:
        raise ConfigurationError(f"The option {option} of {title} is one of {', '.join(known)}, not {value!r}.")
    return str(value)


def crop_of(options: Mapping[str, Any], title: str) -> int | None:
    """Return the side of the random window that training takes; None where nobody says.

    Raises:
        ConfigurationError: If it is no whole number of pixels from 8.
    """
    crop = options.get("crop")
    if crop is not None and (isinstance(crop, bool) or not isinstance(crop, int) or crop < 8):
        raise ConfigurationError(f"The option crop of {title} is a side in pixels, 8 or more, not {crop!r}.")
    return crop


def yes_or_no(option: str, value: Any, title: str) -> bool:
    """Return an option that is either.

    Raises:
        ConfigurationError: If it is neither.
    """
    if not isinstance(value, bool):
        raise ConfigurationError(f"The option {option} of {title} is true or false, not {value!r}.")
    return value


def only_options(given: Mapping[str, Any], known: Sequence[str], title: str) -> None:
    """Refuse options that a data set has not.

    Raises:
        ConfigurationError: If there is one.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        listed = ", ".join(known)
        raise ConfigurationError(f"The data set {title} has no option {unknown[0]!r}; it has: {listed}.")


def base_name(name: str) -> str:
    """Return the last part of a path."""
    return PurePosixPath(name).name
