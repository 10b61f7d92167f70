"""A predictive distribution as a set of members: what they agree on, and what they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.objectives import arrays
from ecumene.objectives.classification import Classification
from ecumene.objectives.contract import Direction, Objective, UnitOfWork
from ecumene.objectives.multilabel import MultiLabel
from ecumene.objectives.numeric import NumericObjective
from ecumene.objectives.prediction import LayerSpec, Prediction
from ecumene.objectives.variance_map import VarianceMap

if TYPE_CHECKING:
    from torch import Tensor

MOST_MEMBERS = 64
"""More would make a bundle from a stranger ask for any amount of memory."""

_PARTS = {
    "aleatoric": "part of the uncertainty on which the members agree: more training data would not remove it",
    "epistemic": "part of the uncertainty on which the members differ: more training data would remove it",
}


class Members(Objective):
    """The mixture of M members of one objective, each with equal weight.

    Raw output is `[B, M * K, ...]`, member-major, K being the base objective's outputs. How the members came about
    (an ensemble, dropout masks, posterior samples, symmetries, sub-networks) makes no difference from here on.

    Classes and labels: moments are the mean probabilities and the mean of the members' own entropies. Total is the
    entropy of the mean, aleatoric the mean entropy, epistemic their difference: the mutual information of class and
    member, which is never negative (Houlsby et al. 2011, arXiv 1112.5745, eq. 1; Depeweg et al. 2018, arXiv
    1710.07283, eq. 5). All are divided by the largest possible entropy, as the base's uncertainty is.

    Numbers: moments are the means over members of the base's moments. Aleatoric is the mean of the members' variances
    and epistemic the variance of their means, in its unbiased form with divisor M - 1, so that few members do not
    make it look smaller; total^2 = aleatoric^2 + epistemic^2.

    All moments may be averaged further, so that blending over seams of windows stays right.

    Args:
        base: The objective of one member (no `Members` itself).
        members: M, 1 to 64.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    name: ClassVar[str] = "members"

    def __init__(self, base: Objective, members: int) -> None:
        if isinstance(base, Members):
            raise ConfigurationError("Members of members are not supported; use one way to get members.")
        if isinstance(members, bool) or not isinstance(members, int) or not 1 <= members <= MOST_MEMBERS:
            raise ConfigurationError(f"The number of members must be 1 to {MOST_MEMBERS}, but is {members!r}.")
        self.base = base
        self._members = members
        self.unit_of_work: UnitOfWork = base.unit_of_work
        self._labels = isinstance(base, MultiLabel)
        self._classes = isinstance(base, Classification)
        self._numbers = base if isinstance(base, NumericObjective) else None
        if not (self._labels or self._classes or self._numbers is not None):
            raise ConfigurationError(f"The objective {base.name!r} has no rule for members.")

    @property
    def members(self) -> int:
        """M."""
        return self._members

    @property
    def n_outputs(self) -> int:
        """M times the base's outputs."""
        return self._members * self.base.n_outputs

    @property
    def n_moments(self) -> int:
        """The base's moments, and for classes one, for labels one a label, more."""
        return self.base.n_moments + (1 if self._classes else self.base.n_moments if self._labels else 0)

    @property
    def legend(self) -> Legend | None:
        """The base's classes."""
        return self.base.legend

    @property
    def positive_index(self) -> int | None:
        """Of the base."""
        return self.base.positive_index

    @property
    def reads_observed(self) -> bool:
        """Of the base."""
        return self.base.reads_observed

    @property
    def by_argmax(self) -> bool:
        """As the base decides."""
        return self.base.by_argmax

    def decide(self, probability: Any) -> Any:
        """Return what the base decides of the members' mean probabilities `[B, K, ...]`."""
        return self.base.decide(probability)

    def looking_for(self, positive: str, threshold: float = 0.5) -> Members:
        """Return the mixture whose mean decides by a threshold, see `Objective.looking_for`."""
        return Members(self.base.looking_for(positive, threshold), self._members)

    def split(self, output: Any) -> Any:
        """Return raw output `[B, M * K, ...]` with the members in the batch, `[B * M, K, ...]`."""
        return output.reshape(output.shape[0] * self._members, self.base.n_outputs, *output.shape[2:])

    def _join(self, values: Any) -> Any:
        """Return the mean over members of `[B * M, n, ...]`, `[B, n, ...]`."""
        return arrays.mean(values.reshape(-1, self._members, *values.shape[1:]), 1)

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the mean of the members' losses against the same target."""
        return self.base.loss(self.split(output), _repeat(target, self._members), _repeat(valid, self._members))

    def metrics(self) -> Any:
        """Return the base's metrics, which judge the members' mean."""
        return self.base.metrics()

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed one batch: raw output of one network that gives the members' mean moments."""
        self.base.update_metrics(metrics, self._pooled(output), target, valid)

    def _pooled(self, output: Tensor) -> Tensor:
        """Return raw output `[B, K, ...]` of one member with the mixture's own moments."""
        mean = self._join(self.base.moments(self.split(output.float())))
        if self._numbers is not None:
            pooled: Tensor = self._numbers.collapse(self._numbers.widen(mean, self._members))
            return pooled
        mean = mean.clamp(1e-7, 1.0)
        logits: Tensor = (mean.log() - (1.0 - mean).clamp_min(1e-7).log()) if self._labels else mean.log()
        return logits

    @property
    def monitor(self) -> tuple[str, Direction]:
        """The base's metric."""
        return self.base.monitor

    def moments(self, output: Any) -> Any:
        """Turn raw output `[B, M * K, ...]` into mean moments `[B, n_moments, ...]`."""
        values = self.base.moments(self.split(output))
        if self._classes:
            values = arrays.concatenate((values, arrays.entropy(values)[:, None]))
        elif self._labels:
            values = arrays.concatenate((values, _binary_entropy(values)))
        return self._join(values)

    def from_moments(self, moments: Any) -> Prediction:
        """Turn (blended) moments into the base's prediction with the parts of its uncertainty."""
        number = self.base.n_moments
        if self._numbers is not None:
            prediction = self.base.from_moments(self._numbers.widen(moments, self._members))
            aleatoric, epistemic = prediction.aleatoric, prediction.epistemic
        else:
            prediction = self.base.from_moments(moments[:, :number])
            largest = math.log(2.0 if self._labels else number)
            inner = moments[:, number:] if self._labels else moments[:, number]
            # Rounding may put the mean of entropies above the entropy of the mean by a digit.
            aleatoric = arrays.smaller(arrays.clip(inner / largest, 0.0, 1.0), prediction.total)
            epistemic = prediction.total - aleatoric
        parts: dict[str, Any] = {"aleatoric": aleatoric, "epistemic": epistemic}
        layers = dict(prediction.layers)
        for name, part in parts.items():
            layers[name] = part[:, None] if self._classes else part
        ordered = {spec.name: layers[spec.name] for spec in self.layer_specs()}
        return replace(prediction, aleatoric=aleatoric, epistemic=epistemic, layers=ordered)

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Describe the base's layers, with `aleatoric` and `epistemic`, stored alike, after `uncertainty`."""
        specs = self.base.layer_specs()
        where = next(number for number, spec in enumerate(specs) if spec.name == "uncertainty")
        kind = "mean entropy of the members" if self._classes or self._labels else "one standard deviation"
        if self._classes or self._labels:
            kinds = {"aleatoric": kind, "epistemic": "mutual information of class and member"}
        else:
            kinds = dict.fromkeys(_PARTS, kind)
        added = tuple(
            replace(specs[where], name=name, role="extra", description=f"{kinds[name]}: {why}")
            for name, why in _PARTS.items()
        )
        return (*specs[: where + 1], *added, *specs[where + 1 :])

    def rescaled(self, variance_scale: float, variance_maps: Sequence[VarianceMap] | None = None) -> Objective:
        """Return the mixture of members with this variance scale and these maps."""
        return Members(self.base.rescaled(variance_scale, variance_maps), self._members)

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        return {"name": self.name, "base": self.base.to_config(), "members": self._members}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Rebuild from `to_config`."""
        from ecumene.objectives import build_objective

        arguments = {key: value for key, value in config.items() if key != "name"}
        base = arguments.get("base")
        if not isinstance(base, Mapping) or base.get("name") == cls.name:
            raise ConfigurationError("The objective 'members' needs the objective of one member as 'base'.")
        return cls(**{**arguments, "base": build_objective(base)})


def _repeat(x: Tensor, members: int) -> Tensor:
    return x.repeat_interleave(members, dim=0)


def _binary_entropy(probability: Any) -> Any:
    """Return the entropy in nat of presence with these probabilities, same shape."""
    library, tiny, absent = arrays.namespace(probability), 1e-30, 1.0 - probability
    present = probability * library.log(arrays.clip(probability, tiny, None))
    return -(present + absent * library.log(arrays.clip(absent, tiny, None)))
