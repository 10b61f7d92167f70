"""Puts M posterior samples in the place of a trained network's last layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.models.contract import InputBand
from ecumene.models.deployed import normalise_tensor
from ecumene.networks import build_network
from ecumene.objectives import Members, PixelRegression
from ecumene.objectives.classification import Classification
from ecumene.objectives.contract import Objective
from ecumene.training.laplace import (
    MOST_WEIGHTS,
    Float,
    Hessian,
    Posterior,
    best_precision,
    class_information,
    laplace_posterior,
)

if TYPE_CHECKING:
    from ecumene.samples.patch_set import PatchSet

MOST_PIXELS = 20_000
SHARES = (1.0, 1 / 8, 1 / 64, 1 / 512)
TRIED = np.logspace(-2, 4, 13)


@dataclass(frozen=True)
class LastLayer:
    """Where the outputs of a network come from.

    Attributes:
        module: Name of the layer, a linear one or a convolution.
        weight: Name of its weights in the state.
        bias: Name of its bias.
    """

    module: str
    weight: str
    bias: str


@dataclass(frozen=True)
class _Pixels:
    """What the last layer sees at labelled pixels: features `[N, F]`, target `[N]` or `[N, D]`."""

    features: NDArray[np.float32]
    target: NDArray[Any]


def find_last_layer(network_name: str, arguments: Mapping[str, Any]) -> LastLayer:
    """Return the one layer of a network whose size depends on the number of outputs.

    Raises:
        ConfigurationError: If there is no such layer, or there are several.
    """
    with torch.device("meta"):
        one, two = (
            build_network(network_name, pretrained=False, **{**arguments, "n_outputs": number}).state_dict()
            for number in (arguments["n_outputs"], 2 * arguments["n_outputs"])
        )
    changed = sorted(name for name in one if one[name].shape != two[name].shape)
    module = changed[-1].rpartition(".")[0] if changed else ""
    if changed != [f"{module}.bias", f"{module}.weight"]:
        raise ConfigurationError(
            f"The network {network_name!r} has no single last layer with a bias, as the Laplace approximation needs; "
            "choose --uncertainty ensemble or augmentation."
        )
    return LastLayer(module, changed[1], changed[0])


def _inputs_of(layer: nn.Module, seen: Tensor) -> Tensor:
    """Return what each output pixel of the layer is a linear function of, `[B, F, H, W]`."""
    if isinstance(layer, nn.Linear):
        return seen.permute(0, 3, 1, 2)
    assert isinstance(layer, nn.Conv2d)
    if layer.kernel_size == (1, 1):
        return seen
    if layer.padding_mode != "zeros" or layer.stride != (1, 1) or layer.groups != 1 or isinstance(layer.padding, str):
        raise ConfigurationError("The last layer is a convolution of a kind that the Laplace approximation lacks.")
    patches = F.unfold(seen, layer.kernel_size, padding=layer.padding)
    spread: Tensor = patches.unflatten(2, seen.shape[2:])
    return spread


def _collect(
    network: nn.Module, layer: nn.Module, patches: PatchSet, inputs: Sequence[InputBand], seed: int
) -> _Pixels:
    """Run the network over patches and keep the last layer's inputs at labelled, valid pixels."""
    mean = torch.tensor([band.mean for band in inputs])[:, None, None]
    std = torch.tensor([band.std for band in inputs])[:, None, None]
    kept: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, given: kept.append(given[0].detach().float()))
    side = patches.image.shape[-1] * patches.image.shape[-2]
    step = max(1, (1 << 16) // side)
    share = min(1.0, MOST_PIXELS / max(1, int(patches.labelled.sum())))
    generator = np.random.default_rng(seed)
    features, targets = [], []
    try:
        for start in range(0, len(patches), step):
            part = slice(start, start + step)
            image = torch.from_numpy(np.ascontiguousarray(patches.image[part], np.float32))
            x, valid = normalise_tensor(image, mean, std)
            dates = torch.from_numpy(patches.dates[part].astype(np.float32)) if image.ndim == 5 else None
            kept.clear()
            with torch.inference_mode():
                network(x, dates, valid)
                seen = _inputs_of(layer, kept[-1]).movedim(1, -1).numpy()
            usable = patches.labelled[part] & (valid if valid.ndim == 3 else valid.any(dim=1)).numpy()
            usable &= generator.random(usable.shape) < share
            features.append(seen[usable])
            targets.append(patches.mask[part][usable])
    finally:
        hook.remove()
    if not features or not sum(map(len, features)):
        raise LabelError("There is no labelled pixel for the Laplace approximation; label more places.")
    return _Pixels(np.concatenate(features), np.concatenate(targets))


def _outputs(weights: Float, features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return raw outputs `[N, M * K]`, member-major, of weights `[M, K, F + 1]`."""
    flat = weights.reshape(-1, weights.shape[-1]).astype(np.float32)
    result: NDArray[np.float32] = features @ flat[:, :-1].T + flat[:, -1]
    return result


def _information(objective: Objective, output: NDArray[np.float32]) -> Float:
    """Return the Fisher information of each pixel in the raw outputs, `[N, K, K]`."""
    if isinstance(objective, Classification):
        return class_information(objective.moments(output).astype(np.float64))
    if not isinstance(objective, PixelRegression):
        raise ConfigurationError(f"The Laplace approximation has no rule for the objective {objective.name!r}.")
    number = len(objective.targets)
    variance = objective.moments(output).astype(np.float64)[:, 2 * number :]
    raw = output[:, number:].astype(np.float64)
    laplace = objective.likelihood == "laplace"
    # Slope of the bounded log-variance; outside of its limits the raw output means nothing and tells nothing.
    slope = 1.0 / ((1.0 + np.exp(np.clip(raw - 10.0, -50, 50))) * (1.0 + np.exp(np.clip(-10.0 - raw, -50, 50))))
    location = (2.0 if laplace else 1.0) / variance
    scale = (0.25 if laplace else 0.5) * slope**2 * (number / raw.shape[1])
    return np.asarray(np.einsum("nk,kj->nkj", np.concatenate([location, scale], 1), np.eye(output.shape[1])))


def _mean_loss(objective: Objective, output: NDArray[np.float32], target: NDArray[Any]) -> float:
    """Return the mean negative log-likelihood of pixels under the (mixture's) objective."""
    raw = torch.from_numpy(output)[:, :, None, None]
    metrics = objective.metrics()
    truth = torch.from_numpy(target)[:, None, None]
    if objective.legend is None:
        objective.update_metrics(metrics, raw, truth, torch.ones(truth.shape, dtype=torch.bool))
        return float(metrics["nll"].compute())
    moments = np.asarray(objective.moments(output))[:, : len(objective.legend)]
    return float(-np.log(np.take_along_axis(moments, target[:, None].astype(np.int64), 1).clip(1e-12)).mean())


def _tuned(posterior: Posterior, mixture: Members, validation: _Pixels, seed: int) -> tuple[float, float, float]:
    """Return (share, precision, negative log-likelihood) that explain the validation pixels best."""
    best = (1.0, 1.0, np.inf)
    for share in SHARES:
        for precision in TRIED:
            drawn = posterior.under(float(precision), share).samples(mixture.members, seed)
            loss = _mean_loss(mixture, _outputs(drawn, validation.features), validation.target)
            if loss < best[2]:
                best = (share, float(precision), loss)
    return best


def sample_last_layer(
    network_name: str,
    arguments: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    objective: Objective,
    inputs: Sequence[InputBand],
    train: PatchSet,
    validation: PatchSet,
    *,
    members: int,
    hessian: Hessian | Literal["auto"] = "auto",
    tune: Literal["validation", "evidence"] = "validation",
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the same network with M samples of its last layer as outputs.

    The samples are drawn once from the Laplace approximation of the last layer's posterior; executed, the network
    costs its features once and M small last layers.

    Args:
        network_name: Name in the registry.
        arguments: The trained network's.
        state: Its weights.
        objective: Of the trained network (one member).
        inputs: Bands with means and standard deviations.
        train: What it has learned from, for the Hessian (at most 20,000 pixels are drawn).
        validation: For the strength of the prior.
        members: M.
        hessian: Form of the Hessian; `auto`: full up to 1024 weights, else Kronecker-factored.
        tune: `validation`: prior precision, and the share at which neighbouring pixels count as independent, of the
            best likelihood on validation pixels; `evidence`: precision of the largest marginal likelihood, every pixel
            counted in full.
        seed: Of the samples.

    Returns:
        (arguments with `members` times the outputs, weights, what was found).

    Raises:
        ConfigurationError: If the network has no single last layer, or the objective no rule.
        LabelError: If there is no labelled pixel.
    """
    place = find_last_layer(network_name, arguments)
    network = build_network(network_name, pretrained=False, **arguments)
    network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    network.eval()
    layer = network.get_submodule(place.module)
    known, fresh = (_collect(network, layer, patches, inputs, seed) for patches in (train, validation))
    weight, bias = np.asarray(state[place.weight], np.float64), np.asarray(state[place.bias], np.float64)
    mode = np.concatenate([weight.reshape(len(weight), -1), bias[:, None]], axis=1)
    output = _outputs(mode[None], known.features)
    form: Hessian = ("full" if mode.size <= MOST_WEIGHTS // 4 else "kronecker") if hessian == "auto" else hessian
    posterior = laplace_posterior(known.features, _information(objective, output), mode, hessian=form)
    mixture = Members(objective, members)
    before = _mean_loss(objective, _outputs(mode[None], fresh.features), fresh.target)
    if tune == "evidence":
        share = 1.0
        precision = best_precision(posterior, -len(known.target) * _mean_loss(objective, output, known.target))
    else:
        share, precision, _ = _tuned(posterior, mixture, fresh, seed)
    drawn = posterior.under(precision, share).samples(members, seed)
    after = _mean_loss(mixture, _outputs(drawn, fresh.features), fresh.target)
    found = {
        "hessian": form,
        "weights": int(mode.size),
        "prior_precision": precision,
        "likelihood_share": share,
        # Validation pixels preferred the single network: the members are next to equal.
        "members_alike": bool(tune == "validation" and precision >= TRIED[-1]),
        "pixels": len(known.target),
        "validation_loss_before": before,
        "validation_loss": after,
    }
    return {**arguments, "n_outputs": members * objective.n_outputs}, _replaced(state, place, drawn), found


def _replaced(state: Mapping[str, NDArray[Any]], place: LastLayer, drawn: Float) -> dict[str, NDArray[Any]]:
    """Return the weights with samples `[M, K, F + 1]` in the place of the last layer."""
    stacked = drawn.reshape(-1, drawn.shape[-1]).astype(np.float32)
    weight = np.ascontiguousarray(stacked[:, :-1].reshape(-1, *state[place.weight].shape[1:]))
    return {**state, place.weight: weight, place.bias: np.ascontiguousarray(stacked[:, -1])}
