"""The verb `change`: what changed between two dates, from scenes or from maps."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

from ecumene.change.methods import change_method_info
from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent
from ecumene.mapping.checksums import input_records, time_text
from ecumene.mapping.product import Product, open_product
from ecumene.mapping.quicklook import read_reduced
from ecumene.objectives.prediction import LayerSpec
from ecumene.systems import list_systems
from ecumene.workflows.change_numbers import SIGNS, NumberChange, number_layer
from ecumene.workflows.change_pictures import (
    Picture,
    animate,
    class_picture,
    draw_panels,
    number_picture,
    scene_picture,
)
from ecumene.workflows.change_products import ClassChange
from ecumene.workflows.change_scenes import (
    CHANGE,
    PROBABILITY_SCALE,
    ScenePair,
    change_layers,
    check_pair,
    choose_method,
    fit_pair,
    normalised,
    pair_scenes,
    two_scenes,
)
from ecumene.workflows.given_options import given_options, refuse_declared, refuse_others
from ecumene.workflows.product_files import ExtraFile, check_free, refuse_existing
from ecumene.workflows.product_layers import (
    is_product,
    record_of,
    require_grid,
    require_legend,
    times_of,
)
from ecumene.workflows.stacks import Declaration, open_in_order
from ecumene.workflows.streamed_product import Afterwards, StreamedProduct, write_streamed_product

__all__ = ["ChangeOptions", "find_change"]

Files = Mapping[str, tuple[Path, LayerSpec]]
_ALWAYS = ("method", "align", "animation", "overwrite")


@dataclass(frozen=True)
class ChangeOptions:
    """What may be chosen.

    Attributes:
        method: Of two scenes: `auto`, a name of `change.methods`, or the folder of a model for two dates.
        options: Options of the method, such as `threshold` or `window`.
        align: Whether AFTER may lie on another grid and is brought onto that of BEFORE.
        normalise: Whether the second scene's radiometry is fitted to the first's by pixels that did not change.
        use_bands: Bands to compare; None: those that both have and that see the ground.
        mask_clouds: Whether the scenes' own cloud masks count.
        stay: Of two maps of classes: share of pixels that keep their class; None: estimated from the maps.
        tolerance: Of two maps of numbers: differences up to it do not count.
        significance: Of two maps of numbers: level below which a difference is significant.
        animation: Whether an animated picture is written.
        overwrite: Replace a product in the folder.
    """

    method: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    align: bool = False
    normalise: bool = False
    use_bands: Sequence[str] | None = None
    mask_clouds: bool = True
    stay: float | None = None
    tolerance: float = 0.0
    significance: float = 0.05
    animation: bool = True
    overwrite: bool = False


def find_change(
    before: str | Path,
    after: str | Path,
    out: str | Path,
    options: ChangeOptions | None = None,
    *,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Product:
    """Find what changed between two dates and write it as a product.

    Two scenes: value (change or not), its error, probabilities, magnitude and kind by an unsupervised method, block by
    block, or by a model that was trained on pairs. Two maps of classes: from-to change with the probabilities of both.
    Two maps of numbers: their difference with its error bar.

    Args:
        before: Scene or product of the first date.
        after: Of the second date.
        out: Folder of the product.
        options: See there.
        progress: Called with (tiles done, tiles, what).
        **declaration: What scenes' files do not say.

    Returns:
        The product.

    Raises:
        ConfigurationError: If options or dates do not fit.
        ContractError: If grids, sensors, legends or units do not fit.
        SceneError: If a scene cannot be read or used.
        ProductError: If a product cannot be used or written.
    """
    chosen = options or ChangeOptions()
    maps = [is_product(path) for path in (before, after)]
    if maps[0] != maps[1]:
        which, other = (before, after) if maps[0] else (after, before)
        raise ConfigurationError(
            f"{Path(which).name} is a product and {Path(other).name} is not; compare two scenes or two products."
        )
    given = given_options(chosen)
    if all(maps):
        refuse_declared(declaration, "products state it themselves, so leave it out")
        return _of_products(open_product(before), open_product(after), Path(out), chosen, progress)
    if Path(chosen.method).is_dir():
        refuse_others(given, (*_ALWAYS, "mask_clouds"), "a model of two dates")
        return _by_model(before, after, Path(out), chosen, progress, declaration)
    _require_method(chosen.method)
    refuse_others(given, (*_ALWAYS, "options", "normalise", "use_bands", "mask_clouds"), "two scenes")
    refuse_existing(Path(out), chosen.overwrite)
    sources = open_in_order([before, after], **declaration)
    pair = pair_scenes(
        sources,
        method=chosen.method,
        align=chosen.align,
        mask_clouds=chosen.mask_clouds,
        bands=chosen.use_bands,
    )
    return _of_scenes(pair, Path(out), chosen, progress)


def _require_method(method: str) -> None:
    """Refuse what is no method before any scene is opened; a system that learns is named with how to train it."""
    learned = [system.name for system in list_systems() if system.reads == "pair" and system.name.startswith(method)]
    if learned:
        raise ConfigurationError(
            f"{method} has to learn from labels: train it with `ecumene train --system {learned[0]}`, then give the "
            "model's folder as --method."
        )
    if method != "auto":
        change_method_info(method)


def _of_scenes(pair: ScenePair, out: Path, chosen: ChangeOptions, progress: Progress) -> Product:
    """Write change between two scenes."""
    method, reason = choose_method(pair, chosen.method, chosen.options)
    parameters: dict[str, Any] = {"method": method, "chosen": reason, "bands": list(pair.bands)}
    parameters |= {"options": dict(chosen.options), "normalised": chosen.normalise, "aligned": chosen.align}
    results: dict[str, Any] = {}
    images = pair.images()
    if chosen.normalise:
        normalisation, results["normalisation"] = normalised(pair)
        images = pair.images(normalisation)
    progress(0, 1, "learning")
    fitted = fit_pair(images, method, chosen.options, logarithms=pair.radar)
    threshold = fitted.fitted.threshold
    results["threshold"] = {"value": threshold.value, "rule": threshold.rule} | dict(threshold.details)
    if pair.notes:
        results["notes"] = list(pair.notes)
    first, last = pair.before.time, pair.after.time
    product = StreamedProduct(
        name=f"change-{method}",
        title=f"Change by {method}" + (f", {str(first)[:10]} to {str(last)[:10]}" if first and last else ""),
        lineage=f"Change between {pair.before.id} and {pair.after.id} by {method} ({reason}); changed where the "
        f"magnitude is above {threshold.value:.4g} (rule {threshold.rule}).",
        geobox=pair.geobox,
        layers=change_layers(fitted.kinds, "dB" if change_method_info(method).intensities else "1"),
        tile=fitted.tile,
        inputs=input_records([pair.before, pair.after]),
        start=time_text(first) if first is not None and last is not None else None,
        end=time_text(last) if first is not None and last is not None else None,
        parameters=parameters,
        legends={"value": CHANGE},
        results=results,
    )
    folder = check_free(out, chosen.overwrite)
    pictures = [scene_picture(scene, pair.geobox) for scene in (pair.before, pair.after)]
    names = [_when(scene.time, word) for scene, word in ((pair.before, "before"), (pair.after, "after"))]
    return _write(folder, product, list(zip(names, pictures, strict=True)), chosen, progress)


def _when(time: Any, word: str) -> str:
    return word if time is None else f"{word}: {str(time)[:10]}"


def _write(
    folder: Path,
    product: StreamedProduct,
    pictures: list[tuple[str, Picture]],
    chosen: ChangeOptions,
    progress: Progress,
    summary: Any = None,
) -> Product:
    """Write a product whose pictures are before, after, and change with its probability."""

    def draw(path: Path, files: Files) -> None:
        shown, legend = ("kind", product.legends["kind"]) if "kind" in product.legends else ("value", CHANGE)
        panel = ("change", class_picture(files[shown][0], legend))
        ramp = None
        if "probability" in files:
            # The first band is that of no change.
            chance = 1.0 - read_reduced(files["probability"][0], 600) * PROBABILITY_SCALE
            ramp = ("probability of change", chance, (0.0, 1.0))
        keys = [(entry.name, entry.colour) for entry in legend.classes if entry.name != "other change"]
        draw_panels(path, [*pictures, panel], product.title, keys, ramp)

    def afterwards(files: Files) -> Afterwards:
        extra: dict[str, ExtraFile] = {}
        if chosen.animation:
            extra["animation"] = animate(folder, pictures, "before and after")
        results, charts = (summary.results(), summary.charts()) if summary is not None else ({}, ())
        return Afterwards(results, charts, extra)

    return write_streamed_product(folder, product, afterwards=afterwards, draw=draw, progress=progress)


def _of_products(first: Product, second: Product, out: Path, chosen: ChangeOptions, progress: Progress) -> Product:
    """Write change between two maps."""
    if chosen.method != "auto":
        raise ConfigurationError("Maps are compared by their classes or numbers; leave out --method.")
    if not chosen.align:
        require_grid([first, second], "add --align to bring the second onto the grid of the first")
    times = [times_of(product) for product in (first, second)]
    if times[0] is not None and times[1] is not None and times[1][1] < times[0][0]:
        raise ConfigurationError(
            f"The dates run backwards ({str(times[0][0])[:10]}, then {str(times[1][1])[:10]}); name the earlier map "
            "first."
        )
    refuse_existing(out, chosen.overwrite)
    start = None if times[0] is None else f"{times[0][0]}Z"
    end = None if times[1] is None else f"{times[1][1]}Z"
    whole: dict[str, Any] = {
        "geobox": first.geobox,
        "inputs": (record_of(first), record_of(second)),
        "start": start if end else None,
        "end": end if start else None,
    }
    names = [
        _when(None if time is None else time[0], word) for time, word in zip(times, ("before", "after"), strict=True)
    ]
    with contextlib.ExitStack() as stack:
        classes = first.legend is not None and second.legend is not None
        allowed = ("stay",) if classes else ("tolerance", "significance")
        refuse_others(given_options(chosen), (*_ALWAYS, *allowed), f"two maps of {'classes' if classes else 'numbers'}")
        if classes:
            return _of_classes(first, second, out, chosen, progress, whole, names, stack)
        return _of_numbers(first, second, out, chosen, progress, whole, names, stack)


def _of_classes(
    first: Product, second: Product, out: Path, chosen: ChangeOptions, progress: Progress,
    whole: Mapping[str, Any], names: Sequence[str], stack: contextlib.ExitStack,
) -> Product:  # fmt: skip
    """Write from-to change."""
    legend = require_legend([first, second])
    compared = ClassChange.of(first, second, first.geobox, chosen.stay, stack)
    joint = compared.joint
    how = (
        f"with the probabilities of both maps; {joint.stay:.2%} of the pixels keep their class"
        if joint is not None
        else "by their classes alone, since a map has no probabilities: how sure a change is is not known"
    )
    folder = check_free(out, chosen.overwrite)
    product = StreamedProduct(
        name="change-from-to",
        title="Change of classes",
        lineage=f"Change between the maps {first.folder.name} and {second.folder.name} {how}.",
        layers=compared.layers(),
        tile=compared.tile,
        parameters={"method": "from-to", "probabilities": joint is not None, "stated_stay": chosen.stay},
        legends={"value": CHANGE, "kind": compared.legend(), "from": legend, "to": legend},
        **whole,
    )
    pictures = [
        (name, class_picture(item.path("value"), legend, first.geobox))
        for name, item in zip(names, (first, second), strict=True)
    ]
    return _write(folder, product, pictures, chosen, progress, compared)


def _of_numbers(
    first: Product, second: Product, out: Path, chosen: ChangeOptions, progress: Progress,
    whole: Mapping[str, Any], names: Sequence[str], stack: contextlib.ExitStack,
) -> Product:  # fmt: skip
    """Write the difference of two maps of numbers."""
    if first.legend is not None or second.legend is not None:
        raise ConfigurationError("One of the products is a map of classes, the other of numbers; compare two alike.")
    compared = NumberChange.of(first, second, first.geobox, chosen.tolerance, chosen.significance, stack)
    bars = "with error bars of both" if compared.deviations is not None else "without error bars: a map has none"
    folder = check_free(out, chosen.overwrite)
    product = StreamedProduct(
        name="change-difference",
        title="Difference of two maps",
        lineage=f"The map {second.folder.name} minus {first.folder.name}, {bars}; errors taken as independent.",
        layers=compared.layers(),
        tile=compared.tile,
        parameters={"method": "difference", "tolerance": chosen.tolerance, "level": chosen.significance},
        legends={"change": SIGNS},
        **whole,
    )
    pictures = [
        (name, number_picture(number_layer(item), first.geobox))
        for name, item in zip(names, (first, second), strict=True)
    ]

    def draw(path: Path, files: Files) -> None:
        panel = ("change", class_picture(files["change"][0], SIGNS))
        draw_panels(path, [*pictures, panel], product.title, [(entry.name, entry.colour) for entry in SIGNS.classes])

    def afterwards(files: Files) -> Afterwards:
        extra = {"animation": animate(folder, pictures, "before and after")} if chosen.animation else {}
        return Afterwards(compared.results(), (), extra)

    return write_streamed_product(folder, product, afterwards=afterwards, draw=draw, progress=progress)


def _by_model(
    before: str | Path,
    after: str | Path,
    out: Path,
    chosen: ChangeOptions,
    progress: Progress,
    declaration: Declaration,
) -> Product:
    """Map two dates with a model that was trained on pairs, or map each date and compare the maps."""
    from ecumene.models.bundle import Model
    from ecumene.workflows.map import map_scenes

    model = Model.load(Path(chosen.method))
    told: dict[str, Any] = dict(declaration)
    if model.spec.temporal:
        refuse_existing(out, chosen.overwrite)
        first, second = two_scenes(open_in_order([before, after], **declaration))
        check_pair(first, second, chosen.align)
        return map_scenes(
            model, [before, after], out, mask_clouds=chosen.mask_clouds, overwrite=chosen.overwrite or None,
            progress=progress, **told,
        )  # fmt: skip
    raise ConfigurationError(
        f"The model {model.spec.name} reads one date; map both scenes with it and compare the two products."
    )
