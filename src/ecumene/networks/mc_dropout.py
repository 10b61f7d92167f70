"""Monte Carlo dropout with masks that are drawn once and kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.wrapping import Wrapper


class FixedMasks(nn.Module):
    """Dropout of whole channels with M stored masks, for a batch that holds the members one after the other.

    Args:
        members: M.
        channels: Of axis `axis`.
        rate: Share of channels that are dropped.
        seed: Of the draw.
        axis: Axis of the channels in the input `[M * B, ...]`.
    """

    masks: Tensor

    def __init__(self, members: int, channels: int, rate: float, seed: int, axis: int) -> None:
        super().__init__()
        self.members, self.axis = members, axis
        generator = torch.Generator().manual_seed(seed)
        kept = torch.rand(members, channels, generator=generator, device="cpu") >= rate
        # A member without any channel would know nothing of the image.
        kept[~kept.any(dim=1), 0] = True
        self.register_buffer("masks", kept.float() / (1.0 - rate))

    def forward(self, x: Tensor) -> Tensor:
        """Return the batch with each member's channels masked and scaled."""
        shape = [x.shape[0]] + [1] * (x.ndim - 1)
        shape[self.axis] = x.shape[self.axis]
        # The masks and not the images are spread: a fifth axis would undo the layout that convolutions are fast in.
        each = self.masks.to(x.dtype).unsqueeze(1).expand(-1, x.shape[0] // self.members, -1)
        return x * each.reshape(shape)


class MCDropout(Wrapper):
    """A network trained with dropout, executed with M fixed sets of dropped channels.

    After Gal and Ghahramani (2016, arXiv 1506.02142). Differences: masks drop whole channels (as spatial dropout does;
    also where the network was trained to drop single elements), and they are drawn once from a fixed seed and stored
    with the weights, so that every pixel of every map sees the same M networks: maps are reproducible and seamless.

    Args:
        in_channels: Bands.
        n_outputs: `members` times the outputs of the base network.
        network: Name of the base network.
        arguments: Its arguments but for channels and outputs, among them its dropout.
        members: M.
        layers: Names of the dropout layers to sample (as `named_modules` has them); None: all.
        seed: Of the masks.

    Raises:
        ConfigurationError: If the base has no (such) dropout layer with a positive rate; see `Wrapper`.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        network: str,
        arguments: Mapping[str, Any],
        members: int = 8,
        layers: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(in_channels, n_outputs, network, arguments, members, copies=1)
        self.in_channels = in_channels
        found = {name: module for name, module in self.bases[0].named_modules() if isinstance(module, _DROPOUTS)}
        wanted = [name for name in found if (layers is None or name in layers) and found[name].p > 0.0]
        unknown = sorted(set(layers or ()) - set(wanted))
        if unknown or not wanted:
            there = ", ".join(found) or "none"
            what = f"no dropout layer {unknown[0]!r}" if unknown else "no dropout layer with a positive rate"
            raise ConfigurationError(f"The network {network!r} has {what} to sample (its dropout layers: {there}).")
        shapes = self._observed_shapes(wanted)
        for number, name in enumerate(wanted):
            channels, axis = shapes[name]
            masks = FixedMasks(members, channels, found[name].p, seed + number, axis)
            parent, _, child = name.rpartition(".")
            setattr(self.bases[0].get_submodule(parent), child, masks)

    def _observed_shapes(self, names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return (channels, their axis) that each layer sees, found by one pass over a tiny image."""
        shapes: dict[str, tuple[int, int]] = {}
        base = self.bases[0]
        side = self.stride * 2
        hooks = []
        for name in names:

            def note(module: nn.Module, inputs: tuple[Tensor, ...], name: str = name) -> None:
                x = inputs[0]
                # Images keep channels second; series networks that encode single pixels keep them last.
                axis = x.ndim - 1 if self.temporal and not isinstance(module, nn.Dropout2d) else 1
                shape = (int(x.shape[axis]), axis)
                if shapes.setdefault(name, shape) != shape:
                    raise ConfigurationError(f"The dropout layer {name!r} is used twice with different channels.")

            hooks.append(base.get_submodule(name).register_forward_pre_hook(note))
        training = base.training
        base.eval()
        with torch.no_grad():
            like = next(base.parameters())
            frames = (2,) if self.temporal else ()
            x = torch.zeros((1, *frames, self.in_channels, side, side), device=like.device)
            dates = torch.zeros((1, 2), device=like.device) if self.temporal else None
            base(x, dates)
        for hook in hooks:
            hook.remove()
        base.train(training)
        return shapes

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Wrapper.forward_features`; features are the mean over members."""
        several = [None if part is None else torch.cat([part] * self.members) for part in (x, dates, valid)]
        output, features = self.base.forward_features(several[0], several[1], several[2])  # type: ignore[arg-type]
        per_member = output.unflatten(0, (self.members, -1)).transpose(0, 1).flatten(1, 2)
        return per_member, features.unflatten(0, (self.members, -1)).mean(dim=0)


_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
