"""A study over many scenes: a collection of tiles instead of one map."""

from __future__ import annotations

from typing import Any

from ecumene.catalogue.cluster import parse_cluster
from ecumene.core.errors import ProductError
from ecumene.core.progress import Progress
from ecumene.mapping.options import MapOptions
from ecumene.models.bundle import Model
from ecumene.workflows.map_collection import Source, count_executors, map_collection, plan_collection
from ecumene.workflows.study import StudyPaths
from ecumene.workflows.study_estimate import StudyEstimate, peak_memory, resident_memory, seconds_a_pixel


def _source(paths: StudyPaths) -> Source:
    study = paths.study
    assert study.grid is not None
    inputs = study.inputs
    return Source(
        stac=None if inputs.catalogue is None else paths.resolve(inputs.catalogue),
        scenes=paths.scenes or None,
        collection=inputs.collection,
        aoi=None if study.area is None else paths.resolve(study.area),
        period=study.period,
        grid=study.grid.tiles,
        composite=study.grid.composite,
        resolution=study.grid.resolution,
        allowed_roots=[paths.resolve(root) for root in inputs.allowed_roots] or None,
        mask_clouds=inputs.mask_clouds,
    )


def _options(paths: StudyPaths, **more: Any) -> MapOptions:
    return MapOptions.of(**{"probability": True, **paths.study.map, **more})


def map_study_collection(paths: StudyPaths, progress: Progress) -> None:
    """Map the tiles of a study.

    Args:
        paths: The study.
        progress: Called with (tiles done, tiles, what).

    Raises:
        ProductError: If tiles failed; the same study goes on with them.
        EcumeneError: As `map_collection`.
    """
    assert paths.study.grid is not None
    result = map_collection(
        paths.model,
        paths.product,
        cluster=paths.study.grid.cluster,
        declaration=paths.declaration,  # type: ignore[arg-type]
        options=_options(paths),
        progress=progress,
        **_source(paths),
    )
    if result.failures:
        first = result.failures[0]
        raise ProductError(
            f"{len(result.failures)} of {len(result.plan.units)} tiles failed, {first.unit} by: {first.message} "
            "The same study tries them again."
        )


def estimate_collection(paths: StudyPaths, stages: tuple[str, ...]) -> StudyEstimate:
    """Return what a collection costs; catalogues are searched, but no pixel is read.

    Args:
        paths: The study.
        stages: Names of its stages.
    """
    assert paths.study.grid is not None
    if not (paths.model / "model.json").is_file():
        return StudyEstimate(stages, notes=("The model is not trained yet, so tiles and costs are not known.",))
    model = Model.load(paths.model)
    options = _options(paths)
    plan = plan_collection(
        model,
        declaration=paths.declaration,  # type: ignore[arg-type]
        options=options,
        cluster=paths.study.grid.cluster,
        **_source(paths),
    )
    frames = max((len({str(source.time) for source in unit.sources}) for unit in plan.units), default=1)
    cluster = paths.study.grid.cluster
    workers = count_executors(plan.settings, options, None if cluster is None else parse_cluster(cluster))
    before = resident_memory()
    a_pixel = seconds_a_pixel(model, options, frames=frames, threads=plan.settings.threads)
    a_run = max(0, peak_memory() - before)
    return StudyEstimate(
        stages,
        tiles=len(plan.units),
        pixels=plan.pixels,
        bytes_to_read=plan.bytes_to_read,
        seconds=a_pixel * plan.pixels / workers,
        memory_bytes=peak_memory() + (workers - 1) * a_run,
        notes=("Time is that of one worker; memory is that of one worker without its tile.",),
    )
