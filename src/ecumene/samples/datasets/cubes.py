"""Hyperspectral cubes with a map of classes: Pavia University, Indian Pines, Salinas, Houston 2013."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends import Legend
from ecumene.legends.library import get_legend
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.datasets.arrays_of_files import RASTERS, array_shape, find_file, read_array, wavelengths_of
from ecumene.samples.datasets.contract import DataSet, DataSetInfo
from ecumene.samples.scene_set import SceneSet
from ecumene.scenes.contract import Channel
from ecumene.sensors import get_sensor

DEFAULT_BLOCK = 20
"""Rows and columns of a place: labelled pixels within it stay in one part of a spatial split."""

_PAPER = "see http://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes"


@dataclass(frozen=True)
class CubeFiles:
    """What the files of a cube are called and hold.

    Attributes:
        cube: Names of the cube's file without suffix, in the order in which they are looked for.
        cube_keys: Names of its variable in a MAT file.
        truth: Names of the label map's file.
        truth_keys: Names of its variable.
        bands: Bands of the cube.
        sensor: Id in the sensor library.
        band_names: What its bands are called; empty: numbered, as it is not known which of the sensor's bands are left.
        wavelengths: Whether these names mean the sensor's bands, so that their wavelengths hold.
        sampling_m: Ground sampling in metres.
    """

    cube: tuple[str, ...]
    cube_keys: tuple[str, ...]
    truth: tuple[str, ...]
    truth_keys: tuple[str, ...]
    bands: int
    sensor: str
    band_names: tuple[str, ...]
    sampling_m: float
    wavelengths: bool = False


@dataclass(frozen=True)
class LabelMap:
    """Labelled pixels of a cube, one entry each; a pixel may occur in several parts.

    Attributes:
        row: int64 `[N]`.
        col: int64 `[N]`.
        label: int64 `[N]` class index.
        splits: Official splits by name, int8 `[N]` of `Part`.
    """

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    label: NDArray[np.int64]
    splits: Mapping[str, NDArray[np.int8]]


@dataclass(frozen=True)
class TruthFiles:
    """Where the maps of classes of a cube are.

    Attributes:
        folder: Of the files.
        shape: Of the cube.
        classes: Number of classes.
        title: Of the data set.
        stems: Names of the ground truth's file without suffix.
        keys: Names of its variable in a MAT file.
    """

    folder: Path
    shape: tuple[int, int, int]
    classes: int
    title: str
    stems: tuple[str, ...]
    keys: tuple[str, ...]

    def read(self, name: str | None = None) -> NDArray[np.int64]:
        """Read a map of codes 0 (unlabelled) to the number of classes.

        Args:
            name: Of a file and of its variable; None: the ground truth.

        Returns:
            int64 `[H, W]`.

        Raises:
            SceneError: If there is no such file, or it has another shape.
            LabelError: If it holds other codes.
        """
        stems, keys = (self.stems, self.keys) if name is None else ((name,), (name,))
        path = find_file(self.folder, stems)
        if path is None:
            names = " or ".join(f"{stem}.mat" for stem in stems)
            raise SceneError(f"{self.folder} holds no label map of {self.title}; put {names} beside the cube.")
        stored = read_array(path, keys)
        if path.suffix.lower() in RASTERS and stored.ndim == 3 and stored.shape[2] == 1:
            stored = stored[..., 0]
        if stored.shape != self.shape[:2]:
            raise SceneError(
                f"{path.name} has the shape {' x '.join(map(str, stored.shape))}, but the cube has {self.shape[0]} x "
                f"{self.shape[1]} pixels; give the map that belongs to it."
            )
        codes = stored.astype(np.int64)
        wrong = (codes != stored) | (codes < 0) | (codes > self.classes)
        if wrong.any():
            raise LabelError(
                f"{path.name} holds the label {stored[wrong].flat[0]}, but {self.title} has the classes 1 to "
                f"{self.classes}."
            )
        return codes


class HyperspectralCube(DataSet):
    """Labelled pixels of one image, each with the patch around it (a single pixel by default).

    Values are the stored numbers: what is distributed has no documented scale. Patches at the border of the image
    are continued by reflection. Neighbouring pixels resemble each other, and patches overlap, so that a random split
    measures less than it seems to; places are squares of `block` pixels (spatial split).
    """

    files: ClassVar[CubeFiles]
    label_choices: ClassVar[tuple[str, ...]] = ("all",)

    def __init__(self, cube: _Cube, labels: LabelMap, legend: Legend, patch: int, block: int) -> None:
        if patch < 1 or block < 1:
            raise ConfigurationError(f"patch and block are numbers of pixels from 1 on, not {patch} and {block}.")
        if not len(labels.label):
            raise LabelError("The label map has no labelled pixel; give the map that belongs to the cube.")
        self._cube = cube
        self._labels = labels
        self.legend = legend
        self.channels = cube.channels
        self.patch_size = patch
        self.label = labels.label
        columns = -(-cube.shape[1] // block)
        self.group = (labels.row // block * columns + labels.col // block).astype(np.int32)
        self.ids = [f"r{row}c{col}" for row, col in zip(labels.row, labels.col, strict=True)]
        self.resolution_m = cube.channels[0].ground_sampling_m

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the folder with cube and label map.

        Args:
            folder: With the official files.
            **options: `labels` (one of `label_choices`, the first by default), `patch` (rows and columns of a sample,
                1), `block` (of a place, 20), `cube_key` and `truth_key` (variables of MAT files with other names than
                the official ones).

        Raises:
            SceneError: If a file is missing, damaged, without the variable, or of another shape.
            LabelError: If a label is outside of the classes.
            ConfigurationError: If an option is wrong.
        """
        place = Path(folder)
        if not place.is_dir():
            raise SceneError(f"{place} is no folder; give the folder with the files of {cls.info.title}.")
        own = _options(cls.info.name, cls.label_choices, options)
        cube = _Cube.find(place, cls.files, cls.info.title, own["cube_key"])
        legend = get_legend(cls.info.name.replace("-", "_"))
        keys = (own["truth_key"],) if own["truth_key"] else cls.files.truth_keys
        truth = TruthFiles(place, cube.shape, len(legend), cls.info.title, cls.files.truth, keys)
        labels = cls.read_labels(truth, own["labels"])
        data = cls(cube, labels, legend, own["patch"], own["block"])
        data.folder = place
        return data

    @classmethod
    def from_arrays(
        cls,
        cube: NDArray[Any],
        labels: NDArray[np.integer],
        channels: Sequence[Channel],
        legend: Legend,
        *,
        patch: int = 1,
        block: int = DEFAULT_BLOCK,
    ) -> Self:
        """Make a data set of arrays.

        Args:
            cube: `[H, W, C]`, NaN for no data.
            labels: `[H, W]`, class index, -1 unlabelled.
            channels: The bands.
            legend: The classes.
            patch: Rows and columns of a sample.
            block: Rows and columns of a place.

        Raises:
            LabelError: If shapes or labels do not fit.
        """
        if cube.shape != (*labels.shape, len(channels)) or labels.max(initial=-1) >= len(legend):
            raise LabelError("Cube, labels, bands and classes do not belong together.")
        row, col = np.nonzero(labels >= 0)
        found = LabelMap(row, col, labels[row, col].astype(np.int64), {})
        made = cls(_Cube(cube.shape, tuple(channels), array=np.asarray(cube)), found, legend, patch, block)
        made.folder = Path()
        return made

    @classmethod
    def read_labels(cls, truth: TruthFiles, choice: str) -> LabelMap:
        """Return the labelled pixels of the ground truth; data sets with an official split have their own.

        Args:
            truth: The maps of classes.
            choice: One of `label_choices`.

        Raises:
            EcumeneError: As `open`.
        """
        codes = truth.read()
        row, col = np.nonzero(codes)
        return LabelMap(row, col, codes[row, col] - 1, {})

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return patches `[n, C, P, P]` and labels of these samples, in this order. The label is that of the centre.

        Raises:
            SceneError: If the cube cannot be read.
        """
        chosen = np.asarray(indices, dtype=np.intp)
        array = self._cube.array
        before, after = self.patch_size // 2, (self.patch_size - 1) // 2
        offsets = np.arange(-before, after + 1)
        rows = _reflected(self._labels.row[chosen, None] + offsets, array.shape[0])
        cols = _reflected(self._labels.col[chosen, None] + offsets, array.shape[1])
        patches = array[rows[:, :, None], cols[:, None, :]]
        image = np.ascontiguousarray(np.moveaxis(patches, -1, 1), np.float32)
        return SceneSet(image, self.label[chosen], self.group[chosen], self.channels)

    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return the official splits whose files are in the folder."""
        return self._labels.splits

    def image(self) -> NDArray[np.float32]:
        """Return the whole image, float32 `[C, H, W]`, stored numbers.

        Raises:
            SceneError: If the cube cannot be read.
        """
        return np.ascontiguousarray(np.moveaxis(self._cube.array, -1, 0), np.float32)

    def truth(self) -> NDArray[np.int64]:
        """Return the class index of every pixel, int64 `[H, W]`, -1 where it has none."""
        labels = np.full(self._cube.shape[:2], IGNORE, np.int64)
        labels[self._labels.row, self._labels.col] = self._labels.label
        return labels


class _Cube:
    """The cube's array, read when it is first asked for."""

    def __init__(
        self,
        shape: tuple[int, ...],
        channels: tuple[Channel, ...],
        path: Path | None = None,
        keys: Sequence[str] = (),
        array: NDArray[Any] | None = None,
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.channels = channels
        self._path, self._keys, self._array = path, keys, array
        self._lock = threading.Lock()

    @classmethod
    def find(cls, folder: Path, files: CubeFiles, title: str, key: str | None) -> _Cube:
        path = find_file(folder, files.cube)
        if path is None:
            names = " or ".join(f"{name}.mat" for name in files.cube)
            raise SceneError(f"{folder} holds no cube of {title}; put {names} (or the same as ENVI or GeoTIFF) there.")
        keys = (key,) if key else files.cube_keys
        shape = array_shape(path, keys)
        if len(shape) != 3 or shape[2] != files.bands:
            raise SceneError(
                f"{path.name} has the shape {' x '.join(map(str, shape))}, but {title} has {files.bands} bands on the "
                "third axis; give the file as published."
            )
        return cls(shape, _channels(files, wavelengths_of(path)), path, keys)

    @property
    def array(self) -> NDArray[Any]:
        """`[H, W, C]`, as stored."""
        with self._lock:
            if self._array is None:
                assert self._path is not None
                self._array = read_array(self._path, self._keys)
            return self._array


def _channels(files: CubeFiles, wavelengths: NDArray[np.float64] | None) -> tuple[Channel, ...]:
    sensor = get_sensor(files.sensor)
    names = files.band_names or tuple(f"band{number:03d}" for number in range(1, files.bands + 1))
    known = [sensor.band(name).center_wavelength_um if files.wavelengths else None for name in names]
    if wavelengths is not None:
        known = [float(value) for value in wavelengths]
    return tuple(
        Channel(files.sensor, "DN", name, "DN", wavelength, files.sampling_m)
        for name, wavelength in zip(names, known, strict=True)
    )


def _reflected(index: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Return indices beyond an axis as those of its mirror image, without repeating the border."""
    period = max(1, 2 * (length - 1))
    folded = index % period
    return np.minimum(folded, period - folded) if length > 1 else np.zeros_like(index)


def split_labels(train: NDArray[np.int64], test: NDArray[np.int64], name: str) -> LabelMap:
    """Return the pixels of two maps of codes as one list with an official split; a pixel of both occurs twice.

    Args:
        train: int64 `[H, W]`, 0 elsewhere.
        test: The same.
        name: Of the split.
    """
    parts, rows, cols, labels = [], [], [], []
    for codes, part in ((train, Part.TRAIN), (test, Part.TEST)):
        row, col = np.nonzero(codes)
        rows.append(row)
        cols.append(col)
        labels.append(codes[row, col] - 1)
        parts.append(np.full(len(row), int(part), np.int8))
    return LabelMap(np.concatenate(rows), np.concatenate(cols), np.concatenate(labels), {name: np.concatenate(parts)})


def _options(name: str, labels: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options with their defaults."""
    options: dict[str, Any] = {
        "labels": labels[0],
        "patch": 1,
        "block": DEFAULT_BLOCK,
        "cube_key": None,
        "truth_key": None,
    }
    if unknown := sorted(set(given) - set(options)):
        raise ConfigurationError(f"{name} has no option {unknown[0]!r}; it takes {', '.join(options)}.")
    options |= {key: value for key, value in given.items() if value is not None}
    if options["labels"] not in labels:
        listed = " or ".join(map(repr, labels))
        raise ConfigurationError(
            f"The labels of {name} are {listed}, not {options['labels']!r}; choose another --protocol or --split, or "
            f"--data-option labels={labels[0]}."
        )
    for key in ("patch", "block"):
        try:
            options[key] = int(options[key])
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{key} of {name} is a number of pixels, not {options[key]!r}.") from error
    return options


_PAVIA_BANDS = tuple(f"B{number:03d}" for number in range(1, 104))


class PaviaUniversity(HyperspectralCube):
    """Pavia University, ROSIS-03, with the fixed training map that many papers use.

    Option `labels`: `all` (the ground truth of 42,776 pixels), `fixed` (training map of 3,921 pixels and the disjoint
    test map of 40,002), or `fixed-overlapping` (the same training map, all 42,776 pixels for testing, of which 2,774
    have been learned from: this is how the oldest figures were measured). The split is called as the option. With
    `fixed-overlapping` pixels occur twice, so that only its official split makes sense.

    Bands are called B001 to B103 in the order of the file; which 12 of the sensor's 115 were removed is not documented,
    so that no wavelengths are stated unless the file does.
    """

    info = DataSetInfo(
        name="pavia-university",
        title="Pavia University: 610 x 340 pixels of 1.3 m, 103 bands of ROSIS-03, 9 classes",
        task="scene-classification",
        paper=f"P. Gamba, University of Pavia; {_PAPER}",
        licence="",
        size=42_776,
        layout="PaviaU.mat and PaviaU_gt.mat; for the fixed split also TRpaviaU.mat and TSpaviaU.mat",
    )
    files = CubeFiles(
        ("PaviaU", "paviaU"), ("paviaU",), ("PaviaU_gt",), ("paviaU_gt", "hyperimg_gt"), 103, "rosis", _PAVIA_BANDS, 1.3
    )
    label_choices = ("all", "fixed", "fixed-overlapping")

    @classmethod
    def read_labels(cls, truth: TruthFiles, choice: str) -> LabelMap:
        """Return the labelled pixels; see the class."""
        if choice == "all":
            return super().read_labels(truth, choice)
        return split_labels(truth.read("TRpaviaU"), truth.read("TSpaviaU" if choice == "fixed" else None), choice)


class IndianPines(HyperspectralCube):
    """Indian Pines, AVIRIS 1992, 200 bands after removal of those of water vapour.

    Option `labels`: `all` (the ground truth of 10,249 pixels) or `fixed` (the 695 training and 9,671 test pixels of
    Hong et al., IEEE TGRS 2021, whose maps order the classes otherwise; they are brought into the official order).
    Which of AVIRIS's 224 bands are left is not documented with the file, so that no wavelengths are stated.
    """

    info = DataSetInfo(
        name="indian-pines",
        title="Indian Pines: 145 x 145 pixels of 20 m, 200 bands of AVIRIS, 16 classes",
        task="scene-classification",
        paper=f"Baumgardner, Biehl, Landgrebe: 220 Band AVIRIS Hyperspectral Image Data Set, Purdue 2015; {_PAPER}",
        licence="",
        size=10_249,
        layout=(
            "Indian_pines_corrected.mat and Indian_pines_gt.mat; for the fixed split also IndianTR123_temp123.tif and "
            "IndianTE123_temp123.tif"
        ),
    )
    files = CubeFiles(
        ("Indian_pines_corrected",),
        ("indian_pines_corrected",),
        ("Indian_pines_gt",),
        ("indian_pines_gt",),
        200,
        "aviris",
        (),
        20.0,
    )
    label_choices = ("all", "fixed")
    FIXED_ORDER = (2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16, 1, 7, 9)
    """Official code of each class of the fixed maps, whose rarest classes come last."""

    @classmethod
    def read_labels(cls, truth: TruthFiles, choice: str) -> LabelMap:
        """Return the labelled pixels; see the class."""
        if choice == "all":
            return super().read_labels(truth, choice)
        official = np.array((0, *cls.FIXED_ORDER))
        train, test = (official[truth.read(name)] for name in ("IndianTR123_temp123", "IndianTE123_temp123"))
        return split_labels(train, test, "fixed")


class Salinas(HyperspectralCube):
    """Salinas, AVIRIS 1998: the 204 bands that are left without 108-112, 154-167 and 224."""

    info = DataSetInfo(
        name="salinas",
        title="Salinas: 512 x 217 pixels of 3.7 m, 204 bands of AVIRIS, 16 classes",
        task="scene-classification",
        paper=f"NASA/JPL AVIRIS; {_PAPER}",
        licence="",
        size=54_129,
        layout="Salinas_corrected.mat and Salinas_gt.mat",
    )
    files = CubeFiles(
        ("Salinas_corrected",),
        ("salinas_corrected",),
        ("Salinas_gt",),
        ("salinas_gt",),
        204,
        "aviris",
        tuple(f"B{n:03d}" for n in range(1, 225) if not (108 <= n <= 112 or 154 <= n <= 167 or n == 224)),
        3.7,
        wavelengths=True,
    )


class Houston2013(HyperspectralCube):
    """Houston 2013, CASI-1500, with the training and test pixels of the data fusion contest.

    The cube is taken as `Houston.mat` (variable `Houston`) or as the contest's GeoTIFF, the maps of codes 1 to 15 as
    `TRLabel` and `TSLabel` (MAT of the same variable, or raster): the contest ships its regions as text, and these maps
    are what they are usually turned into.
    """

    info = DataSetInfo(
        name="houston-2013",
        title="Houston 2013: 349 x 1905 pixels of 2.5 m, 144 bands of CASI-1500, 15 classes",
        task="scene-classification",
        paper="Debes et al.: Hyperspectral and LiDAR Data Fusion, IEEE JSTARS 7(6), 2014",
        licence="",
        size=15_029,
        layout="Houston.mat or 2013_IEEE_GRSS_DF_Contest_CASI.tif, with TRLabel.mat and TSLabel.mat",
    )
    files = CubeFiles(
        ("Houston", "2013_IEEE_GRSS_DF_Contest_CASI"),
        ("Houston", "hsi", "HSI"),
        ("TRLabel",),
        ("TRLabel",),
        144,
        "casi-1500",
        tuple(f"B{n:03d}" for n in range(1, 145)),
        2.5,
        wavelengths=True,
    )
    label_choices = ("all", "fixed")

    @classmethod
    def read_labels(cls, truth: TruthFiles, choice: str) -> LabelMap:
        """Return the labelled pixels of both maps."""
        return split_labels(truth.read(), truth.read("TSLabel"), "fixed")
