"""SEN12MS-CR-TS: series of 30 cloudy and clear dates of Sentinel-2 with Sentinel-1."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
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
    yes_or_no,
)
from ecumene.samples.restoration_set import RestorationSet

CLEAR_TARGET = 1e-3
"""Largest cloud share of a target; samples whose clearest date has more are in no part."""
COVERAGE_NAME = "coverage.json"
"""Cloud share of each date of each patch, computed beforehand: `{"ROIs1158_106_p0": [0.0, ...], ...}`."""

TEST_ROIS = frozenset(
    [("ROIs1158", 106), ("ROIs1970", 20), ("ROIs1970", 132), ("ROIs1970", 139)]
    + [("ROIs1868", number) for number in (73, 100, 119, 142)]
    + [("ROIs2017", number) for number in (32, 63, 103, 108, 140)]
)
VALIDATION_ROIS = frozenset(
    [("ROIs1868", 17), ("ROIs1868", 127), ("ROIs1970", 65), ("ROIs2017", 22), ("ROIs2017", 117)]
)
"""Regions of the split over all continents (Ebel et al. 2022); the other 35 are learned from."""

_NAME = re.compile(r"(s1|s2)_(ROIs\d{4})_(\d+)_ImgNo_(\d+)_(\d{4}-\d{2}-\d{2})_patch_(\d+)\.tif$")


@dataclass(frozen=True, order=True)
class Series:
    """One patch of a region: its 30 dates are one sample."""

    collection: str
    roi: int
    number: int

    @property
    def id(self) -> str:
        """`ROIs1158_106_p0`."""
        return f"{self.collection}_{self.roi}_p{self.number}"


@dataclass(frozen=True)
class Sampling:
    """Which dates of a series are inputs and which one is the target ("cloudy_cloudfree" of the published loader).

    Attributes:
        dates: T, the input dates.
        least: Least cloud share of an input.
        most: Largest cloud share of an input.
        exclude_target: Never take the target's own date as an input. The published loader does only where too few
            dates have the wanted cloud share, so that some of its samples show their own target.
    """

    dates: int = 3
    least: float = 0.0
    most: float = 1.0
    exclude_target: bool = True

    def choose(self, share: NDArray[np.float64]) -> tuple[list[int], int]:
        """Return (input dates, target date) for the cloud shares `[T_all]` of a series.

        The target is the first date with the smallest share; inputs are the first dates whose share is in the range,
        or, where there are too few of them, the first dates that are not the target.

        Raises:
            LabelError: If the series has too few dates.
        """
        target = int(np.argmin(share))
        if len(share) < self.dates + 1:
            raise LabelError(
                f"A series of {len(share)} dates cannot give {self.dates} inputs and a target; use fewer (dates=)."
            )
        barred = {target} if self.exclude_target else set()
        fits = [k for k, part in enumerate(share) if self.least <= part <= self.most and k not in barred]
        if len(fits) < self.dates:
            fits = [k for k in range(len(share)) if k != target]
        return fits[: self.dates], target


class Sen12MsCrTs(RestorationData):
    """SEN12MS-CR-TS (Ebel, Xu, Schmitt, Zhu 2022): T cloudy dates in, the clearest date of the year out.

    A sample is a patch; its dates are chosen by `Sampling`. Cloud shares come from `coverage.json`, where it lies with
    the patches, else from the cloud rule when a patch is first read (all of its dates, once). The image's dates are
    those of Sentinel-2; Sentinel-1 of the same image number is within two weeks. `cloudy` are the pixels that no input
    date sees clear.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="sen12ms-cr-ts",
        title="SEN12MS-CR-TS: 30 dates of Sentinel-2 and Sentinel-1 in 2018, clouds as they were",
        task="restoration",
        paper="Ebel, Xu, Schmitt, Zhu: SEN12MS-CR-TS, IEEE TGRS 60, 2022, arXiv 2201.09613",
        licence="CC BY 4.0; contains modified Copernicus Sentinel data",
        size=15_578,
        layout="ROIs1158/106/S2/0/s2_ROIs1158_106_ImgNo_0_2018-01-03_patch_0.tif, with S1 beside S2",
    )
    temporal = True

    def __init__(
        self,
        files: OfficialFiles,
        series: Sequence[Series],
        names: Mapping[tuple[str, Series, int], tuple[str, int]],
        images: Mapping[Series, tuple[int, ...]],
        sampling: Sampling,
        options: Mapping[str, Any],
    ) -> None:
        self.folder = files.root
        self._files, self._series, self._names, self._images = files, tuple(series), names, images
        self._reader = PatchFiles(files, "SEN12MS-CR-TS")
        self.sampling = sampling
        self._radar = options.get("inputs", "s1+s2") == "s1+s2"
        self.targets = S2_BANDS
        self.channels = sensor_channels("sentinel-2", "L1C", S2_BANDS)
        if self._radar:
            self.channels = (*self.channels, *sensor_channels("sentinel-1", "GRD", S1_BANDS))
        self.crop = crop_of(options, "sen12ms-cr-ts")
        self.variant = f"{sampling} crop={self.crop}"
        first = self._series[0]
        self.patch_size = self._reader.side(names["s2", first, images[first][0]][0])
        self._shipped = _read_coverage(files)
        self._coverage = dict(self._shipped)
        self._lock = threading.Lock()
        self._describe([item.id for item in series], [(item.collection, item.roi) for item in series])

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open the folder with the regions.

        Args:
            folder: Folder or archive.
            **options: `inputs`: `s1+s2` (default) or `s2`. `dates`: T (3). `min_cov`, `max_cov`: cloud shares of
                inputs (0, 1). `exclude_target`: see `Sampling`. `crop`: side of the random window in training.

        Raises:
            SceneError: If there are no patches, or a date of a patch lacks a file.
            ConfigurationError: If an option is wrong.
        """
        only_options(options, ("inputs", "dates", "min_cov", "max_cov", "exclude_target", "crop"), "sen12ms-cr-ts")
        inputs = one_of("inputs", options.get("inputs", "s1+s2"), ("s1+s2", "s2"), "sen12ms-cr-ts")
        sampling = _sampling(options)
        files = open_files(folder, (".tif",), "SEN12MS-CR-TS")
        names = _find(files)
        images: dict[Series, tuple[int, ...]] = {}
        for _, item, number in sorted(names):
            images[item] = tuple(sorted({*images.get(item, ()), number}))
        _require(names, images, ("s1", "s2") if inputs == "s1+s2" else ("s2",))
        return cls(files, sorted(images), names, images, sampling, options)

    def read_pairs(self, indices: NDArray[np.integer] | Sequence[int]) -> RestorationSet:
        """See `RestorationData.read_pairs`."""
        chosen = np.asarray(indices, np.intp)
        side, bands, dates = self.patch_size, len(S2_BANDS), self.sampling.dates
        image = np.empty((len(chosen), dates, len(self.channels), side, side), np.float32)
        target = np.empty((len(chosen), bands, side, side), np.float32)
        cloudy = np.ones((len(chosen), side, side), bool)
        days = np.empty((len(chosen), dates), np.int64)
        for place, index in enumerate(chosen):
            item = self._series[index]
            inputs, clear = self.sampling.choose(self.coverage(int(index)))
            numbers = self._images[item]
            for step, date in enumerate(inputs):
                name, days[place, step] = self._names["s2", item, numbers[date]]
                image[place, step, :bands] = self._reader.optical(name, side)
                cloudy[place] &= cloud_mask(image[place, step, :bands])
                if self._radar:
                    radar = self._names["s1", item, numbers[date]][0]
                    image[place, step, bands:] = self._reader.radar(radar, side)
            target[place] = self._reader.optical(self._names["s2", item, numbers[clear]][0], side)
        return RestorationSet(image, target, cloudy, days, self.group[chosen], self.channels, self.crop)

    def coverage(self, index: int) -> NDArray[np.float64]:
        """Return the share of each date of a sample that is cloud or shadow, float64 `[T_all]`."""
        item = self._series[index]
        with self._lock:
            known = self._coverage.get(item.id)
        if known is None:
            numbers = self._images[item]
            masks = (
                cloud_mask(self._reader.optical(self._names["s2", item, number][0], self.patch_size))
                for number in numbers
            )
            known = np.array([mask.mean() for mask in masks], np.float64)
            with self._lock:
                self._coverage[item.id] = known
        if len(known) != len(self._images[item]):
            raise LabelError(
                f"{COVERAGE_NAME} has {len(known)} dates for {item.id}, but there are {len(self._images[item])} files; "
                "delete it to have the shares computed again."
            )
        return known

    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return `official`, where regions of its test part are there.

        A sample without a clear target belongs to no part, as published, where the shares came with the files; shares
        that are computed while reading change no split.
        """
        part = np.full(len(self), np.int8(Part.TRAIN))
        for index, item in enumerate(self._series):
            roi = (item.collection, item.roi)
            if roi in TEST_ROIS or roi in VALIDATION_ROIS:
                part[index] = Part.TEST if roi in TEST_ROIS else Part.VALIDATION
            known = self._shipped.get(item.id)
            if known is not None and float(known.min()) > CLEAR_TARGET:
                part[index] = Part.NONE
        there = (part == Part.TEST).any() and (part == Part.TRAIN).any()
        return {"official": part} if there else {}


def _sampling(options: Mapping[str, Any]) -> Sampling:
    dates = options.get("dates", 3)
    least, most = options.get("min_cov", 0.0), options.get("max_cov", 1.0)
    if isinstance(dates, bool) or not isinstance(dates, int) or not 2 <= dates <= 29:
        raise ConfigurationError(f"The option dates of sen12ms-cr-ts is the number of inputs, 2 to 29, not {dates!r}.")
    if not all(isinstance(value, int | float) for value in (least, most)) or not 0.0 <= least <= most <= 1.0:
        raise ConfigurationError(f"min_cov and max_cov are cloud shares with min_cov <= max_cov, not {least}, {most}.")
    excluded = yes_or_no("exclude_target", options.get("exclude_target", True), "sen12ms-cr-ts")
    return Sampling(dates, float(least), float(most), excluded)


def _find(files: OfficialFiles) -> dict[tuple[str, Series, int], tuple[str, int]]:
    """Return file and day of each kind, patch and image number."""
    names: dict[tuple[str, Series, int], tuple[str, int]] = {}
    for name in files.with_suffix((".tif",)):
        found = _NAME.search(name)
        if found is None:
            continue
        try:
            day = int(np.datetime64(found[5], "D").astype(np.int64))
        except ValueError as error:
            raise SceneError(f"{base_name(name)} names no date of the calendar; download it again.") from error
        names[found[1], Series(found[2], int(found[3]), int(found[6])), int(found[4])] = (name, day)
    if not names:
        raise SceneError(
            f"{files.root} holds no files named like s2_ROIs1158_106_ImgNo_0_2018-01-03_patch_0.tif; give the folder "
            "of SEN12MS-CR-TS."
        )
    return names


def _require(
    names: Mapping[tuple[str, Series, int], tuple[str, int]],
    images: Mapping[Series, tuple[int, ...]],
    kinds: Sequence[str],
) -> None:
    """Refuse patches that lack a modality on a date, or dates that other patches of their region have."""
    regions: dict[tuple[str, int], set[int]] = {}
    for item, numbers in images.items():
        regions.setdefault((item.collection, item.roi), set()).update(numbers)
    for kind in kinds:
        missing = [
            (item, number)
            for item in images
            for number in sorted(regions[item.collection, item.roi])
            if (kind, item, number) not in names
        ]
        if missing:
            item, number = missing[0]
            radar = kind == "s1" and not any(key[0] == "s1" for key in names)
            hint = ", or leave radar out with --data-option inputs=s2" if radar else ""
            raise SceneError(
                f"{len(missing)} {kind} files are missing, such as image {number} of {item.collection}/{item.roi}, "
                f"patch {item.number}; complete the download of SEN12MS-CR-TS{hint}."
            )


def _read_coverage(files: OfficialFiles) -> dict[str, NDArray[np.float64]]:
    """Return cloud shares that lie with the patches."""
    found = [name for name in files.names if base_name(name) == COVERAGE_NAME]
    if not found:
        return {}
    try:
        stated = json.loads(files.read(found[0]))
        shares = {str(key): np.asarray(values, np.float64) for key, values in stated.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise LabelError(f"{COVERAGE_NAME} is not a table of cloud shares; delete it to have them computed.") from error
    if not all(part.ndim == 1 and part.size and np.isfinite(part).all() for part in shares.values()):
        raise LabelError(f"{COVERAGE_NAME} is not a table of cloud shares; delete it to have them computed.")
    return shares
