"""The verb `trust`: how far a model can be believed, and where a label would help it most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, EcumeneError
from ecumene.core.files import ensure_writable_folder, sha256_of, write_json
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model, plain
from ecumene.scenes.contract import Stack
from ecumene.trust.acquisition import DEFAULT_STRATEGY, STRATEGIES, Strategy
from ecumene.workflows import trust_figures as figures
from ecumene.workflows import trust_places as places
from ecumene.workflows.outliers import fit_tardis
from ecumene.workflows.shift import shift_report
from ecumene.workflows.stacks import Declaration, Paths, as_paths, open_stack
from ecumene.workflows.trust_number_places import (
    NumberCells,
    check_number_strategy,
    collect_number_cells,
    describe_number_places,
)
from ecumene.workflows.trust_numbers import number_figures, number_results
from ecumene.workflows.trust_page import write_trust_page
from ecumene.workflows.trust_pixels import Asker, HonestLabels, honest_labels, number_of, results_at

TRUST_NAME = "trust.json"
REPORT_NAME = "report.html"
PLACES_NAME = "label_next.gpkg"


@dataclass(frozen=True)
class TrustReport:
    """What is known about a model's honesty.

    Attributes:
        folder: Where it was written.
        figures: All figures as JSON values: `labels`, `outliers`, `cost`, `shift`, `label_next`, `notes`,
            `sparsification`; of classes also `calibration` and `class_sets`, of a number `errors`, `error_bars` and
            `intervals`.
    """

    folder: Path
    figures: dict[str, Any]

    @property
    def report(self) -> Path:
        """The page."""
        return self.folder / REPORT_NAME

    @property
    def places(self) -> Path:
        """The GeoPackage of places to label next."""
        return self.folder / PLACES_NAME


def trust_report(
    model: str | Path | Model,
    scenes: Paths,
    labels: str | Path,
    out: str | Path,
    *,
    label_field: str | None = None,
    wild: Paths | None = None,
    teach: str | Path | None = None,
    n_places: int = 20,
    place_pixels: int = places.PLACE_PIXELS,
    strategy: str = DEFAULT_STRATEGY,
    mask_clouds: bool | None = None,
    seed: int = 0,
    threads: int | None = None,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> TrustReport:
    """Judge a model by labels that it has not learned from, and say where to label next.

    Args:
        model: A bundle's folder, or a loaded model, of classes or of one number.
        scenes: One path an acquisition, as for `map_scenes`.
        labels: Vector file or raster. Of the file that the training read only its test part is used.
        out: Folder for `report.html`, `trust.json` and `label_next.gpkg`.
        label_field: Column of the class or number; None: `class`, or the name of the model's number.
        wild: Scenes of other places or dates: is it noticed that they are strange?
        teach: Write the model here with an outlier detector that has learned the wild scenes (TARDIS).
        n_places: How many places to label next.
        place_pixels: Side of a place.
        strategy: Of `trust.acquisition.choose_places`.
        mask_clouds: Treat clouds as nodata; None: as in the training. Wild scenes are never masked.
        seed: Of ties and of the random strategy.
        threads: Threads of the model; None: all cores.
        progress: Called with (done, total, what).
        **declaration: `sensor`, `level`, ... where the files do not say it; for wild scenes too.

    Returns:
        The report.

    Raises:
        ConfigurationError: If an option is wrong, or the model maps neither classes nor one number.
        LabelError: If no label is left that the model has not learned from, or none lies on valid data.
        ContractError: If scenes do not fit the model.
        ProductError: If the folder cannot be written to.
    """
    if strategy not in STRATEGIES:
        raise ConfigurationError(f"The strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}.")
    if n_places < 1:
        raise ConfigurationError("The number of places to label next must be at least 1.")
    if teach is not None and wild is None:
        raise ConfigurationError("To teach the outlier detector what is strange, name scenes with --wild.")
    bundle = Model.of(model)
    if bundle.spec.patch_size is not None:
        raise ConfigurationError(
            f"The model {bundle.spec.name} labels whole images, and labels of pixels cannot judge it; judge it by "
            "images: `ecumene trust MODEL --data FOLDER`."
        )
    if number_of(bundle) is not None:
        check_number_strategy(strategy)
    masked = bool(bundle.spec.training.get("mask_clouds", True)) if mask_clouds is None else mask_clouds
    stack = bundle.match(open_stack(scenes, mask_clouds=masked, **declaration))
    chosen = honest_labels(bundle, labels, label_field, stack)
    strangers = _wild_stacks(bundle, wild, declaration)
    asker = Asker(bundle, stack, threads)
    results, judged = _judge(asker, chosen, progress)
    notes = [] if chosen.origin == "held out" else [chosen.sentence]
    scores = {name: figures.scene_scores(Asker(bundle, other, threads)) for name, other in strangers.items()}
    found: dict[str, Any] = {
        "model": bundle.spec.name,
        "labels": {
            "file": Path(labels).name,
            "sha256": sha256_of(labels),
            "origin": chosen.origin,
            "sentence": chosen.sentence,
        },
        **judged,
        "outliers": figures.outlier_figures(bundle, results, scores),
        "cost": figures.cost_figures(asker),
        "shift": _shifts(bundle, {"these scenes": stack, **strangers}, notes),
    }
    if teach is not None:
        found["taught"] = _teach(bundle, stack, strangers, chosen, Path(teach), threads, seed, notes)
    folder = ensure_writable_folder(out)
    found["label_next"] = _label_next(
        asker, chosen, n_places, place_pixels, strategy, seed, folder / PLACES_NAME, notes, progress
    )
    found["notes"] = notes
    report = TrustReport(folder, plain(found))
    write_json(folder / TRUST_NAME, report.figures)
    write_trust_page(folder / REPORT_NAME, report.figures, asker)
    return report


def _judge(asker: Asker, labels: HonestLabels, progress: Progress) -> tuple[figures.Scored, dict[str, Any]]:
    """Return what the model says at labels, and the figures that only classes or only numbers have."""
    if labels.numbers is not None:
        numbers = number_results(asker, labels, progress)
        return numbers, number_figures(asker, numbers)
    results = results_at(asker, labels, progress)
    return results, {
        "calibration": figures.calibration_figures(results),
        "class_sets": figures.set_figures(asker.model, results),
        "sparsification": figures.sparsification_figures(results),
    }


def _wild_stacks(model: Model, wild: Paths | None, declaration: Declaration) -> dict[str, Stack]:
    """Return the wild scenes that fit the model, by name: one a scene, or all together for a series model."""
    if wild is None:
        return {}
    paths = as_paths(wild)
    groups = {"the wild scenes": paths} if model.spec.temporal else {_name(path): [path] for path in paths}
    stacks: dict[str, Stack] = {}
    for name, group in groups.items():
        try:
            stacks[name] = model.match(open_stack(group, mask_clouds=False, **declaration))
        except ContractError as error:
            raise ContractError(f"The wild scenes do not fit: {error}") from error
    return stacks


def _name(path: str) -> str:
    return Path(path.split("+")[0]).name


def _shifts(model: Model, stacks: dict[str, Stack], notes: list[str]) -> dict[str, Any]:
    """Return the shift report of each scene, where the model knows enough of its training data."""
    found: dict[str, Any] = {}
    for name, stack in stacks.items():
        try:
            found[name] = shift_report(model, stack).to_dict()
        except EcumeneError as error:
            notes.append(str(error))
    return found


def _teach(
    model: Model,
    stack: Stack,
    wild: dict[str, Stack],
    labels: HonestLabels,
    out: Path,
    threads: int | None,
    seed: int,
    notes: list[str],
) -> dict[str, Any]:
    """Fit TARDIS on the scenes, write the model, and return what it flags of labels and of wild scenes."""
    taught, fit = fit_tardis(model, stack, list(wild.values()), seed=seed)
    asker = Asker(taught, stack, threads)
    scores = {name: figures.scene_scores(Asker(taught, other, threads)) for name, other in wild.items()}
    taught.save(out)
    notes.append(
        "The taught detector has learned these wild scenes: what it flags of them says how well it has learned, not "
        "how it will do elsewhere."
    )
    return {
        "layer": fit.layer,
        "known_pixels": fit.known,
        "wild_pixels": fit.wild,
        "outliers": figures.outlier_figures(taught, _judge(asker, labels, silent)[0], scores),
    }


def _label_next(
    asker: Asker,
    labels: HonestLabels,
    count: int,
    side: int,
    strategy: Any,
    seed: int,
    path: Path,
    notes: list[str],
    progress: Progress,
) -> dict[str, Any]:
    """Choose the places, write them, and return what the report says of them."""
    kind: Strategy = strategy
    classes = labels.numbers is None
    collect = places.collect_cells if classes else collect_number_cells
    cells: places.Cells = collect(asker, labels.raster, progress, side=side)
    if len(cells) == 0:
        notes.append("Every place with data holds a label already, so that there is none to label next.")
        return {"places": [], "candidates": 0, "strategy": strategy, "file": None}
    chosen: NDArray[Any] = places.choose_cells(cells, count, kind, labels.raster, seed)
    rows = _described(asker, cells, chosen, strategy)
    places.write_places(path, cells, chosen, rows, asker.stack.geobox)
    if not cells.complete:
        notes.append("The scene is large: places to label were looked for in evenly spread tiles of it.")
    return {
        "places": [
            {**row, "row": int(cells.row[number]), "column": int(cells.col[number])}
            for row, number in zip(rows, chosen, strict=True)
        ],
        "candidates": len(cells),
        "strategy": strategy,
        "pixels_on_a_side": side,
        "file": path.name,
    }


def _described(asker: Asker, cells: places.Cells, chosen: NDArray[Any], strategy: str) -> list[dict[str, Any]]:
    """Return the attributes of the chosen places."""
    legend, number = asker.model.objective.legend, number_of(asker.model)
    if isinstance(cells, NumberCells) and number is not None:
        return describe_number_places(cells, chosen, number.targets[0], number.unit, strategy)
    assert isinstance(cells, places.ClassCells)
    assert legend is not None  # honest_labels has refused other models
    return places.describe_places(cells, chosen, legend.names, strategy)
