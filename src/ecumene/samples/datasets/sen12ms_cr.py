"""SEN12MS-CR: cloudy and clear Sentinel-2 patches of nearby dates, with Sentinel-1."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import SceneError
from ecumene.samples.contract import Part
from ecumene.samples.datasets.class_folders import sensor_channels
from ecumene.samples.datasets.contract import DataSetInfo
from ecumene.samples.datasets.official_files import OfficialFiles, open_files
from ecumene.samples.datasets.restoration import (
    S1_BANDS,
    S2_BANDS,
    PatchFiles,
    RestorationData,
    base_name,
    cloud_mask,
    crop_of,
    one_of,
    only_options,
)
from ecumene.samples.restoration_set import RestorationSet

SEASON_DAYS = {"spring": 105, "summer": 197, "fall": 288, "winter": 15}
"""Day of the year in the middle of a season: the files say no date."""
_EPOCH_2018 = 17_532  # 2018-01-01 in days since 1970-01-01
_SEASON = r"(ROIs\d{4}_(?:spring|summer|fall|winter))"
_PATCH = re.compile(_SEASON + r"_(s1|s2|s2_cloudy)_(\d+)_p(\d+)\.tif$")
_FLAT = re.compile(r"(s1|s2_cloudFree|s2_cloudy)/" + _SEASON + r"_(\d+)_(\d+)\.tif$")
_FLAT_NAME = re.compile(_SEASON + r"_(\d+)_(\d+)\.tif$")
_KINDS = {"s1": "s1", "s2": "s2", "s2_cloudFree": "s2", "s2_cloudy": "s2_cloudy"}
_LIST = "datasetfilelist.csv"
_PARTS = {"1": Part.TRAIN, "2": Part.VALIDATION, "3": Part.TEST}

VALIDATION_SCENES = frozenset(
    [("ROIs1158_spring", 17), ("ROIs1970_fall", 65)]
    + [("ROIs1868_summer", number) for number in (17, 19, 80, 127)]
    + [("ROIs2017_winter", number) for number in (22, 84, 107, 130)]
)
TEST_SCENES = frozenset(
    [("ROIs1158_spring", number) for number in (31, 44, 106, 123, 140)]
    + [("ROIs1868_summer", 73), ("ROIs1868_summer", 119), ("ROIs1970_fall", 139)]
    + [("ROIs2017_winter", 63), ("ROIs2017_winter", 108)]
)
"""Scenes of the split that SEN12MS-CR shares with SEN12MS-CR-TS (Ebel et al. 2022)."""


@dataclass(frozen=True, order=True)
class Triplet:
    """One patch: `ROIs1158_spring` of scene 12, patch 30."""

    season: str
    scene: int
    number: int

    @property
    def id(self) -> str:
        """`ROIs1158_spring_12_p30`."""
        return f"{self.season}_{self.scene}_p{self.number}"


class Sen12MsCr(RestorationData):
    """SEN12MS-CR (Ebel, Meraner, Schmitt, Zhu 2020), one cloudy and one clear image of each patch.

    Sentinel-2 is top-of-atmosphere reflectance (digital number / 10000), Sentinel-1 backscatter in dB; nothing is
    clipped here, because limits belong to a network. The files say no date, so that the middle of the season in 2018
    stands for it; no network of single images reads it.

    `splits` has `file-list` where `datasetfilelist.csv` (Meraner et al. 2020) lies with the patches, and `official`:
    the ten scenes for the test and ten for validation of Ebel et al. 2022, all other scenes to learn from (their code
    leaves out some of these).
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="sen12ms-cr",
        title="SEN12MS-CR: cloudy and clear Sentinel-2 patches with Sentinel-1, one date",
        task="restoration",
        paper="Ebel, Meraner, Schmitt, Zhu: Multi-Sensor Data Fusion for Cloud Removal in Global and All-Season "
        "Sentinel-2 Imagery, IEEE TGRS 59(7), 2021, arXiv 2009.07683",
        licence="CC BY 4.0; contains modified Copernicus Sentinel data",
        size=122_218,
        layout="ROIs1158_spring_s1/s1_1/ROIs1158_spring_s1_1_p30.tif, with _s2 and _s2_cloudy beside _s1",
    )

    def __init__(
        self,
        files: OfficialFiles,
        patches: Sequence[Triplet],
        names: Mapping[tuple[str, Triplet], str],
        inputs: str,
        crop: int | None,
    ) -> None:
        self.folder = files.root
        self._files, self._patches, self._names = files, tuple(patches), names
        self._reader = PatchFiles(files, "SEN12MS-CR")
        self._radar = inputs == "s1+s2"
        self.targets = S2_BANDS
        self.channels = sensor_channels("sentinel-2", "L1C", S2_BANDS)
        if self._radar:
            self.channels = (*self.channels, *sensor_channels("sentinel-1", "GRD", S1_BANDS))
        self.crop, self.variant = crop, f"crop={crop}"
        self.patch_size = self._reader.side(names["s2", self._patches[0]])
        self._describe([patch.id for patch in patches], [(patch.season, patch.scene) for patch in patches])

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the folder with the seasons.

        Args:
            folder: Folder or archive.
            **options: `inputs`: `s1+s2` (default) or `s2`. `crop`: side of the random window that training takes.

        Raises:
            SceneError: If there are no patches, or a patch lacks one of its three files.
            ConfigurationError: If an option is wrong.
        """
        only_options(options, ("inputs", "crop"), "sen12ms-cr")
        inputs = one_of("inputs", options.get("inputs", "s1+s2"), ("s1+s2", "s2"), "sen12ms-cr")
        files = open_files(folder, (".tif",), "SEN12MS-CR")
        names = _find(files)
        patches = sorted({patch for _, patch in names})
        for kind in ("s2", "s2_cloudy", *(("s1",) if inputs == "s1+s2" else ())):
            _require(kind, patches, names)
        return cls(files, patches, names, inputs, crop_of(options, "sen12ms-cr"))

    def read_pairs(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSet:
        """See `RestorationData.read_pairs`; the mask is that of the cloudy image."""
        chosen = np.asarray(indices, np.intp)
        side, count = self.patch_size, len(S2_BANDS)
        image = np.empty((len(chosen), len(self.channels), side, side), np.float32)
        target = np.empty((len(chosen), count, side, side), np.float32)
        cloudy = np.empty((len(chosen), side, side), bool)
        dates = np.empty((len(chosen), 1), np.int64)
        for place, index in enumerate(chosen):
            patch = self._patches[index]
            image[place, :count] = self._reader.optical(self._names["s2_cloudy", patch], side)
            if self._radar:
                image[place, count:] = self._reader.radar(self._names["s1", patch], side)
            target[place] = self._reader.optical(self._names["s2", patch], side)
            cloudy[place] = cloud_mask(image[place, :count])
            dates[place] = _EPOCH_2018 + SEASON_DAYS[patch.season.rsplit("_", 1)[1]]
        return RestorationSet(image, target, cloudy, dates, self.group[chosen], self.channels, self.crop)

    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return `file-list`, where there is one, and `official`."""
        parts: dict[str, NDArray[np.int8]] = {}
        listed = [name for name in self._files.names if base_name(name) == _LIST]
        if listed:
            parts["file-list"] = self._listed(self._files.read(listed[0]).decode("utf-8", "replace"))
        official = np.full(len(self), np.int8(Part.TRAIN))
        for index, patch in enumerate(self._patches):
            scene = (patch.season, patch.scene)
            if scene in VALIDATION_SCENES or scene in TEST_SCENES:
                official[index] = Part.VALIDATION if scene in VALIDATION_SCENES else Part.TEST
        if (official == Part.TEST).any() and (official == Part.TRAIN).any():
            parts["official"] = official
        return parts

    def _listed(self, text: str) -> NDArray[np.int8]:
        """Read rows of part, folders and file name, separated by tabs or commas."""
        position = {patch: index for index, patch in enumerate(self._patches)}
        part = np.zeros(len(self), np.int8)
        separator = "\t" if "\t" in text else ","
        for row in csv.reader(io.StringIO(text), delimiter=separator):
            cells = [cell.strip() for cell in row]
            found = (_PATCH.search(cells[-1]) or _FLAT_NAME.search(cells[-1])) if len(cells) > 1 else None
            if found is None or cells[0] not in _PARTS:
                continue
            season, scene, number = found[1], *(int(group) for group in found.groups()[-2:])
            index = position.get(Triplet(season, scene, number))
            if index is not None:
                part[index] = _PARTS[cells[0]]
        return part


def _find(files: OfficialFiles) -> dict[tuple[str, Triplet], str]:
    """Return the file of each kind of each patch, in the layout of the data set or of the first paper's code."""
    names: dict[tuple[str, Triplet], str] = {}
    for name in files.with_suffix((".tif",)):
        found = _PATCH.search(name)
        if found is not None:
            names[found[2], Triplet(found[1], int(found[3]), int(found[4]))] = name
            continue
        flat = _FLAT.search(PurePosixPath(name).as_posix())
        if flat is not None:
            names[_KINDS[flat[1]], Triplet(flat[2], int(flat[3]), int(flat[4]))] = name
    if not names:
        raise SceneError(
            f"{files.root} holds no files named like ROIs1158_spring_s2_cloudy_1_p30.tif; give the folder of "
            "SEN12MS-CR."
        )
    return names


def _require(kind: str, patches: Sequence[Triplet], names: Mapping[tuple[str, Triplet], str]) -> None:
    missing = [patch for patch in patches if (kind, patch) not in names]
    if not missing:
        return
    first = missing[0]
    hint = " or leave radar out with --data-option inputs=s2" if kind == "s1" else ""
    raise SceneError(
        f"{len(missing)} of {len(patches)} patches have no {kind} file, such as "
        f"{first.season}_{kind}_{first.scene}_p{first.number}.tif; complete the download of SEN12MS-CR{hint}."
    )
