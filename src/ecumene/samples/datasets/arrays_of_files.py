"""Named arrays in the files that hyperspectral cubes and their label maps are distributed in: MAT, ENVI, GeoTIFF."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import SceneError
from ecumene.core.optional import require

RASTERS = (".hdr", ".dat", ".img", ".bsq", ".bil", ".bip", ".tif", ".tiff")
SUFFIXES = (".mat", *RASTERS)

_HDF5 = b"MATLAB 7.3"


def find_file(folder: Path, stems: Sequence[str], suffixes: Sequence[str] = SUFFIXES) -> Path | None:
    """Return the first file of a folder with one of these names, in the order of names, then of suffixes."""
    there = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    for stem in stems:
        for suffix in suffixes:
            if found := there.get(f"{stem}{suffix}".lower()):
                return found
    return None


def array_shape(path: Path, keys: Sequence[str]) -> tuple[int, ...]:
    """Return the shape of an array without reading it: as MATLAB stores it, or (rows, columns, bands) of a raster.

    Args:
        path: The file.
        keys: Names that the array may have in a MAT file.

    Raises:
        SceneError: If the file is damaged, or has no array of these names.
    """
    if path.suffix.lower() != ".mat":
        with _raster(path) as source:
            return (source.height, source.width, source.count)
    if _is_hdf5(path):
        with _hdf5(path) as file:
            found = {name: tuple(reversed(item.shape)) for name, item in file.items() if hasattr(item, "shape")}
    else:
        found = _mat_shapes(path)
    return found[_choose(path, found, keys)]


def read_array(path: Path, keys: Sequence[str]) -> NDArray[Any]:
    """Return an array as it is stored: as MATLAB stores it, or (rows, columns, bands) of a raster.

    Raises:
        SceneError: As `array_shape`.
    """
    if path.suffix.lower() != ".mat":
        with _raster(path) as source:
            return np.moveaxis(source.read(), 0, -1)
    if _is_hdf5(path):
        with _hdf5(path) as file:
            names = {name: tuple(reversed(item.shape)) for name, item in file.items() if hasattr(item, "shape")}
            # MATLAB stores columns first, HDF5 rows first.
            return np.asarray(file[_choose(path, names, keys)][()]).T
    key = _choose(path, _mat_shapes(path), keys)
    from scipy.io import loadmat

    try:
        return np.asarray(loadmat(path, variable_names=[key])[key])
    except _MAT_ERRORS as error:
        raise _damaged(path) from error


def wavelengths_of(path: Path) -> NDArray[np.float64] | None:
    """Return the centre wavelengths in micrometres that an ENVI header or a GeoTIFF states; None where it does not."""
    if path.suffix.lower() == ".mat":
        return None
    with _raster(path) as source:
        tags = [source.tags(number) for number in range(1, source.count + 1)]
    values = [tag.get("wavelength") for tag in tags]
    units = {tag.get("wavelength_units", "").lower() for tag in tags}
    factor = (
        {"micrometers": 1.0, "um": 1.0, "nanometers": 1e-3, "nm": 1e-3}.get(units.pop()) if len(units) == 1 else None
    )
    if factor is None or any(value is None for value in values):
        return None
    return np.array([float(str(value)) for value in values]) * factor


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(_HDF5)) == _HDF5
    except OSError as error:
        raise SceneError(f"{path} cannot be read ({error.strerror or error}).") from error


_MAT_ERRORS = (ValueError, TypeError, OSError, EOFError, KeyError, NotImplementedError, MemoryError, IndexError)


def _mat_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    import zlib

    from scipy.io import whosmat
    from scipy.io.matlab import MatReadError

    try:
        return {name: tuple(shape) for name, shape, _ in whosmat(path)}
    except (*_MAT_ERRORS, MatReadError, zlib.error) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> SceneError:
    return SceneError(
        f"{path.name} is no whole MAT file, so that its download was perhaps cut short; download it again."
    )


def _hdf5(path: Path) -> Any:
    """Open a MAT file of version 7.3, which is HDF5."""
    try:
        return require("h5py").File(path, "r")
    except OSError as error:
        raise _damaged(path) from error


def _choose(path: Path, found: dict[str, tuple[int, ...]], keys: Sequence[str]) -> str:
    for key in keys:
        if key in found:
            return key
    listed = ", ".join(f"{name} ({' x '.join(map(str, shape))})" for name, shape in found.items()) or "nothing"
    wanted = " or ".join(repr(key) for key in keys)
    raise SceneError(
        f"{path.name} has no variable {wanted}, but {listed}; name the right one as cube_key or truth_key."
    )


def _raster(path: Path) -> Any:
    import rasterio
    from rasterio.errors import RasterioError

    data = path
    if path.suffix.lower() == ".hdr":
        others = [path.with_suffix(suffix) for suffix in (".dat", ".img", ".bsq", ".bil", ".bip", "")]
        data = next((other for other in others if other.is_file()), path)
        if data == path:
            raise SceneError(f"{path.name} is an ENVI header without its data file; put the data file beside it.")
    driver = "GTiff" if data.suffix.lower() in (".tif", ".tiff") else "ENVI"
    try:
        return rasterio.open(data, driver=driver)
    except RasterioError as error:
        raise SceneError(
            f"{data.name} cannot be opened as {driver}: it is damaged or truncated; fetch it again."
        ) from error
