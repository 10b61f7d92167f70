"""EuroSAT: Sentinel-2 patches with one of ten land-use classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends import Legend
from ecumene.legends.library import get_legend
from ecumene.samples.contract import Part
from ecumene.samples.datasets.class_folders import (
    ClassFolders,
    picture_size,
    read_picture,
    scan_class_folders,
    sensor_channels,
)
from ecumene.samples.datasets.contract import DataSet, DataSetInfo
from ecumene.samples.datasets.official_files import OfficialFiles, open_files
from ecumene.samples.datasets.places import Places, longitude_parts, read_places
from ecumene.samples.datasets.tiff import read_header, read_tiff
from ecumene.samples.scene_set import SceneSet
from ecumene.sensors import get_sensor

FILE_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
"""Order of the bands in a file: B8A is last, unlike in Sentinel-2 products."""

BAND_SETS: Mapping[str, tuple[str, ...]] = {
    "all": FILE_BANDS,
    "rgb": ("B04", "B03", "B02"),
    "ci": ("B08", "B04", "B03"),
    "swir": ("B12", "B8A", "B04"),
}
"""Band combinations of the paper; it does not state the triple of SWIR, which is a common choice here."""

STRETCH_TOP = 2750.0
"""Digital number that the RGB product maps to 255; 0 becomes 1."""

LEGEND_FILE = "legend.json"
"""Classes of a set in this format that are not EuroSAT's, beside the class folders."""

_PICTURES, _TIFFS = (".jpg", ".jpeg"), (".tif", ".tiff")
_LISTS = {"train": Part.TRAIN, "val": Part.VALIDATION, "test": Part.TEST}


class EuroSat(DataSet):
    """EuroSAT in its official files, 13 bands as GeoTIFF or three bands as JPEG.

    Values are top-of-atmosphere reflectance: digital number / 10000 of the L1C product. Colours of the JPEG product
    are turned back into reflectance by the publisher's stretch (digital numbers 0..2750 became 1..255), so that a model
    learned from them fits scenes; it cannot undo clipping and compression. A pixel whose bands are all 0 has no data.

    The GeoTIFF files say where they are: images of one cell of 10 km are one place (`group`), and `splits` has
    `spatial`, by longitude, 60 % west for training, then 20 % validation and 20 % test. JPEG files have no place unless
    the option `places` names the 13-band files of the same patches.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="eurosat",
        title="EuroSAT: Sentinel-2 patches of ten land-use classes",
        task="scene-classification",
        paper="Helber, Bischke, Dengel, Borth: EuroSAT, IEEE JSTARS 12(7), 2019, doi 10.1109/JSTARS.2019.2918242",
        licence="MIT; contains modified Copernicus Sentinel data",
        size=27_000,
        layout="ten class folders with NAME_1.tif (13 bands, B8A last) or NAME_1.jpg; a folder or the zip archive",
    )

    def __init__(
        self,
        files: OfficialFiles,
        found: ClassFolders,
        legend: Legend,
        size: int,
        bands: tuple[str, ...],
        places: Places | None,
    ) -> None:
        self.folder = files.root
        self.legend = legend
        self.channels = sensor_channels("sentinel-2", "L1C", bands)
        self.patch_size = size
        self.resolution_m = 10.0  # all bands are on the 10 m grid
        self.label: NDArray[np.int64] = found.label
        self.ids: Sequence[str] = found.ids
        self.group: NDArray[np.int32] = (
            np.arange(len(found.label), dtype=np.int32) if places is None else places.cells(10_000.0)
        )
        self._files, self._names, self._places = files, found.names, places
        self._pictures = PurePosixPath(found.names[0]).suffix.lower() in _PICTURES
        self._scale = np.float32(_scale())
        self._chosen = [FILE_BANDS.index(band) for band in bands]

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the 13-band or the RGB archive.

        Args:
            folder: A folder or zip archive with the class folders.
            **options: `bands`: `all`, `rgb`, `ci`, `swir` or names of bands. `product`: `ms` or `rgb`; without it,
                13-band files where there are any. `classes`: the classes to use, instead of all. `places`: folder or
                archive with the 13-band files, for the places of the RGB product.

        Raises:
            EcumeneError: If files are missing, cut short, have other bands, or classes are unknown or empty.
        """
        unknown = set(options) - {"bands", "product", "classes", "places"}
        if unknown:
            raise ConfigurationError(
                f"The data set eurosat has no option {min(unknown)!r}; it has bands, product, classes and places."
            )
        files = open_files(folder, _TIFFS + _PICTURES, "EuroSAT")
        suffixes = _product_suffixes(files, options.get("product"))
        legend = _legend(files, options.get("classes"))
        found = _scan(files, suffixes, legend, options.get("classes"))
        pictures = suffixes == _PICTURES
        bands = _bands(options.get("bands", "rgb" if pictures else "all"), pictures)
        size = _first_size(files, found.names[0], pictures)
        if not pictures:
            places = read_places(files, found.names)
        elif options.get("places") is not None:
            places = _places_of(found, options["places"])
        else:
            places = None
        return cls(files, found, legend, size, bands, places)

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return these patches as reflectance.

        Raises:
            SceneError: If a file is damaged, or has other bands or another size.
        """
        chosen = np.asarray(indices, np.intp)
        image = np.empty((len(chosen), len(self._chosen), self.patch_size, self.patch_size), np.float32)
        for place, index in enumerate(chosen):
            name = self._names[index]
            data = self._files.read(name)
            image[place] = self._colours(data, name) if self._pictures else self._measured(data, name)
        return SceneSet(image, self.label[chosen], self.group[chosen], self.channels)

    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return `spatial` (by longitude) where places are known, and what `eurosat[-NAME]-train.txt` files list."""
        parts = _listed_splits(self._files, self.ids)
        if self._places is not None:
            parts.setdefault("spatial", longitude_parts(self._places))
        return parts

    def _measured(self, data: bytes, name: str) -> NDArray[np.float32]:
        stored = read_tiff(data, name)
        if len(stored) != len(FILE_BANDS):
            raise SceneError(_wrong_bands(name, len(stored)))
        self._check_size(stored.shape[1:], name)
        image = stored[self._chosen].astype(np.float32) * self._scale
        empty = ~stored.any(axis=0)
        if empty.any():
            image[:, empty] = np.nan
        return image

    def _colours(self, data: bytes, name: str) -> NDArray[np.float32]:
        stored = read_picture(data, name).astype(np.float32)
        self._check_size(stored.shape[1:], name)
        order = [BAND_SETS["rgb"].index(FILE_BANDS[band]) for band in self._chosen]
        image: NDArray[np.float32] = np.maximum(stored[order] - 1.0, 0.0) * (STRETCH_TOP / 254.0 * self._scale)
        return image

    def _check_size(self, shape: tuple[int, ...], name: str) -> None:
        if shape != (self.patch_size, self.patch_size):
            raise SceneError(
                f"{name} has {shape[0]} x {shape[1]} pixels, but the first image has "
                f"{self.patch_size} x {self.patch_size}; download it again."
            )


def _scale() -> float:
    scale = get_sensor("sentinel-2").level("L1C").scale
    assert scale is not None  # stated in the sensor's description
    return scale


def _wrong_bands(name: str, count: int) -> str:
    return (
        f"{name} has {count} bands, but the 13-band files of EuroSAT have {len(FILE_BANDS)}; use the archive of the "
        "multi-spectral product."
    )


def _product_suffixes(files: OfficialFiles, product: Literal["ms", "rgb"] | None) -> tuple[str, ...]:
    if product not in (None, "ms", "rgb"):
        raise ConfigurationError(f"The product of EuroSAT is 'ms' or 'rgb', not {product!r}.")
    chosen = {"ms": _TIFFS, "rgb": _PICTURES}[product or ("ms" if files.with_suffix(_TIFFS) else "rgb")]
    if not files.with_suffix(chosen):
        raise SceneError(f"{files.root} holds no {chosen[0]} files of EuroSAT; choose the other product.")
    return chosen


def _bands(asked: str | Sequence[str], pictures: bool) -> tuple[str, ...]:
    """Return band names of a named combination or of a list."""
    if isinstance(asked, str) and asked.lower() not in BAND_SETS and asked not in FILE_BANDS:
        sets = ", ".join(BAND_SETS)
        raise ConfigurationError(f"EuroSAT has no bands {asked!r}; choose {sets}, or list names such as B04.")
    bands = BAND_SETS.get(asked.lower(), (asked,)) if isinstance(asked, str) else tuple(asked)
    there = BAND_SETS["rgb"] if pictures else FILE_BANDS
    wrong = [band for band in bands if band not in there]
    if wrong or not bands or len(set(bands)) < len(bands):
        product = "RGB product" if pictures else "13-band product"
        raise ConfigurationError(
            f"The {product} of EuroSAT has the bands {', '.join(there)}, once each, but was asked for "
            f"{', '.join(map(str, bands)) or 'none'}."
        )
    return tuple(bands)


def _legend(files: OfficialFiles, classes: Sequence[str] | None) -> Legend:
    """Return EuroSAT's classes, or those that lie beside the images, or the part of them that was asked for."""
    own = [name for name in files.names if PurePosixPath(name).name == LEGEND_FILE]
    legend = get_legend("eurosat")
    if own:
        try:
            legend = Legend.model_validate(json.loads(files.read(own[0])))
        except ValueError as error:
            raise LabelError(f"{own[0]} in {files.root} does not describe classes; correct or remove it.") from error
    if classes is None:
        return legend
    for name in classes:
        legend.index_of(name)
    return Legend(
        name=legend.name,
        source=legend.source,
        classes=tuple(item for item in legend.classes if item.name in set(classes)),
    )


def _scan(
    files: OfficialFiles, suffixes: tuple[str, ...], legend: Legend, classes: Sequence[str] | None
) -> ClassFolders:
    if classes is None:
        return scan_class_folders(files, suffixes, "EuroSAT", legend.names)
    # All folders are looked at, so that unknown ones are still refused; then those of other classes are left out.
    whole = _legend(files, None).names
    wanted = set(legend.names)
    present = {PurePosixPath(name).parent.name for name in files.with_suffix(suffixes)}
    found = scan_class_folders(
        files, suffixes, "EuroSAT", [name for name in whole if name in present | wanted], {n: n for n in whole}
    )
    kept = [place for place, label in enumerate(found.label) if found.classes[label] in wanted]
    label = np.array([legend.index_of(found.classes[found.label[place]]) for place in kept], np.int64)
    return ClassFolders(tuple(found.names[place] for place in kept), label, legend.names)


def _first_size(files: OfficialFiles, name: str, pictures: bool) -> int:
    """Return the side of the first image, or refuse it."""
    data = files.read(name)
    if pictures:
        shape: tuple[int, ...] = (3, *picture_size(data, name))
    else:
        header = read_header(data, name)
        shape = header.shape if header is not None else read_tiff(data, name).shape
        if shape[0] != len(FILE_BANDS):
            raise SceneError(_wrong_bands(name, shape[0]))
    if shape[1] != shape[2]:
        raise SceneError(f"{name} has {shape[1]} x {shape[2]} pixels, but EuroSAT's images are square.")
    return shape[1]


def _places_of(found: ClassFolders, folder: str | Path) -> Places:
    """Return the places of RGB images from the 13-band files of the same names."""
    files = open_files(folder, _TIFFS, "EuroSAT")
    names = {PurePosixPath(name).stem: name for name in files.with_suffix(_TIFFS)}
    missing = [item for item in found.ids if item not in names]
    if missing:
        raise SceneError(f"{files.root} has no 13-band file of {missing[0]}, so that its place is not known.")
    places = read_places(files, [names[item] for item in found.ids])
    if places is None:
        raise SceneError(f"The files in {files.root} do not say where they are; give the official 13-band files.")
    return places


def _listed_splits(files: OfficialFiles, ids: Sequence[str]) -> dict[str, NDArray[np.int8]]:
    """Return splits from `eurosat-train.txt`, `eurosat-val.txt`, `eurosat-test.txt` beside the class folders."""
    position = {name: index for index, name in enumerate(ids)}
    parts: dict[str, NDArray[np.int8]] = {}
    for name in files.with_suffix((".txt",)):
        words = PurePosixPath(name).stem.split("-")
        if words[0] != "eurosat" or words[-1] not in _LISTS or len(words) < 2:
            continue
        split = parts.setdefault("-".join(words[1:-1]) or "listed", np.zeros(len(ids), np.int8))
        for line in files.read(name).decode("utf-8", "replace").split():
            stem = PurePosixPath(line).stem
            if stem in position:
                split[position[stem]] = _LISTS[words[-1]]
    return parts
