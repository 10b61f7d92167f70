"""Where a network looks: Grad-CAM, class attention maps, and attention over dates."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.explanation.tensors import DifferentiableModel
from ecumene.models.bundle import Model

if TYPE_CHECKING:
    from torch import Tensor

Float = NDArray[np.float32]


def attention_layer(network: Any, run: Any) -> str:
    """Return the deepest layer with maps: the smallest of more than one pixel, the last one executed of that size.

    Args:
        network: An `nn.Module`.
        run: Called without arguments; executes the network once.

    Raises:
        ConfigurationError: If no layer gives maps that are coarser than its input or see its surroundings.
    """
    import torch

    seen: list[tuple[int, str]] = []

    def watch(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[-1] * output.shape[-2] > 1:
                seen.append((output.shape[-1] * output.shape[-2], name))

        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    if not seen:
        raise ConfigurationError("No layer of the network has maps; use --method occlusion.")
    smallest = min(size for size, _ in seen)
    return [name for size, name in seen if size == smallest][-1]


def weighted_activation(activation: Tensor, gradient: Tensor) -> Tensor:
    """Return ReLU(sum_k alpha_k A_k) with alpha_k = mean_ij dy/dA_k,ij (Selvaraju et al. 2017, eq. 1 and 2).

    Args:
        activation: `[K, h, w]`.
        gradient: Of the score with respect to it, `[K, h, w]`.
    """
    weight = gradient.mean(dim=(1, 2), keepdim=True)
    result: Tensor = (weight * activation).sum(dim=0).clamp(min=0)
    return result


def grad_cam(
    model: Model,
    image: Float,
    dates: Float | None,
    channel: int,
    *,
    where: NDArray[np.bool_] | None = None,
    layer: str | None = None,
    threads: int | None = None,
) -> tuple[Float, str]:
    """Return where the network finds evidence for a class.

    Selvaraju et al., "Grad-CAM" (2017), of the logit. For a segmentation the score is the sum of the logits of the
    wanted pixels (Vinogradova et al. 2020, "Towards Interpretable Semantic Segmentation via Gradient-weighted Class
    Activation Mapping"). A network with maps of its own for each class (`class_attention`) gives those instead.

    Args:
        model: A network that sees surroundings.
        image: One window `[T, C, H, W]`, physical units.
        dates: `[T]` of a series, else None.
        channel: Class.
        where: bool `[H, W]`, the explained pixels of a segmentation.
        layer: Name of the layer; None: `attention_layer`.
        threads: Threads of torch.

    Returns:
        (map float32 `[H, W]` scaled to [0, 1], all 0 if there is no evidence; name of the layer).

    Raises:
        ConfigurationError: If the model is made of trees, looks at single pixels, or has no such layer.
    """
    from ecumene.networks.contract import ClassAttention

    explained = DifferentiableModel(model, "The method gradcam", threads)
    whole_scene = model.objective.unit_of_work == "scene"
    if not whole_scene and model.spec.margin == 0:
        raise ConfigurationError(
            f"The model {model.spec.name} decides every pixel by itself, so that it looks nowhere else; "
            "use --method occlusion or gradients."
        )
    x, when = explained.tensors(image, dates)
    shape = (image.shape[-2], image.shape[-1])
    if layer is None and isinstance(explained.network, ClassAttention):
        return _scaled(_resized(_own_attention(explained, x)[channel], shape)), "class attention"
    name = layer or attention_layer(explained.network, lambda: explained.raw(x, when))
    heat = activation_map(
        explained.network,
        lambda batch: explained.raw(batch, when),
        x,
        channel,
        layer=name,
        where=where,
        members=explained.objective.members,
    )
    return _scaled(_resized(heat, shape)), name


def _own_attention(explained: DifferentiableModel, x: Tensor) -> Tensor:
    """Return the network's maps `[K, h, w]`, positive evidence only."""
    import torch

    from ecumene.models.deployed import normalise_tensor

    seen, _ = normalise_tensor(x, explained.module.mean, explained.module.std)
    with torch.no_grad():
        maps: Tensor = explained.network.class_attention(seen)[0]
    return maps.clamp(min=0)


def activation_map(
    network: Any,
    run: Callable[[Tensor], Tensor],
    x: Tensor,
    channel: int,
    *,
    layer: str,
    where: NDArray[np.bool_] | None = None,
    members: int = 1,
) -> Tensor:
    """Return the Grad-CAM of any network, segmentation or scene classifier, on the grid of a layer.

    Args:
        network: Holds the layer.
        run: Runs it: from `x` to logits `[1, members * K, H, W]` or `[1, members * K]`, member-major.
        x: `[1, ..., H, W]`.
        channel: Class.
        layer: Name of a layer with maps.
        where: bool `[H, W]`, the explained pixels of a segmentation; None: all.
        members: Members of the predictive distribution; their logits are summed.

    Returns:
        `[h, w]`, not negative, not scaled.

    Raises:
        ConfigurationError: If there is no such layer, or it gives no maps.
    """
    import torch

    modules = dict(network.named_modules())
    if layer not in modules:
        some = ", ".join(name for name in modules if name and name.count(".") < 2)
        raise ConfigurationError(f"The network has no layer {layer!r}; it has: {some}.")
    kept: list[Tensor] = []
    handle = modules[layer].register_forward_hook(lambda _m, _i, output: kept.append(output))
    try:
        with torch.enable_grad():
            output = run(x.detach().clone().requires_grad_(True))
            if not kept or not isinstance(kept[-1], torch.Tensor) or kept[-1].ndim != 4:
                raise ConfigurationError(f"The layer {layer!r} gives no maps; choose a convolution or leave it out.")
            classes = output[0].reshape(members, -1, *output.shape[2:])[:, channel]
            if where is not None and output.ndim == 4:
                classes = classes[..., torch.from_numpy(np.asarray(where, bool))]
            (gradient,) = torch.autograd.grad(classes.sum(), kept[-1])
    finally:
        handle.remove()
    return weighted_activation(kept[-1][0].detach(), gradient[0].detach())


def _resized(map_: Tensor, shape: tuple[int, int]) -> Float:
    from torch.nn import functional

    grown = functional.interpolate(map_[None, None].float(), size=shape, mode="bilinear", align_corners=False)
    return np.asarray(grown[0, 0].numpy(), np.float32)


def _scaled(values: Float) -> Float:
    top = float(values.max(initial=0.0))
    return (values / top if top > 0 else np.zeros_like(values)).astype(np.float32)


def date_attention(
    model: Model, image: Float, dates: Float, pixel: tuple[int, int], threads: int | None = None
) -> NDArray[np.float64]:
    """Return the attention that a series network gives to each date of a pixel, the mean over its heads.

    Attention says where the network looked, not whether what it saw there decided; occlusion of dates says that.

    Args:
        model: A network with temporal attention (`networks.contract.DateAttention`).
        image: `[T, C, H, W]`, physical units.
        dates: `[T]` days since 1970-01-01.
        pixel: Row and column in the window.
        threads: Threads of torch.

    Returns:
        `[T]`, sums to 1 (0 throughout for a pixel without data).

    Raises:
        ConfigurationError: If the network has none.
    """
    import torch

    from ecumene.models.deployed import normalise_tensor
    from ecumene.networks.contract import DateAttention

    explained = DifferentiableModel(model, "Attention over dates", threads)
    if not isinstance(explained.network, DateAttention):
        raise ConfigurationError(f"The model {model.spec.name} has no attention over dates; use --method occlusion.")
    row, col = pixel
    x, when = explained.tensors(np.ascontiguousarray(image[..., row : row + 1, col : col + 1]), dates)
    assert when is not None  # as dates are given
    with torch.no_grad():
        standard, valid = normalise_tensor(x, explained.module.mean, explained.module.std)
        series = standard.permute(0, 3, 4, 1, 2).flatten(1, 2)
        present = valid.permute(0, 2, 3, 1).flatten(1, 2)
        position = explained.network.position(when)[:, None]
        attention = explained.network.attend(series, position, present)[1]
    return np.asarray(attention[0, 0].mean(dim=0).double().numpy())
