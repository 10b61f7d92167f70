"""Phase unwrapping: whole cycles back into a wrapped image.

Two methods:

- `reliability`: scikit-image's `unwrap_phase` (BSD licence), which joins pixels in the order of their
  reliability (Herraez, Burton, Lalor and Gdeisat, Applied Optics 41(35), 2002). It knows no coherence.
- `minimum-cost-flow`: the least weighted sum of whole-cycle jumps between neighbours that makes the field
  consistent (Costantini, "A novel phase unwrapping method based on network programming", IEEE TGRS 36(3), 1998),
  by an own exact solver; jumps are cheap where the coherence is low. What differs from the paper: the cost of
  a jump follows from the Cramer-Rao bound of the phase difference.

Both return the wrapped phase plus a multiple of 2 pi at every pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.optional import require
from ecumene.physics.interferometry.checks import coherence_stack, image
from ecumene.physics.interferometry.flow import make_graph, minimum_cost_flow

METHODS = ("minimum-cost-flow", "reliability")
_CYCLE = 2.0 * np.pi
_CHEAP = 1e-3  # relative cost of a jump beside a pixel without data: nearly free, never nothing


def wrap(phase: ArrayLike) -> NDArray[np.float64]:
    """Return the phase in -pi..pi, radians."""
    values = np.asarray(phase, np.float64)
    return np.asarray(values - _CYCLE * np.round(values / _CYCLE))


def residues(phase: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the curl of the wrapped phase differences in cycles, -1, 0 or 1, `[H - 1, W - 1]`.

    Where none is other than zero the phase can be unwrapped along any path (Itoh 1982).
    """
    across, down = wrap(np.diff(phase, axis=1)), wrap(np.diff(phase, axis=0))
    curl = across[:-1] + down[:, 1:] - across[1:] - down[:, :-1]
    return np.asarray(np.rint(curl / _CYCLE), np.int64)


def unwrap(
    phase: NDArray[Any],
    coherence: ArrayLike | None = None,
    *,
    method: str = "minimum-cost-flow",
    valid: NDArray[np.bool_] | None = None,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Unwrap an interferogram.

    Separate areas of valid pixels have no known cycles between them; `components` finds them.

    Args:
        phase: Wrapped phase, radians, or complex interferogram, `[H, W]`; at least 2 x 2.
        coherence: Coherence `[H, W]`, 0..1, for `minimum-cost-flow`; equal costs without it.
        method: `minimum-cost-flow` or `reliability`.
        valid: Pixels with data; None: every pixel must be finite.
        seed: Of the start of `reliability`.

    Returns:
        Unwrapped phase, radians, `[H, W]`; NaN where not valid.

    Raises:
        ConfigurationError: If the method is unknown.
        ContractError: If a valid pixel's phase is not finite, none is valid, or shapes differ.
    """
    given = image(phase, "phase")
    if method not in METHODS:
        raise ConfigurationError(f"There is no unwrapping method {method!r}; choose one of: {', '.join(METHODS)}.")
    usable = np.ones(given.shape, bool) if valid is None else np.asarray(valid, bool)
    if usable.shape != given.shape or min(given.shape) < 2:
        raise ContractError("Unwrapping needs an image of at least 2 x 2 pixels and a mask of the same shape.")
    if not usable.any():
        raise ContractError("There is no valid pixel to unwrap.")
    if not np.isfinite(given[usable]).all():
        raise ContractError("The phase is not finite at some valid pixels; mask pixels without data before unwrapping.")
    angle = wrap(np.angle(given)) if np.iscomplexobj(given) else wrap(given)
    if method == "reliability":
        restoration = require("skimage.restoration")
        masked = np.ma.masked_array(np.where(usable, angle, 0.0), ~usable)
        plain = masked if not usable.all() else masked.data
        result = np.asarray(np.ma.getdata(restoration.unwrap_phase(plain, rng=seed)), np.float64)
    else:
        quality = None if coherence is None else coherence_stack(coherence, given.shape)
        result = _by_flow(angle, quality, usable)
    cycles = np.rint((result - angle) / _CYCLE)  # exactly congruent, whatever the solver's rounding
    return np.where(usable, angle + _CYCLE * cycles, np.nan)


def _by_flow(
    angle: NDArray[np.float64], coherence: NDArray[np.float64] | None, usable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    filled = angle
    if not usable.all():  # the nearest phase: no invented fringes in the gaps
        nearest = ndimage.distance_transform_edt(~usable, return_distances=False, return_indices=True)
        filled = angle[tuple(nearest)]
    across, down = wrap(np.diff(filled, axis=1)), wrap(np.diff(filled, axis=0))
    charge = residues(filled)
    if charge.any():
        weight = _pixel_weight(coherence, usable)
        cost_across = np.minimum(weight[:, 1:], weight[:, :-1])
        cost_down = np.minimum(weight[1:], weight[:-1])
        jumps_across, jumps_down = _jumps(charge, cost_across, cost_down)
        across, down = across + _CYCLE * jumps_across, down + _CYCLE * jumps_down
    result = np.empty_like(filled)
    result[:, 0] = filled[0, 0] + np.concatenate([[0.0], np.cumsum(down[:, 0])])
    result[:, 1:] = result[:, :1] + np.cumsum(across, axis=1)
    return result


def _pixel_weight(coherence: NDArray[np.float64] | None, usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Inverse variance of the phase per look, g^2 / (1 - g^2), bounded; nearly nothing without data."""
    if coherence is None:
        return np.where(usable, 1.0, _CHEAP)
    magnitude = np.clip(np.nan_to_num(coherence), 0.0, 0.99)
    weight = magnitude**2 / (1.0 - magnitude**2)
    return np.where(usable, np.maximum(weight, _CHEAP), _CHEAP)


def _jumps(
    charge: NDArray[np.int64], cost_across: NDArray[np.float64], cost_down: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return whole cycles to add to the differences across `[H, W - 1]` and down `[H - 1, W]`.

    Faces are nodes and the outside of the image is one more. A unit that leaves a face downwards over the edge
    between two pixels of a row adds a cycle to their difference; one that leaves it to the left does so for a
    column.
    """
    height, width = charge.shape
    outside = height * width
    face = np.full((height + 2, width + 2), outside, np.int64)
    face[1:-1, 1:-1] = np.arange(outside).reshape(height, width)
    tails = [face[:-1, 1:-1].ravel(), face[1:-1, 1:].ravel()]  # above, right of the pixel edge
    heads = [face[1:, 1:-1].ravel(), face[1:-1, :-1].ravel()]  # below, left of it
    graph = make_graph(np.concatenate(tails), np.concatenate(heads), outside + 1)
    cost = np.concatenate([cost_across.ravel(), cost_down.ravel()])
    flow = minimum_cost_flow(graph, cost, np.append(charge.ravel(), -charge.sum()))
    return flow[: cost_across.size].reshape(cost_across.shape), flow[cost_across.size :].reshape(cost_down.shape)


def jump_cost(unwrapped: NDArray[np.float64], coherence: ArrayLike | None = None) -> float:
    """Return the weighted number of whole-cycle jumps between neighbours: what minimum-cost flow makes smallest."""
    weight = _pixel_weight(None if coherence is None else np.asarray(coherence, np.float64), np.isfinite(unwrapped))
    total = 0.0
    for axis in (0, 1):
        step = np.diff(unwrapped, axis=axis)
        first, second = (
            np.take(weight, range(*part), axis) for part in ((1, weight.shape[axis]), (0, weight.shape[axis] - 1))
        )
        jumps = np.abs(np.rint((step - wrap(step)) / _CYCLE))
        total += float(np.nansum(jumps * np.minimum(first, second)))
    return total


def components(valid: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """Return (labels 1..n of areas that hang together by pixel edges, 0 elsewhere; n)."""
    labels, number = ndimage.label(valid)
    return np.asarray(labels, np.int64), int(number)
