"""What an outlier detector is: a score of features, the same in NumPy and in torch, and a threshold."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.trust.feature_choice import FeatureChoice
from ecumene.trust.quantile import conformal_quantile

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.floating]
_CHUNK = 65_536
FIT_LIMIT = 50_000
"""Most reference elements that a fit looks at; more are thinned at random."""
LEAST_OF_A_BLOCK = 10
ONE_SIDED_95 = 1.645
"""95 % quantile of the standard normal distribution."""


class OutlierDetector(ABC):
    """Scores how strange features are beside those of the training data; larger is stranger.

    A detector is frozen: `fit` makes one, `with_threshold` makes another one with a threshold. All that it knows is
    in `to_config` (JSON) and `to_arrays` (float32), from which `outlier.build_detector` rebuilds it.

    Attributes:
        n_features: Length F of a feature vector.
        threshold: Scores above it are flagged; None before `with_threshold`.
        false_alarm_rate: Share of in-distribution elements that the threshold was set to flag.
        n_held_out: Elements that the threshold was set on.
        options: JSON-able settings of the detector.
        choice: What of a model it reads; a list of feature vectors must hold the same.
    """

    name: ClassVar[str]
    array_names: ClassVar[tuple[str, ...]] = ()
    usual_choice: ClassVar[FeatureChoice] = FeatureChoice()

    def __init__(
        self, n_features: int, arrays: Mapping[str, NDArray[np.floating]], options: Mapping[str, Any] | None = None
    ) -> None:
        self.n_features = n_features
        self.options = dict(options or {})
        self.choice = self.usual_choice
        self.threshold: float | None = None
        self.false_alarm_rate: float | None = None
        self.n_held_out = 0
        self._arrays = {key: np.ascontiguousarray(value, dtype=np.float32) for key, value in arrays.items()}
        self._tensors: dict[str, dict[str, Tensor]] = {}

    @classmethod
    @abstractmethod
    def fit(cls, features: Floats, classes: NDArray[np.integer] | None = None, *, seed: int = 0) -> Self:
        """Learn what is usual from training features `[N, F]` (and their classes `[N]`, where they help).

        Raises:
            ConfigurationError: If features are too few, not finite, or of a wrong shape.
        """

    @abstractmethod
    def _score(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores `[N]` of features `[N, F]`."""

    @abstractmethod
    def _score_map(self, features: Tensor) -> Tensor:
        """Return scores `[B, H, W]` of float32 features `[B, F, H, W]`, with operations that ONNX knows."""

    @abstractmethod
    def _check_arrays(self) -> bool:
        """Whether the arrays' shapes fit each other and `n_features`."""

    def score(self, features: Floats) -> NDArray[np.float64]:
        """Return scores `[N]` of features `[N, F]`, larger is stranger.

        Raises:
            ConfigurationError: If the features have another length.
        """
        values = np.asarray(features)
        if values.ndim != 2 or values.shape[1] != self.n_features:
            raise ConfigurationError(
                f"This outlier detector scores features [N, {self.n_features}], but got the shape {values.shape}."
            )
        scores = np.empty(len(values), dtype=np.float64)
        for start in range(0, len(values), _CHUNK):
            part = slice(start, start + _CHUNK)
            scores[part] = self._score(values[part].astype(np.float64))
        return scores

    def score_map(self, features: Tensor) -> Tensor:
        """Return scores `[B, H, W]` of feature maps `[B, F, H, W]`: the numbers of `score`, in float32."""
        import torch

        # Squared distances lose their meaning in half precision, whatever the network itself runs in.
        with torch.autocast(device_type=features.device.type, enabled=False):
            return self._score_map(features.float())

    def tensors(self, like: Tensor) -> dict[str, Tensor]:
        """Return the arrays as tensors on the device of `like` (made once a device)."""
        device = str(like.device)
        if device not in self._tensors:
            import torch

            self._tensors[device] = {
                key: torch.from_numpy(value.copy()).to(like.device) for key, value in self._arrays.items()
            }
        return self._tensors[device]

    def with_threshold(
        self, held_out_scores: Floats, false_alarm_rate: float = 0.02, groups: NDArray[np.generic] | None = None
    ) -> Self:
        """Return the detector with a threshold that flags at most a share of usual elements.

        Without groups the threshold is the conformal quantile of the held-out scores, which keeps its promise for
        elements that are exchangeable with them. Pixels are not: those of a block are alike, and a few blocks say
        little about the next one. With `groups` the threshold is also at least the upper 95 % prediction limit of
        a new block's own quantile (see `_block_limit`), so that a new block of the same place keeps the rate.

        Args:
            held_out_scores: `[N]` scores of elements in distribution that `fit` has not seen.
            false_alarm_rate: Wanted share of flags among them.
            groups: `[N]` spatial block of each.

        Raises:
            ConfigurationError: If the rate is not in (0, 1), or there are too few scores for it.
        """
        if not 0.0 < false_alarm_rate < 1.0:
            raise ConfigurationError(f"The false-alarm rate must lie between 0 and 1, but is {false_alarm_rate}.")
        scores = np.asarray(held_out_scores, dtype=np.float64).ravel()
        threshold = conformal_quantile(scores, 1.0 - false_alarm_rate)
        if math.isinf(threshold):
            needed = math.ceil(1.0 / false_alarm_rate) - 1
            raise ConfigurationError(
                f"{scores.size} held-out pixels are too few to set an outlier threshold that flags "
                f"{100 * false_alarm_rate:g} % of usual pixels; it takes at least {needed}."
            )
        if groups is not None:
            threshold = max(threshold, _block_limit(scores, np.asarray(groups).ravel(), 1.0 - false_alarm_rate))
        chosen = copy.copy(self)
        chosen.threshold, chosen.false_alarm_rate = float(threshold), float(false_alarm_rate)
        chosen.n_held_out = int(scores.size)
        return chosen

    def with_choice(self, choice: FeatureChoice) -> Self:
        """Return the detector with a note of what of a model its features are."""
        chosen = copy.copy(self)
        chosen.choice = choice
        return chosen

    def to_config(self) -> dict[str, Any]:
        """Return a JSON-able description without the arrays."""
        return {
            "name": self.name,
            "n_features": self.n_features,
            "threshold": self.threshold,
            "false_alarm_rate": self.false_alarm_rate,
            "n_held_out": self.n_held_out,
            "options": self.options,
            "reads": self.choice.to_config(),
        }

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the fitted arrays, float32."""
        return {key: value.copy() for key, value in self._arrays.items()}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[np.floating]]) -> Self:
        """Rebuild from `to_config` and `to_arrays`.

        Raises:
            ModelError: If parts are missing or do not fit each other.
        """
        damaged = ModelError(f"The model's outlier detector ({cls.name}) is damaged; get the model again.")
        try:
            n_features, options = int(config["n_features"]), dict(config.get("options") or {})
            limit, rate = config.get("threshold"), config.get("false_alarm_rate")
            threshold = None if limit is None else float(limit)
            false_alarm_rate = None if rate is None else float(rate)
            n_held_out = int(config.get("n_held_out") or 0)
            reads = config.get("reads")
            choice = cls.usual_choice if reads is None else FeatureChoice.from_config(reads)
        except (KeyError, TypeError, ValueError, ConfigurationError) as error:
            raise damaged from error
        if set(arrays) != set(cls.array_names) or n_features < 1:
            raise damaged
        if not all(np.issubdtype(a.dtype, np.floating) and np.isfinite(a).all() for a in arrays.values()):
            raise damaged
        built = cls(n_features, arrays, options)
        if not built._check_arrays() or (threshold is not None and not math.isfinite(threshold)):
            raise damaged
        built.threshold, built.false_alarm_rate, built.n_held_out = threshold, false_alarm_rate, n_held_out
        built.choice = choice
        return built


def _block_limit(scores: NDArray[np.float64], groups: NDArray[np.generic], share: float) -> float:
    """Return an upper limit of the quantile that a new block will have.

    The larger of the largest block quantile q_g and exp(mean + 1.645 sd sqrt(1 + 1/G)) of ln q_g: the prediction limit
    of a normal distribution, with the normal's factor rather than Student's, which for two to four blocks
    would leave nothing to flag. Scores that can be negative are not taken the logarithm of. Blocks with fewer elements
    than their own quantile takes (49 for 98 %), or than `LEAST_OF_A_BLOCK`, do not count, unless there are no others.
    """
    if groups.shape != scores.shape:
        raise ConfigurationError(f"There are {scores.size} scores, but {groups.size} group labels.")
    names, counts = np.unique(groups, return_counts=True)
    large = names[counts >= max(LEAST_OF_A_BLOCK, math.ceil(1.0 / (1.0 - share) - 1e-9) - 1)]
    chosen = large if large.size else names
    quantiles = np.array([np.quantile(scores[groups == name], share, method="higher") for name in chosen])
    largest = float(quantiles.max())
    if quantiles.size < 2:
        return largest
    logarithmic = bool(scores.min() >= 0.0 and quantiles.min() > 0.0)
    values = np.log(quantiles) if logarithmic else quantiles
    limit = float(values.mean() + ONE_SIDED_95 * values.std(ddof=1) * math.sqrt(1.0 + 1.0 / values.size))
    return max(largest, math.exp(min(limit, 700.0)) if logarithmic else limit)


def reference_features(
    features: Floats, classes: NDArray[np.integer] | None, seed: int, least: int = 10
) -> tuple[NDArray[np.float64], NDArray[np.int64] | None]:
    """Check training features and thin them to `FIT_LIMIT`.

    Raises:
        ConfigurationError: If they are too few, not finite, or of a wrong shape.
    """
    values = np.asarray(features, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 1 or len(values) < least:
        raise ConfigurationError(
            f"An outlier detector needs at least {least} training pixels with features [N, F], but got the shape "
            f"{values.shape}; label more places."
        )
    if not np.isfinite(values).all():
        raise ConfigurationError("Some features are not finite; the training has diverged, lower its learning rate.")
    labels = None if classes is None else np.asarray(classes).astype(np.int64)
    if labels is not None and labels.shape != (len(values),):
        raise ConfigurationError(f"There are {len(values)} feature vectors, but {labels.size} classes.")
    if len(values) > FIT_LIMIT:
        keep = np.sort(np.random.default_rng(seed).choice(len(values), FIT_LIMIT, replace=False))
        values, labels = values[keep], None if labels is None else labels[keep]
    return values, labels


def standard_scale(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation of each feature, none smaller than a twentieth of their median.

    Channels that are constant on the training data (dead units) would otherwise divide by zero, and a whisper in
    one of them would outshout everything else.
    """
    deviation = values.std(axis=0)
    typical = float(np.median(deviation))
    return np.asarray(np.maximum(deviation, 0.05 * typical if typical > 0.0 else 1.0))
