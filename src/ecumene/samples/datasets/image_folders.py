"""RGB images in class folders: any such set, and RSSCN7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.legends import Legend
from ecumene.samples.datasets.class_folders import (
    PICTURES,
    ClassFolders,
    colour_channels,
    picture_size,
    read_picture,
    scan_class_folders,
)
from ecumene.samples.datasets.contract import DataSet, DataSetInfo
from ecumene.samples.datasets.official_files import OfficialFiles, open_files
from ecumene.samples.scene_set import SceneSet


class ImageFolders(DataSet):
    """RGB images of one size, one folder a class; the legend is the folders' names, sorted.

    UC Merced (21 classes), AID and NWPU-RESISC45 come in this layout. Values are digital numbers 0..255. Nothing says
    where the images were taken, so that each is a place of its own (`group`) and only random splits are possible; nor
    how large a pixel is, so that a map needs the ground sampling from the user.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="image-folders",
        title="RGB images sorted into class folders (UC Merced, AID, NWPU-RESISC45, your own)",
        task="scene-classification",
        paper="",
        licence="",
        size=0,
        layout="one folder a class with JPEG, PNG or TIFF images of one size; a folder or a zip archive",
    )
    classes: ClassVar[tuple[str, ...] | None] = None
    folder_names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, files: OfficialFiles, found: ClassFolders, size: int, legend: Legend) -> None:
        self.folder = files.root
        self.legend = legend
        self.channels = colour_channels(None)
        self.patch_size = size
        self.label: NDArray[np.int64] = found.label
        self.group: NDArray[np.int32] = np.arange(len(found.label), dtype=np.int32)
        self.ids: Sequence[str] = found.ids
        self._files, self._names = files, found.names

    @classmethod
    def open(cls, folder: str | Path, **options: Any) -> Self:
        """Open a folder of class folders, or an archive of it.

        Args:
            folder: Where the files are.
            **options: None.

        Raises:
            EcumeneError: If a class folder is empty or unknown, or the first image is not square.
        """
        if options:
            raise ConfigurationError(f"The data set {cls.info.name} has no option {next(iter(options))!r}.")
        files = open_files(folder, PICTURES, cls.info.name)
        found = scan_class_folders(files, PICTURES, cls.info.name, cls.classes, cls.folder_names)
        rows, cols = picture_size(files.read(found.names[0]), found.names[0])
        if rows != cols:
            raise SceneError(f"{found.names[0]} has {rows} x {cols} pixels, but square images are needed; crop them.")
        return cls(files, found, rows, Legend.from_names(found.classes, name=cls.info.name))

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return these images as digital numbers 0..255.

        Raises:
            SceneError: If an image is damaged or of another size.
        """
        chosen = np.asarray(indices, np.intp)
        size = self.patch_size
        image = np.empty((len(chosen), 3, size, size), np.float32)
        for place, index in enumerate(chosen):
            name = self._names[index]
            pixels = read_picture(self._files.read(name), name)
            if pixels.shape[1:] != (size, size):
                raise SceneError(
                    f"{name} has {pixels.shape[1]} x {pixels.shape[2]} pixels, but the first image has "
                    f"{size} x {size}; bring all to one size."
                )
            image[place] = pixels
        return SceneSet(image, self.label[chosen], self.group[chosen], self.channels)

    def splits(self) -> Mapping[str, NDArray[np.int8]]:
        """Return nothing: there is no official split."""
        return {}


class Rsscn7(ImageFolders):
    """RSSCN7: seven classes of images from Google Earth at four scales.

    Published protocol: 20 % or 50 % of each class for training, the mean over random draws. The folders are named
    `aGrass` ... `gParking`; names without the letter are taken too.
    """

    info: ClassVar[DataSetInfo] = DataSetInfo(
        name="rsscn7",
        title="RSSCN7: seven scene classes at four scales, RGB",
        task="scene-classification",
        paper="Zou, Ni, Zhang, Wang: Deep Learning Based Feature Selection for Remote Sensing Scene Classification, "
        "IEEE GRSL 12(11), 2015, doi 10.1109/LGRS.2015.2475299",
        licence="images from Google Earth, research use",
        size=2800,
        layout="the folders aGrass bField cIndustry dRiverLake eForest fResident gParking with JPEG images",
    )
    classes: ClassVar[tuple[str, ...] | None] = (
        "Grass",
        "Field",
        "Industry",
        "RiverLake",
        "Forest",
        "Resident",
        "Parking",
    )
    folder_names: ClassVar[Mapping[str, str]] = {
        f"{letter}{name}": name
        for letter, name in zip(
            "abcdefg", ("Grass", "Field", "Industry", "RiverLake", "Forest", "Resident", "Parking"), strict=True
        )
    }
