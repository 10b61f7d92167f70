"""The verb `retrieve`: columns of atmospheric gases from top-of-atmosphere spectra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.progress import Progress, silent
from ecumene.mapping.checksums import input_records, time_text
from ecumene.mapping.product import Product
from ecumene.physics.retrieval.bands import get_gas
from ecumene.physics.retrieval.estimation import retrieve as estimate
from ecumene.physics.retrieval.forward import ForwardModel, two_way_air_mass
from ecumene.physics.retrieval.solar import RADIANCE_FACTOR, radiance_to_reflectance
from ecumene.scenes.contract import SceneSource
from ecumene.sensors import get_sensor
from ecumene.workflows.array_product import ArrayProduct, check_free, write_array_product
from ecumene.workflows.number_layers import Layer, flag_layers, number_layer
from ecumene.workflows.stacks import Declaration, open_sources

METHODS = ("optimal-estimation", "network")
WINDOWS_UM = {
    "h2o": (0.86, 1.03),
    "o2": (0.74, 0.79),
    "co2": (1.95, 2.11),
    "ch4": (2.10, 2.42),
    "o3": (0.48, 0.68),
}
"""Spectral windows that are used for a gas unless stated: its bands with the continuum on both sides."""
_CHUNK = 4096
_SURFACE_LEVELS = ("L2", "SR", "REFLECTANCE")  # levels of the sensors' descriptions from which gases are removed
_OUTLIER = "1 where the spectrum does not fit the forward model or lies outside of the prior or the training"


@dataclass(frozen=True)
class _Columns:
    """Retrieved elements of all pixels, `[P, s]`, with `[P]` flags."""

    value: NDArray[np.float64]
    deviation: NDArray[np.float64]
    kernel: NDArray[np.float64] | None
    outlier: NDArray[np.bool_]
    valid: NDArray[np.bool_]


def retrieve(
    spectra: str | Path,
    out: str | Path,
    *,
    state: Sequence[str] = ("h2o",),
    sun_zenith_deg: float,
    view_zenith_deg: float = 0.0,
    noise: float | None = None,
    windows_um: Sequence[tuple[float, float]] | None = None,
    surface_order: int = 3,
    shift: bool = False,
    method: str = "optimal-estimation",
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Product:
    """Retrieve gas columns pixel by pixel from a cube of top-of-atmosphere radiance or reflectance.

    Args:
        spectra: Scene of a sensor whose bands have centre wavelengths.
        out: Folder of the product.
        state: Gases to retrieve; surface and path reflectance are always fitted with them.
        sun_zenith_deg: Of the scene.
        view_zenith_deg: Of the scene.
        noise: Standard deviation of one reflectance; None: the sensor's stated noise
            (reflectances only).
        windows_um: Wavelength ranges to use; None: `WINDOWS_UM` of the gases.
        surface_order: Degree of the surface's polynomial over the used bands.
        shift: Fit a wavelength shift as well.
        method: `optimal-estimation`, or `network`: an inverse network trained for this scene's geometry.
        seed: Of the network.
        overwrite: Replace a product in `out`.
        progress: Called with (done, total, what).
        **declaration: What the files do not say.

    Returns:
        The product: a layer of value and one of standard deviation for each gas, and for optimal estimation the
        diagonal of the averaging kernel.

    Raises:
        ConfigurationError: If an option is wrong.
        ContractError: If the scene is not from the top of the atmosphere, or lacks wavelengths or bands.
        ProductError: If the product cannot be written.
    """
    if method not in METHODS:
        raise ConfigurationError(f"There is no retrieval method {method!r}; choose one of: {', '.join(METHODS)}.")
    gases = tuple(get_gas(name).name for name in state)
    folder = check_free(Path(out), overwrite)
    sources = open_sources([spectra], **declaration)
    if len(sources) != 1:
        raise ConfigurationError("Columns are retrieved from one scene at a time; name a single acquisition.")
    source = sources[0]
    windows = tuple(windows_um) if windows_um is not None else tuple(WINDOWS_UM[name] for name in gases)
    names, center, width = _spectral_bands(source, windows)
    deviation = _noise(source, noise)
    forward = ForwardModel(
        center,
        width,
        two_way_air_mass(sun_zenith_deg, view_zenith_deg),
        gases,
        surface_order=surface_order,
        shift=shift,
    )
    if forward.bands < len(forward.elements):
        raise ContractError(
            f"{forward.bands} bands in the chosen windows are fewer than the {len(forward.elements)} unknowns; "
            "widen --window or lower --surface-order."
        )
    from ecumene.scenes.reading import read_bands

    cube = read_bands(source, names, source.geobox)
    pixels = _reflectances(source, cube.reshape(len(names), -1).T, center, sun_zenith_deg)
    variance = np.full(forward.bands, deviation**2)
    found = (_by_network if method == "network" else _by_estimation)(
        forward, pixels, variance, len(gases), seed, progress
    )
    options = {
        "state": list(gases),
        "method": method,
        "windows_um": [list(window) for window in windows],
        "bands": list(names),
        "air_mass": forward.air_mass,
        "noise": deviation,
        "surface_order": surface_order,
        "shift": shift,
        "seed": seed,
    }
    return write_array_product(folder, _product(source, gases, found, options))


def _spectral_bands(
    source: SceneSource, windows: Sequence[tuple[float, float]]
) -> tuple[tuple[str, ...], list[float], list[float]]:
    """Return names, centres and widths (micrometres) of the bands inside the windows."""
    surface = source.quantity == "reflectance" and source.level.upper().startswith(_SURFACE_LEVELS)
    if source.quantity not in {"reflectance", "radiance"} or surface:
        raise ContractError(
            f"The scene {source.id} is {source.quantity} at level {source.level}; retrieval needs radiance or "
            "reflectance at the top of the atmosphere, where the gases still are."
        )
    if any(not 0.2 <= low < high <= 5.0 for low, high in windows):
        raise ConfigurationError("A spectral window runs from a lower to a higher wavelength (micrometres).")
    sensor = get_sensor(source.sensor)
    chosen = []
    for name in source.band_names:
        band = sensor.band(name)
        if band.center_wavelength_um is None or band.full_width_half_max_um is None:
            raise ContractError(
                f"The band {name} of {sensor.id} has no centre wavelength and width; add them to its description."
            )
        if any(low <= band.center_wavelength_um <= high for low, high in windows):
            chosen.append((name, band.center_wavelength_um, band.full_width_half_max_um))
    if len(chosen) < 3:
        raise ContractError(f"The scene {source.id} has {len(chosen)} bands in the spectral windows; choose others.")
    return tuple(row[0] for row in chosen), [row[1] for row in chosen], [row[2] for row in chosen]


def _reflectances(
    source: SceneSource, pixels: NDArray[np.float32], center: list[float], sun_zenith_deg: float
) -> NDArray[np.float64]:
    """Return `[P, M]` reflectances at the top of the atmosphere."""
    if source.quantity == "reflectance":
        return pixels.astype(np.float64)
    factor = RADIANCE_FACTOR.get(source.unit)
    if factor is None:
        raise ContractError(
            f"The radiance unit {source.unit!r} of {source.id} is unknown; declare one of {', '.join(RADIANCE_FACTOR)}."
        )
    return radiance_to_reflectance(pixels.astype(np.float64) * factor, center, sun_zenith_deg)


def _noise(source: SceneSource, stated: float | None) -> float:
    known = get_sensor(source.sensor).level(source.level).noise if source.quantity == "reflectance" else None
    value = stated if stated is not None else known
    if value is None or not value > 0.0:
        raise ConfigurationError("The noise of the reflectances is unknown; state its standard deviation with --noise.")
    return float(value)


def _by_estimation(
    forward: ForwardModel,
    pixels: NDArray[np.float64],
    variance: NDArray[np.float64],
    count: int,
    seed: int,
    progress: Progress,
) -> _Columns:
    mean, covariance = forward.prior()
    shape = (len(pixels), count)
    value, deviation, kernel = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    outlier, valid = np.zeros(len(pixels), np.bool_), np.zeros(len(pixels), np.bool_)
    for start in range(0, len(pixels), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = estimate(forward, pixels[part], variance, mean, covariance, linear=forward.linear)
        value[part], deviation[part] = found.value[:, :count], found.standard_deviation[:, :count]
        kernel[part] = np.diagonal(found.averaging_kernel, axis1=1, axis2=2)[:, :count]
        outlier[part], valid[part] = found.outlier, found.valid
        progress(min(start + _CHUNK, len(pixels)), len(pixels), "spectra")
    return _Columns(value, deviation, kernel, outlier, valid)


def _by_network(
    forward: ForwardModel,
    pixels: NDArray[np.float64],
    variance: NDArray[np.float64],
    count: int,
    seed: int,
    progress: Progress,
) -> _Columns:
    from ecumene.core.optional import require

    require("torch")
    from ecumene.training.spectral_inverse import apply_inverse, train_inverse

    mean, covariance = forward.prior()
    model = train_inverse(forward, variance, mean, covariance, forward.names[:count], seed=seed, progress=progress)
    parts = [apply_inverse(model, pixels[start : start + 65536]) for start in range(0, len(pixels), 65536)]
    return _Columns(
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.standard_deviation for part in parts]),
        None,
        np.concatenate([part.outlier for part in parts]),
        np.concatenate([part.valid for part in parts]),
    )


def _product(source: SceneSource, gases: tuple[str, ...], found: _Columns, options: dict[str, Any]) -> ArrayProduct:
    height, width = (int(size) for size in source.geobox.shape)

    def image(values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(height, width)

    layers: list[Layer] = []
    for k, name in enumerate(gases):
        unit, value, deviation = get_gas(name).unit, image(found.value[:, k]), image(found.deviation[:, k])
        layers += [
            number_layer(name, unit, f"vertical column of {name}", value, "value"),
            number_layer(f"{name}-deviation", unit, f"standard deviation of {name}", deviation, "uncertainty"),
        ]
        if found.kernel is not None:
            about = f"averaging kernel of {name}: 1 where the spectrum decides, 0 where the prior does"
            layers.append(number_layer(f"{name}-kernel", "1", about, image(found.kernel[:, k])))
    layers += flag_layers(image(found.outlier), image(found.valid), _OUTLIER)
    time = time_text(source.time)
    median = {name: float(np.nanmedian(found.value[:, k])) for k, name in enumerate(gases) if found.valid.any()}
    return ArrayProduct(
        name=f"retrieve-{options['method']}",
        title=f"Columns of {', '.join(gases)}",
        lineage=f"Retrieved by {options['method']} with a band-absorption model from {len(options['bands'])} bands.",
        geobox=source.geobox,
        layers=layers,
        valid=image(found.valid),
        inputs=input_records([source]),
        start=time,
        end=time,
        parameters=options,
        results={
            "median": median,
            "outlier_share": float(found.outlier[found.valid].mean()) if found.valid.any() else None,
        },
    )
