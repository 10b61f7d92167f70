"""The verb `clear`: a series without clouds, each filled pixel with its error bar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.mapping.checksums import input_records
from ecumene.mapping.product import Product
from ecumene.restoration.contract import Sample, Target
from ecumene.restoration.holdout import choose_method, is_hidden
from ecumene.restoration.internal_learning import NAME as INTERNAL
from ecumene.restoration.internal_learning import InternalOptions
from ecumene.scenes.declaration import parse_time
from ecumene.workflows.array_product import check_free
from ecumene.workflows.clear_fill import Filler, MethodFiller, noise_of, spread_of
from ecumene.workflows.clear_internal import check_internal, internal_fillers
from ecumene.workflows.clear_product import clear_product, write_clear_product, write_list
from ecumene.workflows.clear_scenes import ClearInput, open_clear_input, take_sample
from ecumene.workflows.stacks import Declaration, Paths

_TILE_BYTES = 96 << 20  # of a tile's series in memory
SPATIAL = "spatial"
"""The method that fills a date from its own clear surroundings; only where it is asked for by name."""


def clear_scenes(
    scenes: Paths,
    out: str | Path,
    *,
    radar: Paths | None = None,
    method: str = "auto",
    model: str | Path | None = None,
    date: str = "all",
    keep_observed: bool = True,
    mask_clouds: bool = True,
    seed: int = 0,
    steps: int | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
    radar_declaration: Mapping[str, Any] | None = None,
    **declaration: Unpack[Declaration],
) -> list[Product]:
    """Fill clouds and their shadows from other dates and from radar.

    Every wanted date becomes a product: reflectance, standard deviation, state (observed, filled, beyond repair),
    outlier, valid. Methods are fitted on the series itself, and error bars recalibrated on clear pixels of it that were
    hidden under simulated clouds.

    Args:
        scenes: Optical acquisitions of one sensor and level, in any order.
        out: Folder: of the product where one date is wanted, else with a folder for every date.
        radar: Radar acquisitions; each date, and a wanted day that is none of them, uses the nearest within 12 days.
        method: `auto`, one of `ecumene.restoration.methods.METHODS`, `spatial` or `internal-learning`.
        model: Folder of a trained model instead of a method; it maps the dates to reflectances with variances.
        date: `all` dates, or one day (YYYY-MM-DD), which need not be among them.
        keep_observed: Keep measured values of clear pixels; else every pixel is estimated from the other dates.
        mask_clouds: Use the scenes' masks, and the stated rule where a scene has none.
        seed: Of the sample and of the simulated clouds, and of fitted networks.
        steps: Of `internal-learning`, for each network; None: 400, or more where there are many dates.
        overwrite: Replace products in `out`.
        progress: Called with (tiles done, tiles, what).
        radar_declaration: What the radar's files do not say.
        **declaration: What the optical files do not say.

    Returns:
        The products, ascending in time.

    Raises:
        ConfigurationError: If an option is wrong.
        ContractError: If the scenes do not belong together.
        LabelError: If the named method cannot learn from this series.
        SceneError: If a scene cannot be read.
        ProductError: If a product cannot be written.
    """
    if steps is not None and (method != INTERNAL or model is not None):
        raise ConfigurationError(f"--steps is for --method {INTERNAL} alone; leave it out.")
    if steps is not None and steps < 1:
        raise ConfigurationError(f"--steps is a number of 1 or more, not {steps}.")
    source = open_clear_input(
        scenes, radar, mask_clouds=mask_clouds, radar_declaration=radar_declaration or {}, **declaration
    )
    fitted = model is None and method == INTERNAL  # only where asked for by name, because it takes minutes
    if fitted:
        check_internal(source, keep_observed)
    targets = choose_targets(source, date)
    if len(source.days) == 1 and source.radar is None and model is None and method != SPATIAL:
        raise ConfigurationError(
            "One date alone cannot be filled; give more dates, radar by --radar, a trained --model, or "
            "--method spatial."
        )
    folders = product_folders(Path(out), targets)
    for folder in (folder for folder in folders if folder.exists()):
        check_free(folder, overwrite)  # before the work; folders are made when there is something to put into them
    progress(0, 1, "learning")
    sample = take_sample(source, seed)
    if targets[0].index is None:  # the one day that is wanted is none of the dates
        source = source.for_day(targets[0].day)
    if fitted:
        make = _network_maker(source, sample, targets, seed, steps, keep_observed, progress)
    else:
        make = _filler_maker(source, sample, targets, method, model, seed, keep_observed)
    parameters = {"method": method if model is None else "model", "keep_observed": keep_observed, "seed": seed}
    parameters |= {} if steps is None else {"steps": steps}
    products = []
    for target, folder in zip(targets, folders, strict=True):
        check_free(folder, overwrite)
        with make(target, folder) as filler:
            read = filler.source
            product = clear_product(filler, parameters, edge=tile_edge(read), inputs=input_records(read.sources))
            products.append(write_clear_product(folder, product, filler, progress))
    if len(products) > 1:
        write_list(Path(out), products)
    return products


def _filler_maker(
    source: ClearInput,
    sample: Sample,
    targets: list[Target],
    method: str,
    model: str | Path | None,
    seed: int,
    keep_observed: bool,
) -> Callable[[Target, Path], AbstractContextManager[Filler]]:
    """Return what makes the filler of a date, which lives as long as its context."""
    noise, spread = noise_of(source, sample), spread_of(sample)
    if model is not None:
        from ecumene.workflows.clear_model import SeriesMaps, model_filler, open_restoration_model
        from ecumene.workflows.clear_model_trust import trust_on_series

        bundle = open_restoration_model(model, source)
        kinds = sorted({is_hidden(sample, target.index) for target in targets})
        trust = trust_on_series(bundle, source, kinds, seed=seed)
        maps = SeriesMaps(bundle, keep_observed)
        return lambda target, folder: model_filler(
            maps, source, target, folder, noise, spread, trust[is_hidden(sample, target.index)]
        )
    if method == SPATIAL:
        from ecumene.workflows.clear_spatial import spatial_filler

        return lambda target, _: nullcontext(spatial_filler(source, target, keep_observed, noise, spread, seed))
    hidden = {target: is_hidden(sample, target.index) for target in targets}
    chosen = {whole: choose_method(sample, method, whole=whole, seed=seed) for whole in sorted(set(hidden.values()))}
    return lambda target, _: nullcontext(
        MethodFiller(source, target, keep_observed, noise, spread, chosen[hidden[target]])
    )


def _network_maker(
    source: ClearInput,
    sample: Sample,
    targets: list[Target],
    seed: int,
    steps: int | None,
    keep_observed: bool,
    progress: Progress,
) -> Callable[[Target, Path], AbstractContextManager[Filler]]:
    """Return the same of networks that are fitted to the series, once for all dates."""
    options = InternalOptions(seed=seed, steps=steps)
    noise, spread = noise_of(source, sample), spread_of(sample)
    fillers = internal_fillers(source, targets, keep_observed, noise, spread, options=options, progress=progress)
    return lambda target, _: nullcontext(fillers(target))


def choose_targets(source: ClearInput, date: str) -> list[Target]:
    """Return the days that are wanted.

    Raises:
        ConfigurationError: If the text is no day.
    """
    if date == "all":
        return [Target(float(day), index) for index, day in enumerate(source.days)]
    try:
        wanted = parse_time(date).astype("datetime64[D]")
    except ConfigurationError as error:
        raise ConfigurationError(f"--date is a day (YYYY-MM-DD) or all, not {date!r}.") from error
    if any(time is None for time in source.stack.times):
        raise ConfigurationError("The scene has no date, so that --date cannot be found in it; declare --time.")
    for index, time in enumerate(source.stack.times):
        if time is not None and time.astype("datetime64[D]") == wanted:
            return [Target(float(source.days[index]), index)]
    return [Target(float(wanted.astype(np.int64)) + 0.5)]


def product_folders(out: Path, targets: list[Target]) -> list[Path]:
    """Return the folder of each date's product: `out` for one, `out/YYYY-MM-DD` for several."""
    return [out] if len(targets) == 1 else [out / day_text(target.day) for target in targets]


def day_text(day: float) -> str:
    """Return days since 1970-01-01 as YYYY-MM-DD."""
    return str(np.datetime64(int(np.floor(day)), "D"))


def tile_edge(source: ClearInput) -> int:
    """Return the edge of a tile whose series fits into the memory that is set aside for it."""
    dates, channels = len(source.days), len(source.stack.channels)
    edge = int(np.sqrt(_TILE_BYTES / (8 * dates * channels)))
    return int(np.clip(edge // 128 * 128, 128, 1024))
