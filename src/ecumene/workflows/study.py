"""The verb `run`: a study, stage by stage; a finished stage is kept while what it was made from is the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ecumene.core import events
from ecumene.core.errors import ConfigurationError, EcumeneError, ProductError
from ecumene.core.files import ensure_writable_folder, sha256_of, write_json
from ecumene.core.progress import Progress, silent
from ecumene.workflows.study_file import Study, Training, read_study

STATE = "study.json"


def _fingerprint(path: str) -> str:
    """Return what changes when a file or folder changes: names, sizes and, for single files, the checksum."""
    found = Path(path)
    if found.is_file():
        return sha256_of(found)
    if found.is_dir():
        files = sorted(file for file in found.rglob("*") if file.is_file())
        listing = [(str(file.relative_to(found)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return hashlib.sha256(json.dumps(listing).encode()).hexdigest()
    return "absent"


@dataclass(frozen=True)
class Stage:
    """One step of a study.

    Attributes:
        name: `train`, `map`, `assess` or `report`.
        recipe: Everything that decides its result.
        output: File or folder that it writes.
        run: Does it.
    """

    name: str
    recipe: Mapping[str, Any]
    output: Path
    run: Callable[[], None]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the recipe."""
        return hashlib.sha256(json.dumps(self.recipe, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class StudyPaths:
    """Where a study reads and writes, as absolute paths.

    Attributes:
        study: As read.
        base: Folder of its file.
    """

    study: Study
    base: Path

    def resolve(self, path: str) -> str:
        """Return a path of the file relative to the file's folder; addresses and joined files stay as they are."""
        if "://" in path:
            return path
        return "+".join(str(Path(self.base, part)) for part in path.split("+"))

    @property
    def out(self) -> Path:
        """Folder of the results."""
        return Path(self.resolve(self.study.out))

    @property
    def model(self) -> Path:
        """The bundle: the given one, or the one that the study trains."""
        given = self.study.model.bundle
        return self.out / "model" if given is None else Path(self.resolve(given))

    @property
    def product(self) -> Path:
        """The map, or the store of tiles."""
        return self.out / ("store" if self.study.grid is not None else "product")

    @property
    def holdout(self) -> Path:
        """Labels that the training did not see."""
        return self.out / "holdout.gpkg"

    @property
    def reference(self) -> Path | None:
        """Reference labels of the assessment."""
        named = self.study.indicators.reference
        if named is None:
            return None
        return self.holdout if named == "holdout" else Path(self.resolve(named))

    @property
    def scenes(self) -> list[str]:
        """Scenes to map."""
        return [self.resolve(scene) for scene in self.study.inputs.scenes]

    @property
    def declaration(self) -> dict[str, Any]:
        """What the study says about its scenes."""
        given = self.study.inputs.declare.model_dump(exclude_none=True)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}


@dataclass
class _State:
    """Digests of finished stages, kept in the study's folder."""

    path: Path
    done: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> _State:
        path = folder / STATE
        try:
            content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            done = {str(key): str(value) for key, value in content.get("stages", {}).items()}
        except (ValueError, AttributeError) as error:
            raise ProductError(f"{path} is damaged; delete it to run every stage again.") from error
        return cls(path, done)

    def finish(self, stage: Stage) -> None:
        self.done[stage.name] = stage.digest
        write_json(self.path, {"stages": self.done})


def _train_stage(paths: StudyPaths, train: Training, progress: Progress) -> Stage:
    labels = paths.resolve(train.labels)
    scenes = [paths.resolve(scene) for scene in paths.study.model_scenes]
    recipe = {
        "training": train.model_dump(mode="json"),
        "declaration": paths.declaration,
        "mask_clouds": paths.study.inputs.mask_clouds,
        "labels": _fingerprint(labels),
        "scenes": {scene: [_fingerprint(part) for part in scene.split("+")] for scene in scenes},
    }

    def run() -> None:
        from ecumene.workflows.train import train_model

        masked = paths.study.inputs.mask_clouds
        train_model(
            scenes,
            labels,
            paths.model,
            label_field=train.field,
            system=train.system,
            seed=train.seed,
            epochs=train.epochs,
            max_minutes=train.max_minutes,
            split_by=train.split,
            block_size_m=train.block_size,
            buffer_m=train.buffer,
            coverage=train.coverage,
            holdout=paths.holdout,
            mask_clouds=True if masked is None else masked,
            progress=progress,
            **paths.declaration,
        )

    return Stage("train", recipe, paths.model, run)


def _map_stage(paths: StudyPaths, before: str, progress: Progress) -> Stage:
    study = paths.study
    area = None if study.area is None else paths.resolve(study.area)
    recipe = {
        "before": before,
        "map": study.map,
        "grid": None if study.grid is None else study.grid.model_dump(mode="json"),
        "inputs": study.inputs.model_dump(mode="json"),
        "period": study.period,
        "area": None if area is None else _fingerprint(area),
        "scenes": {scene: [_fingerprint(part) for part in scene.split("+")] for scene in paths.scenes},
    }

    def run() -> None:
        if study.grid is not None:
            from ecumene.workflows.study_collection import map_study_collection

            map_study_collection(paths, progress)
            return
        from ecumene.workflows.map import map_scenes

        options = {"overwrite": True, **study.map}
        masked = study.inputs.mask_clouds
        map_scenes(
            paths.model,
            paths.scenes,
            paths.product,
            clip=area,
            mask_clouds=masked,
            progress=progress,
            **paths.declaration,
            **options,
        )

    return Stage("map", recipe, paths.product, run)


def _assess_stage(paths: StudyPaths, before: str, reference: Path) -> Stage:
    indicators = paths.study.indicators
    recipe = {"before": before, "indicators": indicators.model_dump(mode="json")}
    if indicators.reference != "holdout":
        recipe["reference"] = _fingerprint(str(reference))

    def run() -> None:
        from ecumene.workflows.assess import assess_map

        field = "class" if indicators.reference == "holdout" else indicators.field
        out = paths.out / "assessment.json"
        assess_map(paths.product, reference, field=field, confidence=indicators.confidence, out=out)

    return Stage("assess", recipe, paths.out / "assessment.json", run)


def _report_stage(paths: StudyPaths, before: str, reference: Path | None) -> Stage:
    out = paths.out / "report.html"

    def run() -> None:
        from ecumene.mapping.product import open_product
        from ecumene.models.bundle import Model
        from ecumene.workflows.assess import assess_map
        from ecumene.workflows.report import make_report
        from ecumene.workflows.stacks import open_sources

        indicators, assessment = paths.study.indicators, None
        if reference is not None:
            field = "class" if indicators.reference == "holdout" else indicators.field
            assessment = assess_map(paths.product, reference, field=field, confidence=indicators.confidence)
        make_report(
            open_product(paths.product),
            out,
            title=paths.study.name,
            scenes=open_sources(paths.scenes, **paths.declaration),  # type: ignore[arg-type]
            model=Model.load(paths.model),
            assessment=assessment,
        )

    return Stage("report", {"before": before, "name": paths.study.name}, out, run)


def study_stages(paths: StudyPaths, progress: Progress = silent) -> list[Stage]:
    """Return the stages of a study in their order; each one's digest covers those before it.

    Args:
        paths: The study.
        progress: Handed to training and mapping.

    Raises:
        ConfigurationError: If a collection shall be assessed or reported, which its tiles cannot be.
    """
    study, reference = paths.study, paths.reference
    stages: list[Stage] = []
    if study.model.train is not None:
        stages.append(_train_stage(paths, study.model.train, progress))
    before = stages[-1].digest if stages else _fingerprint(str(paths.model))
    stages.append(_map_stage(paths, before, progress))
    if study.grid is not None:
        if reference is not None:
            raise ConfigurationError(
                "indicators.reference is for one map, but a grid gives a collection of tiles; leave it out and "
                "assess the tiles by `ecumene assess`."
            )
        return stages
    if reference is not None:
        stages.append(_assess_stage(paths, stages[-1].digest, reference))
    if study.report:
        stages.append(_report_stage(paths, stages[-1].digest, reference))
    return stages


def open_study(file: Path | str) -> StudyPaths:
    """Read a study and check that the files it names are there.

    Raises:
        ConfigurationError: If the study is wrong, or names a file that is absent.
    """
    path = Path(file)
    study = read_study(path)
    paths = StudyPaths(study, path.resolve().parent)
    train = study.model.train
    named = {
        "area": study.area,
        "model.bundle": study.model.bundle,
        "model.train.labels": None if train is None else train.labels,
        "indicators.reference": None if study.indicators.reference == "holdout" else study.indicators.reference,
    }
    for key, value in named.items():
        if value is not None and "://" not in value and not Path(paths.resolve(value)).exists():
            raise ConfigurationError(f"{path}: {key} names {value}, which does not exist beside the study; mend it.")
    return paths


def run_study(file: Path | str, *, progress: Progress = silent) -> StudyPaths:
    """Run a study; a stage whose inputs have not changed since it finished is skipped.

    Args:
        file: YAML file of the study.
        progress: Handed to training and mapping.

    Returns:
        The study with its paths.

    Raises:
        EcumeneError: With a sentence; finished stages stay, and the same call goes on.
    """
    paths = open_study(file)
    ensure_writable_folder(paths.out)
    state = _State.read(paths.out)
    for stage in study_stages(paths, progress):
        if state.done.get(stage.name) == stage.digest and stage.output.exists():
            events.emit("stage", name=stage.name, state="kept")
            continue
        events.emit("stage", name=stage.name, state="started")
        try:
            stage.run()
        except EcumeneError as error:
            events.emit("stage", level="error", name=stage.name, state="failed", message=str(error))
            raise
        state.finish(stage)
        events.emit("stage", name=stage.name, state="finished", output=str(stage.output.name))
    return paths
