"""What executes the model for a whole collection: settled once, before the first tile, for all workers alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ecumene.catalogue.plan import Settings, Unit
from ecumene.catalogue.work import stack_of
from ecumene.core.window import Window
from ecumene.models.bundle import Model
from ecumene.models.probe import probe_input
from ecumene.models.selection import ExecutionChoice, Probe, choose_execution, restore_execution

_WELL_FILLED = 0.25
_LOOKED_AT = 5


def settle_execution(
    settings: Settings, units: Sequence[Unit], model: Model, *, executors: int = 1
) -> tuple[Settings, Model]:
    """Fill in backend and precision that were left open, by a trial on pixels of the scenes.

    Args:
        settings: Backend and precision as the user gave them, `auto` among them.
        units: What will be mapped.
        model: The model.
        executors: That will share a unit.

    Returns:
        (the settings that count, the model, with an exported graph where the choice needs one).

    Raises:
        EcumeneError: If what the user has asked for cannot be executed, or scenes cannot be read.
    """
    if settings.execution is not None:
        choice = ExecutionChoice.model_validate(settings.execution)
        return settings, restore_execution(model, choice, settings.threads).model
    if model.spec.kind != "network":
        executor = model.executor("torch", settings.precision, settings.threads)
        return settings.model_copy(update={"backend": executor.backend, "precision": executor.precision}), model
    chosen = choose_execution(
        model,
        lambda pixels: _probe(settings, units, model, pixels),
        sum(int(unit.tile.geobox.shape[0] * unit.tile.geobox.shape[1]) for unit in units),
        backend=settings.backend,
        precision=settings.precision,
        threads=settings.threads,
        executors=executors,
    )
    update: dict[str, Any] = {"backend": chosen.choice.backend, "precision": chosen.choice.precision}
    update["execution"] = chosen.choice.model_dump(mode="json")
    return settings.model_copy(update=update), chosen.model


def _probe(settings: Settings, units: Sequence[Unit], model: Model, pixels: int) -> Probe:
    """Return pixels from the middle of a tile, or made-up ones where a few tiles have none there."""
    stride = model.spec.stride
    edge = max(stride, round(pixels**0.5) // stride * stride)
    for place in sorted({len(units) * k // _LOOKED_AT for k in range(_LOOKED_AT)}):
        unit = units[place]
        stack = model.match(stack_of(unit, settings, model))
        row, col, height, width = unit.crop
        size = tuple(max(stride, min(edge, length) // stride * stride) for length in (height, width))
        block = stack.read(Window(row + (height - size[0]) // 2, col + (width - size[1]) // 2, *size))
        image = block.image if model.spec.temporal else block.image[0]
        dates = block.dates[None].astype(np.float32) if model.spec.temporal else None
        probe = Probe(np.ascontiguousarray(image[None]), dates, real=True)
        if probe.usable.mean() >= _WELL_FILLED:
            return probe
    image, dates = probe_input(model.spec, batch=1, side=edge, n_dates=2)
    return Probe(image, dates, real=False)
