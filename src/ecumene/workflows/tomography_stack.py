"""Reads a stack of coregistered single-look complex images and the table that says how it was acquired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, SceneError
from ecumene.physics.tomography.geometry import StackGeometry, make_geometry

if TYPE_CHECKING:
    import pandas as pd

_DRIVERS = ("GTiff", "ENVI")  # of files that point to no other file
_SECONDS_A_YEAR = 365.25 * 86400.0
_CONSTANTS = {"wavelength_m": "--wavelength", "slant_range_m": "--slant-range", "incidence_deg": "--incidence"}


@dataclass(frozen=True)
class ComplexStack:
    """Files of one stack, all on one grid.

    Attributes:
        paths: One file an acquisition, in the order of the table.
        shape: Rows and columns.
        crs: Coordinate reference system as WKT or EPSG code; None in radar geometry.
        transform: Affine coefficients a..f; the identity in radar geometry.
        times: UTC times, if the table has them.
        factors: Complex factors that put the reference pixel to phase 0, `[N]`.
    """

    paths: tuple[Path, ...]
    shape: tuple[int, int]
    crs: str | None
    transform: tuple[float, float, float, float, float, float]
    times: tuple[np.datetime64, ...] | None
    factors: NDArray[np.complex128]

    def read(self, first_row: int, rows: int, step: int = 1) -> NDArray[np.complex128]:
        """Read full rows of all acquisitions, `[N, ceil(rows / step), W]`; rows outside are zero (no data).

        Raises:
            SceneError: If a file cannot be read.
        """
        import rasterio
        from rasterio.errors import RasterioError
        from rasterio.windows import Window

        result = np.zeros((len(self.paths), rows, self.shape[1]), np.complex128)
        top, bottom = max(first_row, 0), min(first_row + rows, self.shape[0])
        for n, path in enumerate(self.paths):
            try:
                with rasterio.open(path) as source:
                    part = source.read(1, window=Window(0, top, self.shape[1], bottom - top))
            except RasterioError as error:
                raise SceneError(f"{path} cannot be read ({str(error)[:150]}); is it whole?") from error
            result[n, top - first_row : bottom - first_row] = part
        return np.asarray(result[:, ::step] * self.factors[:, None, None])


def open_complex_stack(
    scenes: Sequence[str | Path],
    table: str | Path,
    *,
    wavelength_m: float | None = None,
    slant_range_m: float | None = None,
    incidence_deg: float | None = None,
    passes: int = 2,
    sign: int = 1,
    motion: Sequence[str] = (),
    reference: tuple[int, int] | None = None,
) -> tuple[ComplexStack, StackGeometry]:
    """Open a stack and its geometry.

    Args:
        scenes: One complex raster an acquisition, coregistered, atmosphere and topography removed.
        table: CSV with a row an acquisition: `baseline_m`, and as needed `file`, `time` (UTC), `temperature_c`,
            `wavelength_m`, `slant_range_m`, `incidence_deg`. Without `file`, rows are in the order of `scenes`.
        wavelength_m: Radar wavelength, where the table has none; so are the following.
        slant_range_m: Distance from sensor to scene.
        incidence_deg: Incidence angle.
        passes: 2 for repeat pass, 1 for bistatic.
        sign: Phase convention, see `StackGeometry`.
        motion: Motion models.
        reference: Row and column of a pixel that is put to elevation 0 and no motion.

    Returns:
        The stack and its geometry.

    Raises:
        ConfigurationError: If the table lacks something, or does not fit the files.
        SceneError: If a file is missing, not complex, or on another grid than the first.
    """
    rows = _table(table)
    paths = _ordered([Path(scene) for scene in scenes], rows, table)
    constants = {
        "wavelength_m": wavelength_m,
        "slant_range_m": slant_range_m,
        "incidence_deg": incidence_deg,
    }
    chosen = {name: _constant(rows, name, given) for name, given in constants.items()}
    times = _times(rows, table)
    years = None
    if times is not None:
        stamps = np.array(times, "datetime64[s]")
        years = (stamps - stamps.min()).astype(np.float64) / _SECONDS_A_YEAR
        # Seasons are counted from the first of January, so that their phase has a meaning.
        start = stamps.min().astype("datetime64[Y]").astype("datetime64[s]")
        years = years + float((stamps.min() - start).astype(np.float64)) / _SECONDS_A_YEAR
    geometry = make_geometry(
        _numbers(rows, "baseline_m", table),
        chosen["wavelength_m"],
        chosen["slant_range_m"],
        chosen["incidence_deg"],
        times_years=years,
        temperatures_c=_numbers(rows, "temperature_c", table) if "temperature_c" in rows else None,
        passes=passes,
        sign=sign,
        motion=tuple(motion),
    )
    return _open(paths, times, reference), geometry


def _table(path: str | Path) -> pd.DataFrame:
    import pandas as pd

    try:
        rows = pd.read_csv(path, skipinitialspace=True)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(f"The stack table {path} cannot be read as CSV ({str(error)[:100]}).") from error
    rows.columns = [str(name).strip().lower() for name in rows.columns]
    if "baseline_m" not in rows or len(rows) == 0:
        raise ConfigurationError(f"The stack table {path} needs a column baseline_m (perpendicular baseline, metres).")
    return rows


def _numbers(rows: pd.DataFrame, name: str, path: str | Path) -> NDArray[np.float64]:
    import pandas as pd

    values = pd.to_numeric(rows[name], errors="coerce").to_numpy(np.float64)
    if not np.isfinite(values).all():
        raise ConfigurationError(f"Row {int(np.argmin(np.isfinite(values))) + 1} of {path} has no number in {name}.")
    return np.asarray(values)


def _constant(rows: pd.DataFrame, name: str, given: float | None) -> float:
    if given is not None:
        return float(given)
    if name not in rows:
        raise ConfigurationError(
            f"The stack's {name.rsplit('_', 1)[0].replace('_', ' ')} is not known; add a column {name} to the table "
            f"or give {_CONSTANTS[name]}."
        )
    return float(np.mean(_numbers(rows, name, "the stack table")))


def _times(rows: pd.DataFrame, path: str | Path) -> tuple[np.datetime64, ...] | None:
    import pandas as pd

    if "time" not in rows:
        return None
    moments = pd.to_datetime(rows["time"], utc=True, errors="coerce", format="ISO8601")
    if moments.isna().any():
        raise ConfigurationError(f"A time in {path} is not a date such as 2018-04-01 or 2018-04-01T05:30:00Z.")
    return tuple(moments.dt.tz_localize(None).to_numpy().astype("datetime64[s]"))


def _ordered(scenes: list[Path], rows: pd.DataFrame, path: str | Path) -> tuple[Path, ...]:
    if len(scenes) != len(rows):
        raise ConfigurationError(
            f"{len(scenes)} images are given, but {path} has {len(rows)} rows; they must be as many."
        )
    if "file" not in rows:
        return tuple(scenes)
    by_name = {scene.name: scene for scene in scenes}
    names = [Path(str(name).strip()).name for name in rows["file"]]
    missing = [name for name in names if name not in by_name]
    if missing or len(set(names)) != len(names):
        raise ConfigurationError(
            f"{path} names {missing[0] if missing else 'a file twice'}, which does not fit the images given."
        )
    return tuple(by_name[name] for name in names)


def _open(
    paths: tuple[Path, ...], times: tuple[np.datetime64, ...] | None, reference: tuple[int, int] | None
) -> ComplexStack:
    headers = [_header(path) for path in paths]
    first = headers[0]
    for path, header in zip(paths, headers, strict=True):
        if header["shape"] != first["shape"] or header["crs"] != first["crs"]:
            raise SceneError(f"{path} is not on the grid of {paths[0].name}; coregister the stack first.")
        if not np.allclose(header["transform"], first["transform"], atol=1e-3 * abs(first["transform"][0])):
            raise SceneError(f"{path} is not on the grid of {paths[0].name}; coregister the stack first.")
    stack = ComplexStack(
        paths, first["shape"], first["crs"], first["transform"], times, np.ones(len(paths), np.complex128)
    )
    if reference is None:
        return stack
    row, col = reference
    if not (0 <= row < stack.shape[0] and 0 <= col < stack.shape[1]):
        raise ConfigurationError(
            f"The reference pixel {row},{col} lies outside of the {stack.shape[0]} x {stack.shape[1]} images."
        )
    values = stack.read(row, 1)[:, 0, col]
    if not (np.isfinite(values).all() and (np.abs(values) > 0).all()):
        raise ConfigurationError(f"The reference pixel {row},{col} has no data in all acquisitions; choose another.")
    factors = np.asarray(np.conj(values) / np.abs(values), np.complex128)
    return ComplexStack(paths, stack.shape, stack.crs, stack.transform, times, factors)


def _header(path: Path) -> dict[str, Any]:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    if not path.is_file():
        raise SceneError(f"There is no file {path}; check the path.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # radar geometry has none
            with rasterio.open(path) as source:
                driver, kinds = source.driver, source.dtypes
                shape, crs, transform = source.shape, source.crs, tuple(source.transform)[:6]
    except RasterioError as error:
        raise SceneError(f"{path} is not a GeoTIFF or ENVI image ({str(error)[:100]}).") from error
    if driver not in _DRIVERS:
        raise SceneError(f"{path} is a {driver} file; give GeoTIFF or ENVI images.")
    if not kinds[0].startswith("complex"):
        raise SceneError(f"{path} holds {kinds[0]} numbers; tomography needs complex images (amplitude and phase).")
    text = None
    if crs:
        code = crs.to_epsg()
        text = f"EPSG:{code}" if code else crs.to_wkt()
    return {"shape": shape, "crs": text, "transform": transform}
