"""SEN12MS: Sentinel-1 and Sentinel-2 patches with the land cover of MODIS."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends import Legend
from ecumene.legends.library import get_legend
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.datasets.class_folders import sensor_channels
from ecumene.samples.datasets.contract import DataSet, DataSetInfo
from ecumene.samples.datasets.official_files import OfficialFiles, open_files
from ecumene.samples.datasets.sen12ms_labels import igbp_shares, read_share_table, simplify
from ecumene.samples.datasets.tiff import read_tiff
from ecumene.samples.scene_set import SceneSet
from ecumene.sensors import get_sensor

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
"""Order of the bands in an s2 file: B8A is the ninth, unlike in EuroSAT."""

S1_BANDS = ("VV", "VH")

INPUTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "s2": (("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"), ()),
    "rgb": (("B02", "B03", "B04"), ()),
    "s1": ((), S1_BANDS),
    "s1+s2": (("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"), S1_BANDS),
    "s1+rgb": (("B02", "B03", "B04"), S1_BANDS),
}
"""Sentinel-2 and Sentinel-1 bands of each input, in the order of the published code (optical first, blue first)."""

BROKEN = "ROIs1868_summer_146_p202"
"""Patch whose Sentinel-1 image holds no numbers; the published lists leave it out."""

SIZE = 256
_PATCH = re.compile(r"(ROIs\d{4}_(?:spring|summer|fall|winter))_(s1|s2|lc)_(\d+)_p(\d+)\.tif$")
_LISTS = {"train_list.txt": Part.TRAIN, "val_list.txt": Part.VALIDATION, "test_list.txt": Part.TEST}
_HELD_OUT = "SEN12MS_holdOutScenes.txt"
_SHARE_TABLES = ("IGBP_probability_labels.csv", "IGBP_probability_labels.json")
_LOWEST_DB, _HIGHEST_DB = -25.0, 0.0


@dataclass(frozen=True)
class Patch:
    """One patch: `ROIs1158_spring` of scene 12, patch 30."""

    season: str
    scene: int
    number: int

    @property
    def id(self) -> str:
        """`ROIs1158_spring_12_p30`."""
        return f"{self.season}_{self.scene}_p{self.number}"


class Sen12Ms(DataSet):
    """SEN12MS as in "Remote Sensing Image Classification with the SEN12MS Dataset" (Schmitt and Wu 2021).

    Each patch has the shares of the 17 IGBP classes in its area. They come from the published list of shares, saved as
    CSV or JSON (the published file is a pickle, which could run code and is refused), or are counted in the patch's
    `lc` image. The label is the class of the largest share, or every class with at least `threshold`; `simplified` sums
    shares to the ten classes of the scheme that the paper uses.

    Sentinel-2 is top-of-atmosphere reflectance (digital number / 10000), Sentinel-1 backscatter in dB, limited to
    [-25, 0] as in the published code. A scene is a place (`group`). `splits` has `official` from the published lists
    (`train_list.txt`, `val_list.txt`, `test_list.txt`), and `held-out` from `SEN12MS_holdOutScenes.txt`, where they lie
    with the patches; patches that a list does not name are in no part.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="sen12ms",
        title="SEN12MS: Sentinel-1 and Sentinel-2 patches with MODIS land cover, single or several labels",
        task="scene-classification",
        paper="Schmitt, Hughes, Qiu, Zhu: SEN12MS, ISPRS Annals IV-2/W7, 2019, "
        "doi 10.5194/isprs-annals-IV-2-W7-153-2019; Schmitt, Wu: ISPRS Annals V-2-2021, arXiv 2104.00704",
        licence="CC BY 4.0; contains modified Copernicus Sentinel data",
        size=180_662,
        layout="ROIs1158_spring/s2_1/ROIs1158_spring_s2_1_p30.tif, with s1_1 and lc_1 beside s2_1",
    )

    def __init__(
        self,
        files: OfficialFiles,
        patches: Sequence[Patch],
        names: Mapping[tuple[str, Patch], str],
        shares: NDArray[np.float32],
        legend: Legend,
        options: _Options,
    ) -> None:
        self.folder = files.root
        self.legend = legend
        optical, radar = INPUTS[options.inputs]
        self.channels = (
            *sensor_channels("sentinel-2", "L1C", optical),
            *sensor_channels("sentinel-1", "GRD", radar),
        )
        self.patch_size = SIZE
        self.resolution_m = 10.0  # all bands are on the 10 m grid
        self.shares = shares
        self.label: NDArray[np.int64] = _labels(shares, options)
        scenes = [(patch.season, patch.scene) for patch in patches]
        order = {scene: index for index, scene in enumerate(sorted(set(scenes)))}
        self.group: NDArray[np.int32] = np.array([order[scene] for scene in scenes], np.int32)
        self.ids: Sequence[str] = tuple(patch.id for patch in patches)
        self._files, self._patches, self._names = files, tuple(patches), names
        self._optical = [S2_BANDS.index(band) for band in optical]
        self._radar = bool(radar)
        scale = get_sensor("sentinel-2").level("L1C").scale
        assert scale is not None  # stated in the sensor's description
        self._scale = np.float32(scale)

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the folder with the four seasons (or some of them).

        Args:
            folder: Folder or archive.
            **options: `inputs`: `s2`, `rgb`, `s1`, `s1+s2` or `s1+rgb`. `kind`: `single` or `multi`. `scheme`:
                `simplified` (10 classes) or `igbp` (17). `threshold`: least share of a label that counts (0.1).
                `labels`: table of shares, where it does not lie with the patches.

        Raises:
            EcumeneError: If files of a patch are missing, or a class is not of the scheme.
        """
        chosen = _Options.of(options)
        files = open_files(folder, (".tif",), "SEN12MS")
        names = _find_patches(files)
        patches = sorted(
            {patch for _, patch in names if patch.id != BROKEN}, key=lambda item: (item.season, item.scene, item.number)
        )
        optical, radar = INPUTS[chosen.inputs]
        kinds = [kind for kind, used in (("s2", optical), ("s1", radar)) if used]
        table = _share_table(files, chosen.labels)
        _require(names, patches, kinds if table else [*kinds, "lc"])
        if table is None:
            # One image after the other: pixels of `lc` are read, because they are the labels.
            shares = np.stack(
                [
                    igbp_shares(read_tiff(files.read(names["lc", patch]), names["lc", patch]), patch.id)
                    for patch in patches
                ]
            )
        else:
            missing = [patch.id for patch in patches if patch.id not in table]
            if missing:
                raise LabelError(f"The table of shares has no row for {missing[0]}; give the table of all patches.")
            shares = np.stack([table[patch.id] for patch in patches])
        legend = get_legend("igbp_simplified" if chosen.scheme == "simplified" else "igbp")
        return cls(files, patches, names, shares, legend, chosen)

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return these patches, reflectance and dB.

        Raises:
            SceneError: If a file is damaged, or has other bands or another size.
        """
        chosen = np.asarray(indices, np.intp)
        image = np.empty((len(chosen), len(self.channels), SIZE, SIZE), np.float32)
        optical = len(self._optical)
        for place, index in enumerate(chosen):
            patch = self._patches[index]
            if optical:
                stored = self._pixels("s2", patch, len(S2_BANDS))
                image[place, :optical] = stored[self._optical] * self._scale
                image[place, :optical, ~stored.any(axis=0)] = np.nan
            if self._radar:
                image[place, optical:] = np.clip(self._pixels("s1", patch, len(S1_BANDS)), _LOWEST_DB, _HIGHEST_DB)
        return SceneSet(image, self.label[chosen], self.group[chosen], self.channels)

    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return `official` and `held-out`, where their lists lie with the patches."""
        parts: dict[str, NDArray[np.int8]] = {}
        names = {PurePosixPath(name).name: name for name in self._files.with_suffix((".txt",))}
        if any(item in names for item in _LISTS):
            parts["official"] = self._listed(names)
        if _HELD_OUT in names:
            lines = self._files.read(names[_HELD_OUT]).decode("utf-8", "replace").split()
            held = {(season, scene.split("_")[-1]) for season, _, scene in (line.partition("/") for line in lines)}
            out = [(patch.season, str(patch.scene)) in held for patch in self._patches]
            parts["held-out"] = np.where(out, np.int8(Part.TEST), np.int8(Part.TRAIN))
        return parts

    def _listed(self, names: Mapping[str, str]) -> NDArray[np.int8]:
        part = np.zeros(len(self), np.int8)
        position = {name: index for index, name in enumerate(self.ids)}
        # The published training list still holds what the validation list names; the later part wins.
        for file, value in _LISTS.items():
            if file not in names:
                continue
            for line in self._files.read(names[file]).decode("utf-8", "replace").split():
                found = _PATCH.search(line)
                index = position.get(_patch_of(found).id) if found else None
                if index is not None:
                    part[index] = value
        return part

    def _pixels(self, kind: str, patch: Patch, bands: int) -> NDArray[np.float32]:
        name = self._names[kind, patch]
        stored = read_tiff(self._files.read(name), name)
        if stored.shape != (bands, SIZE, SIZE):
            shape = " x ".join(str(number) for number in stored.shape)
            raise SceneError(
                f"{name} has {shape} bands, rows and columns, but {kind} images of SEN12MS have "
                f"{bands} x {SIZE} x {SIZE}; download it again."
            )
        return stored.astype(np.float32)


@dataclass(frozen=True)
class _Options:
    inputs: str = "s2"
    kind: Literal["single", "multi"] = "single"
    scheme: Literal["simplified", "igbp"] = "simplified"
    threshold: float = 0.1
    labels: str | Path | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> _Options:
        try:
            chosen = cls(**given)
        except TypeError as error:
            raise ConfigurationError(
                "The data set sen12ms has the options inputs, kind, scheme, threshold and labels, and no other."
            ) from error
        for name, value, known in (
            ("inputs", chosen.inputs, tuple(INPUTS)),
            ("kind", chosen.kind, ("single", "multi")),
            ("scheme", chosen.scheme, ("simplified", "igbp")),
        ):
            if value not in known:
                raise ConfigurationError(f"The option {name} of sen12ms is one of {', '.join(known)}, not {value!r}.")
        if not 0 < chosen.threshold <= 1:
            raise ConfigurationError(f"The threshold of sen12ms is a share in (0, 1], not {chosen.threshold}.")
        return chosen


def _labels(shares: NDArray[np.float32], options: _Options) -> NDArray[np.int64]:
    """Return class indices `[N]`, or 0/1 `[N, K]`; patches of which nothing is known are unlabelled."""
    used = simplify(shares) if options.scheme == "simplified" else shares
    unknown = used.sum(axis=1) <= 0
    if options.kind == "single":
        single: NDArray[np.int64] = np.where(unknown, IGNORE, used.argmax(axis=1)).astype(np.int64)
        return single
    # Shares are counts over counts in float32: a share of exactly the threshold must count.
    several: NDArray[np.int64] = (used >= options.threshold - 1e-6).astype(np.int64)
    several[unknown] = IGNORE
    return several


def _find_patches(files: OfficialFiles) -> dict[tuple[str, Patch], str]:
    """Return the file of each kind (`s1`, `s2`, `lc`) of each patch."""
    names: dict[tuple[str, Patch], str] = {}
    for name in files.with_suffix((".tif",)):
        found = _PATCH.search(name)
        if found is not None:
            names[found[2], _patch_of(found)] = name
    if not names:
        raise SceneError(
            f"{files.root} holds no files named like ROIs1158_spring_s2_1_p30.tif; give the folder of the seasons."
        )
    return names


def _patch_of(found: re.Match[str]) -> Patch:
    return Patch(found[1], int(found[3]), int(found[4]))


def _share_table(files: OfficialFiles, given: str | Path | None) -> dict[str, NDArray[np.float32]] | None:
    if given is not None:
        path = Path(given)
        try:
            return read_share_table(path.read_bytes(), path.name)
        except OSError as error:
            raise LabelError(f"The labels {path} cannot be read ({error.strerror or error}).") from error
    found = [name for name in files.names if PurePosixPath(name).name in _SHARE_TABLES]
    return read_share_table(files.read(found[0]), PurePosixPath(found[0]).name) if found else None


def _require(names: Mapping[tuple[str, Patch], str], patches: Sequence[Patch], kinds: Sequence[str]) -> None:
    for kind in kinds:
        missing = [patch for patch in patches if (kind, patch) not in names]
        if missing:
            first = missing[0]
            raise SceneError(
                f"{len(missing)} of {len(patches)} patches have no {kind} file, such as "
                f"{first.season}_{kind}_{first.scene}_p{first.number}.tif; complete the download of SEN12MS."
            )
