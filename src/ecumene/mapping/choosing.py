"""Who executes a run: what the user says, what a run that is continued says, or what a trial on the scene finds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecumene.core.errors import ProductError
from ecumene.mapping.contract import MapModel
from ecumene.mapping.options import MapOptions
from ecumene.mapping.plan import Plan, Tile, count_workers, differences, read_plan
from ecumene.mapping.reading import ClipMask, WindowReader
from ecumene.models.bundle import Model
from ecumene.models.contract import Executor, Sharing
from ecumene.models.probe import probe_input
from ecumene.models.selection import Chosen, Probe, choose_execution, restore_execution
from ecumene.scenes.contract import Stack

TREES = "trees"  # what forests and boosted trees call their only backend
_ATTEMPTS = 5
_WELL_FILLED = 0.25


@dataclass(frozen=True)
class Execution:
    """What executes a run.

    Attributes:
        plan: The plan with backend, precision and the reasons for them.
        first: An executor, ready.
        more: Returns another one like it.
    """

    plan: Plan
    first: Executor
    more: Callable[[], Executor]

    def executors(self, number: int) -> list[Executor]:
        """Return the first executor and others like it, which share its weights where they can."""
        if number > 1 and isinstance(self.first, Sharing):
            return list(self.first.side_by_side(number))
        made = [self.first, *(self.more() for _ in range(number - 1))]
        # A model that keeps its executors gives the same one again, which only one thread may use.
        return list({id(executor): executor for executor in made}.values())


def left_to_us(options: MapOptions) -> set[str]:
    """Return the fields of a plan that the user leaves to the machine, which a run that is continued keeps."""
    left = {"execution"}
    for name, open_ in (
        ("backend", options.backend == "auto"),
        ("precision", options.precision == "auto"),
        ("threads", options.threads is None),
    ):
        if open_:
            left.add(name)
    return left


def choose_executor(
    path: Path, plan: Plan, stack: Stack, model: MapModel, options: MapOptions, mask: ClipMask | None
) -> Execution:
    """Settle backend and precision of a plan and build the first executor.

    Args:
        path: Where a run that was interrupted has left its plan; its choice is kept.
        plan: Everything else; backend and precision as the user gave them, `auto` among them.
        stack: The matched stack, for pixels to try executors on.
        model: What is executed.
        options: What the user chose.
        mask: Pixels to map, None for all.

    Raises:
        EcumeneError: If what the user has asked for cannot be executed.
    """
    kept = _kept(path, plan, options)
    if kept is not None:
        plan = kept
    if not isinstance(model, Model) or model.spec.kind != "network":
        return _simple(plan, model)
    if plan.execution is not None:
        chosen = restore_execution(model, plan.execution, plan.threads)
    else:
        chosen = choose_execution(
            model,
            lambda pixels: read_probe(plan, stack, model, mask, pixels),
            _executed_pixels(plan),
            backend=plan.backend,
            precision=plan.precision,
            threads=plan.threads,
            executors=count_workers(plan, options),
        )
    return _execution(plan, chosen)


def _execution(plan: Plan, chosen: Chosen) -> Execution:
    choice = chosen.choice
    settled = plan.model_copy(update={"backend": choice.backend, "precision": choice.precision, "execution": choice})
    return Execution(
        settled, chosen.executor, lambda: chosen.model.executor(choice.backend, choice.precision, settled.threads)
    )


def _simple(plan: Plan, model: MapModel) -> Execution:
    """Take the only way of executing trees, or a model that is not a bundle."""
    backend = plan.backend
    if backend in ("auto", TREES):
        backend = "torch" if importlib.util.find_spec("torch") is not None else "onnx"
    executor = model.executor(backend, plan.precision, plan.threads)
    settled = plan.model_copy(update={"backend": executor.backend, "precision": executor.precision})
    return Execution(settled, executor, lambda: model.executor(backend, settled.precision, settled.threads))


def _kept(path: Path, plan: Plan, options: MapOptions) -> Plan | None:
    """Return the plan of an interrupted run if it is the same but for what was left to the machine."""
    try:
        kept = read_plan(path)
    except ProductError:
        return None  # settled later, with the sentence that belongs to it
    if kept is None or set(differences(kept, plan)) - left_to_us(options):
        return None
    return kept


def _executed_pixels(plan: Plan) -> int:
    """Return the pixels that will be executed, dates counted once."""
    whole = plan.rows.executed * plan.cols.executed
    if plan.crop is None:
        return whole
    return round(whole * plan.crop[2] * plan.crop[3] / (plan.shape[0] * plan.shape[1]))


def read_probe(plan: Plan, stack: Stack, model: Model, mask: ClipMask | None, pixels: int) -> Probe:
    """Return pixels of the scene as an executor gets them, or made-up ones where the scene has none in sight.

    The middle tile is looked at first, then others evenly over the grid; the first batch with enough valid pixels is
    taken, cut to the wanted size.

    Args:
        plan: Windows and batches.
        stack: The matched stack.
        model: For its stride and statistics.
        mask: Pixels to map, None for all.
        pixels: Wanted pixels of the probe.

    Raises:
        SceneError: If pixels cannot be read.
    """
    reader = WindowReader(plan, stack, model.spec.temporal, mask)
    for tile in _spread(list(plan.tiles())):
        batches = plan.batches(tile)
        read = reader.read(tile, batches[len(batches) // 2])
        if read.image is None:
            continue
        image, dates = read.image, read.dates
        stride = model.spec.stride
        edge = max(stride, round(pixels**0.5) // stride * stride)
        height, width = (min(size, edge) for size in image.shape[-2:])
        top, left = ((size - cut) // 2 for size, cut in zip(image.shape[-2:], (height, width), strict=True))
        count = max(1, min(image.shape[0], pixels // (height * width)))
        cut = image[:count, ..., top : top + height, left : left + width]
        probe = Probe(cut.copy(), None if dates is None else dates[:count], real=True)
        if probe.usable.mean() >= _WELL_FILLED:
            return probe
    side = max(1, round(pixels**0.5))
    image, dates = probe_input(model.spec, batch=1, side=side, n_dates=max(1, len(stack.times)))
    return Probe(image, dates, real=False)


def _spread(tiles: list[Tile]) -> list[Tile]:
    """Return a few tiles, the middle one first."""
    count = len(tiles)
    places = [count // 2, count // 4, 3 * count // 4, 0, count - 1][:_ATTEMPTS]
    return [tiles[place] for place in dict.fromkeys(places)]
