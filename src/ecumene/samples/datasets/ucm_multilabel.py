"""UC Merced land use with several labels an image."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends import Legend
from ecumene.legends.library import get_legend
from ecumene.samples.datasets.class_folders import PICTURES, colour_channels, natural_key, read_picture
from ecumene.samples.datasets.contract import DataSet, DataSetInfo
from ecumene.samples.datasets.official_files import OfficialFiles, open_files
from ecumene.samples.scene_set import SceneSet

LABELS = get_legend("ucm_multilabel").names
"""The 17 object labels, in the order of the table."""

SIZE = 256
RESOLUTION_M = 0.3
_LARGEST_DIFFERENCE = 16
_TABLES = ("LandUse_Multilabeled.csv", "LandUse_Multilabeled.txt")


class UcmMultiLabel(DataSet):
    """UC Merced images (21 classes of 100, 256 x 256, 0.3 m) with 17 object labels.

    The images are those of UC Merced Land Use, the labels the table `LandUse_Multilabeled` (Chaudhuri et al. 2018),
    separated by commas or tabs, whose first column names the image. A few official images are up to some pixels smaller
    or larger than 256: what is too much is cut at the lower right, what is missing has no data. Values are digital
    numbers 0..255. Each image is a place of its own.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="ucm-multilabel",
        title="UC Merced land use with 17 object labels an image, RGB",
        task="multi-label",
        paper="Yang, Newsam: Bag-of-visual-words, ACM GIS 2010; labels: Chaudhuri et al., IEEE TGRS 56(2), 2018, "
        "doi 10.1109/TGRS.2017.2760909",
        licence="images from the USGS National Map, public domain",
        size=2100,
        layout="the class folders of UC Merced with NAME00.tif, and LandUse_Multilabeled.csv or .txt beside them or "
        "as the option labels",
    )

    def __init__(self, files: OfficialFiles, names: Sequence[str], labels: NDArray[np.int64], legend: Legend) -> None:
        self.folder = files.root
        self.legend = legend
        self.channels = colour_channels(RESOLUTION_M)
        self.patch_size = SIZE
        self.resolution_m = RESOLUTION_M
        self.label: NDArray[np.int64] = labels
        self.group: NDArray[np.int32] = np.arange(len(names), dtype=np.int32)
        self.ids: Sequence[str] = tuple(PurePosixPath(name).stem for name in names)
        self._files, self._names = files, tuple(names)

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open images and labels.

        Args:
            folder: Folder or archive with the images.
            **options: `labels`: the table, where it does not lie with the images.

        Raises:
            EcumeneError: If there is no table, it has labels that are not known, or images and table differ.
        """
        unknown = set(options) - {"labels"}
        if unknown:
            raise ConfigurationError(
                f"The data set ucm-multilabel has no option {min(unknown)!r}; it has the option labels."
            )
        files = open_files(folder, PICTURES, cls.info.name)
        table, title = _find_table(files, options.get("labels"))
        known = read_label_table(table, title)
        images = {PurePosixPath(name).stem: name for name in files.with_suffix(PICTURES)}
        without = sorted(set(images) - set(known), key=natural_key)
        if without:
            raise LabelError(f"{title} has no row for the image {without[0]}; give the table of all images.")
        absent = sorted(set(known) - set(images), key=natural_key)
        if absent:
            raise SceneError(
                f"{len(absent)} of the {len(known)} images in {title} are missing, such as {absent[0]}; "
                "complete the download of UC Merced."
            )
        ordered = sorted(images, key=natural_key)
        labels = np.array([known[item] for item in ordered], np.int64)
        return cls(files, [images[item] for item in ordered], labels, get_legend("ucm_multilabel"))

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return these images as digital numbers 0..255.

        Raises:
            SceneError: If an image is damaged or of quite another size.
        """
        chosen = np.asarray(indices, np.intp)
        image = np.full((len(chosen), 3, SIZE, SIZE), np.nan, np.float32)
        for place, index in enumerate(chosen):
            name = self._names[index]
            pixels = read_picture(self._files.read(name), name)
            rows, cols = pixels.shape[1:]
            if max(abs(rows - SIZE), abs(cols - SIZE)) > _LARGEST_DIFFERENCE:
                raise SceneError(f"{name} has {rows} x {cols} pixels, but images of UC Merced have {SIZE} x {SIZE}.")
            image[place, :, :rows, :cols] = pixels[:, :SIZE, :SIZE]
        return SceneSet(image, self.label[chosen], self.group[chosen], self.channels)

    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return nothing: the published split is random."""
        return {}


def _find_table(files: OfficialFiles, given: str | Path | None) -> tuple[bytes, str]:
    """Return the bytes and the name of the table of labels."""
    if given is not None:
        path = Path(given)
        try:
            return path.read_bytes(), path.name
        except OSError as error:
            raise LabelError(f"The labels {path} cannot be read ({error.strerror or error}).") from error
    found = [name for name in files.names if PurePosixPath(name).name in _TABLES]
    if not found:
        raise LabelError(
            f"{files.root} has no {_TABLES[0]} beside the images; put it there or name it with the option labels."
        )
    return files.read(found[0]), PurePosixPath(found[0]).name


def read_label_table(data: bytes, title: str) -> dict[str, tuple[int, ...]]:
    """Read a table of images and 0/1 labels.

    Args:
        data: CSV or tab-separated text; the first row names the labels, the first column the images.
        title: Name of the table in errors.

    Returns:
        0 or 1 for each of `LABELS`, by image.

    Raises:
        LabelError: If a label is not known or missing, or a value is not 0 or 1.
    """
    text = data.decode("utf-8-sig", "replace")
    head = text.split("\n", 1)[0]
    rows = [row for row in csv.reader(io.StringIO(text), delimiter="\t" if "\t" in head else ",") if any(row)]
    if not rows:
        raise LabelError(f"The labels {title} are empty; get the table again.")
    names = [name.strip().lower() for name in rows[0][1:] if name.strip()]
    strange = [name for name in names if name not in LABELS]
    if strange:
        raise LabelError(f"{title} has the label {strange[0]!r}, which is none of the 17: {', '.join(LABELS)}.")
    missing = [name for name in LABELS if name not in names]
    if missing:
        raise LabelError(f"{title} has no column for {', '.join(missing)}; get the table again.")
    column = [names.index(name) + 1 for name in LABELS]
    labels: dict[str, tuple[int, ...]] = {}
    for row in rows[1:]:
        values = [row[place].strip() if place < len(row) else "" for place in column]
        if not set(values) <= {"0", "1"}:
            raise LabelError(f"{title} has something else than 0 and 1 in the row of {row[0]}; correct it.")
        labels[PurePosixPath(row[0].strip()).stem] = tuple(int(value) for value in values)
    return labels
