"""Where to label next: which places would teach a model most, spread over space and classes. Arrays in, numbers out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

Floats = NDArray[np.floating]
Strategy = Literal["random", "spread", "diversity", "margin", "entropy", "epistemic", "combined", "mixed"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

DEFAULT_STRATEGY: Strategy = "mixed"


def margin_doubt(probabilities: Floats) -> NDArray[np.float64]:
    """Return 1 - (largest - second largest probability), in [0, 1] (Scheffer et al. 2001).

    Args:
        probabilities: `[N, K]`, K at least 2.
    """
    two = np.partition(np.asarray(probabilities, np.float64), -2, axis=1)[:, -2:]
    return np.asarray(1.0 - (two[:, 1] - two[:, 0]))


def entropy_doubt(probabilities: Floats) -> NDArray[np.float64]:
    """Return the entropy divided by ln K, in [0, 1].

    Args:
        probabilities: `[N, K]`.
    """
    p = np.asarray(probabilities, np.float64)
    return np.asarray(-(p * np.log(np.maximum(p, 1e-12))).sum(axis=1) / np.log(p.shape[1]))


def mutual_information(members: Floats) -> NDArray[np.float64]:
    """Return what the members of an ensemble disagree on: H(mean p) - mean H(p), divided by ln K (BALD).

    Houlsby et al. 2011, eq. 2: the information that a label would give about which member is right.

    Args:
        members: Probabilities `[M, N, K]`.
    """
    p = np.asarray(members, np.float64)
    inner = np.mean([entropy_doubt(member) for member in p], axis=0)
    return np.asarray(np.maximum(entropy_doubt(p.mean(axis=0)) - inner, 0.0), np.float64)


@dataclass(frozen=True)
class Candidates:
    """Places that could be labelled.

    Attributes:
        xy: Centres `[N, 2]`, metres or pixels.
        doubt: Doubt of the model `[N]`, larger is less sure.
        predicted: Predicted class `[N]`.
        features: What the model sees there `[N, F]`, comparable scales.
    """

    xy: Floats
    doubt: Floats
    predicted: NDArray[np.integer]
    features: Floats

    def __post_init__(self) -> None:
        lengths = {len(self.xy), len(self.doubt), len(self.predicted), len(self.features)}
        if len(lengths) != 1:
            raise ConfigurationError("Places to label need a position, a doubt, a class and features each.")
        if not np.isfinite(self.doubt).all() or not np.isfinite(self.features).all():
            raise ConfigurationError("Doubts and features of places to label must be finite numbers.")

    def __len__(self) -> int:
        return len(self.doubt)


def _nearest(points: Floats, known: Floats | None) -> NDArray[np.float64]:
    """Return the squared distance of each point to the nearest known one; infinite if there is none."""
    nearest = np.full(len(points), np.inf)
    for place in np.asarray([] if known is None else known, np.float64).reshape(-1, points.shape[1]):
        nearest = np.minimum(nearest, ((points - place) ** 2).sum(axis=1))
    return nearest


def k_centre(points: Floats, count: int, known: Floats | None = None) -> NDArray[np.int64]:
    """Choose points greedily so that the farthest point is as near as possible to a chosen or known one.

    Gonzalez 1985; as core-set selection, Sener and Savarese 2018. Ties go to the first. Without a known point the one
    farthest from the mean comes first.

    Args:
        points: `[N, F]`.
        count: How many, at most N.
        known: `[M, F]`, already labelled.
    """
    points = np.asarray(points, np.float64)
    nearest = _nearest(points, known)
    if not np.isfinite(nearest).any():
        nearest = ((points - points.mean(axis=0)) ** 2).sum(axis=1)
        restart = True
    else:
        restart = False
    chosen: list[int] = []
    for _ in range(min(count, len(points))):
        best = int(nearest.argmax())
        chosen.append(best)
        distance = ((points - points[best]) ** 2).sum(axis=1)
        nearest = distance if restart else np.minimum(nearest, distance)
        restart = False
        nearest[chosen] = -1.0
    return np.array(chosen, np.int64)


def combined_choice(
    candidates: Candidates, count: int, known_xy: Floats | None, length: float, class_power: float = 0.5
) -> NDArray[np.int64]:
    """Choose doubtful places one by one, each down-weighted near those chosen or labelled and in classes taken often.

    The weight of a place is doubt * (1 - exp(-d^2 / (2 length^2))) / (1 + n)^power, with d the distance to the nearest
    chosen or labelled place and n the number already chosen of its predicted class.

    Args:
        candidates: The places.
        count: How many, at most N.
        known_xy: `[M, 2]`, already labelled.
        length: Distance over which labels repeat each other, in the unit of the positions.
        class_power: 0 leaves classes alone, 1 balances them strictly.
    """
    xy = np.asarray(candidates.xy, np.float64)
    nearest = _nearest(xy, known_xy)
    taken = np.zeros(int(candidates.predicted.max(initial=0)) + 1)
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        spread = -np.expm1(-nearest / (2.0 * length**2))
        weight = np.asarray(candidates.doubt, np.float64) * spread / (1.0 + taken[candidates.predicted]) ** class_power
        weight[chosen] = -1.0
        best = int(weight.argmax())
        chosen.append(best)
        taken[candidates.predicted[best]] += 1
        nearest = np.minimum(nearest, ((xy - xy[best]) ** 2).sum(axis=1))
    return np.array(chosen, np.int64)


def mixed_choice(
    candidates: Candidates,
    count: int,
    known_xy: Floats | None,
    known_features: Floats | None,
    length: float,
    class_power: float = 0.5,
) -> NDArray[np.int64]:
    """Take turns between `combined_choice`, which asks where the model doubts, and `k_centre` on features.

    A model is sure of what it has never seen; half of the places go where nothing like them is labelled.

    Args:
        candidates: The places.
        count: How many, at most N.
        known_xy: `[M, 2]`, already labelled.
        known_features: `[M, F]`, what the model sees there.
        length: See `combined_choice`.
        class_power: See there.
    """
    doubtful = combined_choice(candidates, count, known_xy, length, class_power)
    different = k_centre(candidates.features, count, known_features)
    taken: dict[int, None] = {}
    for one, other in zip(doubtful.tolist(), different.tolist(), strict=True):
        taken.setdefault(one)
        taken.setdefault(other)
    return np.array(list(taken)[:count], np.int64)


def choose_places(
    candidates: Candidates,
    count: int,
    *,
    strategy: Strategy = DEFAULT_STRATEGY,
    known_xy: Floats | None = None,
    known_features: Floats | None = None,
    length: float | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Choose the places to label next.

    `random`: uniformly. `margin`, `entropy`, `epistemic`: the largest doubts, whichever `candidates.doubt` holds.
    `diversity`: k-centre on features. `spread`: k-centre in space. `combined` and `mixed`: see `combined_choice` and
    `mixed_choice`.

    Args:
        candidates: The places.
        count: How many; all, in order, if there are fewer.
        strategy: See above.
        known_xy: Places that are labelled already, `[M, 2]`.
        known_features: Their features, `[M, F]`.
        length: See `combined_choice`; None: `default_length`.
        seed: Of the random choice and of ties.

    Returns:
        Indices into the candidates, the most useful first.

    Raises:
        ConfigurationError: If the strategy is unknown, the count not positive, or there is no candidate.
    """
    if strategy not in STRATEGIES:
        raise ConfigurationError(f"The strategy is one of {', '.join(STRATEGIES)}, not {strategy!r}.")
    if count < 1:
        raise ConfigurationError("The number of places to label next must be at least 1.")
    if len(candidates) == 0:
        raise ConfigurationError("There is no unlabelled place with data to choose from; give another scene.")
    count = min(count, len(candidates))
    order = np.random.default_rng(seed).permutation(len(candidates))
    if strategy == "random":
        return order[:count]
    shuffled = Candidates(
        candidates.xy[order], candidates.doubt[order], candidates.predicted[order], candidates.features[order]
    )
    if strategy == "diversity":
        return order[k_centre(shuffled.features, count, known_features)]
    if strategy == "spread":
        return order[k_centre(shuffled.xy, count, known_xy)]
    length = length or default_length(shuffled.xy, count)
    if strategy == "combined":
        return order[combined_choice(shuffled, count, known_xy, length)]
    if strategy == "mixed":
        return order[mixed_choice(shuffled, count, known_xy, known_features, length)]
    return order[np.argsort(-np.asarray(shuffled.doubt), kind="stable")[:count]]


def default_length(xy: Floats, count: int) -> float:
    """Return a twentieth of the spacing that `count` places would have on a regular grid over the candidates' extent.

    A quarter spreads the places further, but gained less on a real scene (benchmarks/label_next.py).
    """
    extent = np.ptp(np.asarray(xy, np.float64), axis=0)
    area = float(np.prod(np.maximum(extent, 1e-9)))
    return max(0.05 * float(np.sqrt(area / count)), 1e-9)
