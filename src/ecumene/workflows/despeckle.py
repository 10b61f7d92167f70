"""The verb `despeckle`: reflectivity with its error bar from a radar scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.progress import Progress, silent
from ecumene.mapping.checksums import InputRecord, input_records, time_text
from ecumene.mapping.product import Product
from ecumene.physics.speckle.bootstrap import error_bar_factor
from ecumene.physics.speckle.looks import independent_share, scene_looks
from ecumene.physics.speckle.result import Despeckled
from ecumene.physics.speckle.slc import complex_share
from ecumene.workflows.array_product import (
    ArrayProduct,
    ExtraFile,
    check_free,
    input_record,
    write_array_product,
)
from ecumene.workflows.number_layers import flag_layers, number_layer
from ecumene.workflows.stacks import Declaration, open_sources

METHODS = ("refined-lee", "gamma-map", "nonlocal", "merlin")
_STRIP = 1024
_DB = 10.0 / np.log(10.0)
_OUTLIER = "1 where the speckle model does not hold (point targets, improbable values); distrust the error bar"


@dataclass(frozen=True)
class _Radar:
    """A radar scene in memory: intensities or complex values `[bands, H, W]`."""

    values: NDArray[Any]
    bands: tuple[str, ...]
    unit: str
    geobox: GeoBox
    inputs: tuple[InputRecord, ...]
    time: str | None

    @property
    def complex(self) -> bool:
        """Whether it is single-look complex."""
        return bool(np.iscomplexobj(self.values))


def despeckle(
    scene: str | Path,
    out: str | Path,
    *,
    method: str = "nonlocal",
    looks: float | None = None,
    share: float | None = None,
    window: int | None = None,
    search: int = 21,
    network: str | Path | None = None,
    steps: int = 600,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Product:
    """Remove speckle from a radar scene: value, standard deviation, outlier, valid.

    Args:
        scene: Backscatter (linear power or dB), or a complex GeoTIFF (single-look).
        out: Folder of the product.
        method: `refined-lee`, `gamma-map`, `nonlocal`, or `merlin` (a network that trains itself on the scene; complex
            scenes only).
        looks: Equivalent number of looks; None: 1 for complex scenes, else estimated from the scene.
        share: Independent share of neighbouring pixels; None: estimated from the scene.
        window: Edge of window or patch in pixels; None: 7.
        search: Edge of the searched window of `nonlocal`.
        network: Weights for `merlin` from an earlier run; None: train on this scene.
        steps: Training steps of `merlin`.
        seed: Of the training.
        overwrite: Replace a product in `out`.
        progress: Called with (done, total, what).
        **declaration: What the files do not say.

    Returns:
        The product, in the unit of the scene.

    Raises:
        ConfigurationError: If the method or an option is wrong.
        ContractError: If the scene is no backscatter, or `merlin` meets intensities.
        SceneError: If the scene cannot be read.
        ProductError: If the product cannot be written.
    """
    if method not in METHODS:
        raise ConfigurationError(f"There is no despeckling method {method!r}; choose one of: {', '.join(METHODS)}.")
    folder = check_free(Path(out), overwrite)
    radar = _open(scene, declaration)
    if method == "merlin":
        if not radar.complex:
            raise ContractError(
                "The network learns from both parts of a complex image; give the SLC, or choose nonlocal."
            )
        results, found = _merlin(radar, folder, network, steps, seed, progress)
    else:
        results, found = _filtered(radar, method, looks, share, window or 7, search, progress)
    parameters = {"method": method, "window": window or 7, "search": search, "seed": seed, "steps": steps}
    files = _networks(folder, len(radar.bands)) if method == "merlin" and network is None else {}
    return write_array_product(folder, replace(_product(radar, method, results, parameters, found), files=files))


def _networks(folder: Path, bands: int) -> dict[str, ExtraFile]:
    """Networks that were trained on the scene, one a band."""
    about = "Weights; the option network takes them for scenes of the same sensor."
    return {
        f"network-{band}": ExtraFile(
            folder / f"network-{band}.safetensors", "application/vnd.safetensors", f"network of band {band}", about
        )
        for band in range(1, bands + 1)
    }


def _open(scene: str | Path, declaration: Declaration) -> _Radar:
    path = Path(scene)
    complex_ = path.is_file() and path.suffix.lower() in {".tif", ".tiff"} and _is_complex(path)
    if complex_:
        return _open_complex(path, declaration)
    sources = open_sources([scene], **declaration)
    if len(sources) != 1:
        raise ConfigurationError("One scene at a time is despeckled; name a single acquisition.")
    source = sources[0]
    units = {band.unit for band in source.bands}
    if source.quantity != "backscatter" or len(units) != 1:
        raise ContractError(
            f"The scene {source.id} is {source.quantity}, not backscatter; speckle is a matter of radar."
        )
    from ecumene.scenes.reading import read_bands

    values = read_bands(source, source.band_names, source.geobox)
    return _Radar(
        values, source.band_names, units.pop(), source.geobox, input_records([source]), time_text(source.time)
    )


def _is_complex(path: Path) -> bool:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as dataset:
            return bool(str(dataset.dtypes[0]).startswith("complex"))
    except RasterioError as error:
        raise SceneError(f"{path} cannot be opened as a raster; is it damaged?") from error


def _open_complex(path: Path, declaration: Declaration) -> _Radar:
    import rasterio
    from rasterio.errors import RasterioError

    try:
        with rasterio.open(path) as dataset:
            values = dataset.read()
            names = tuple(name or f"band-{k}" for k, name in enumerate(dataset.descriptions, 1))
            crs = declaration.get("crs") or dataset.crs
            shape, transform = dataset.shape, dataset.transform
    except RasterioError as error:
        raise SceneError(f"{path} cannot be read whole; is it damaged?") from error
    listed = declaration.get("bands")
    names = tuple(listed) if listed is not None else names
    if len(names) != len(values):
        raise ConfigurationError(f"{len(names)} bands are declared, but {path.name} has {len(values)}.")
    record = input_record(path.stem, str(declaration.get("sensor") or "sar"), [path])
    when = declaration.get("time")
    time = time_text(np.datetime64(str(when))) if isinstance(when, str) else None
    return _Radar(values, names, "linear power", GeoBox(shape, transform, crs), (record,), time)


def _intensity(radar: _Radar, band: int) -> NDArray[np.float64]:
    values = radar.values[band]
    if radar.complex:
        return np.asarray(np.abs(values.astype(np.complex128)) ** 2)
    return np.asarray(10.0 ** (values.astype(np.float64) / 10.0) if radar.unit == "dB" else values.astype(np.float64))


def _filter(
    method: str, looks: float, share: float, window: int, search: int
) -> tuple[Callable[[Any], Despeckled], int]:
    """Return the filter of one band and the pixels that a strip needs around it."""
    from ecumene.physics.speckle.nonlocal_filter import nonlocal_means
    from ecumene.physics.speckle.window_filters import gamma_map, refined_lee

    if method == "nonlocal":

        def run(image: Any) -> Despeckled:
            return nonlocal_means(image, looks, patch=window, search=search, independent_share=share)

        return run, 2 * (search // 2 + window // 2)
    chosen = refined_lee if method == "refined-lee" else gamma_map

    def run_window(image: Any) -> Despeckled:
        return chosen(image, looks, window=window, independent_share=share)

    return run_window, window


def _filtered(
    radar: _Radar,
    method: str,
    looks: float | None,
    share: float | None,
    window: int,
    search: int,
    progress: Progress,
) -> tuple[list[Despeckled], dict[str, Any]]:
    """Filter every band in strips of rows, which bounds the memory of the filters."""
    results: list[Despeckled] = []
    found: dict[str, Any] = {}
    for band, name in enumerate(radar.bands):
        image = _intensity(radar, band)
        if share is not None:
            part = share
        else:
            part = complex_share(radar.values[band]) if radar.complex else independent_share(image)
        if looks is not None:
            level, error = looks, None
        elif radar.complex:
            level, error = 1.0, None
        else:
            estimate = scene_looks(image, independent_share=part)
            # Power has one look at least; an estimate below it has met texture in place of a homogeneous area.
            level, error = max(estimate.value, 1.0), estimate.standard_deviation
        found[name] = {"looks": level, "looks_standard_deviation": error, "independent_share": part}
        run, margin = _filter(method, level, part, window, search)
        strips = []
        for row in range(0, len(image), _STRIP):
            top, bottom = max(row - margin, 0), min(row + _STRIP + margin, len(image))
            strips.append(_cut(run, image[top:bottom], row - top, min(_STRIP, len(image) - row)))
            progress(band * len(image) + min(row + _STRIP, len(image)), len(radar.bands) * len(image), "rows")
        whole = Despeckled(
            *(
                np.concatenate([getattr(strip, field) for strip in strips])
                for field in ("value", "standard_deviation", "looks", "flags")
            )
        )
        if method == "nonlocal":  # its weights have seen the speckle that they average
            factor = error_bar_factor(run, whole, level, independent_share=part)
            found[name]["error_bar_factor"] = round(factor, 4)
            whole = replace(whole, standard_deviation=factor * whole.standard_deviation)
        results.append(whole)
    return results, found


def _cut(run: Callable[[Any], Despeckled], image: NDArray[np.float64], start: int, rows: int) -> Despeckled:
    with np.errstate(invalid="ignore"):
        empty = not (np.isfinite(image) & (image > 0.0)).any()
    if empty:
        nothing = np.full((rows, image.shape[1]), np.nan)
        return Despeckled(nothing, nothing, nothing, np.ones(nothing.shape, np.uint8))
    result = run(image)
    place = slice(start, start + rows)
    return Despeckled(result.value[place], result.standard_deviation[place], result.looks[place], result.flags[place])


def _merlin(
    radar: _Radar, out: Path, network: str | Path | None, steps: int, seed: int, progress: Progress
) -> tuple[list[Despeckled], dict[str, Any]]:
    from ecumene.core.optional import require

    require("torch")
    from ecumene.training.merlin import apply_merlin, load_merlin, save_merlin, train_merlin

    results, found = [], {}
    for band, name in enumerate(radar.bands):
        model = (
            load_merlin(network)
            if network is not None
            else train_merlin(radar.values[band], steps=steps, seed=seed, progress=progress)
        )
        if network is None:
            save_merlin(out / f"network-{band + 1}.safetensors", model)
        results.append(apply_merlin(model, radar.values[band]))
        found[name] = {"looks": 1.0, "training_loss": [round(loss, 6) for loss in model.losses]}
    return results, found


def _product(
    radar: _Radar, method: str, results: list[Despeckled], parameters: dict[str, Any], found: dict[str, Any]
) -> ArrayProduct:
    value = np.stack([result.value for result in results])
    error = np.stack([result.standard_deviation for result in results])
    if radar.unit == "dB":
        # The logarithm of a log-normal value with this mean and deviation: 4.34 error / value where that is small, and
        # no error of tens of decibels where it is not.
        with np.errstate(divide="ignore", invalid="ignore"):
            error, value = _DB * np.sqrt(np.log1p((error / value) ** 2)), 10.0 * np.log10(value)
    valid = np.asarray(np.stack([result.valid for result in results]).all(axis=0))
    outlier = np.asarray(np.stack([result.outlier for result in results]).any(axis=0))
    looks = np.stack([result.looks for result in results])
    layers = [
        number_layer("value", radar.unit, "backscatter without speckle", value, "value", radar.bands),
        number_layer("uncertainty", radar.unit, "standard deviation of value", error, "uncertainty", radar.bands),
        number_layer(
            "looks", "1", "equivalent number of looks of the mean that value rests on", looks, bands=radar.bands
        ),
        *flag_layers(outlier, valid, _OUTLIER),
    ]
    return ArrayProduct(
        name=f"despeckle-{method}",
        title=f"Backscatter despeckled by {method}",
        lineage=f"Speckle removed by {method}, band by band, in linear power; the error bar is the method's own.",
        geobox=radar.geobox,
        layers=layers,
        valid=valid,
        inputs=radar.inputs,
        start=radar.time,
        end=radar.time,
        parameters=parameters,
        results=found,
    )
