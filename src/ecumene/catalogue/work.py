"""One unit of work: claim a tile, map it, say what it is, put it into its place."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecumene.catalogue.claims import STALE_SECONDS, Claim, take_claim
from ecumene.catalogue.composites import TileStack
from ecumene.catalogue.empty import write_empty_product
from ecumene.catalogue.plan import Settings, Unit, UnitState
from ecumene.catalogue.store import Store
from ecumene.core.errors import EcumeneError, NothingToMapError, PartialResultError, ProductError
from ecumene.core.files import write_json
from ecumene.core.window import Window
from ecumene.mapping.checksums import time_text
from ecumene.mapping.contract import MapCalibration, MapDetector, MapModel
from ecumene.mapping.engine import WORK_FOLDER, map_stack
from ecumene.mapping.options import MapOptions
from ecumene.mapping.product import ITEM_NAME, open_product
from ecumene.mapping.stac_models import ItemFields
from ecumene.models.contract import Executor, ModelSpec
from ecumene.objectives.contract import Objective
from ecumene.scenes.contract import Stack
from ecumene.scenes.stack import align_scenes

FINGERPRINT = "ecumene:unit_sha256"
_RELATIONS = ("root", "parent", "collection")
_PROBE = 1024  # edge of the windows in which a tile is searched for data


@dataclass(frozen=True)
class Outcome:
    """What became of a unit."""

    unit: str
    state: UnitState
    message: str = ""
    exit_code: int = 0


@dataclass
class SharedModel:
    """A model that is used for many tiles: loaded, hashed and made executable once."""

    model: MapModel
    checksum: str = ""
    _executors: dict[tuple[Any, ...], Executor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.checksum = self.checksum or self.model.checksum

    @property
    def spec(self) -> ModelSpec:
        """What the model states."""
        return self.model.spec

    @property
    def objective(self) -> Objective:
        """What its output means."""
        return self.model.objective

    @property
    def calibration(self) -> MapCalibration | None:
        """What it adds to the output's layers."""
        return self.model.calibration

    @property
    def detector(self) -> MapDetector | None:
        """Its outlier threshold."""
        return self.model.detector

    @property
    def card(self) -> str:
        """Its model card."""
        return self.model.card

    @property
    def cells(self) -> Mapping[str, int] | None:
        """How its cells lie, if it answers for cells."""
        return self.model.cells

    def match(self, stack: Stack) -> Stack:
        """Return the stack with the model's channels."""
        return self.model.match(stack)

    def executor(self, backend: str, precision: str, threads: int | None, *more: Any, **named: Any) -> Executor:
        """Return the executor of these arguments, which is made once; one tile is mapped at a time."""
        key = (backend, precision, threads, more, tuple(sorted(named.items())))
        if key not in self._executors:
            self._executors[key] = self.model.executor(backend, precision, threads, *more, **named)
        return self._executors[key]


def map_unit(
    unit: Unit,
    settings: Settings,
    store: Store,
    model: MapModel,
    *,
    stale: float = STALE_SECONDS,
    executors: int = 1,
) -> Outcome:
    """Bring one unit to its end, whoever may have begun it.

    Args:
        unit: What to map.
        settings: What the collection's tiles have in common.
        store: Where the product goes.
        model: The model; `SharedModel` where several units are mapped.
        stale: Seconds after which a claim of another host is given up.
        executors: That run side by side, each with the settings' threads; the product does not depend on them.

    Returns:
        What became of it; a failure that the user can act on is a message, not an exception.
    """
    fingerprint = unit.fingerprint(settings)
    try:
        if _finished(store, unit, fingerprint):
            return _outcome(store, unit, "kept")
        claim = take_claim(store.claims, unit.id, stale)
        if claim is None:
            return Outcome(unit.id, "busy")
        try:
            if _finished(store, unit, fingerprint):
                return _outcome(store, unit, "kept")
            with claim.kept_alive(), store.workspace(unit.id) as folder:
                state = _make(folder, unit, settings, model, fingerprint, executors)
                _publish(store, unit, folder, claim)
            return _outcome(store, unit, state)
        finally:
            claim.release()
    except EcumeneError as error:
        return Outcome(unit.id, "failed", str(error), error.exit_code)


def _outcome(store: Store, unit: Unit, state: UnitState) -> Outcome:
    """Return the outcome of a unit whose product is there, with a message where pixels could not be decoded."""
    item = store.item(unit.id) or {"properties": {}}
    damaged = item["properties"].get("ecumene:damaged_windows") or ()
    if not damaged:
        return Outcome(unit.id, state)
    message = (
        f"{len(damaged)} part(s) of the scenes under the tile {unit.id} cannot be decoded and are not valid in it; "
        "fetch the files again and use --overwrite."
    )
    return Outcome(unit.id, state, message, PartialResultError.exit_code)


def _finished(store: Store, unit: Unit, fingerprint: str) -> bool:
    """Whether the unit's product is there.

    Raises:
        ProductError: If the product that is there was made from other scenes or settings.
    """
    item = store.item(unit.id)
    if item is None:
        return False
    if item["properties"].get(FINGERPRINT) == fingerprint:
        return True
    raise ProductError(
        f"The tile {unit.id} in the store was made from other scenes or settings; use --overwrite to make the "
        "collection again, or another --out."
    )


def _publish(store: Store, unit: Unit, folder: Path, claim: Claim) -> None:
    if not claim.is_held():
        raise ProductError(f"The tile {unit.id} was taken over by another run because this one was silent too long.")
    store.publish(unit.id, folder)


def _make(folder: Path, unit: Unit, settings: Settings, model: MapModel, fingerprint: str, executors: int) -> UnitState:
    """Fill a folder with the unit's product and nothing else."""
    made = _left_whole(folder, fingerprint)
    if made is not None:
        return made
    stack = stack_of(unit, settings, model)
    if not _has_data(stack, Window(*unit.crop)):
        return _make_empty(folder, unit, settings, fingerprint)
    ours = {"threads": settings.threads, "workers": executors, "overwrite": True}
    options = MapOptions.of(**{**settings.options, **ours})
    options = options.model_copy(update={"backend": settings.backend, "precision": settings.precision})
    try:
        map_stack(stack, model, folder, options=options, clip=_clip_of(unit), crop=Window(*unit.crop))
    except NothingToMapError:
        return _make_empty(folder, unit, settings, fingerprint)
    item_path = folder / ITEM_NAME
    item = _described(open_product(folder).item, unit, settings, fingerprint)
    write_json(item_path, item)
    shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
    return "mapped"


def _make_empty(folder: Path, unit: Unit, settings: Settings, fingerprint: str) -> UnitState:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    properties = {FINGERPRINT: fingerprint, **_tile_properties(unit, settings)}
    write_empty_product(folder, unit, settings, properties, membership(settings, []))
    return "empty"


def _left_whole(folder: Path, fingerprint: str) -> UnitState | None:
    """Return the state of a product that a killed run finished but did not publish, or None."""
    try:
        product = open_product(folder, verify=True)
    except ProductError:
        return None
    if product.properties.get(FINGERPRINT) != fingerprint:
        return None
    shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
    return "empty" if product.properties.get("ecumene:empty") else "mapped"


def stack_of(unit: Unit, settings: Settings, model: MapModel) -> TileStack:
    """Return the scenes of a unit on its padded grid, with the channels of a model."""
    keys = [band.key for band in model.spec.inputs]
    base = align_scenes(unit.sources, geobox=unit.geobox, mask_clouds=settings.mask_clouds, bands=keys)
    shares: tuple[float, ...] = ()
    if settings.composite == "least-cloudy":
        days = ["undated" if time is None else str(time.astype("datetime64[D]")) for time in base.times]
        shares = tuple(unit.shares.get(day, 0.0) for day in days)
    return TileStack(base, settings.composite, shares, unit.tile.clip)


def _has_data(stack: TileStack, crop: Window) -> bool:
    """Whether any pixel of the tile can be mapped; the search begins in the middle and ends at the first one."""
    rows, cols = (range(0, size, _PROBE) for size in (crop.height, crop.width))
    middle = (crop.height / 2, crop.width / 2)
    places = [(row, col) for row in rows for col in cols]
    places.sort(key=lambda at: (at[0] + _PROBE / 2 - middle[0]) ** 2 + (at[1] + _PROBE / 2 - middle[1]) ** 2)
    for row, col in places:
        height, width = min(_PROBE, crop.height - row), min(_PROBE, crop.width - col)
        block, damaged = stack.read_intact(Window(crop.row + row, crop.col + col, height, width))
        if damaged or block.valid.any():
            return True
    return False


def _clip_of(unit: Unit) -> Any:
    if unit.tile.clip is None:
        return None
    import geopandas

    return geopandas.GeoDataFrame(geometry=[unit.tile.clip], crs=str(unit.geobox.crs))


def membership(settings: Settings, links: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of an Item that tie it to its collection."""
    kept = [dict(link) for link in links if link["rel"] not in {"root", "parent", "collection"}]
    own = [{"rel": rel, "href": "../../collection.json", "type": "application/json"} for rel in _RELATIONS]
    return {"collection": settings.collection_id, "links": own + kept}


def _tile_properties(unit: Unit, settings: Settings) -> dict[str, Any]:
    """Return what the Item says about tile, scenes and composite."""
    properties: dict[str, Any] = {
        "ecumene:tile": unit.tile.id,
        "ecumene:grid": settings.grid,
        "ecumene:composite": settings.composite,
        "ecumene:scenes": len(unit.sources),
    }
    times = sorted(source.time for source in unit.sources if source.time is not None)
    if times and times[0] != times[-1]:
        properties |= {"datetime": None, "start_datetime": time_text(times[0]), "end_datetime": time_text(times[-1])}
    elif times:
        properties["datetime"] = time_text(times[0])
    return properties


def _described(item: Mapping[str, Any], unit: Unit, settings: Settings, fingerprint: str) -> dict[str, Any]:
    """Return the Item of a tile: named after the unit, with its scenes' period and its fingerprint."""
    properties = {**item["properties"], **_tile_properties(unit, settings), FINGERPRINT: fingerprint}
    if properties["datetime"] is not None:
        properties.pop("start_datetime", None)
        properties.pop("end_datetime", None)
    described = {**item, "id": unit.id, "properties": properties, **membership(settings, item["links"])}
    ItemFields.model_validate(described)
    return described
