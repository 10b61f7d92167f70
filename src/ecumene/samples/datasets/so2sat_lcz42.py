"""So2Sat LCZ42: patches of Sentinel-1 and Sentinel-2 with one of 17 local climate zones, in its HDF5 files.

Layout and units as the publishers document them (github.com/zhu-xlab/So2Sat-LCZ42): `sen1` `[N, 32, 32, 8]`,
`sen2` `[N, 32, 32, 10]` and `label` `[N, 17]`. Sentinel-2 values are reflectances, digital numbers divided by
10,000. The patches come from top-of-atmosphere composites (Schmitt et al. 2019, Aggregating cloud-free Sentinel-2
images with Google Earth Engine), so the level is L1C unless a file says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends.library import get_legend
from ecumene.samples.contract import Part
from ecumene.samples.datasets.contract import DataSet, DataSetInfo
from ecumene.samples.datasets.hdf5 import Hdf5File
from ecumene.samples.scene_set import SceneSet
from ecumene.scenes.contract import Channel
from ecumene.sensors import get_sensor

PATCH = 32
CLASSES = 17
CELL_M = 10_000.0
"""Patches within one cell of this size are one place."""

SENTINEL_2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
SENTINEL_1 = (
    "VH-real",
    "VH-imaginary",
    "VV-real",
    "VV-imaginary",
    "VH-filtered",
    "VV-filtered",
    "covariance-real",
    "covariance-imaginary",
)
"""Complex signals, Lee-filtered intensities, and the off-diagonal element of the filtered covariance matrix."""

VARIANTS: dict[str, dict[str, Part]] = {
    # variant: {file: part}; `official` is version 1, 2 or 4, the others are the three splits of version 3.
    "official": {"training": Part.TRAIN, "validation": Part.VALIDATION, "testing": Part.TEST},
    "random": {"training": Part.TRAIN, "testing": Part.TEST},
    "block": {"training": Part.TRAIN, "testing": Part.TEST},
    "culture_10": {"training": Part.TRAIN, "testing": Part.TEST},
}


class So2SatLcz42(DataSet):
    """The patches of one variant of So2Sat LCZ42.

    Places are cells of 10 km where the files of version 4 give coordinates; the other versions do not say where a
    patch was taken, so that each patch counts as a place of its own and only the official split is free of
    neighbours.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="so2sat-lcz42",
        title="So2Sat LCZ42: local climate zones of 52 cities, Sentinel-1 and Sentinel-2, 32 x 32 pixels of 10 m",
        task="scene-classification",
        paper="Zhu et al.: So2Sat LCZ42, IEEE GRSM 8(3), 2020, doi 10.1109/MGRS.2020.2964708",
        licence="CC BY 4.0",
        size=400_673,
        layout=(
            "training.h5, validation.h5 and testing.h5 (versions 1, 2 and 4; with *_geo.h5 places are known), or the "
            "folders random, block or culture_10 of version 3 with training.h5 and testing.h5"
        ),
    )

    def __init__(self, folder: Path, variant: str, bands: Sequence[int], level: str | None) -> None:
        self.folder = folder
        self.variant = variant
        self.legend = get_legend("lcz")
        self.patch_size = PATCH
        root = folder if (folder / "training.h5").is_file() else folder / variant
        names = [name for name in VARIANTS[variant] if (root / f"{name}.h5").is_file()]
        if "training" not in names or len(names) < 2:
            raise SceneError(_what_is_missing(folder, root, variant))
        self._names = names
        self._files = [Hdf5File(root / f"{name}.h5") for name in names]
        labels = [_labels(file) for file in self._files]
        self._starts = np.cumsum([0, *(len(part) for part in labels)])
        self.label = np.concatenate(labels)
        self.group = _groups(root, names, [len(part) for part in labels])
        self.ids = _Ids(names, self._starts)
        self._bands = np.asarray(bands)
        level = level or str(self._files[0].attribute("sentinel2_level", "L1C"))
        self.channels = tuple(_channel((*SENTINEL_1, *SENTINEL_2)[number], level) for number in bands)

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the folder with the HDF5 files.

        Args:
            folder: With `training.h5` and the others, or with the folders of version 3.
            **options: `variant` (`official`, `random`, `block`, `culture_10`; needed where a folder holds several),
                `bands` (names such as `B02` or `VV-filtered`; the ten Sentinel-2 bands if absent), `level` of the
                Sentinel-2 values (`L1C`, `L2A`; what the file says, else `L1C`).

        Raises:
            SceneError: If a file is missing, cut short or of another layout.
            LabelError: If a label is outside of the 17 classes.
            ConfigurationError: If an option is wrong.
        """
        place = Path(folder)
        unknown = set(options) - {"variant", "bands", "level"}
        if unknown:
            raise ConfigurationError(
                f"so2sat-lcz42 has no option {sorted(unknown)[0]!r}; it takes variant, bands and level."
            )
        if options.get("level") not in (None, "L1C", "L2A"):
            raise ConfigurationError(f"The level of Sentinel-2 is L1C or L2A, but not {options['level']!r}.")
        bands = _band_numbers(options.get("bands"))
        return cls(place, _choose_variant(place, options.get("variant")), bands, options.get("level"))

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return images `[n, C, 32, 32]` and labels of these samples, in this order.

        Sentinel-2 as reflectance, Sentinel-1 as linear amplitude or power. Several threads may read at once.

        Raises:
            SceneError: If a file cannot be read.
        """
        chosen = np.asarray(indices, dtype=np.intp)
        image = np.empty((len(chosen), len(self._bands), PATCH, PATCH), np.float32)
        which = np.searchsorted(self._starts, chosen, side="right") - 1
        for number, file in enumerate(self._files):
            here = np.flatnonzero(which == number)
            if len(here):
                self._read_file(file, chosen[here] - self._starts[number], here, image)
        return SceneSet(image, self.label[chosen], self.group[chosen], self.channels)

    def _read_file(
        self, file: Hdf5File, rows: NDArray[np.intp], places: NDArray[np.intp], image: NDArray[np.float32]
    ) -> None:
        radar = self._bands < len(SENTINEL_1)
        for name, outputs, first in (("sen1", radar, 0), ("sen2", ~radar, len(SENTINEL_1))):
            wanted = self._bands[outputs] - first
            if not len(wanted):
                continue
            patches = np.moveaxis(file.rows(name, rows)[..., wanted], -1, 1)
            image[np.ix_(places, np.flatnonzero(outputs))] = patches

    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return the split of the files: by name of the variant, the part of each sample."""
        parts = [VARIANTS[self.variant][name] for name in self._names]
        lengths = np.diff(self._starts)
        return {self.variant: np.repeat(np.array(parts, np.int8), lengths)}


class _Ids(Sequence[str]):
    """Names such as `training/17`, made when asked for: there are hundreds of thousands."""

    def __init__(self, names: Sequence[str], starts: NDArray[np.int_]) -> None:
        self._names, self._starts = list(names), starts

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        which = int(np.searchsorted(self._starts, number, side="right")) - 1
        return f"{self._names[which]}/{number - int(self._starts[which])}"


def _choose_variant(folder: Path, wanted: str | None) -> str:
    if wanted is not None and wanted not in VARIANTS:
        raise ConfigurationError(f"so2sat-lcz42 has no variant {wanted!r}; there are: {', '.join(VARIANTS)}.")
    if not folder.is_dir():
        raise SceneError(f"{folder} is not a folder; give the one with training.h5 of So2Sat LCZ42.")
    if (folder / "training.h5").is_file():
        # A folder of version 3 is known by its name; nothing in its files tells the splits apart.
        named = folder.name if folder.name in VARIANTS else "official"
        return wanted or named
    there = [name for name in VARIANTS if (folder / name / "training.h5").is_file()]
    if wanted in there:
        return str(wanted)
    if wanted is None and len(there) == 1:
        return there[0]
    if wanted is None and there:
        raise ConfigurationError(
            f"{folder} holds the splits {', '.join(there)} of So2Sat LCZ42; choose one with the option variant."
        )
    raise SceneError(_what_is_missing(folder, folder, wanted or "official"))


def _what_is_missing(folder: Path, root: Path, variant: str) -> str:
    wanted = " and ".join(f"{name}.h5" for name in list(VARIANTS[variant])[:2])
    there = sorted(item.name for item in (root if root.is_dir() else folder).iterdir())
    found = ", ".join(there[:8]) + (f" and {len(there) - 8} more" if len(there) > 8 else "")
    return (
        f"{root} has not both {wanted} of So2Sat LCZ42 ({variant}); it holds {found or 'nothing'}; "
        "download the missing file or give the right folder."
    )


def _labels(file: Hdf5File) -> NDArray[np.int64]:
    """Return class indices `[N]` after a look at the layout."""
    count = file.shape("label")[0]
    wanted: dict[str, tuple[int, ...]] = {"label": (count, CLASSES)}
    wanted |= {"sen1": (count, PATCH, PATCH, len(SENTINEL_1)), "sen2": (count, PATCH, PATCH, len(SENTINEL_2))}
    for name, shape in wanted.items():
        if file.shape(name) != shape:
            raise SceneError(
                f"{file.path} is not laid out as So2Sat LCZ42: {name} has the shape {file.shape(name)}, "
                f"but should have {shape}."
            )
    one_hot = np.asarray(file.all("label"))
    wrong = np.flatnonzero(~(np.isin(one_hot, (0, 1)).all(axis=1) & (one_hot.sum(axis=1) == 1)))
    if len(wrong):
        raise LabelError(
            f"{file.path} has {len(wrong)} labels outside of the 17 classes, the first at patch {wrong[0]}; "
            "each row of label must hold a single 1; download the file again."
        )
    indices: NDArray[np.int64] = one_hot.argmax(axis=1).astype(np.int64)
    return indices


def _groups(root: Path, names: Sequence[str], lengths: Sequence[int]) -> NDArray[np.int32]:
    """Return the place of each patch: cells of 10 km, or the patch itself where no file gives coordinates."""
    paths = [root / f"{name}_geo.h5" for name in names]
    if not all(path.is_file() for path in paths):
        return np.arange(sum(lengths), dtype=np.int32)
    keys = []
    for path, length in zip(paths, lengths, strict=True):
        file = Hdf5File(path)
        coordinates, code = np.asarray(file.all("coord"), np.float64), np.asarray(file.all("epsg")).reshape(-1)
        if len(coordinates) != length or len(code) != length:
            raise SceneError(
                f"{path} locates {len(coordinates)} patches, but there are {length}; take both files of one version."
            )
        cells = np.floor(coordinates[:, :2] / CELL_M)
        keys.append(np.column_stack([code, cells]).astype(np.int64))
    return np.unique(np.concatenate(keys), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)


def _band_numbers(bands: Sequence[str] | str | None) -> tuple[int, ...]:
    """Return the numbers of bands, Sentinel-1's first."""
    every = (*SENTINEL_1, *SENTINEL_2)
    if bands is None:
        return tuple(range(len(SENTINEL_1), len(every)))
    wanted = [name.strip() for name in bands.split(",")] if isinstance(bands, str) else list(bands)
    unknown = [name for name in wanted if name not in every]
    if unknown or not wanted or len(set(wanted)) != len(wanted):
        raise ConfigurationError(
            f"so2sat-lcz42 has no band {(unknown or wanted or ['(none)'])[0]!r} to be read once; "
            f"there are: {', '.join(every)}."
        )
    return tuple(every.index(name) for name in wanted)


def _channel(band: str, level: str) -> Channel:
    if band in SENTINEL_1:
        units = {"filtered": "linear power", "real": "linear amplitude", "imaginary": "linear amplitude"}
        unit = "linear covariance" if band.startswith("covariance") else units[band.split("-")[1]]
        return Channel("sentinel-1", "SLC", band, unit, ground_sampling_m=10.0)
    known = get_sensor("sentinel-2").band(band)
    return Channel("sentinel-2", level, band, "1", known.center_wavelength_um, 10.0)
