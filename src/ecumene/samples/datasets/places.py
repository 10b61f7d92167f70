"""Where the images of a data set are, from the headers of their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.samples.contract import Part
from ecumene.samples.datasets.official_files import OfficialFiles
from ecumene.samples.datasets.tiff import TiffHeader, read_header

_HEADER_BYTES = 4096


@dataclass(frozen=True)
class Places:
    """Centres of images.

    Attributes:
        epsg: int32 `[N]` projected coordinate system of each.
        easting: float64 `[N]` metres.
        northing: float64 `[N]` metres.
    """

    epsg: NDArray[np.int32]
    easting: NDArray[np.float64]
    northing: NDArray[np.float64]

    def cells(self, side_m: float) -> NDArray[np.int32]:
        """Return the number of the square cell that each image's centre lies in, `[N]`, from 0."""
        east, north = np.floor(self.easting / side_m), np.floor(self.northing / side_m)
        key = np.stack([self.epsg.astype(np.float64), east, north], axis=1)
        return np.unique(key, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int32)

    def longitude(self) -> NDArray[np.float64]:
        """Return the longitude of each centre in degrees."""
        from pyproj import Transformer

        longitude = np.empty(len(self.epsg))
        for code in np.unique(self.epsg):
            here = self.epsg == code
            transformer = Transformer.from_crs(int(code), 4326, always_xy=True)
            longitude[here] = transformer.transform(self.easting[here], self.northing[here])[0]
        return longitude


def read_places(files: OfficialFiles, names: Sequence[str]) -> Places | None:
    """Return the centres of GeoTIFF files, from their first bytes where the header lies there.

    Args:
        files: Folder or archive.
        names: The files, in order.

    Returns:
        The places; None if any file lacks a projected coordinate system.

    Raises:
        SceneError: If a file is no TIFF file.
    """
    found: list[tuple[int, float, float]] = []
    for name in names:
        header = read_header(files.read(name, _HEADER_BYTES), name) or read_header(files.read(name), name)
        centre = None if header is None else _centre(header)
        if centre is None:
            return None
        found.append(centre)
    epsg, easting, northing = zip(*found, strict=True)
    return Places(np.array(epsg, np.int32), np.array(easting, float), np.array(northing, float))


def _centre(header: TiffHeader) -> tuple[int, float, float] | None:
    if header.epsg is None or header.corner is None or header.pixel is None:
        return None
    _, rows, cols = header.shape
    return (
        header.epsg,
        header.corner[0] + header.pixel[0] * cols / 2,
        header.corner[1] - header.pixel[1] * rows / 2,
    )


def longitude_parts(places: Places, shares: tuple[float, float] = (0.6, 0.2)) -> NDArray[np.int8]:
    """Divide images by longitude: west for training, then validation, then test.

    Args:
        places: Where they are.
        shares: Shares of training and validation.

    Returns:
        int8 `[N]` of `Part`.
    """
    order = np.argsort(places.longitude(), kind="stable")
    ends = np.round(np.cumsum(shares) * len(order)).astype(int)
    parts = np.full(len(order), Part.TEST, np.int8)
    parts[order[: ends[0]]] = Part.TRAIN
    parts[order[ends[0] : ends[1]]] = Part.VALIDATION
    return parts
