"""Spectral indices by name, from the catalogue of Awesome Spectral Indices (Montero et al. 2023).

The catalogue (through spyndex) gives formula, symbols and default constants; the formula is evaluated
here over its syntax tree, with arithmetic only, so that no text is executed and that every division has
its denominator guarded. Source: Montero, Aybar, Mahecha, Martinuzzi, Soechting and Wieneke (2023),
Scientific Data 10, 197.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.optional import require
from ecumene.scenes.common_names import common_bands
from ecumene.scenes.contract import Channel

MINIMUM_DENOMINATOR = 1e-6
"""A quotient whose denominator is smaller is NaN."""

_POLARISATIONS = ("HH", "HV", "VH", "VV")
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


def list_indices(sensor: str | None = None, bands: Sequence[str] | None = None, domain: str | None = None) -> list[str]:
    """Return names of indices.

    Args:
        sensor: Only those that this sensor's bands allow.
        bands: Only with these of the sensor's bands; None means all.
        domain: Only those of one application domain (`vegetation`, `water`, `urban`, `snow`, `burn`,
            `soil`, `radar`, ...).

    Raises:
        ConfigurationError: If the sensor is unknown.
        MissingDependencyError: If spyndex is not installed.
    """
    spyndex = require("spyndex")
    available: set[str] | None = None
    if sensor is not None:
        from ecumene.sensors import get_sensor

        names = [band.name for band in get_sensor(sensor).bands] if bands is None else list(bands)
        available = set(_symbols(sensor, names))
    found = []
    for name in spyndex.indices:
        index = spyndex.indices[name]
        needed = _needed_bands(index.bands)
        known = all(symbol in spyndex.bands or symbol in _POLARISATIONS for symbol in needed)
        if known and (available is None or needed <= available) and domain in (None, index.application_domain):
            found.append(name)
    return sorted(found)


def _needed_bands(symbols: Sequence[str]) -> set[str]:
    """Symbols of a formula that are no constants."""
    constants = require("spyndex").constants
    return {symbol for symbol in symbols if symbol not in constants}


def _symbols(sensor: str | None, names: Sequence[str]) -> dict[str, str]:
    """Return the catalogue's band symbol to band name (a name may also be a common name or a symbol)."""
    spyndex = require("spyndex")
    by_common = common_bands(sensor, names) if sensor is not None else {}
    found = {}
    for symbol in spyndex.bands:
        common = spyndex.bands[symbol].common_name
        if common in by_common:
            found[symbol] = by_common[common]
        elif common in names:
            found[symbol] = common
        elif symbol in names and sensor is None:
            found[symbol] = symbol
    found |= {name: name for name in names if name in _POLARISATIONS}
    return found


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Evaluate a formula's syntax tree: numbers, symbols and arithmetic."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in values:
        return values[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_evaluate(node.operand, values)
    if isinstance(node, ast.BinOp):
        left, right = _evaluate(node.left, values), _evaluate(node.right, values)
        if isinstance(node.op, ast.Div):
            small = np.abs(right) < MINIMUM_DENOMINATOR
            return np.where(small, np.nan, left / np.where(small, 1.0, right))
        if isinstance(node.op, ast.Pow):  # a root of a negative number has no value
            return np.power(np.asarray(left, np.float64), right)
        if type(node.op) in _BINARY:
            return _BINARY[type(node.op)](left, right)
    raise ConfigurationError("The index has a formula that is not plain arithmetic; compute it by hand.")


def spectral_index(name: str, bands: Mapping[str, Any], *, sensor: str | None = None, **constants: float) -> Any:
    """Compute an index by its short name (`NDVI`, `NDWI`, `NDBI`, `EVI`, ...).

    Args:
        name: Name in the catalogue (upper and lower case matter), see `list_indices`.
        bands: Arrays or an `xarray.Dataset` with physical values (reflectance 0..1; backscatter as
            linear power; an array whose `units` are dB is converted), by band name if `sensor` is given
            or the data set carries it, else by common name (`nir`, `red`) or the catalogue's symbol.
        sensor: Sensor whose band names are used.
        **constants: Values of the formula's constants (`L=0.5`), instead of the catalogue's.

    Returns:
        float32 array, or DataArray for a data set; NaN where a band is NaN or a denominator vanishes.

    Raises:
        ConfigurationError: If the index or a constant is unknown, or the constant has no default.
        ContractError: If a band that the index needs is missing.
        MissingDependencyError: If spyndex is not installed.
    """
    spyndex = require("spyndex")
    if name not in spyndex.indices:
        raise ConfigurationError(f"There is no spectral index {name!r}; list_indices() gives the names.")
    index = spyndex.indices[name]
    if sensor is None:
        sensor = getattr(bands, "attrs", {}).get("sensor")
    names = [str(key) for key in (bands.data_vars if hasattr(bands, "data_vars") else bands)]
    symbols = _symbols(sensor, names)
    missing = sorted(symbol for symbol in _needed_bands(index.bands) if symbol not in symbols)
    if missing:
        described = [spyndex.bands[s].long_name if s in spyndex.bands else s for s in missing]
        raise ContractError(
            f"The index {name} needs {', '.join(described)}, which is not among the bands {', '.join(names)}; "
            "choose another index or add the band."
        )
    values: dict[str, Any] = {s: _linear(bands[symbols[s]]) for s in _needed_bands(index.bands)}
    values |= _constants(name, index.bands, _wavelengths(sensor, index.bands) | constants)
    with np.errstate(all="ignore"):
        result = np.asarray(_evaluate(ast.parse(index.formula, mode="eval").body, values), np.float64)
    result = np.where(np.isfinite(result), result, np.nan).astype(np.float32)
    template = bands[symbols[next(iter(_needed_bands(index.bands)))]]
    if hasattr(template, "copy") and hasattr(template, "dims"):
        labelled = template.copy(data=result)
        labelled.attrs = {"units": "1", "long_name": index.long_name}
        return labelled.rename(name)
    return result


def _wavelengths(sensor: str | None, symbols: Sequence[str]) -> dict[str, float]:
    """Return the constants `lambda...` of a formula: the bands' centre wavelengths in nanometres."""
    wanted = [symbol for symbol in symbols if symbol.startswith("lambda")]
    if sensor is None or not wanted:
        return {}
    from ecumene.sensors import get_sensor

    described = get_sensor(sensor)
    bands = _symbols(sensor, [band.name for band in described.bands])
    found = {}
    for symbol in wanted:
        if symbol.removeprefix("lambda") in bands:
            wavelength = described.band(bands[symbol.removeprefix("lambda")]).center_wavelength_um
            if wavelength is not None:
                found[symbol] = 1000 * wavelength
    return found


def _constants(name: str, symbols: Sequence[str], given: Mapping[str, float]) -> dict[str, float]:
    """Return the constants of a formula, given ones first."""
    catalogue = require("spyndex").constants
    unknown = [key for key in given if key not in symbols or key not in catalogue]
    if unknown:
        raise ConfigurationError(f"The index {name} has no constant {', '.join(unknown)}; leave it out.")
    values = {}
    for symbol in symbols:
        if symbol in catalogue:
            value = given.get(symbol, catalogue[symbol].default)
            if value is None:
                raise ConfigurationError(f"The index {name} needs a value for its constant {symbol}; give one.")
            values[symbol] = float(value)
    return values


def _linear(values: Any) -> NDArray[np.float64]:
    """Return values as float64, decibels as linear power."""
    array = np.asarray(values, np.float64)
    return 10 ** (array / 10) if getattr(values, "attrs", {}).get("units") == "dB" else array


def channel_index(
    name: str, image: NDArray[np.floating], channels: Sequence[Channel], **constants: float
) -> NDArray[np.float32]:
    """Compute an index on the pixels of a stack.

    Args:
        name: Name in the catalogue.
        image: `[..., C, H, W]` as `Block.image`.
        channels: The stack's channels; those of the first sensor that has all bands are used.
        **constants: As for `spectral_index`.

    Returns:
        float32 `[..., H, W]`.

    Raises:
        ContractError: If no sensor of the stack has the bands.
        ConfigurationError: If the index is unknown.
    """
    problem: ContractError | None = None
    for sensor in dict.fromkeys(channel.sensor for channel in channels):
        bands = {}
        for position, channel in enumerate(channels):
            if channel.sensor == sensor:
                values = image[..., position, :, :].astype(np.float64)
                bands[channel.band] = 10 ** (values / 10) if channel.unit == "dB" else values
        try:
            result: NDArray[np.float32] = spectral_index(name, bands, sensor=sensor, **constants)
            return result
        except ContractError as error:
            problem = problem or error
    raise problem or ContractError("The stack has no channels to compute an index from.")
