"""Options and printing of the verbs that read a published data set of images."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecumene.cli.options import parse_options

if TYPE_CHECKING:
    from ecumene.models.bundle import Model

Data = Annotated[
    Path | None,
    typer.Option(help="Folder with the official files of a data set, instead of scenes.", show_default=False),
]
DataSetName = Annotated[
    str | None,
    typer.Option(help="Which data set that is (see `ecumene datasets`); default: the system's.", show_default=False),
]
DataOption = Annotated[
    list[str] | None, typer.Option(help="Option of the data set, NAME=VALUE, such as bands=rgb.", show_default=False)
]
TrainShare = Annotated[
    float | None,
    typer.Option(help="Share of a data set's images that is not the test part.", show_default=False),
]
Legend = Annotated[
    str | None,
    typer.Option(help="Learn the classes of this published legend instead of the data set's.", show_default=False),
]
OwnCrosswalk = Annotated[
    Path | None,
    typer.Option("--crosswalk", help="Your own way there (YAML: target_legend, classes).", show_default=False),
]
SourceLegend = Annotated[
    str | None,
    typer.Option(help="Published legend whose class names the data set uses, if it does not say.", show_default=False),
]
PUBLISHED: Mapping[str, Any] = {
    "data": Data,
    "data_set": DataSetName,
    "data_option": DataOption,
    "train_share": TrainShare,
    "legend": Legend,
    "crosswalk": OwnCrosswalk,
    "source_legend": SourceLegend,
}
"""Options of `ecumene train` that belong to a data set."""
_OF_CLASSES = ("legend", "crosswalk", "source_legend")


def refuse_beside(scenes: list[str] | None, options: Mapping[str, Any]) -> None:
    """Refuse scenes, and options that belong to scenes, beside a data set.

    Raises:
        ConfigurationError: If there are any.
    """
    from ecumene.core.errors import ConfigurationError

    if scenes:
        raise ConfigurationError("Give either scenes with --labels, or --data, not both.")
    given = [name for name, value in options.items() if value]
    if given:
        raise ConfigurationError(f"{given[0]} belongs to training on scenes; leave it out with --data.")


def refuse_data_options(published: Mapping[str, Any]) -> None:
    """Refuse options of a data set where there is none.

    Raises:
        ConfigurationError: If one was given.
    """
    from ecumene.core.errors import ConfigurationError

    if any(value for name, value in published.items() if name != "data"):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in published if name != "data")
        raise ConfigurationError(f"{named} belong to --data; give its folder.")


def require_scenes(scenes: list[str] | None, labels: Path | None, verb: str = "Training") -> tuple[list[str], Path]:
    """Return scenes and labels, both of which must be there.

    Args:
        scenes: As given.
        labels: As given.
        verb: What needs them.

    Raises:
        ConfigurationError: If one is missing.
    """
    from ecumene.core.errors import ConfigurationError

    if not scenes or labels is None:
        raise ConfigurationError(f"{verb} needs scenes and --labels, or the folder of a data set: --data.")
    return scenes, labels


@dataclass(frozen=True)
class _Learning:
    """How one kind of system learns from a data set.

    Attributes:
        module: In `workflows`.
        function: In it.
        refuses: Options that mean nothing to it; they are not passed on.
        because: End of the sentence that refuses them.
        of_pixels: Whether the accuracy is one of pixels, else of images.
    """

    module: str
    function: str
    refuses: tuple[str, ...] = ()
    because: str = ""
    of_pixels: bool = False


_OF_IMAGES = _Learning("scene_train", "train_scene_model")
_OF_SITES = _Learning(
    "site_train", "train_sites", ("data_set", "train_share", *_OF_CLASSES, "split", "initial", "uncertainty"),
    "does not belong to {system}; leave it out", of_pixels=True,
)  # fmt: skip
_OF_CLOUDS = _Learning(
    "restoration_train", "train_restoration", _OF_CLASSES, "belongs to classes, and {system} has none; leave it out"
)
_OF_PAIRS = _Learning(
    "pair_train", "train_pairs", ("split", "train_share", *_OF_CLASSES),
    "is for images with one answer each; say which places test with --data-option test=NAME", of_pixels=True,
)  # fmt: skip


def _learning(system: str) -> _Learning:
    """Return how a system learns."""
    from ecumene.systems import get_system

    described = get_system(system)
    if described.of_sites:
        return _OF_SITES
    if described.task == "restoration":
        return _OF_CLOUDS
    return _OF_PAIRS if described.reads == "pair" else _OF_IMAGES


def train(published: Mapping[str, Any], system: str, out: Path, **options: Any) -> None:
    """Train on a data set and print what came out.

    Args:
        published: Options of `PUBLISHED`.
        system: Name, or `auto` beside the bundle that training begins from.
        out: Folder of the bundle.
        **options: Of the workflow that trains such systems.

    Raises:
        ConfigurationError: If no system is named, or an option means nothing to it.
    """
    from ecumene.cli.printing import print_training
    from ecumene.core.errors import ConfigurationError
    from ecumene.core.progress import progress_bar

    if system == "auto" and options.get("initial") is not None:
        from ecumene.workflows.beginning import system_of

        system = system_of(options["initial"].model)
    if system == "auto":
        raise ConfigurationError("A data set needs the name of the system to train: --system NAME.")
    learning = _learning(system)
    told = {name: value for name, value in published.items() if name not in ("data", "data_option")} | options
    for name in learning.refuses:
        value = told.pop(name, None)
        if value and (name, value) != ("uncertainty", "single"):
            typed = "from" if name == "initial" else name.replace("_", "-")
            raise ConfigurationError(f"--{typed} {learning.because.format(system=system)}.")
    function = getattr(importlib.import_module(f"ecumene.workflows.{learning.module}"), learning.function)
    choices = parse_options(published["data_option"])
    with progress_bar("train") as progress:
        model = function(published["data"], system, out, data_options=choices, progress=progress, **told)
    (print_training if learning.of_pixels else print_scene_training)(model, out)


def print_scene_training(model: Model, out: Path) -> None:
    """Print what was trained and how good it is on the test images."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    training = model.spec.training
    console.print(f"{training.get('system')} trained; the model is in {out}", highlight=False, soft_wrap=True)
    for note in training.get("notes", []):
        console.print(f"note: {note}", highlight=False, soft_wrap=True)
    accuracy = training.get("accuracy") or {}
    table = Table("test images", str(accuracy.get("images", 0)))
    for name, value in accuracy.get("metrics", {}).items():
        if isinstance(value, int | float):
            table.add_row(name.replace("_", " "), f"{value:.3f}")
    if "calibration" in accuracy:
        found = accuracy["calibration"]
        before, after = found["expected_calibration_error_before"], found["expected_calibration_error"]
        table.add_row("expected calibration error", f"{before:.3f} -> {after:.3f}")
    if "class_sets" in accuracy:
        sets = accuracy["class_sets"]
        table.add_row(
            f"{sets['wanted_coverage']:.0%} class sets",
            f"cover {sets['coverage']:.1%}, {sets['mean_size']:.2f} classes",
        )
    for name, what in (("error_bars", "all"), ("error_bars_cloudy", "cloudy")):
        if "coverage_90" in accuracy.get(name, {}):
            table.add_row(f"90% error bars, {what} pixels", f"cover {accuracy[name]['coverage_90']:.1%}")
    if "outlier" in accuracy:
        table.add_row("flagged as outlier", f"{accuracy['outlier']['flagged_share_in_distribution']:.1%}")
    console.print(table)


def trust(model: Path, data: Path, out: Path, data_set: str | None, data_option: list[str] | None, seed: int) -> None:
    """Judge a model of whole images by a data set, and print the tables."""
    from rich.console import Console

    from ecumene.cli.printing import print_tables
    from ecumene.core.progress import progress_bar
    from ecumene.workflows.scene_trust import trust_scenes

    with progress_bar("trust") as progress:
        report = trust_scenes(
            model, data, out, data_set=data_set, data_options=parse_options(data_option), seed=seed, progress=progress
        )
    console = Console()
    console.print(report.figures["images"]["sentence"], highlight=False, soft_wrap=True)
    print_tables(console, report.tables)
    console.print(f"the report is {report.report}", highlight=False, soft_wrap=True)
