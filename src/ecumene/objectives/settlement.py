"""Settlement extent and a zone for every pixel, at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ecumene.core.errors import ConfigurationError
from ecumene.legends import Legend
from ecumene.objectives import arrays
from ecumene.objectives.classification import SCALE
from ecumene.objectives.contract import Direction, Objective, UnitOfWork
from ecumene.objectives.prediction import LayerSpec, Prediction

if TYPE_CHECKING:
    from torch import Tensor

NOT_ENOUGH = "A settlement objective needs a legend of two zones or more."


class SettlementZones(Objective):
    """Share of settled ground in 0..1 and one zone out of several, for every pixel.

    Output `[B, 1 + K, H, W]`: the logit of the extent, then the logits of the zones; targets float `[B, 2, H, W]`: the
    extent, and the zone's index, each NaN where it is unknown. Moments are the extent and the probabilities of the
    zones; both may be averaged.

    The loss is exp(-s1)/2 L1 + s1/2 + exp(-s2) L2 + s2/2 with the weighted absolute error of the extent,
    L1 = mean of exp(y) |y - p|, the cross-entropy of the zones L2, and log-variances s1 and s2 that the network learns
    and appends to its output while training; where they are absent, L1 + L2 (Qiu et al. 2020, arXiv 2011.11452, after
    Kendall, Gal, Cipolla 2018, eq. 10).

    The zones' uncertainty is the entropy over ln K, as in `Classification`. The extent's error bar is the root mean
    square error that held-out blocks showed at such an extent: `extent_error` holds it at extents 0, 1/(n-1), ..., 1,
    linear in between.

    Args:
        legend: The zones.
        extent_error: Error of the extent at evenly spaced extents, two numbers or more; None: not known, no such layer.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    name: ClassVar[str] = "settlement-zones"
    unit_of_work: UnitOfWork = "pixel"

    def __init__(self, legend: Legend, extent_error: Sequence[float] | None = None) -> None:
        if len(legend) < 2:
            raise ConfigurationError(NOT_ENOUGH)
        errors = None if extent_error is None else tuple(float(error) for error in extent_error)
        if errors is not None and (len(errors) < 2 or not all(0.0 <= error <= 1.0 for error in errors)):
            raise ConfigurationError("extent_error must be two numbers or more in 0..1, at evenly spaced extents.")
        self._legend = legend
        self.extent_error = errors

    @property
    def n_outputs(self) -> int:
        """The extent's logit and one logit a zone."""
        return 1 + len(self._legend)

    @property
    def n_moments(self) -> int:
        """The extent and one probability a zone."""
        return 1 + len(self._legend)

    @property
    def legend(self) -> Legend:
        """The zones."""
        return self._legend

    def _terms(self, output: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return (weighted absolute error of the extent, cross-entropy of the zones), 0 where nothing is known."""
        from ecumene.objectives.losses import class_loss, nothing, spatial_valid

        if target.ndim != 4 or target.shape[1] != 2:
            raise ConfigurationError(
                "Settlement extent and zones are learned from two maps at once; give the zones as labels and the "
                "extent with --extent FILE."
            )
        usable = spatial_valid(valid, 3)
        known = usable & target[:, 0].isfinite()
        truth, guess = target[:, 0][known], output[:, 0][known].float().sigmoid()
        extent = (truth.exp() * (truth - guess).abs()).mean() if truth.numel() else nothing(output)
        zone = target[:, 1].nan_to_num(-1.0).long()
        return extent, class_loss(output[:, 1 : self.n_outputs], zone, usable, None, 0.0, 0.0)

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the joint loss over what is valid and known.

        Args:
            output: `[B, 1 + K, H, W]`, or with two more channels that hold s1 and s2.
            target: float `[B, 2, H, W]`.
            valid: bool `[B, H, W]`.
        """
        extent, zone = self._terms(output, target, valid)
        if output.shape[1] == self.n_outputs:
            return extent + zone
        first, second = output[:, -2].mean(), output[:, -1].mean()
        return 0.5 * (-first).exp() * extent + 0.5 * first + (-second).exp() * zone + 0.5 * second

    def metrics(self) -> Any:
        """Return `extent_mae`, `settled_f1` (extent above 0.5), `overall_accuracy`, `macro_f1` and `joint_loss`."""
        from ecumene.core.optional import require

        library, number = require("torchmetrics"), len(self._legend)
        return library.MetricCollection(
            {
                "extent_mae": library.MeanAbsoluteError(),
                "settled_f1": library.classification.BinaryF1Score(),
                "overall_accuracy": library.classification.MulticlassAccuracy(num_classes=number, average="micro"),
                "macro_f1": library.classification.MulticlassF1Score(num_classes=number, average="macro"),
                "joint_loss": library.MeanMetric(),
            },
            compute_groups=False,
        )

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed what is valid and known of one batch."""
        from ecumene.objectives.losses import select_classes, spatial_valid

        known = spatial_valid(valid, 3) & target[:, 0].isfinite()
        if bool(known.any()):
            truth, guess = target[:, 0][known].float(), output[:, 0][known].float().sigmoid()
            metrics["extent_mae"].update(guess, truth)
            metrics["settled_f1"].update(guess, (truth > 0.5).long())
        zones, truth = select_classes(output[:, 1:], target[:, 1].nan_to_num(-1.0).long(), valid)
        if truth.numel() > 0:
            for name in ("overall_accuracy", "macro_f1"):
                metrics[name].update(zones.float().argmax(dim=1), truth)
        metrics["joint_loss"].update(self.loss(output, target, valid), weight=float(len(output)))

    @property
    def monitor(self) -> tuple[str, Direction]:
        """Sum of both losses."""
        return "joint_loss", "min"

    def moments(self, output: Any) -> Any:
        """Turn raw output into the extent and the zones' probabilities, `[B, 1 + K, ...]` both."""
        raw = arrays.as_float(output)
        return arrays.concatenate((arrays.sigmoid(raw[:, :1]), arrays.softmax(raw[:, 1:])))

    def from_moments(self, moments: Any) -> Prediction:
        """Turn (blended) moments into zone codes, entropy, probabilities, extent and its error bar."""
        extent, probability = moments[:, :1], moments[:, 1:]
        index = arrays.argmax(probability)
        value = arrays.look_up(self._legend.values, index)
        entropy = arrays.clip(arrays.entropy(probability) / math.log(len(self._legend)), 0.0, 1.0)
        layers = {
            "value": value[:, None],
            "uncertainty": entropy[:, None],
            "probability": probability,
            "settlement_extent": extent,
        }
        if self.extent_error is not None:
            layers["settlement_extent_error"] = self._error_at(extent)
        return Prediction(value=value, total=entropy, layers=layers, details={"class_index": index})

    def _error_at(self, extent: Any) -> Any:
        """Return the error bar of extents, linear between the known ones."""
        assert self.extent_error is not None
        steps = len(self.extent_error) - 1
        result = extent * 0.0
        for place, error in enumerate(self.extent_error):
            # The hat function of a knot: 1 there, 0 at its neighbours.
            result = result + error * arrays.clip(1.0 - arrays.namespace(extent).abs(extent * steps - place), 0.0, None)
        return result

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Describe zones, their entropy and probabilities, the extent and its error bar."""
        share: dict[str, Any] = {"dtype": "uint8", "nodata": 255, "scale": SCALE, "limits": (0.0, 1.0)}
        specs = (
            LayerSpec(
                name="value",
                dtype="uint8",
                nodata=255,
                categorical=True,
                role="value",
                description="zone of the largest probability",
                band_names=("class",),
            ),
            LayerSpec(
                name="uncertainty",
                role="uncertainty",
                description="predictive entropy over ln K: 0 sure, 1 all zones alike",
                band_names=("entropy",),
                **share,
            ),
            LayerSpec(
                name="probability",
                role="probability",
                description="probability of each zone",
                band_names=self._legend.names,
                **share,
            ),
            LayerSpec(name="settlement_extent", description="share of settled ground", band_names=("extent",), **share),
        )
        if self.extent_error is None:
            return specs
        error = LayerSpec(
            name="settlement_extent_error",
            description="root mean square error of such extents on held-out blocks",
            band_names=("error",),
            **share,
        )
        return (*specs, error)

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        return {
            "name": self.name,
            "legend": self._legend.model_dump(mode="json"),
            "extent_error": None if self.extent_error is None else list(self.extent_error),
        }
