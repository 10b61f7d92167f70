"""Several numbers for every pixel with the full covariance of their errors."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ecumene.objectives import arrays
from ecumene.objectives.numeric import NumericObjective, bounded, unbounded
from ecumene.objectives.prediction import LayerSpec, Prediction

if TYPE_CHECKING:
    from torch import Tensor

MOST_COUPLING = 10.0
"""Largest entry of U below its diagonal: correlations of up to 0.995 between two targets."""


class MultivariateRegression(NumericObjective):
    """Heteroscedastic Gaussian with full covariance over D targets (bands), by a Cholesky factor.

    Output `[B, 2D + D(D-1)/2, H, W]`: D means, D raw log-variances, and the entries of the unit lower triangular
    matrix U below its diagonal, row by row. The covariance is diag(d) U U^T diag(d) with ln d^2 limited to [-10, 10]
    and entries of U to [-10, 10], both smoothly; so it is positive definite whatever the network puts out. Moments, in
    standardised units: means (D), products of means (D(D+1)/2), covariances (D(D+1)/2); they may be averaged, and the
    covariance of the average is mean covariance + mean product - product of means.

    A pixel counts in the loss if all of its targets are known. The loss of a pixel is the negative log-likelihood of
    its vector (Ebel et al. 2023, "UnCRtainTS", arXiv 2304.05464, eq. 1, whose `diag` and `iso` forms are
    `PixelRegression(covariance="diagonal")` and `"isotropic"` up to the factor D).

    Args:
        targets: Names of the numbers.
        unit: Their unit.
        target_mean: Mean of each target in the training data, in `unit`.
        target_std: Standard deviation of each, positive.
        variance_scale: Factor on the predicted covariance that held-out blocks ask for.
        variance_maps: See `NumericObjective`; correlations stay as they are.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    name: ClassVar[str] = "multivariate-regression"

    @property
    def n_pairs(self) -> int:
        """Entries of a triangle with its diagonal."""
        return len(self.targets) * (len(self.targets) + 1) // 2

    @property
    def n_outputs(self) -> int:
        """Means, log-variances and couplings."""
        return len(self.targets) + self.n_pairs

    @property
    def n_moments(self) -> int:
        """Means, products of means and covariances."""
        return len(self.targets) + 2 * self.n_pairs

    def _pairs(self) -> list[tuple[int, int]]:
        """Return (row, column) of the lower triangle, row by row, as products and covariances are stored."""
        return [(row, column) for row in range(len(self.targets)) for column in range(row + 1)]

    def _factor(self, output: Any) -> tuple[Any, Any, dict[tuple[int, int], Any]]:
        """Return (means, ln d, entries of U below the diagonal), channels on axis 1."""
        number = len(self.targets)
        raw = output[:, 2 * number :]
        entries = MOST_COUPLING * arrays.namespace(raw).tanh(raw / MOST_COUPLING)
        places = [(row, column) for row, column in self._pairs() if row > column]
        coupling = {place: entries[:, k] for k, place in enumerate(places)}
        return output[:, :number], 0.5 * bounded(output[:, number : 2 * number]), coupling

    def _select(self, output: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (means, ln d `[N, D]`, U `[N, D, D]`, standardised targets) of usable pixels."""
        import torch

        from ecumene.objectives.losses import spatial_valid

        truth = self.standardised(target)
        usable = spatial_valid(valid, 3) & truth.isfinite().all(dim=1)
        chosen = output.movedim(1, -1)[usable].float()
        mean, log_deviation, entries = self._factor(chosen)
        number = len(self.targets)
        coupling = torch.eye(number, device=chosen.device).repeat(len(chosen), 1, 1)
        if entries:
            rows, columns = zip(*entries, strict=True)
            coupling[:, rows, columns] = torch.stack(list(entries.values()), dim=1)
        return mean, log_deviation, coupling, truth.movedim(1, -1)[usable]

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the negative log-likelihood a pixel, without its constant; see `losses.multivariate_loss`."""
        from ecumene.objectives.losses import multivariate_loss, nothing

        mean, log_deviation, coupling, truth = self._select(output, target, valid)
        return multivariate_loss(truth - mean, log_deviation, coupling) if truth.numel() else nothing(output)

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed the valid pixels with all targets of one batch."""
        from ecumene.objectives.losses import multivariate_loss

        mean, log_deviation, coupling, truth = self._select(output, target, valid)
        if truth.numel() == 0:
            return
        scale = truth.new_tensor(self.target_std)
        for name in ("rmse", "mae"):
            metrics[name].update((mean * scale).flatten(), (truth * scale).flatten())
        constant = 0.5 * len(self.targets) * math.log(2.0 * math.pi)
        metrics["nll"].update(
            multivariate_loss(truth - mean, log_deviation, coupling) + constant, weight=float(len(truth))
        )

    def moments(self, output: Any) -> Any:
        """Turn raw output into standardised means, products of means and covariances `[B, n_moments, ...]`."""
        mean, log_deviation, entries = self._factor(arrays.as_float(output))
        deviation = arrays.namespace(mean).exp(log_deviation)
        products, covariances = [], []
        for row, column in self._pairs():
            products.append(mean[:, row] * mean[:, column])
            # (U U^T)_rc = sum_j u_rj u_cj over j <= c, with u_cc = 1.
            shared = entries[row, column] if row > column else deviation[:, row] * 0.0 + 1.0
            for j in range(column):
                shared = shared + entries[row, j] * entries[column, j]
            covariances.append(shared * deviation[:, row] * deviation[:, column])
        return arrays.concatenate((mean, *(part[:, None] for part in (*products, *covariances))))

    def _parts(self, moments: Any) -> tuple[Any, Any, Any]:
        """Return (means, covariances of the means, mean covariances), standardised, pairs as `_pairs` orders them."""
        number = len(self.targets)
        mean, square = moments[:, :number], moments[:, number : number + self.n_pairs]
        outer = [(mean[:, row] * mean[:, column])[:, None] for row, column in self._pairs()]
        return mean, square - arrays.concatenate(outer), moments[:, number + self.n_pairs :]

    def from_moments(self, moments: Any) -> Prediction:
        """Turn (blended) moments into value, standard deviations, correlations and layers in the targets' unit."""
        library = arrays.namespace(moments)
        mean, between, within = self._parts(moments)
        diagonal = [k for k, (row, column) in enumerate(self._pairs()) if row == column]
        center, scale = (arrays.per_channel(values, mean) for values in (self.target_mean, self.target_std))
        aleatoric = library.sqrt(arrays.clip(within[:, diagonal], 1e-12, None))
        epistemic = library.sqrt(arrays.clip(between[:, diagonal], 0.0, None))
        total = library.sqrt(aleatoric**2 + epistemic**2)
        factor = self.bar_factor(total**2)
        value = mean * scale + center
        layers = {"value": value, "uncertainty": factor * total}
        covariance = between + within
        pairs = [
            arrays.clip(covariance[:, k] / (total[:, row] * total[:, column]), -1.0, 1.0)[:, None]
            for k, (row, column) in enumerate(self._pairs())
            if row > column
        ]
        if pairs:
            layers["correlation"] = arrays.concatenate(pairs)
        return Prediction(
            value=value,
            total=factor * total,
            aleatoric=factor * aleatoric,
            epistemic=factor * epistemic,
            layers=layers,
            details={"covariance": covariance * self._inflation(factor / scale)},
        )

    def _inflation(self, factor: Any) -> Any:
        """Return what recalibration multiplies standardised covariances by, pairs as `_pairs` orders them."""
        return arrays.concatenate([(factor[:, row] * factor[:, column])[:, None] for row, column in self._pairs()])

    def layer_specs(self) -> tuple[LayerSpec, ...]:
        """Describe `value`, `uncertainty` and, for several targets, `correlation` (one band a pair)."""
        specs = super().layer_specs()
        if len(self.targets) < 2:
            return specs
        names = tuple(f"{self.targets[row]}, {self.targets[column]}" for row, column in self._pairs() if row > column)
        added = replace(
            specs[1],
            name="correlation",
            role="extra",
            unit="1",
            description="correlation of the errors of two targets",
            band_names=names,
            limits=(-1.0, 1.0),
        )
        return (*specs, added)

    def widen(self, moments: Any, members: int) -> Any:
        """See `NumericObjective.widen`."""
        if members < 2:
            return moments
        number = len(self.targets)
        mean, between, within = self._parts(moments)
        outer = moments[:, number : number + self.n_pairs] - between
        return arrays.concatenate((mean, outer + between * (members / (members - 1)), within))

    def collapse(self, moments: Any) -> Any:
        """See `NumericObjective.collapse`."""
        library, number = arrays.namespace(moments), len(self.targets)
        mean, between, within = self._parts(moments)
        covariance = dict(zip(self._pairs(), arrays.split(between + within), strict=True))
        # Cholesky factor L = diag(d) U, row by row: l_rc = (s_rc - sum_j l_rj l_cj) / l_cc.
        factor: dict[tuple[int, int], Any] = {}
        for row, column in self._pairs():
            rest = covariance[row, column]
            for j in range(column):
                rest = rest - factor[row, j] * factor[column, j]
            pivot = library.sqrt(arrays.clip(rest, 1e-9, None))
            factor[row, column] = pivot if row == column else rest / factor[column, column]
        log_variance = [2.0 * library.log(factor[row, row])[:, None] for row in range(number)]
        ratios = [(factor[r, c] / factor[r, r])[:, None] for r, c in self._pairs() if r > c]
        parts = [mean, unbounded(arrays.concatenate(log_variance))]
        if ratios:
            limited = arrays.clip(arrays.concatenate(ratios) / MOST_COUPLING, -0.999, 0.999)
            parts.append(MOST_COUPLING * library.arctanh(limited))
        return arrays.concatenate(parts)
