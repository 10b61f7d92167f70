"""Small GeoTIFF files in memory: shape and place from the header, pixels without GDAL where they are uncompressed.

A data set of tens of thousands of patches is read file by file, and opening a file through GDAL takes several times as
long as decoding it. Baseline TIFF (TIFF 6.0, Adobe 1992, sections 2 and 8) with uncompressed strips is therefore read
here; everything else (compression, tiles, BigTIFF) goes through GDAL.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import SceneError

_TYPES = {1: ("B", 1), 2: ("c", 1), 3: ("H", 2), 4: ("I", 4), 5: ("II", 8), 11: ("f", 4), 12: ("d", 8)}
_KINDS = {1: "u", 2: "i", 3: "f"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION = 256, 257, 258, 259
_OFFSETS, _SAMPLES, _ROWS, _COUNTS, _PLANAR, _PREDICTOR, _TILE, _KIND = 273, 277, 278, 279, 284, 317, 322, 339
_PIXEL_SCALE, _TIE_POINT, _GEO_KEYS, _PROJECTED_KEY = 33550, 33922, 34735, 3072
_MOST_VALUES = 1 << 16


@dataclass(frozen=True)
class TiffHeader:
    """What the first directory of a TIFF file says.

    Attributes:
        shape: Bands, rows, columns.
        dtype: NumPy type with byte order.
        epsg: Code of the projected coordinate system, or None.
        corner: Easting and northing of the upper left corner, or None.
        pixel: Width and height of a pixel in the units of the coordinate system, or None.
        plain: Whether pixels are uncompressed strips.
        interleaved: Whether the bands of a pixel lie together.
        offsets: Where strips begin.
        lengths: Bytes of each strip.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    epsg: int | None
    corner: tuple[float, float] | None
    pixel: tuple[float, float] | None
    plain: bool
    interleaved: bool
    offsets: tuple[int, ...]
    lengths: tuple[int, ...]


def read_header(data: bytes, name: str) -> TiffHeader | None:
    """Read the header of a classic TIFF file.

    Args:
        data: The file, or its first bytes.
        name: What the file is called in errors.

    Returns:
        The header; None if it does not lie within `data`, or the file is a BigTIFF.

    Raises:
        SceneError: If this is no TIFF file.
    """
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise SceneError(f"{name} is not a TIFF file or is cut short; download it again.")
    magic, start = struct.unpack(order + "HI", data[2:8])
    if magic != 42:
        return None
    try:
        tags = _directory(data, order, start)
    except (struct.error, IndexError):
        return None
    bits = tags.get(_BITS, (1,))
    kind = _KINDS.get(int(tags.get(_KIND, (1,))[0]))
    if kind is None or len(set(bits)) != 1 or bits[0] not in (8, 16, 32, 64) or _WIDTH not in tags:
        return None
    shape = (int(tags.get(_SAMPLES, (1,))[0]), int(tags[_HEIGHT][0]), int(tags[_WIDTH][0]))
    strips = _OFFSETS in tags and _TILE not in tags
    plain = strips and tags.get(_COMPRESSION, (1,))[0] == 1 and tags.get(_PREDICTOR, (1,))[0] == 1
    scale, tie = tags.get(_PIXEL_SCALE), tags.get(_TIE_POINT)
    placed = scale is not None and tie is not None and len(tie) >= 6
    return TiffHeader(
        shape=shape,
        dtype=np.dtype(f"{order}{kind}{bits[0] // 8}"),
        epsg=_projected(tags.get(_GEO_KEYS, ())),
        corner=(tie[3] - tie[0] * scale[0], tie[4] + tie[1] * scale[1]) if placed and tie and scale else None,
        pixel=(float(scale[0]), float(scale[1])) if placed and scale else None,
        plain=plain and _COUNTS in tags,
        interleaved=tags.get(_PLANAR, (1,))[0] == 1,
        offsets=tuple(int(item) for item in tags.get(_OFFSETS, ())),
        lengths=tuple(int(item) for item in tags.get(_COUNTS, ())),
    )


def _directory(data: bytes, order: str, start: int) -> dict[int, tuple[Any, ...]]:
    """Return the numeric tags of the directory at `start`."""
    (count,) = struct.unpack_from(order + "H", data, start)
    tags: dict[int, tuple[Any, ...]] = {}
    for position in range(count):
        tag, code, number = struct.unpack_from(order + "HHI", data, start + 2 + 12 * position)
        letter, size = _TYPES.get(code, ("", 0))
        if code == 2 or not letter or number > _MOST_VALUES:  # texts are not needed
            continue
        place = start + 10 + 12 * position
        if number * size > 4:
            (place,) = struct.unpack_from(order + "I", data, place)
        tags[tag] = struct.unpack_from(f"{order}{letter * number if code == 5 else f'{number}{letter}'}", data, place)
    return tags


def _projected(keys: tuple[int, ...]) -> int | None:
    """Return the code of the projected system from a GeoKeyDirectory (OGC 19-008r4, section 7.1.2)."""
    for place in range(4, len(keys) - 3, 4):
        if keys[place] == _PROJECTED_KEY and keys[place + 1] == 0 and keys[place + 3] < 32767:
            return int(keys[place + 3])
    return None


def read_tiff(data: bytes, name: str) -> NDArray[Any]:
    """Decode a TIFF file.

    Args:
        data: The whole file.
        name: What the file is called in errors.

    Returns:
        `[bands, rows, columns]` in the stored type, native byte order.

    Raises:
        SceneError: If the file is cut short or cannot be decoded.
    """
    header = read_header(data, name)
    if header is None or not header.plain:
        return _through_gdal(data, name)
    bands, rows, cols = header.shape
    size = header.dtype.itemsize * bands * rows * cols
    if sum(header.lengths) != size or any(
        start + length > len(data) for start, length in zip(header.offsets, header.lengths, strict=False)
    ):
        raise SceneError(f"{name} is cut short; download it again.")
    parts = [data[start : start + length] for start, length in zip(header.offsets, header.lengths, strict=True)]
    flat = np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), header.dtype)
    shaped = flat.reshape(rows, cols, bands).transpose(2, 0, 1) if header.interleaved else flat.reshape(header.shape)
    native: NDArray[Any] = shaped.astype(header.dtype.newbyteorder("="), copy=False)
    return native


def _through_gdal(data: bytes, name: str) -> NDArray[Any]:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.MemoryFile(data) as memory, memory.open(driver="GTiff") as file:
                pixels: NDArray[Any] = file.read()
                return pixels
    except RasterioError as error:
        raise SceneError(f"{name} is damaged or cut short; download it again.") from error
