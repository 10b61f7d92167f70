"""Heights from interferograms: unwrapped pair by pair, or searched jointly in the wrapped phases of all pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress
from ecumene.physics.few_baseline import estimate_heights
from ecumene.physics.interferometry.geometry import RadarGeometry
from ecumene.physics.interferometry.height import HeightMap, combine_heights, phase_to_height
from ecumene.physics.interferometry.network import PairNetwork
from ecumene.physics.interferometry.reference import around_reference, choose_reference, require_data
from ecumene.workflows.insar_input import RasterStack
from ecumene.workflows.insar_layers import height_layers, height_results
from ecumene.workflows.number_layers import Layer

if TYPE_CHECKING:
    from ecumene.workflows.insar import InsarOptions

_RADIUS = 2  # pixels around the reference point whose mean phase is taken
Made = tuple[list[Layer], NDArray[np.bool_], dict[str, Any]]


def unwrapped_heights(
    phase: NDArray[np.float64],
    quality: NDArray[np.float64],
    network: PairNetwork,
    geometry: RadarGeometry,
    options: InsarOptions,
    progress: Progress,
) -> Made:
    """Turn unwrapped phases into heights, combined by inverse variance.

    Args:
        phase: Unwrapped and referenced, radians, `[M, H, W]`.
        quality: Coherence, `[M, H, W]`.
        network: The pairs.
        geometry: Of the radar.
        options: Of the verb.
        progress: Called with (done, total, what).

    Returns:
        Layers, mapped pixels, figures.

    Raises:
        ConfigurationError: If the pairs state no baselines, or one is zero.
    """
    baselines = _baselines(network)
    progress(0, 1, "heights")
    maps = [
        phase_to_height(band, baseline, geometry, np.nan_to_num(coherent), options.looks)
        for band, baseline, coherent in zip(phase, baselines, quality, strict=True)
    ]
    combined = combine_heights(maps)
    return height_layers(combined), combined.valid, height_results(combined, geometry, baselines)


def joint_heights(
    given: NDArray[Any],
    quality: NDArray[np.float64],
    network: PairNetwork,
    geometry: RadarGeometry,
    options: InsarOptions,
    point: tuple[int, int] | None,
) -> Made:
    """Search one height a pixel in the phases of all pairs together; see `few_baseline.estimate_heights`.

    Args:
        given: Complex interferograms or phases in radians, wrapped or not, `[M, H, W]`.
        quality: Coherence, `[M, H, W]`.
        network: The pairs.
        geometry: Of the radar.
        options: Of the verb, with `height_range_m`.
        point: Row and column of height zero; None: the mean phase of the image.

    Returns:
        Layers, mapped pixels, figures.

    Raises:
        ConfigurationError: If baselines are missing or all equal, or the range is empty.
        ContractError: If an interferogram has no data at the reference.
    """
    if options.height_range_m is None:
        raise ConfigurationError("A joint search needs a range of heights.")
    baselines = _baselines(network)
    usable = np.isfinite(given) & np.isfinite(quality) & (quality >= max(options.minimum_coherence, 1e-6))
    angle = np.angle(given) if np.iscomplexobj(given) else np.asarray(given, np.float64)
    unit = np.where(usable, np.exp(1j * np.where(usable, angle, 0.0)), 0.0)
    turned = unit * np.exp(-1j * _reference_phase(unit * np.nan_to_num(quality), point))[:, None, None]
    coherence = np.where(usable, turned * np.clip(quality, 0.0, 0.999), np.nan)
    shape = coherence.shape[1:]
    found = estimate_heights(
        coherence.reshape(len(coherence), -1),
        np.full(coherence[0].size, options.looks),
        baselines,
        geometry.wavelength_m,
        float(np.mean(geometry.slant_range_m)),
        float(np.mean(geometry.incidence_deg)),
        options.height_range_m,
        passes=geometry.passes,
        sign=-geometry.sign,  # a positive baseline lowers the phase of what is high, see `RadarGeometry`
    )
    heights = HeightMap(
        found.height_m.reshape(shape),
        found.standard_deviation_m.reshape(shape),
        found.outlier.reshape(shape),
        found.valid.reshape(shape),
    )
    results = height_results(heights, geometry, baselines)
    return height_layers(heights), heights.valid, results | {"method": "joint search in wrapped phases"}


def reference_point(
    phase: NDArray[Any], quality: NDArray[np.float64], text: str, stack: RasterStack
) -> tuple[int, int] | None:
    """Return the reference's row and column; None for the whole image.

    Args:
        phase: Phases or complex interferograms `[M, H, W]`; NaN without data.
        quality: Coherence.
        text: `auto`, `median` or `X,Y`.
        stack: For the grid.

    Raises:
        ConfigurationError: If the text is none of these.
    """
    if text == "median":
        return None
    if text == "auto":
        return choose_reference(np.abs(phase) if np.iscomplexobj(phase) else phase, quality)
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"The reference {text!r} is neither auto, median nor a point X,Y in the grid's system."
        ) from error
    inverse = ~stack.geobox.affine
    row, col = inverse.d * x + inverse.e * y + inverse.f, inverse.a * x + inverse.b * y + inverse.c
    return int(np.floor(row)), int(np.floor(col))


def _baselines(network: PairNetwork) -> NDArray[np.float64]:
    if network.baselines_m is None:
        raise ConfigurationError("Heights need perpendicular baselines; add a column bperp_m to the table of pairs.")
    return network.baselines_m


def _reference_phase(weighted: NDArray[np.complex128], point: tuple[int, int] | None) -> NDArray[np.float64]:
    total = around_reference(weighted, point, _RADIUS).sum(axis=(1, 2))
    require_data(total != 0)
    return np.asarray(np.angle(total))
