"""From stored numbers to physical values, in one pass and without copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError
from ecumene.scenes.contract import BandSource, SceneSource

_EXACT_IN_FLOAT32 = {"uint8", "int8", "uint16", "int16", "float16", "float32"}


def thermal_constants(source: SceneSource, band: str) -> tuple[float, float] | None:
    """Return (k1, k2) of a thermal band of `source.properties["thermal"]`, or None.

    Raises:
        ContractError: If the constants are there but not two positive numbers.
    """
    thermal = source.properties.get("thermal")
    constants = thermal.get(band) if isinstance(thermal, Mapping) else None
    if constants is None:
        return None
    try:
        k1, k2 = float(constants["k1"]), float(constants["k2"])
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError(f"The thermal constants of {band} in {source.id} need the numbers k1 and k2.") from error
    if not (k1 > 0 and k2 > 0):
        raise ContractError(f"The thermal constants k1 and k2 of {band} in {source.id} must be positive.")
    return k1, k2


def missing_pixels(raw: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Return where stored values mean "no data", or None if that can be nowhere.

    Args:
        raw: Stored values of one band, any real type.
        nodata: Declared value; NaN and values that the type cannot hold are allowed. Values that are
            not finite are always missing.
    """
    if raw.dtype.kind == "f":
        missing: NDArray[np.bool_] = ~np.isfinite(raw)
        if nodata is not None and np.isfinite(nodata):
            with np.errstate(over="ignore"):
                missing |= raw == raw.dtype.type(nodata)
        return missing
    if nodata is None or not np.isfinite(nodata) or nodata != int(nodata):
        return None
    limits = np.iinfo(raw.dtype)
    if not limits.min <= nodata <= limits.max:
        return None
    equal: NDArray[np.bool_] = raw == raw.dtype.type(int(nodata))
    return equal


def calibrate(
    raw: NDArray[Any],
    band: BandSource,
    out: NDArray[np.float32],
    thermal: tuple[float, float] | None = None,
) -> None:
    """Write physical = stored * scale + offset of one band into `out`, NaN where there is no data.

    A thermal band's linear part is spectral radiance L in W/(m2 sr um); its brightness temperature is
    T = k2 / ln(k1 / L + 1) in kelvin (USGS, Landsat 8-9 Data Users Handbook, section 5.4).

    Args:
        raw: Stored values `[H, W]`.
        band: Scale, offset and nodata.
        out: float32 `[H, W]`, overwritten; may be a view.
        thermal: (k1 in the unit of L, k2 in kelvin) for a brightness temperature.

    Raises:
        ContractError: If the stored values are complex.
    """
    if raw.dtype.kind not in "iuf":
        raise ContractError(
            f"Band {band.name} of {band.href} holds {raw.dtype} values; convert them to intensity or phase first."
        )
    with np.errstate(invalid="ignore", over="ignore"):
        if raw.dtype.name in _EXACT_IN_FLOAT32:
            if band.scale == 1.0:
                np.copyto(out, raw, casting="unsafe")
            else:
                np.multiply(raw, np.float32(band.scale), out=out, dtype=np.float32)
            if band.offset != 0.0:
                out += np.float32(band.offset)
        else:  # 32-bit integers and doubles lose digits if they become float32 before the scale
            np.copyto(out, raw * np.float64(band.scale) + np.float64(band.offset), casting="unsafe")
        missing = missing_pixels(raw, band.nodata)
        if missing is not None:
            np.copyto(out, np.float32(np.nan), where=missing)
        if thermal is not None:
            k1, k2 = thermal
            radiance = np.where(out > 0, out, np.float32(np.nan))  # no temperature radiates nothing
            np.divide(np.float32(k2), np.log1p(np.float32(k1) / radiance), out=out)
