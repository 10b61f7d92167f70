"""Patches in EuroSAT's formats: 13-band GeoTIFF, RGB JPEG, and the list of classes beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from ecumene.core.errors import ContractError
from ecumene.core.files import atomic_path, write_text
from ecumene.legends import Legend
from ecumene.samples.datasets.eurosat import BAND_SETS, FILE_BANDS, LEGEND_FILE, STRETCH_TOP

_LARGEST = np.iinfo(np.uint16).max
_QUALITY = 95


def stored_numbers(reflectance: NDArray[np.float32], scale: float = 1e-4) -> NDArray[np.uint16]:
    """Return digital numbers of reflectance: value / scale, at least 1 where there is data, 0 where there is none.

    Reflectance below 0 (possible since processing baseline 04.00) becomes 1, because the format has no offset.

    Args:
        reflectance: Any shape, NaN for no data.
        scale: Reflectance of one step.
    """
    numbers = np.clip(np.rint(reflectance / scale), 1, _LARGEST)
    stored: NDArray[np.uint16] = np.where(np.isfinite(reflectance), numbers, 0).astype(np.uint16)
    return stored


def write_measured(path: Path, numbers: NDArray[np.uint16], transform: Affine, crs: Any) -> None:
    """Write one 13-band patch, uncompressed, bands of a pixel together, as the official files are.

    Args:
        path: File to write.
        numbers: `[13, P, P]` in the order of `FILE_BANDS`.
        transform: Pixel to map coordinates.
        crs: Anything that rasterio takes.

    Raises:
        ContractError: If there are not 13 bands.
    """
    import rasterio

    if len(numbers) != len(FILE_BANDS):
        raise ContractError(f"EuroSAT's format has {len(FILE_BANDS)} bands, but {len(numbers)} were given.")
    with (
        atomic_path(path) as temporary,
        rasterio.open(
            temporary,
            "w",
            driver="GTiff",
            count=len(numbers),
            height=numbers.shape[1],
            width=numbers.shape[2],
            dtype="uint16",
            crs=crs,
            transform=transform,
            interleave="pixel",
        ) as file,
    ):
        file.write(numbers)


def write_colours(path: Path, numbers: NDArray[np.uint16]) -> None:
    """Write the RGB version of a patch: bands 4, 3, 2, digital numbers 0..2750 stretched to 1..255, as JPEG.

    Args:
        path: File to write.
        numbers: `[13, P, P]` in the order of `FILE_BANDS`.
    """
    from PIL import Image

    bands = numbers[[FILE_BANDS.index(name) for name in BAND_SETS["rgb"]]].astype(np.float32)
    stretched = np.rint(1.0 + np.clip(bands, 0.0, STRETCH_TOP) / STRETCH_TOP * 254.0).astype(np.uint8)
    with atomic_path(path) as temporary:
        Image.fromarray(np.ascontiguousarray(stretched.transpose(1, 2, 0))).save(temporary, "JPEG", quality=_QUALITY)


def write_legend(folder: Path, legend: Legend) -> None:
    """Write the classes beside the class folders, so that the set can be read without knowing them."""
    write_text(folder / LEGEND_FILE, legend.model_dump_json(indent=2) + "\n")
