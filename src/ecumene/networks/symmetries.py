"""Test-time augmentation: one network sees an image in several exact orientations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ecumene.core.errors import ConfigurationError
from ecumene.networks.wrapping import Wrapper

SYMMETRIES: tuple[tuple[bool, bool, bool], ...] = (
    (False, False, False),
    (False, True, True),
    (False, False, True),
    (False, True, False),
    (True, False, False),
    (True, True, True),
    (True, False, True),
    (True, True, False),
)
"""(transpose, flip rows, flip columns), in this order; the first M are used. The first two are opposite."""


def apply_symmetry(x: Tensor, symmetry: tuple[bool, bool, bool]) -> Tensor:
    """Return `[..., H, W]` transposed (if asked for), then flipped; no value is interpolated."""
    transpose, rows, columns = symmetry
    if transpose:
        x = x.transpose(-1, -2)
    axes = [axis for axis, wanted in ((-2, rows), (-1, columns)) if wanted]
    return torch.flip(x, axes) if axes else x


def undo_symmetry(x: Tensor, symmetry: tuple[bool, bool, bool]) -> Tensor:
    """Return what `apply_symmetry` was given."""
    transpose, rows, columns = symmetry
    axes = [axis for axis, wanted in ((-2, rows), (-1, columns)) if wanted]
    x = torch.flip(x, axes) if axes else x
    return x.transpose(-1, -2) if transpose else x


class Augmentation(Wrapper):
    """The first M of the eight symmetries of the square, applied to the image and taken back from the output.

    After Wang et al. (2019, "Aleatoric uncertainty estimation with test-time augmentation", arXiv 1807.07356), with
    exact symmetries only. What the members differ in here is what the network has not learned to ignore; it is
    reported as epistemic, though it is only the part of it that orientation reveals. A network of single pixels sees
    no orientation: its members are equal.

    Args:
        in_channels: Bands.
        n_outputs: `members` times the outputs of the base network.
        network: Name of the base network.
        arguments: Its arguments but for channels and outputs.
        members: M, 1 to 8.

    Raises:
        ConfigurationError: See `Wrapper`; or if there are more than eight members.
    """

    def __init__(
        self, in_channels: int, n_outputs: int, network: str, arguments: Mapping[str, Any], members: int = 8
    ) -> None:
        if isinstance(members, int) and members > len(SYMMETRIES):
            raise ConfigurationError(
                f"A square has 8 symmetries, so that augmentation has 1 to 8 members, not {members}."
            )
        super().__init__(in_channels, n_outputs, network, arguments, members, copies=1)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Wrapper.forward_features`."""
        first, features = self.base.forward_features(x, dates, valid)
        outputs = [first]
        for symmetry in SYMMETRIES[1 : self.members]:
            seen = apply_symmetry(x, symmetry)
            turned = None if valid is None else apply_symmetry(valid, symmetry)
            outputs.append(undo_symmetry(self.base.forward(seen, dates, turned), symmetry))
        return torch.cat(outputs, dim=1), features
