"""Trains a neural inverse on simulated spectra; calibrated error bars, and flags outside of its training range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.progress import Progress, silent
from ecumene.networks.spectral_inverse import SpectralInverse, gaussian_loss
from ecumene.physics.retrieval.estimation import fit_linear
from ecumene.physics.retrieval.forward import ForwardModel
from ecumene.physics.retrieval.sampling import sobol_states
from ecumene.training.descent import descend
from ecumene.training.seeding import seeded

Float = NDArray[np.float64]

INVALID = 1
"""The spectrum is not finite."""
UNLIKE_TRAINING = 2
"""The spectrum's principal components are farther from the training's mean than those of training spectra."""
UNEXPLAINED = 4
"""The spectrum has structure that no training spectrum has (residual of the principal components)."""
OUTSIDE_STATES = 8
"""The retrieved state lies outside of the training's range."""
MEMBERS_DISAGREE = 16
"""The networks of the ensemble disagree more than on training spectra."""

POOR_FIT = 32
"""The forward model at the retrieved state, with surface and path fitted, does not give the spectrum."""

OUTLIER_FLAGS = UNLIKE_TRAINING | UNEXPLAINED | OUTSIDE_STATES | MEMBERS_DISAGREE | POOR_FIT
_FALSE_ALARMS = 1e-3
_LEAST_SIGNAL = 0.05
_ONE_SIGMA = 0.6826894921370859


@dataclass(frozen=True)
class InverseModel:
    """An ensemble of networks with everything that its use needs; float64 arrays.

    Attributes:
        members: Networks in evaluation mode.
        names: Retrieved elements.
        deviation: Measurement noise by which spectra are divided, `[M]`.
        center: Mean whitened spectrum, `[M]`.
        components: Principal components, `[k, M]`.
        scale: Standard deviations of the scores, `[k]`.
        state_mean: Of the retrieved elements, `[s]`.
        state_scale: Their standard deviation, `[s]`.
        calibration: Factors on the standard deviations, set on held-out spectra, `[s]`.
        limits: Smallest and largest training state, `[2, s]`.
        thresholds: Of Mahalanobis distance, residual, members' disagreement and misfit of the forward model.
        forward: The forward model of the training.
        prior: Prior mean of its state, `[n]`.
        precision: Inverse prior covariance, `[n, n]`.
        held_out_coverage: Share of held-out truths within one standard deviation before calibration, `[s]`.
    """

    members: tuple[SpectralInverse, ...]
    names: tuple[str, ...]
    deviation: Float
    center: Float
    components: Float
    scale: Float
    state_mean: Float
    state_scale: Float
    calibration: Float
    limits: Float
    thresholds: Float
    held_out_coverage: Float
    forward: ForwardModel
    prior: Float
    precision: Float


@dataclass(frozen=True)
class InverseRetrieval:
    """Retrieved elements of P spectra; NaN where invalid.

    Attributes:
        value: `[P, s]`.
        standard_deviation: Total, calibrated, `[P, s]`.
        aleatoric: Part that the networks state, `[P, s]`.
        epistemic: Spread of the ensemble, `[P, s]`.
        flags: Bits of this module, `[P]`.
    """

    value: Float
    standard_deviation: Float
    aleatoric: Float
    epistemic: Float
    flags: NDArray[np.uint8]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Spectra with a state."""
        return np.asarray((self.flags & INVALID) == 0)

    @property
    def outlier(self) -> NDArray[np.bool_]:
        """Spectra outside of what the networks have learned."""
        return np.asarray((self.flags & OUTLIER_FLAGS) != 0)


def train_inverse(
    forward: ForwardModel,
    noise: NDArray[Any],
    prior: NDArray[Any],
    prior_covariance: NDArray[Any],
    targets: Sequence[str],
    *,
    samples: int = 16384,
    components: int = 16,
    members: int = 4,
    epochs: int = 60,
    batch: int = 256,
    seed: int = 0,
    progress: Progress = silent,
) -> InverseModel:
    """Train an ensemble of inverse networks on simulated noisy spectra.

    States are Sobol samples of the prior; noise is drawn anew every epoch; inputs are principal components of the
    noise-whitened spectra. The ensemble's total variance (Lakshminarayanan, Pritzel and Blundell 2017) is scaled on
    held-out spectra so that 68.3 % of them fall within one standard deviation. Thresholds of the flags are the
    0.999 quantiles of held-out spectra.

    Args:
        forward: Forward model.
        noise: Variances of the measurement noise, `[M]`.
        prior: Prior mean `[n]` of the full state.
        prior_covariance: Variances or covariance.
        targets: Names of the elements to retrieve.
        samples: Training spectra; a quarter as many are held out.
        components: Principal components.
        members: Networks.
        epochs: Passes.
        batch: Spectra a step.
        seed: Of everything random.
        progress: Called with (epochs done, epochs, what).

    Raises:
        ConfigurationError: If a target is not in the state, or a number is not positive.
        ContractError: If the noise does not fit the bands.
    """
    unknown = [name for name in targets if name not in forward.names]
    if unknown or not targets:
        raise ConfigurationError(
            f"The state has no element {unknown or 'to retrieve'}; it has: {', '.join(forward.names)}."
        )
    if min(samples, components, members, epochs, batch) < 1 or samples < 64:
        raise ConfigurationError(
            "An inverse needs at least 64 samples, and positive components, members, epochs and batch."
        )
    deviation = np.sqrt(np.asarray(noise, np.float64))
    if deviation.shape != (forward.bands,) or not (deviation > 0.0).all():
        raise ContractError(f"The noise of {forward.bands} bands is a vector of as many positive variances.")
    columns = [forward.names.index(name) for name in targets]
    states = sobol_states(prior, prior_covariance, samples + samples // 4, seed=seed)
    clean = np.concatenate([forward(states[k : k + 2048])[0] for k in range(0, len(states), 2048)]) / deviation
    wanted = states[:, columns]
    train, held = slice(0, samples), slice(samples, None)
    center = clean[train].mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(clean[train], rowvar=False))
    # A direction in which states move spectra by less than noise carries nothing to learn, but tells strangers apart.
    kept = int(np.clip((values > _LEAST_SIGNAL).sum(), 1, components))
    basis = vectors[:, ::-1][:, :kept].T
    rng = np.random.default_rng(seed)
    scale = np.sqrt(((clean[train] - center) @ basis.T).var(axis=0) + 1.0)
    state_mean, state_scale = wanted[train].mean(axis=0), wanted[train].std(axis=0)
    goal = (wanted - state_mean) / state_scale
    scores = (clean - center) @ basis.T
    networks = []
    for member in range(members):
        draw = np.random.default_rng([seed, member])
        networks.append(
            _train_member(
                scores[train], scale, goal[train], draw, epochs, batch, seed + member, (member, members), progress
            )
        )
    noisy = clean[held] + rng.standard_normal(clean[held].shape)
    limits = np.stack([wanted[train].min(axis=0), wanted[train].max(axis=0)])
    ones, none = np.ones(len(columns)), np.full(4, np.inf)
    spread = np.asarray(prior_covariance, np.float64)
    precision = np.linalg.inv(np.diag(spread) if spread.ndim == 1 else spread)
    raw = InverseModel(
        members=tuple(networks),
        names=tuple(targets),
        deviation=deviation,
        center=center,
        components=basis,
        scale=scale,
        state_mean=state_mean,
        state_scale=state_scale,
        calibration=ones,
        limits=limits,
        thresholds=none,
        held_out_coverage=ones,
        forward=forward,
        prior=np.asarray(prior, np.float64),
        precision=np.asarray(precision, np.float64),
    )
    return _calibrated(raw, noisy, wanted[held])


def _train_member(
    scores: Float,
    scale: Float,
    goal: Float,
    draw: np.random.Generator,
    epochs: int,
    batch: int,
    seed: int,
    place: tuple[int, int],
    progress: Progress,
) -> SpectralInverse:
    """Train one network; white noise stays white in an orthonormal basis, so it is drawn in the scores."""
    targets = torch.from_numpy(goal.astype(np.float32))
    with seeded(seed):
        network = SpectralInverse(scores.shape[1], goal.shape[1])
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
        network.train()
        for epoch in range(epochs):
            noisy = torch.from_numpy(((scores + draw.standard_normal(scores.shape)) / scale).astype(np.float32))
            for chosen in torch.from_numpy(draw.permutation(len(goal))).split(batch):
                mean, log_variance = network(noisy[chosen])
                loss = gaussian_loss(mean, log_variance, targets[chosen])
                descend(network, optimiser, loss, 5.0)
            schedule.step()
            progress(place[0] * epochs + epoch + 1, place[1] * epochs, "epochs")
    network.eval()
    return network


def _measures(model: InverseModel, whitened: Float) -> tuple[Float, Float, Float, Float]:
    """Return (mean, aleatoric and epistemic standard deviation `[P, s]`, four outlier measures `[P, 4]`)."""
    centred = whitened - model.center
    scores = centred @ model.components.T
    inputs = torch.from_numpy((scores / model.scale).astype(np.float32))
    with torch.inference_mode():
        outputs = [member(inputs) for member in model.members]
    means = np.stack([mean.double().numpy() for mean, _ in outputs])
    variances = np.stack([log.double().exp().numpy() for _, log in outputs])
    spread = means.var(axis=0, ddof=1) if len(outputs) > 1 else np.zeros_like(means[0])
    aleatoric = variances.mean(axis=0)
    distance = ((scores / model.scale) ** 2).sum(axis=1)
    residual = ((centred - scores @ model.components) ** 2).sum(axis=1)
    disagreement = (spread / (aleatoric + spread)).max(axis=1)
    value = means.mean(axis=0) * model.state_scale + model.state_mean
    return (
        value,
        np.sqrt(aleatoric) * model.state_scale,
        np.sqrt(spread) * model.state_scale,
        np.stack([distance, residual, disagreement, _misfit(model, whitened, value)], axis=1),
    )


def _misfit(model: InverseModel, whitened: Float, value: Float) -> Float:
    """Return the chi-square of spectra under the forward model at retrieved elements, `[P]`."""
    forward = model.forward
    columns = [forward.names.index(name) for name in model.names]
    result = np.empty(len(value))
    for start in range(0, len(value), 2048):
        part = slice(start, start + 2048)
        state = np.tile(model.prior, (len(value[part]), 1))
        state[:, columns] = value[part]
        spectra = whitened[part] * model.deviation
        result[part] = fit_linear(
            forward, spectra, model.deviation, state, model.prior, model.precision, forward.linear
        )[1]
    return result


def _calibrated(model: InverseModel, whitened: Float, truth: Float) -> InverseModel:
    """Set calibration and thresholds on held-out spectra."""
    from dataclasses import replace

    value, aleatoric, epistemic, measures = _measures(model, whitened)
    ratio = np.abs(value - truth) / np.hypot(aleatoric, epistemic)
    return replace(
        model,
        calibration=np.quantile(ratio, _ONE_SIGMA, axis=0),
        thresholds=np.quantile(measures, 1.0 - _FALSE_ALARMS, axis=0),
        held_out_coverage=(ratio < 1.0).mean(axis=0),
    )


def apply_inverse(model: InverseModel, spectra: NDArray[Any]) -> InverseRetrieval:
    """Retrieve states with a trained ensemble.

    Args:
        model: Trained.
        spectra: `[P, M]`, in the unit of the forward model.

    Raises:
        ContractError: If the number of bands differs.
    """
    y = np.atleast_2d(np.asarray(spectra, np.float64))
    if y.shape[1] != model.center.size:
        raise ContractError(f"The inverse was trained on {model.center.size} bands, but the spectra have {y.shape[1]}.")
    finite = np.asarray(np.isfinite(y).all(axis=1))
    whitened = np.where(finite[:, None], y / model.deviation, model.center)
    value, aleatoric, epistemic, measures = _measures(model, whitened)
    outside = ((value < model.limits[0]) | (value > model.limits[1])).any(axis=1)
    flags = np.zeros(len(y), np.uint8)
    for column, bit in enumerate((UNLIKE_TRAINING, UNEXPLAINED, MEMBERS_DISAGREE, POOR_FIT)):
        flags |= np.where(measures[:, column] > model.thresholds[column], bit, 0).astype(np.uint8)
    flags |= np.where(outside, OUTSIDE_STATES, 0).astype(np.uint8)
    flags = np.where(finite, flags, INVALID).astype(np.uint8)
    total = np.hypot(aleatoric, epistemic) * model.calibration

    def masked(values: Float) -> Float:
        return np.where(finite[:, None], values, np.nan)

    return InverseRetrieval(
        value=masked(value),
        standard_deviation=masked(total),
        aleatoric=masked(aleatoric * model.calibration),
        epistemic=masked(epistemic * model.calibration),
        flags=flags,
    )
