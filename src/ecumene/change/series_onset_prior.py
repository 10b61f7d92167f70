"""What a series of maps says of growth as a whole: how much is ever built-up, how much already at the beginning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.change.series import days_of
from ecumene.change.series_classes import onset_scores
from ecumene.change.sharpness import best_power, sharpened, surest_of

Numbers = NDArray[np.float64]
_ROUNDS, _SEARCH_ROUNDS = 30, 6
_LEAST_SHARE = 0.005


@dataclass(frozen=True)
class OnsetPrior:
    """Priors of `first_lasting`, and how sharp the maps' probabilities are.

    Attributes:
        ever: Share of pixels that reach the state at all.
        beginning: Share of these that have it on the first date.
        sharpness: Exponent of the probabilities: above 1 where the dates agree more than these say; estimated ones lie
            between about 0.5 and 4.
        surest: Probability up to which sharpening may go.
    """

    ever: float = 0.5
    beginning: float = 0.5
    sharpness: float = 1.0
    surest: float = 1.0

    def apply(self, probability: Any) -> Numbers:
        """Return probabilities of the state `[T, ...]` with their sharpness, NaN where they are missing."""
        return _sharp(np.asarray(probability, np.float64), self.sharpness, self.surest)


def estimate_onset_prior(probability: Any, dates: Any) -> OnsetPrior:
    """Estimate how much grows from the maps themselves, by expectation maximisation.

    Growth is rare, and with even priors every chance error of the last map would count as new. Errors of the dates are
    not independent: a mixed pixel is soft on all of them, and its agreement would hide growth. The exponent of the
    probabilities with the largest likelihood of all pixels is therefore estimated with the shares, from about 0.5 to 4
    and no further; it makes no pixel surer than the surest thousandth of all.

    Args:
        probability: `[T, P]`, of the state on each date, of pixels that represent the maps; NaN: missing.
        dates: `[T]`, ascending.

    Returns:
        The prior.

    Raises:
        SceneError: If dates are not usable.
        ConfigurationError: If shapes are wrong.
    """
    share, days = np.asarray(probability, np.float64), days_of(dates, least=2)
    share = share[:, np.isfinite(share).any(axis=0)]
    if not share.shape[1]:
        return OnsetPrior()
    surest = surest_of(np.maximum(share, 1.0 - share))

    def likelihood(power: float) -> float:
        return _maximised(_sharp(share, power, surest), days, _SEARCH_ROUNDS)[2]

    power = best_power(likelihood)
    ever, beginning, _ = _maximised(_sharp(share, power, surest), days, _ROUNDS)
    return OnsetPrior(ever, beginning, power, surest)


def _sharp(share: Numbers, power: float, surest: float) -> Numbers:
    if power == 1.0:
        return share
    return np.where(np.isfinite(share), sharpened(np.stack([1.0 - share, share]), power, surest)[1], np.nan)


def _maximised(share: Numbers, days: NDArray[np.int64], rounds: int) -> tuple[float, float, float]:
    """Return (ever, beginning, mean log likelihood of a pixel)."""
    ever, beginning, likelihood = 0.5, 0.5, -np.inf
    for _ in range(rounds):
        score = onset_scores(share, days, ever, beginning)
        top = score.max(axis=0)
        weight = np.exp(score - top)
        total = weight.sum(axis=0)
        likelihood = float((np.log(total) + top).mean())
        weight /= total
        reached = 1.0 - float(weight[-1].mean())
        ever = float(np.clip(reached, _LEAST_SHARE, 1.0 - _LEAST_SHARE))
        started = float(weight[0].mean()) / max(reached, _LEAST_SHARE)
        beginning = float(np.clip(started, _LEAST_SHARE, 1.0 - _LEAST_SHARE))
    return ever, beginning, likelihood
