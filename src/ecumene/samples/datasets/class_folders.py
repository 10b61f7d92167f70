"""Images sorted into one folder a class, the commonest layout of scene classification."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError, SceneError
from ecumene.samples.datasets.official_files import OfficialFiles
from ecumene.scenes.contract import Channel
from ecumene.sensors import get_sensor

PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True)
class ClassFolders:
    """Images and the class that their folder names.

    Attributes:
        names: Files, ordered by class, then by the numbers in their names.
        label: int64 `[N]` position in `classes`.
        classes: Class names.
    """

    names: tuple[str, ...]
    label: NDArray[np.int64]
    classes: tuple[str, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """File names without folder and suffix."""
        return tuple(PurePosixPath(name).stem for name in self.names)


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts `b2` before `b10`."""
    parts = _NUMBER.split(text)
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts if part)


def scan_class_folders(
    files: OfficialFiles,
    suffixes: Sequence[str],
    title: str,
    classes: Sequence[str] | None = None,
    folder_names: Mapping[str, str] | None = None,
) -> ClassFolders:
    """Sort images by the class that their folder names.

    Args:
        files: Where to look.
        suffixes: Suffixes of images, lower case.
        title: Name of the data set in errors.
        classes: The classes in their order; None: the folders that hold images, sorted.
        folder_names: Class of a folder that is named otherwise than its class.

    Raises:
        LabelError: If an image lies in the folder of no class, or a class has no images.
    """
    aliases = {**{name: name for name in classes or ()}, **(folder_names or {})}
    found: list[tuple[str, str]] = []
    for name in files.with_suffix(suffixes):
        folder = PurePosixPath(name).parent.name
        if classes is not None and folder not in aliases:
            raise LabelError(
                f"{name} of {title} lies in the folder {folder!r}, which is none of its classes; they are: "
                f"{', '.join(classes)}."
            )
        if not folder:
            raise LabelError(
                f"{name} of {title} lies in no class folder; put every image into the folder of its class."
            )
        found.append((aliases.get(folder, folder), name))
    listed = tuple(classes) if classes is not None else tuple(sorted({label for label, _ in found}))
    _require_images(files, {label for label, _ in found}, listed, aliases, title)
    position = {name: index for index, name in enumerate(listed)}
    ordered = sorted(found, key=lambda item: (position[item[0]], natural_key(item[1])))
    label = np.array([position[item[0]] for item in ordered], np.int64)
    return ClassFolders(tuple(name for _, name in ordered), label, listed)


def _require_images(
    files: OfficialFiles, present: set[str], classes: Sequence[str], aliases: Mapping[str, str], title: str
) -> None:
    for folder in sorted(files.folders()):
        name = PurePosixPath(folder).name
        leaf = not any(other.startswith(f"{folder}/") for other in (*files.names, *files.folders()))
        if leaf and aliases.get(name, name) not in present and (name in aliases or not aliases):
            raise LabelError(f"The class folder {name} of {title} is empty; complete the download or remove it.")
    missing = [name for name in classes if name not in present]
    if missing:
        raise LabelError(
            f"{title} has no images of {', '.join(missing)}; complete the download, or name the classes to use."
        )
    if len(classes) < 2:
        raise LabelError(f"{title} has images of one class only; give at least two class folders.")


def read_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an RGB image.

    Args:
        data: A JPEG, PNG or TIFF file.
        name: What the file is called in errors.

    Returns:
        uint8 `[3, rows, columns]`.

    Raises:
        SceneError: If the file is damaged or has other bands.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG", "TIFF")) as picture:
            if picture.mode != "RGB":
                bands = len(picture.getbands())
                raise SceneError(f"{name} has {bands} bands ({picture.mode}), but RGB images of 3 bands are needed.")
            pixels = np.asarray(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SceneError(f"{name} is damaged or cut short; download it again.") from error
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def picture_size(data: bytes, name: str) -> tuple[int, int]:
    """Return rows and columns of an image from its header, without decoding pixels.

    Raises:
        SceneError: If this is no such image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG", "TIFF")) as picture:
            return picture.height, picture.width
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SceneError(f"{name} is damaged or cut short; download it again.") from error


def sensor_channels(sensor: str, level: str, bands: Sequence[str]) -> tuple[Channel, ...]:
    """Return channels of a sensor's product level, with unit and wavelengths as the sensor's description has them."""
    described = get_sensor(sensor)
    unit = described.level(level).unit
    return tuple(
        Channel(
            sensor=described.id,
            level=level,
            band=name,
            unit=unit,
            center_wavelength_um=described.band(name).center_wavelength_um,
            ground_sampling_m=described.band(name).ground_sampling_m,
        )
        for name in bands
    )


def colour_channels(ground_sampling_m: float | None) -> tuple[Channel, ...]:
    """Return red, green and blue of an aerial photograph as digital numbers.

    Args:
        ground_sampling_m: Side of a pixel; None where nobody says it.
    """
    channels = sensor_channels("aerial-rgb", "DN", ("red", "green", "blue"))
    return tuple(replace(channel, ground_sampling_m=ground_sampling_m) for channel in channels)
