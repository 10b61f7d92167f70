"""Clear reflectance with its error bar for every pixel and band, from cloudy images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from ecumene.core.errors import ConfigurationError
from ecumene.objectives import arrays
from ecumene.objectives.contract import Direction
from ecumene.objectives.diagonal import DiagonalObjective
from ecumene.objectives.numeric import Maps

if TYPE_CHECKING:
    from torch import Tensor

RestorationLoss = Literal["likelihood", "l1", "l2", "cloud-adaptive"]
Covariance = Literal["diagonal", "isotropic", "univariate"]


class Restoration(DiagonalObjective):
    """Mean and variance of K bands, standardised; the network's output is both, ready for use.

    Output `[B, K + V, H, W]`: K means, then V variances (not logarithms), V = K, or 1 with `covariance="isotropic"`.
    Networks that were published without variances put out one that they do not learn
    (`networks.restoration.RestorationNetwork.with_change`); with every network, variances become error bars only by
    the recalibration on images that were held out.

    The target is float32 `[B, 2 K + 1, H, W]`: the clear bands, the bands as observed, and 1 where clouds or shadows
    cover the pixel (`samples.restoration_set.RestorationSet.packed`); or the clear bands alone, `[B, K, H, W]`. A pixel
    counts where all clear bands are known and the image is valid.

    Losses: `likelihood` (multivariate Gaussian, Ebel et al. 2023, arXiv 2304.05464, "MGNLL", its `diag`, `iso` and
    `uni` forms); `cloud-adaptive` (CARL, Meraner et al. 2020, doi 10.1016/j.isprsjprs.2020.05.013); `l1` and `l2`.

    Moments are those of `DiagonalObjective`.

    Args:
        targets: Names of the bands.
        unit: Of the bands.
        target_mean: Of the scaling, in `unit`.
        target_std: Of the scaling.
        variance_scale: See `NumericObjective`.
        loss: See above.
        covariance: `diagonal`, `isotropic` or `univariate` (a likelihood of each band, mean over bands).
        clear_weight: Weight of CARL's regularisation.
        released_log_determinant: Weigh the log-determinant by the batch size, as the released code does.
        variance_maps: See `NumericObjective`.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    name: ClassVar[str] = "restoration"

    def __init__(
        self,
        targets: Sequence[str],
        unit: str = "1",
        target_mean: Sequence[float] | float = 0.0,
        target_std: Sequence[float] | float = 0.1,
        variance_scale: float = 1.0,
        loss: RestorationLoss = "likelihood",
        covariance: Covariance = "diagonal",
        clear_weight: float = 1.0,
        released_log_determinant: bool = False,
        variance_maps: Maps | None = None,
    ) -> None:
        super().__init__(targets, unit, target_mean, target_std, variance_scale, variance_maps)
        if loss not in get_args(RestorationLoss) or covariance not in get_args(Covariance):
            raise ConfigurationError(
                f"The loss of a restoration is one of {', '.join(get_args(RestorationLoss))} and its covariance one of "
                f"{', '.join(get_args(Covariance))}, not {loss!r} and {covariance!r}."
            )
        if not 0.0 <= clear_weight < math.inf:
            raise ConfigurationError(f"clear_weight must be 0 or more, but is {clear_weight}.")
        self.kind: RestorationLoss = loss
        self.covariance: Covariance = covariance
        self.clear_weight = float(clear_weight)
        self.released_log_determinant = bool(released_log_determinant)

    @property
    def monitor(self) -> tuple[str, Direction]:
        """Likelihood where that is learned, else the mean absolute error."""
        return ("nll" if self.kind == "likelihood" else "mae"), "min"

    @property
    def reads_observed(self) -> bool:
        """Only the cloud-adaptive loss does."""
        return self.kind == "cloud-adaptive"

    def _select(self, output: Tensor, target: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return (mean, variance, truth, observed, cloudy) of pixels that count, in standardised units.

        `[N, K]`, `[N, V]`, `[N, K]`, `[N, K]`, `[N]`; selecting comes first: a gradient through other pixels would be
        NaN where they are.
        """
        from ecumene.objectives.losses import spatial_valid

        number = len(self.targets)
        truth = self.standardised(target[:, :number])
        usable = spatial_valid(valid, 3) & truth.isfinite().all(dim=1)
        chosen = output.movedim(1, -1)[usable].float()
        truth = truth.movedim(1, -1)[usable]
        observed, cloudy = truth, truth.new_zeros(len(truth))
        if target.shape[1] > number:
            seen = self.standardised(target[:, number : 2 * number]).movedim(1, -1)[usable]
            observed = seen.where(seen.isfinite(), truth)
            cloudy = target[:, 2 * number][usable].float()
        return chosen[:, :number], chosen[:, number:], truth, observed, cloudy

    def loss(self, output: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss over pixels that count (0 with gradient where there is none)."""
        from ecumene.objectives import restoration_losses as losses
        from ecumene.objectives.losses import nothing

        mean, variance, truth, observed, cloudy = self._select(output, target, valid)
        if truth.numel() == 0:
            return nothing(output)
        if self.kind == "cloud-adaptive":
            return losses.cloud_adaptive_loss(mean, truth, observed, cloudy, self.clear_weight)
        if self.kind == "likelihood":
            batch = len(output) if self.released_log_determinant else 0
            return losses.gaussian_pixel_loss(mean, variance, truth, self.covariance, batch)
        return losses.point_loss(mean, truth, 1 if self.kind == "l1" else 2)

    def update_metrics(self, metrics: Any, output: Tensor, target: Tensor, valid: Tensor) -> None:
        """Feed the pixels that count of one batch."""
        from ecumene.objectives.restoration_losses import gaussian_pixel_loss

        mean, variance, truth, _, _ = self._select(output, target, valid)
        if truth.numel() == 0:
            return
        scale = truth.new_tensor(self.target_std)
        for name in ("rmse", "mae"):
            metrics[name].update((mean * scale).flatten(), (truth * scale).flatten())
        metrics["nll"].update(gaussian_pixel_loss(mean, variance, truth, self.covariance), weight=float(len(truth)))

    def moments(self, output: Any) -> Any:
        """Turn raw output into standardised (means, squared means, variances) `[B, 3 K, ...]`."""
        values, number = arrays.as_float(output), len(self.targets)
        mean, variance = values[:, :number], arrays.clip(values[:, number:], 1e-8, None)
        return self._moments(mean, variance)

    def collapse(self, moments: Any) -> Any:
        """See `NumericObjective.collapse`."""
        return arrays.concatenate(self._total(moments))

    def to_config(self) -> dict[str, Any]:
        """Return JSON-able arguments with the key `name`."""
        return super().to_config() | {
            "loss": self.kind,
            "covariance": self.covariance,
            "clear_weight": self.clear_weight,
            "released_log_determinant": self.released_log_determinant,
        }
