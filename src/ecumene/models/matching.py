"""Whether data fit a model: bands, level, unit, ground sampling, one image or a series."""

from __future__ import annotations

from ecumene.core.errors import ContractError
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.scenes.contract import Channel, Stack
from ecumene.scenes.grid import ground_sampling_m

SAMPLING_TOLERANCE = 0.2
"""Largest relative difference between a grid's sampling and the model's."""


def match_stack(spec: ModelSpec, stack: Stack, n_dates: int | None = None, least: int = 2) -> Stack:
    """Return the stack with the model's channels in the model's order.

    Args:
        spec: The model.
        stack: Any stack; channels that the model does not need are left out.
        n_dates: Dates that the model needs exactly; None: one for image models, `least` or more for series.
        least: Dates of a series at least.

    Returns:
        The stack to map.

    Raises:
        ContractError: With the reason why the data do not fit and what to do.
    """
    there = {channel.key: channel for channel in stack.channels}
    missing = [band.key for band in spec.inputs if band.key not in there]
    if missing:
        raise ContractError(
            f"The model needs {_listed(missing)}, which the scenes do not have (they have {_listed(sorted(there))}); "
            "give scenes with these bands or train on the bands that there are."
        )
    for band in spec.inputs:
        _match_band(band, there[band.key])
    sampling = float(ground_sampling_m(stack.geobox))
    if abs(sampling / spec.resolution_m - 1) > SAMPLING_TOLERANCE:
        raise ContractError(
            f"The scenes have a ground sampling of {sampling:.4g} m, but the model was trained at "
            f"{spec.resolution_m:.4g} m; resample the scenes to that resolution or train a model at theirs."
        )
    _match_dates(spec, len(stack.times), n_dates, least)
    return stack.select([band.key for band in spec.inputs])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _match_band(band: InputBand, channel: Channel) -> None:
    if channel.level != band.level:
        raise ContractError(
            f"{band.key} is of level {channel.level}, but the model was trained on {band.level}; "
            f"give {band.level} scenes or train a model on {channel.level}."
        )
    if channel.unit != band.unit:
        raise ContractError(
            f"{band.key} is in the unit {channel.unit!r}, but the model was trained on {band.unit!r}; "
            "declare the right unit, scale and offset of the scenes or convert them."
        )


def _match_dates(spec: ModelSpec, count: int, wanted: int | None, least: int) -> None:
    if not spec.temporal and count > 1:
        raise ContractError(
            f"The model maps one image, but the scenes make a series of {count} dates; give the scenes of one date."
        )
    if wanted is not None and spec.temporal and count != wanted:
        raise ContractError(
            f"The model reads exactly {wanted} dates, but the scenes have {count}; give {wanted} dates."
        )
    if spec.temporal and count < least:
        raise ContractError("The model maps a series, but the scenes have one date only; give the dates of a series.")
