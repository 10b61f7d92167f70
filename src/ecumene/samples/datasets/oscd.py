"""Onera Satellite Change Detection (OSCD): Sentinel-2 pairs of cities with maps of urban change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends import Legend, LegendClass
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.datasets.class_folders import sensor_channels
from ecumene.samples.datasets.contract import DataSetInfo
from ecumene.samples.datasets.pairs import LabelledPair, PairDataSet
from ecumene.sensors import get_sensor

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
BAND_SETS: Mapping[str, tuple[str, ...]] = {
    "all": BANDS,
    "20m": ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"),
    "10m": ("B02", "B03", "B04", "B08"),
    "rgb": ("B04", "B03", "B02"),
}
"""Choices of bands of the papers, by name."""

TRAIN_CITIES = (
    "aguasclaras", "bercy", "bordeaux", "nantes", "paris", "rennes", "saclay_e", "abudhabi", "cupertino", "pisa",
    "beihai", "hongkong", "beirut", "mumbai",
)  # fmt: skip
TEST_CITIES = (
    "brasilia", "montpellier", "norcia", "rio", "saclay_w", "valencia", "dubai", "lasvegas", "milano", "chongqing",
)  # fmt: skip

LEGEND = Legend(
    name="change",
    classes=(
        LegendClass(value=0, name="unchanged", colour="#d9d9d9"),
        LegendClass(value=1, name="changed", colour="#d7301f"),
    ),
)
_UNCHANGED, _CHANGED = 1, 2
_DATE = re.compile(r"date_([12])\s*:\s*(\d{8})")


class Oscd(PairDataSet):
    """OSCD in its official files: 13 bands of Sentinel-2 L1C on two dates, what changed in a raster.

    Two layouts are read, also mixed. The official one: `<city>/imgs_1_rect/B01.tif ...` (bands resampled to 10 m;
    else `imgs_1` with a file a band whose name ends in the band) with `dates.txt` in the folder of images, and
    `<city>/cm/<city>-cm.tif` in those of labels. The compact one: `<city>/imgs_1/B01.tif ...`, `cm.tif` and `dates.txt`
    in one folder a city. The grid is that of the map of change; bands of another size cover the same ground and are
    resampled to it bilinearly. Values are top-of-atmosphere reflectance; the scenes are older than baseline 04.00, so
    that there is no offset. A pixel whose bands are all 0 on a date has no data on either.

    Caye Daudt, Le Saux, Boulch, Gousseau (2018), Urban change detection for multispectral Earth observation using
    convolutional neural networks, IGARSS. Sentinel-1 of the same dates, which DS-UNet adds, is not part of it.

    Options: `bands`, one of `BAND_SETS` or names of bands.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="oscd",
        title="Onera Satellite Change Detection: Sentinel-2 pairs of 24 cities",
        task="change",
        paper="Caye Daudt et al., IGARSS 2018",
        licence="maps of change CC BY-NC-SA; images: modified Copernicus data",
        size=24,
        layout="<city>/imgs_1_rect, imgs_2_rect and dates.txt; <city>/cm/<city>-cm.tif",
    )

    def __init__(
        self, folder: Path, bands: Sequence[str], images: Mapping[str, Path], labels: Mapping[str, Path]
    ) -> None:
        self.folder = folder
        self.legend = LEGEND
        self.channels = sensor_channels("sentinel-2", "L1C", bands)
        self.resolution_m = 10.0
        self.names = tuple(sorted(set(images) & set(labels)))
        self._images, self._labels = dict(images), dict(labels)

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the folder; see the class.

        Raises:
            ConfigurationError: If an option or a band is unknown.
            SceneError: If the folder holds no city with images and a map of change.
        """
        root = Path(folder)
        bands = _chosen_bands(options.pop("bands", "all"))
        if options:
            raise ConfigurationError(f"OSCD has the option bands, not {', '.join(sorted(options))}.")
        if not root.is_dir():
            raise SceneError(f"{root} is no folder; give the folder of OSCD with one folder a city.")
        images = {path.parent.name: path.parent for depth in ("*", "*/*") for path in root.glob(f"{depth}/imgs_1*")}
        labels: dict[str, Path] = {}
        for pattern in ("*/cm.tif", "*/*/cm/cm.png", "*/cm/cm.png", "*/*/cm/*-cm.tif", "*/cm/*-cm.tif"):
            for path in sorted(root.glob(pattern)):
                labels[path.parent.name if path.parent.name != "cm" else path.parent.parent.name] = path
        opened = cls(root, bands, images, labels)
        if not opened.names:
            raise SceneError(
                f"{root.name} holds no city of OSCD with images (<city>/imgs_1_rect) and a map of change "
                "(<city>/cm/<city>-cm.tif); unpack images and labels into it."
            )
        return opened

    @property
    def official(self) -> Mapping[str, Part]:
        """Official part of each city that is there."""
        known = dict.fromkeys(TRAIN_CITIES, Part.TRAIN) | dict.fromkeys(TEST_CITIES, Part.TEST)
        return {name: known[name] for name in self.names if name in known}

    def read(self, name: str) -> LabelledPair:
        """Return a city; see `PairDataSet.read`."""
        if name not in self.names:
            raise ConfigurationError(f"OSCD has no city {name!r} here; there are {', '.join(self.names)}.")
        mask = _read_mask(self._labels[name], name)
        dates = _read_dates(self._images[name], name)
        image = np.empty((2, len(self.channels), *mask.shape), np.float32)
        for position in (0, 1):
            folder = _date_folder(self._images[name], position + 1, name)
            for band, channel in enumerate(self.channels):
                image[position, band] = _read_band(folder, channel.band, mask.shape, name)
        empty = (image == 0).all(axis=1).any(axis=0)
        image *= np.float32(get_sensor("sentinel-2").level("L1C").scale)
        image[:, :, empty] = np.nan
        return LabelledPair(name, image, mask, dates)


def _chosen_bands(wanted: str | Sequence[str]) -> tuple[str, ...]:
    """Return names of bands.

    Raises:
        ConfigurationError: If one is unknown or occurs twice.
    """
    names = BAND_SETS.get(wanted, (wanted,)) if isinstance(wanted, str) else tuple(wanted)
    if not names or len(set(names)) < len(names) or set(names) - set(BANDS):
        raise ConfigurationError(
            f"OSCD has the bands {', '.join(BANDS)} and the choices {', '.join(BAND_SETS)}, not {', '.join(names)!r}."
        )
    return tuple(names)


def _date_folder(city: Path, date: int, name: str) -> Path:
    for candidate in (city / f"imgs_{date}_rect", city / f"imgs_{date}"):
        if candidate.is_dir():
            return candidate
    raise SceneError(f"The city {name} of OSCD has no images of date {date} (imgs_{date}); complete the download.")


def _read_raster(path: Path, shape: tuple[int, int] | None, name: str) -> NDArray[Any]:
    """Return the first band of a raster, resampled to a shape.

    Raises:
        SceneError: If the file cannot be decoded.
    """
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path, driver="PNG" if path.suffix == ".png" else "GTiff") as source:
            values: NDArray[Any] = source.read(1, out_shape=shape, resampling=Resampling.bilinear)
            return values
    except RasterioError as error:
        raise SceneError(f"{path.name} of the city {name} is damaged or no GeoTIFF; download it again.") from error


def _read_band(folder: Path, band: str, shape: tuple[int, int], name: str) -> NDArray[np.float32]:
    found = sorted(folder.glob(f"*{band}.tif"))
    if len(found) != 1:
        problem = "has no file" if not found else "has several files"
        raise SceneError(
            f"The city {name} of OSCD {problem} of the band {band} in {folder.name}; complete the download."
        )
    return _read_raster(found[0], shape, name).astype(np.float32)


def _read_mask(path: Path, name: str) -> NDArray[np.int64]:
    """Return the map of change as class indices.

    Raises:
        LabelError: If it holds other values than its format has.
    """
    values = _read_raster(path, None, name)
    codes = (0, 255) if path.suffix == ".png" else (_UNCHANGED, _CHANGED)
    if not np.isin(values, (*codes, 0)).all():
        raise LabelError(
            f"{path.name} of the city {name} holds other values than {codes[0]} (unchanged) and {codes[1]} (changed); "
            "take the official map of change."
        )
    mask = np.full(values.shape, IGNORE, np.int64)
    mask[values == codes[0]], mask[values == codes[1]] = 0, 1
    return mask


def _read_dates(city: Path, name: str) -> NDArray[np.int64]:
    """Return the two dates as days since 1970-01-01.

    Raises:
        SceneError: If they are not stated or run backwards.
    """
    path = city / "dates.txt"
    found = dict(_DATE.findall(path.read_text(encoding="utf-8", errors="replace"))) if path.is_file() else {}
    try:
        days = [datetime.strptime(found[key], "%Y%m%d").replace(tzinfo=UTC).timestamp() // 86400 for key in ("1", "2")]
    except (KeyError, ValueError) as error:
        raise SceneError(
            f"The city {name} of OSCD does not say its two dates; its dates.txt has lines such as date_1: 20160315."
        ) from error
    if days[1] <= days[0]:
        raise SceneError(f"The dates of the city {name} of OSCD repeat or run backwards; correct its dates.txt.")
    return np.array(days, np.int64)
