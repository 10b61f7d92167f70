"""A pairwise Markov network over the dates of a series: what is built when, from dates and from changes between them.

Nodes are dates with the states unbuilt (0) and built (1); a date's potentials are (1 - p, p), an edge's
[[1 - c, c], [c, 1 - c]] with p the probability of built-up ground and c that of change (Hafner, Fang, Azizpour, Ban,
arXiv 2406.17458, multi-task integration). With logits z of p and g of c, the logarithm of the joint potential of states
s is, but for a constant, sum_t s_t z_t + sum over edges of [s_i != s_j] g_ij: linear in the logits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ecumene.core.errors import ConfigurationError

Edges = tuple[tuple[int, int], ...]
EdgeKind = Literal["dense", "adjacent", "cyclic"]
MOST_DATES = 8
"""All 2^T states of a pixel are compared: 256 at most."""


def edges_of(kind: EdgeKind, dates: int) -> Edges:
    """Return pairs of dates: `adjacent` ones, `cyclic` (these, and first with last), or `dense` (all).

    Raises:
        ConfigurationError: If the kind or the number of dates is out of range.
    """
    if not 2 <= dates <= MOST_DATES:
        raise ConfigurationError(f"A series of 2 to {MOST_DATES} dates can be integrated, not one of {dates}.")
    adjacent = tuple((t, t + 1) for t in range(dates - 1))
    if kind == "adjacent":
        return adjacent
    if kind == "cyclic":
        return adjacent if dates == 2 else (*adjacent, (0, dates - 1))
    if kind == "dense":
        return tuple(combinations(range(dates), 2))
    raise ConfigurationError(f"Edges between dates are dense, adjacent or cyclic, not {kind!r}.")


def joint_states(dates: int) -> Tensor:
    """Return all states of a series, float `[2^T, T]` of 0 and 1."""
    return torch.tensor(list(product((0.0, 1.0), repeat=dates)))


def joint_weights(dates: int, edges: Edges) -> Tensor:
    """Return the 0/1 matrix `[2^T, T + E]` that gives the joint log-potentials of logits of dates and edges."""
    states = joint_states(dates)
    differs = [(states[:, i] != states[:, j]).float() for i, j in edges]
    return torch.cat((states, torch.stack(differs, dim=1)), dim=1)


def state_groups(dates: int, n_outputs: int) -> tuple[tuple[int, ...], ...]:
    """Return which joint states each class holds.

    With T + 2 classes: never built, built throughout, built between dates t and t + 1 for each t, anything else. With
    three: never built, built throughout, anything else.

    Raises:
        ConfigurationError: If the number of classes is neither.
    """
    if n_outputs not in (3, dates + 2):
        raise ConfigurationError(
            f"A series of {dates} dates has {dates + 2} classes (never, throughout, each interval, other) or 3 (never, "
            f"throughout, changed), not {n_outputs}."
        )
    number = 2**dates
    growing = [2**later - 1 for later in range(dates - 1, 0, -1)] if n_outputs > 3 else []
    single = [0, number - 1, *growing]
    return (*((state,) for state in single), tuple(state for state in range(number) if state not in single))


def group_scores(node: Tensor, edge: Tensor, weights: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the log of the mean joint potential of each class, `[B, K, H, W]`; their softmax is the posterior.

    Means and not sums: classes are equally probable beforehand. Were all states, a place of which nothing is known
    would have been built, torn down and built again.

    Args:
        node: Logits of the dates, `[B, T, H, W]`.
        edge: Logits of the changes, `[B, E, H, W]`.
        weights: From `joint_weights`.
        groups: From `state_groups`.
    """
    with torch.autocast(node.device.type, enabled=False):
        logits = torch.cat((node, edge), dim=1).float()
        joint = F.conv2d(logits, weights[:, :, None, None])
        single = [joint[:, group[0] : group[0] + 1] for group in groups[:-1]]
        rest = torch.tensor(groups[-1], device=joint.device)
        other = joint.index_select(1, rest).logsumexp(dim=1, keepdim=True) - math.log(len(groups[-1]))
        return torch.cat((*single, other), dim=1)


def most_probable_states(node: Tensor, edge: Tensor, weights: Tensor) -> Tensor:
    """Return the states of the largest joint potential, bool `[B, T, H, W]`, by comparing all of them: exact.

    Args:
        node: Logits of the dates, `[B, T, H, W]`.
        edge: Logits of the changes, `[B, E, H, W]`.
        weights: From `joint_weights`.
    """
    joint = F.conv2d(torch.cat((node, edge), dim=1).float(), weights[:, :, None, None])
    states = weights[:, : node.shape[1]] > 0.5
    return states[joint.argmax(dim=1)].movedim(-1, 1)


def belief_propagation(node: Tensor, edge: Tensor, edges: Edges, rounds: int = 20, damping: float = 0.3) -> Tensor:
    """Return the states of the largest joint potential by max-product messages, bool `[T, ...]`; T may be large.

    On graphs without a cycle (`adjacent`) the result is exact where it is unique; on others messages go round `rounds`
    times, damped, and the result is an approximation. A message is the log-ratio of its two values: from date i, which
    has collected a from elsewhere, over an edge of logit g, it is max(a, g) - max(0, a + g).

    Args:
        node: Logits of the dates, `[T, ...]`.
        edge: Logits of the changes, `[E, ...]`.
        edges: Pairs of dates, each once.
        rounds: Of messages; without a cycle, as many as there are dates suffice.
        damping: Share of the old message that stays, where there are cycles.
    """
    directed = [(i, j, e) for e, (i, j) in enumerate(edges)] + [(j, i, e) for e, (i, j) in enumerate(edges)]
    old = 0.0 if len(edges) < len(node) else damping
    messages = [torch.zeros_like(node[0]) for _ in directed]
    for _ in range(max(rounds, len(node))):
        incoming = _collected(node, directed, messages)
        following = []
        for number, (i, _, e) in enumerate(directed):
            back = (number + len(edges)) % len(directed)
            a = incoming[i] - messages[back]
            sent = torch.maximum(a, edge[e]) - (a + edge[e]).clamp_min(0.0)
            following.append(old * messages[number] + (1.0 - old) * sent)
        messages = following
    return torch.stack(_collected(node, directed, messages)) > 0.0


def _collected(node: Tensor, directed: Sequence[tuple[int, int, int]], messages: Sequence[Tensor]) -> list[Tensor]:
    """Return what each date believes: its own logit and all messages to it."""
    sums = list(node)
    for (_, j, _), message in zip(directed, messages, strict=True):
        sums[j] = sums[j] + message
    return sums
