"""The verb `unmix`: shares of materials in every pixel, each with its error bar."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.mapping.checksums import input_records, time_text
from ecumene.mapping.product import ITEM_NAME, Product
from ecumene.physics.unmixing import (
    CONSTRAINTS,
    estimate_residual_correlation,
    hysime,
    n_findr,
    ppi,
    robust_limit,
    unmix,
    vca,
)
from ecumene.physics.unmixing.constrained import Constraint
from ecumene.scenes.stack import SceneStack
from ecumene.workflows.array_product import ArrayProduct, ExtraFile, check_free, write_array_product
from ecumene.workflows.number_layers import Layer, flag_layers, number_layer
from ecumene.workflows.spectral_library import SpectralLibrary, library_for, read_library, write_library
from ecumene.workflows.stacks import Declaration, open_stack
from ecumene.workflows.unmix_picture import draw_shares

EXTRACTION = ("vca", "n-findr", "ppi")
_STRIP = 256  # rows read at once
_SAMPLE = 100_000  # pixels that endmembers, residual correlation and outlier limit are learnt from
_MAXIMUM_HYSIME = 30
_OUTLIER = "1 where the materials do not explain the spectrum; its shares must not be trusted"


@dataclass(frozen=True)
class _Learnt:
    """What the first pass over the scene gives."""

    library: SpectralLibrary
    correlation: NDArray[np.float64]
    limit: float
    found: dict[str, Any]


def unmix_scene(
    cube: str | Path,
    out: str | Path,
    *,
    endmembers: str | Path = "auto",
    constraint: Constraint = "fcls",
    extraction: str = "vca",
    seed: int = 0,
    mask_clouds: bool = True,
    overwrite: bool = False,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Product:
    """Unmix a scene: abundances, standard deviation, residual, outlier, valid.

    Standard deviations use each pixel's residual variance and the residuals' correlation along the spectrum,
    learnt from a sample of the scene; a pixel is an outlier if its residual lies beyond the outer fence of the
    sample's. The endmembers are written beside the layers as `endmembers.csv`, which `endmembers` accepts.

    Args:
        cube: One acquisition.
        out: Folder of the product.
        endmembers: CSV file (see `spectral_library.read_library`), in the scene's unit; `auto:6` finds six in the
            scene, `auto` as many as HySime tells.
        constraint: See `physics.unmixing.unmix`. Bands that are empty in the whole scene are left out.
        extraction: How `auto` finds them: `vca`, `n-findr` or `ppi`.
        seed: Of the extraction and of the sample.
        mask_clouds: Treat clouds and shadows as nodata.
        overwrite: Replace a product in `out`.
        progress: Called with (rows done, rows, what).
        **declaration: What the files do not say.

    Returns:
        The product.

    Raises:
        ConfigurationError: If an option or the library is wrong, or endmembers are linearly dependent.
        ContractError: If library and scene have other bands, or the scene is a series.
        SceneError: If no pixel is valid, or pixels cannot be read.
        ProductError: If the folder cannot be written to or holds a product.
    """
    wanted = _parse_endmembers(endmembers)
    if constraint not in CONSTRAINTS or extraction not in EXTRACTION:
        raise ConfigurationError(
            f"constraint is one of {', '.join(CONSTRAINTS)} and extraction one of {', '.join(EXTRACTION)}."
        )
    stack = open_stack(cube, mask_clouds=mask_clouds, **declaration)
    if len(stack.times) != 1 or len({channel.unit for channel in stack.channels}) != 1:
        raise ContractError("Unmixing needs one acquisition whose bands have one unit; give a single scene.")
    folder = check_free(Path(out), overwrite)
    whole = stack
    stack = _with_data(stack)
    learnt = _learn(stack, wanted, constraint, extraction, seed)
    learnt.found["bands_without_data"] = [c.band for c in whole.channels if c not in stack.channels]
    (folder / ITEM_NAME).unlink(missing_ok=True)  # from here on the folder holds no finished product
    layers, valid = _map(stack, learnt, constraint, progress)
    parameters: dict[str, Any] = {
        "endmembers": "library" if isinstance(wanted, Path) else "auto",
        "constraint": constraint,
    }
    parameters |= {"extraction": None if isinstance(wanted, Path) else extraction, "seed": seed}
    table, picture = folder / "endmembers.csv", folder / "shares.png"
    product = ArrayProduct(
        name=f"unmix-{constraint}",
        title=f"Abundances of {len(learnt.library.materials)} materials",
        lineage=(
            f"Linear unmixing ({constraint}) with {len(learnt.library.materials)} endmembers; error bars from each "
            "pixel's residual and the residuals' correlation along the spectrum."
        ),
        geobox=stack.geobox,
        layers=layers,
        valid=valid,
        inputs=input_records(stack.sources),
        start=time_text(stack.times[0]),
        end=time_text(stack.times[0]),
        parameters=parameters,
        results=learnt.found,
        files={
            "endmembers": ExtraFile(table, "text/csv", "endmembers", "Spectrum of every material in these bands."),
            "shares": ExtraFile(picture, "image/png", "shares of all materials", roles=("overview",)),
        },
    )
    write_library(table, learnt.library)
    draw_shares(picture, layers[0][1], learnt.library.materials)
    return write_array_product(folder, product)


def _parse_endmembers(text: str | Path) -> Path | int | None:
    """Return a file, a number of endmembers, or None for HySime's number."""
    match = re.fullmatch(r"auto(?::(\d+))?", str(text))
    if match is None:
        return Path(text)
    if match[1] is None:
        return None
    if int(match[1]) < 2:
        raise ConfigurationError("Unmixing needs at least two endmembers; write for example --endmembers auto:6.")
    return int(match[1])


def _with_data(stack: SceneStack) -> SceneStack:
    """Return the stack without bands that are empty everywhere, as the water vapour bands of many products are."""
    height, width = (int(size) for size in stack.geobox.shape)
    seen = np.zeros(len(stack.channels), bool)
    for row in range(0, height, _STRIP):
        seen |= np.isfinite(stack.read(Window(row, 0, min(_STRIP, height - row), width)).image[0]).any(axis=(1, 2))
        if seen.all():
            return stack
    if not seen.any():
        raise SceneError("No band of the scene has data, so there is nothing to unmix; check nodata value and mask.")
    return stack.select([channel.key for channel, kept in zip(stack.channels, seen, strict=True) if kept])


def _strips(stack: SceneStack) -> Iterator[tuple[Window, NDArray[np.float32]]]:
    """Yield windows of whole rows with their spectra `[P, B]`, NaN in all bands where one has no data."""
    height, width = (int(size) for size in stack.geobox.shape)
    for row in range(0, height, _STRIP):
        window = Window(row, 0, min(_STRIP, height - row), width)
        image = stack.read(window).image[0]
        spectra = np.ascontiguousarray(image.reshape(len(image), -1).T)
        spectra[~np.isfinite(spectra).all(axis=1)] = np.nan
        yield window, spectra


def _sample(stack: SceneStack, seed: int) -> NDArray[np.float64]:
    """Return valid spectra `[N, B]`, at most `_SAMPLE`, drawn evenly over the rows."""
    generator = np.random.default_rng(seed)
    height, width = (int(size) for size in stack.geobox.shape)
    share = min(1.0, _SAMPLE / (height * width))
    parts = []
    for _, spectra in _strips(stack):
        usable = spectra[np.isfinite(spectra[:, 0])]
        parts.append(usable if share == 1.0 else usable[generator.random(len(usable)) < share])
    sample = np.concatenate(parts).astype(np.float64)
    if len(sample) == 0:
        raise SceneError("No pixel has data in all bands, so there is nothing to unmix; check nodata value and mask.")
    return sample


def _learn(stack: SceneStack, wanted: Path | int | None, constraint: Constraint, extraction: str, seed: int) -> _Learnt:
    bands = tuple(channel.band for channel in stack.channels)
    found: dict[str, Any] = {"bands": list(bands)}
    given = None
    if isinstance(wanted, Path):  # before the pixels: a wrong library should not cost a pass over the scene
        given = read_library(wanted)
        spectra = library_for(given, stack.channels[0].sensor, bands)
    sample = _sample(stack, seed)
    if given is not None:
        library = SpectralLibrary(given.materials, spectra, bands=bands)
    else:
        library, number = _extract(sample, bands, wanted if isinstance(wanted, int) else None, extraction, seed)
        found["hysime_dimension"] = number
    fit = unmix(sample, library.spectra, constraint=constraint)
    correlation = estimate_residual_correlation(sample, library.spectra)
    limit = robust_limit(fit.residual_rms)
    found |= {
        "materials": list(library.materials),
        "endmembers": [[float(f"{value:.9g}") for value in column] for column in library.spectra.T],
        "sampled_pixels": len(sample),
        "residual_limit": float(f"{limit:.9g}"),
    }
    return _Learnt(library, correlation, limit, found)


def _extract(
    sample: NDArray[np.float64], bands: tuple[str, ...], count: int | None, extraction: str, seed: int
) -> tuple[SpectralLibrary, int | None]:
    number = None
    if count is None:
        number = hysime(sample).dimension
        count = min(max(number, 2), _MAXIMUM_HYSIME, len(bands))
    if extraction == "vca":
        ends = vca(sample, count, seed=seed)
    elif extraction == "n-findr":
        ends = n_findr(sample, count, seed=seed)
    else:
        ends, _ = ppi(sample, count, seed=seed)
    names = tuple(f"endmember {k + 1}" for k in range(count))
    return SpectralLibrary(names, ends.spectra, bands=bands), number


def _map(
    stack: SceneStack, learnt: _Learnt, constraint: Constraint, progress: Progress
) -> tuple[list[Layer], NDArray[np.bool_]]:
    height, width = (int(size) for size in stack.geobox.shape)
    p = len(learnt.library.materials)
    value, error = np.empty((p, height, width), np.float32), np.empty((p, height, width), np.float32)
    residual = np.empty((1, height, width), np.float32)
    outlier, valid = np.empty((1, height, width), np.uint8), np.empty((height, width), np.bool_)
    for window, spectra in _strips(stack):
        progress(window.row, height, "rows")
        result = unmix(
            spectra,
            learnt.library.spectra,
            constraint=constraint,
            residual_correlation=learnt.correlation,
            residual_limit=learnt.limit,
        )
        rows, shape = slice(window.row, window.row_stop), (window.height, width)
        value[:, rows] = result.value.T.reshape(p, *shape)
        error[:, rows] = result.standard_deviation.T.reshape(p, *shape)
        residual[0, rows] = result.residual_rms.reshape(shape)
        outlier[0, rows] = result.outlier.reshape(shape)
        # A spectrum of zeros has no shares under `scaled`.
        valid[rows] = (result.valid & np.isfinite(result.value).all(axis=1)).reshape(shape)
    progress(height, height, "rows")
    names, unit = learnt.library.materials, stack.channels[0].unit
    layers = [
        number_layer("abundance", "1", "share of each material", value, "value", names),
        number_layer("uncertainty", "1", "standard deviation of the shares", error, "uncertainty", names),
        number_layer("residual", unit, "root mean square of what the materials leave over", residual),
        *flag_layers(outlier[0], valid, _OUTLIER),
    ]
    return layers, valid
