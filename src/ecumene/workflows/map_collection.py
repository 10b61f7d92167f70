"""The verb `map` over many scenes: a collection of products on a grid of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from ecumene.catalogue.area import Area, read_area
from ecumene.catalogue.claims import STALE_SECONDS, held, sweep
from ecumene.catalogue.cluster import Address, parse_cluster, run_on_cluster
from ecumene.catalogue.collection import write_collection
from ecumene.catalogue.composites import COMPOSITES, CompositeKind
from ecumene.catalogue.execution import settle_execution
from ecumene.catalogue.grids import parse_grid
from ecumene.catalogue.period import Period, parse_period
from ecumene.catalogue.plan import CollectionPlan, Settings, plan_units, read_settings
from ecumene.catalogue.running import Summary, run_here
from ecumene.catalogue.search import scenes_of_catalogue, scenes_of_list
from ecumene.catalogue.store import PLAN_NAME, WORK, Store, open_store
from ecumene.catalogue.work import Outcome, SharedModel
from ecumene.core.errors import ConfigurationError, EcumeneError, ProductError
from ecumene.core.progress import Progress, silent
from ecumene.core.threads import available_threads
from ecumene.mapping.choosing import TREES
from ecumene.mapping.options import MapOptions
from ecumene.mapping.plan import share_cores
from ecumene.models.bundle import Model
from ecumene.models.contract import ModelSpec
from ecumene.scenes.contract import SceneSource
from ecumene.workflows.stacks import Declaration

_BATCHES = 1 << 20  # of a collection: enough for all executors
_OF_THE_RUN = {"workers", "threads", "overwrite", "backend", "precision"}


class Source(TypedDict, total=False):
    """Where scenes come from and how they become tiles; shared by planning and mapping.

    `stac` is a catalogue (folder, file, URL or API) and `collection` one of its collections; `scenes` is a text file
    of paths, or the paths; `aoi` a vector file; `period` is `START/END`; `grid` is `mgrs`, `utm:EDGE` or
    `EPSG:CODE:EDGE`; `composite` is `median`, `geomedian`, `medoid`, `least-cloudy` or `none`; `resolution` is in
    metres (default: the model's); `allowed_roots` are folders and URL prefixes that a catalogue may point to.
    """

    stac: str | Path | None
    scenes: str | Path | Sequence[str | Path] | None
    collection: str | None
    aoi: str | Path | None
    period: str | None
    grid: str
    composite: str | None
    resolution: float | None
    allowed_roots: Sequence[str | Path] | None
    mask_clouds: bool | None


@dataclass(frozen=True)
class CollectionResult:
    """What a run over many tiles left.

    Attributes:
        out: The store.
        plan: Tiles and scenes.
        summary: What became of each unit.
        notes: Sentences for the user.
    """

    out: str
    plan: CollectionPlan
    summary: Summary
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> list[Outcome]:
        """Units that could not be mapped."""
        return self.summary.failures


def plan_collection(
    model: str | Path | Model,
    *,
    declaration: Declaration | None = None,
    options: MapOptions | None = None,
    cluster: str | None = None,
    **source: Unpack[Source],
) -> CollectionPlan:
    """Find scenes and group them by tile, without reading a pixel (but masks, for `least-cloudy`).

    Args:
        model: A bundle's folder, or a loaded model.
        declaration: What the scenes' files do not say.
        options: Options of the maps.
        cluster: Where it will run; decides the threads of an executor.
        **source: See `Source`.

    Returns:
        The plan: tiles, scenes a tile, bytes to read, pixels.

    Raises:
        ConfigurationError: If an option is wrong, the area is unusable or the period runs backwards.
        SceneError: If no scene is found, or one cannot be opened.
        ContractError: If an Item lacks a band that the model needs.
    """
    bundle = Model.of(model)
    address = None if cluster is None else parse_cluster(cluster)
    chosen = options or MapOptions(probability=True)
    spec = bundle.spec
    if spec.patch_size is not None:
        raise ConfigurationError(
            f"The model {spec.name} labels whole images, which are mapped scene by scene; leave the tiles out."
        )
    composite = _composite(source.get("composite"), spec)
    grid = parse_grid(source.get("grid") or "mgrs")
    aoi = source.get("aoi")
    area = None if aoi is None else read_area(aoi)
    text = source.get("period")
    period = None if text is None else parse_period(text)
    found = _find(spec, area, period, declaration or {}, source)
    resolution = float(source.get("resolution") or spec.resolution_m)
    margin = 2 * spec.margin
    units = plan_units(found, spec, grid, area=area, composite=composite, resolution=resolution, margin=margin)
    masked = source.get("mask_clouds")
    if masked is None:
        masked = bool(spec.training.get("mask_clouds", True))
    threads = chosen.threads or _threads(address, chosen, spec)
    settings = Settings(
        model=spec.name,
        model_checksum=bundle.checksum,
        grid=grid.name,
        resolution=resolution,
        composite=composite,
        period=None if period is None else period.text,
        area_checksum="" if area is None else area.checksum,
        mask_clouds=masked,
        margin=margin,
        backend=chosen.backend,
        precision=chosen.precision,
        threads=threads,
        options={k: v for k, v in chosen.model_dump(mode="json").items() if k not in _OF_THE_RUN},
    )
    return CollectionPlan(settings, units, len(found))


def _composite(text: str | None, spec: ModelSpec) -> CompositeKind:
    """Return the composite; where the user names none, the median of one image, or the dates of a series."""
    wanted = text or ("none" if spec.temporal else "median")
    for kind in COMPOSITES:
        if kind == wanted:
            return kind
    raise ConfigurationError(f"The composite {wanted!r} is unknown; choose one of {', '.join(COMPOSITES)}.")


def _threads(address: Address | None, options: MapOptions, spec: ModelSpec) -> int:
    """Threads of an executor: as of a single map, or a worker's share of this machine, or one for workers elsewhere."""
    if address is None:
        backend = options.backend if spec.kind == "network" else spec.kind
        return share_cores(options, _BATCHES, backend)[1]
    return 1 if address.workers is None else max(1, available_threads() // address.workers)


def count_executors(settings: Settings, options: MapOptions, address: Address | None) -> int:
    """Return how many executors run side by side on a tile.

    Args:
        settings: With the threads of an executor, which a store that is continued keeps.
        options: What the user chose.
        address: Of a cluster, whose workers have one executor each; None: this process.
    """
    if address is not None:
        return 1
    most = share_cores(options, _BATCHES, settings.backend)[0]
    return most if options.workers is not None else max(1, min(most, available_threads() // settings.threads))


def _find(
    spec: ModelSpec, area: Area | None, period: Period | None, declaration: Declaration, source: Source
) -> tuple[SceneSource, ...]:
    stac, listed = source.get("stac"), source.get("scenes")
    if (stac is None) == (listed is None):
        raise ConfigurationError("Name the scenes either by --stac CATALOGUE or by --scenes LIST.")
    if listed is not None:
        return scenes_of_list(listed, area=area, period=period, declaration=dict(declaration))
    said = sorted(
        key for key in ("scale", "offset", "nodata", "unit", "time", "crs") if declaration.get(key) is not None
    )
    if said:
        raise ConfigurationError(f"A STAC catalogue says {said[0]} itself; drop --{said[0]} for it.")
    sensors = {band.sensor for band in spec.inputs}
    bands = [band.band for band in spec.inputs] if len(sensors) == 1 else None
    return scenes_of_catalogue(
        str(stac),
        collection=source.get("collection"),
        area=area,
        period=period,
        sensor=declaration.get("sensor"),
        level=declaration.get("level"),
        bands=bands,
        allowed_roots=source.get("allowed_roots"),
    )


def map_collection(
    model: str | Path | Model,
    out: str | Path,
    *,
    cluster: str | None = None,
    declaration: Declaration | None = None,
    options: MapOptions | None = None,
    progress: Progress = silent,
    **source: Unpack[Source],
) -> CollectionResult:
    """Map many scenes onto a grid of tiles: one product a tile, one STAC Collection, an index, mosaics.

    A killed run goes on with the same call. Several runs may work on one store at the same time.

    Args:
        model: A bundle's folder, or a loaded model.
        out: Folder of the collection, or an address such as `s3://bucket/prefix`.
        cluster: `local`, `local:N`, `tcp://HOST:PORT`; None: in this process.
        declaration: What the scenes' files do not say.
        options: Options of the maps.
        progress: Called with (tiles done, tiles, what).
        **source: See `Source`.

    Returns:
        What was done; tiles that failed are in `failures`, and the same call tries them again.

    Raises:
        EcumeneError: With a sentence, for unusable models, scenes, areas, options, clusters or stores.
    """
    bundle = Model.of(model)
    address = None if cluster is None else parse_cluster(cluster)
    chosen = options or MapOptions(probability=True)
    store = open_store(out)
    plan = plan_collection(bundle, declaration=declaration, options=chosen, cluster=cluster, **source)
    store.prepare()
    plan, bundle = _settle(store, plan, chosen, bundle, count_executors(plan.settings, chosen, address))
    if address is None:
        shared = SharedModel(bundle, plan.settings.model_checksum)
        executors = count_executors(plan.settings, chosen, address)
        summary = run_here(plan.units, plan.settings, store, shared, executors=executors, progress=progress)
    else:
        summary = run_on_cluster(plan.units, plan.settings, str(out), bundle, address, progress=progress)
    if len(summary.failures) == len(plan.units):
        raise error_of(summary.failures[0])
    sweep(store.claims, lambda unit: store.item(unit) is not None)
    notes = write_collection(store, plan.settings, [unit.id for unit in plan.units])
    return CollectionResult(str(out), plan, summary, notes)


def error_of(outcome: Outcome) -> EcumeneError:
    """Return the error of the kind that a failed unit ended with."""
    kinds: list[type[EcumeneError]] = [EcumeneError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
        if kind.exit_code == outcome.exit_code and kind.__module__ == EcumeneError.__module__:
            return kind(outcome.message)
    return ProductError(outcome.message)


def _settle(
    store: Store, plan: CollectionPlan, options: MapOptions, model: Model, executors: int
) -> tuple[CollectionPlan, Model]:
    """Agree with what the store holds: begin, go on, or refuse; what was left to the machine is the store's.

    Returns:
        (the plan that counts, the model as it is executed).

    Raises:
        ProductError: If the store was begun with other settings and may not be overwritten, or another run is at work.
    """
    name = f"{WORK}/{PLAN_NAME}"
    kept = _kept_settings(store, options)
    if kept is not None:
        different = _differences(kept, plan.settings, options)
        if different and not options.overwrite:
            raise ProductError(
                f"{store} holds a collection with another plan (it differs in: {', '.join(different)}); "
                "use --overwrite to replace it, or another --out."
            )
        if not different and (not options.overwrite or _same_units(store, plan, kept)):
            return _settled(replace(plan, settings=kept), model, executors)
    if options.overwrite:
        _refuse_if_busy(store)
        store.clear_tiles()
        store.prepare()
    settled, executed = _settled(plan, model, executors)
    if store.create_text(name, settled.settings.text()):
        return settled, executed
    # Another run was first.
    return _settle(store, plan, options.model_copy(update={"overwrite": False}), model, executors)


def _refuse_if_busy(store: Store) -> None:
    """Refuse to delete what another run works on; a run has claims all the time but for a moment between two tiles."""
    busy = held(store.claims)
    if busy:
        raise ProductError(
            f"Another run works on {store} (tile {busy[0]}), so it was not overwritten; stop that run or wait for its "
            f"end, and {STALE_SECONDS:.0f} s more if its machine is gone."
        )


def _settled(plan: CollectionPlan, model: Model, executors: int) -> tuple[CollectionPlan, Model]:
    settings, model = settle_execution(plan.settings, plan.units, model, executors=executors)
    return replace(plan, settings=settings), model


def _kept_settings(store: Store, options: MapOptions) -> Settings | None:
    """Return the settings that a store began with; None for a new one, or one of another version to overwrite."""
    text = store.read_text(f"{WORK}/{PLAN_NAME}")
    try:
        return None if text is None else read_settings(text, str(store))
    except ProductError:
        if not options.overwrite:
            raise
        return None


def _differences(kept: Settings, wanted: Settings, options: MapOptions) -> list[str]:
    """Return the names of settings that differ and were not left to the machine."""
    left = {"execution"}
    left |= {"backend"} if options.backend == "auto" or kept.backend == TREES else set()
    left |= {"precision"} if options.precision == "auto" else set()
    left |= {"threads"} if options.threads is None else set()
    return [
        name for name in type(kept).model_fields if name not in left and getattr(kept, name) != getattr(wanted, name)
    ]


def _same_units(store: Store, plan: CollectionPlan, kept: Settings) -> bool:
    """Whether every finished unit was made from the scenes that the plan has for it."""
    from ecumene.catalogue.work import FINGERPRINT

    for unit in plan.units:
        item: dict[str, Any] | None = store.item(unit.id)
        if item is not None and item["properties"].get(FINGERPRINT) != unit.fingerprint(kept):
            return False
    return True
