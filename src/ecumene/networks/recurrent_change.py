"""Change of a pixel from the small patches around it on two dates: convolutions, then a recurrence over the dates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import check_dropout
from ecumene.networks.change_pair import PairNetwork, apart, both_dates
from ecumene.networks.projection import FixedProjection

CELLS = {"fc": 1, "lstm": 4, "gru": 3}
"""Recurrent units by name, with their number of gates and candidates."""

Cell = Literal["fc", "lstm", "gru"]


class TwoDateRecurrence(nn.Module):
    """A recurrent layer over a sequence of two, at every pixel; its last state is the answer.

    `fc`: h' = tanh(W x + U h + b). `lstm` (Hochreiter and Schmidhuber 1997, with forget gate): i, f, o = s(...),
    c' = f c + i tanh(...), h' = o tanh(c'); the bias of the forget gate starts at 1. `gru` (Cho et al. 2014):
    r, u = s(...), h' = u h + (1 - u) tanh(W x + U (r h) + b). The first state is zero, so that the first step needs
    no product with it. With F inputs, H units and g gates: g H (F + H + 1) weights.

    Args:
        inputs: Channels of a date, F.
        hidden: Units H.
        cell: Which unit.
    """

    def __init__(self, inputs: int, hidden: int, cell: Cell) -> None:
        super().__init__()
        self.cell, self.hidden = cell, hidden
        self.of_input = nn.Conv2d(inputs, CELLS[cell] * hidden, 1)
        self.of_state = nn.Conv2d(hidden, CELLS[cell] * hidden, 1, bias=False)
        if cell == "lstm":
            assert self.of_input.bias is not None
            nn.init.ones_(self.of_input.bias.data[hidden : 2 * hidden])

    def forward(self, earlier: Tensor, later: Tensor) -> Tensor:
        """Return the state after both dates, `[B, H, rows, columns]` of two `[B, F, rows, columns]`."""
        first, second = self.of_input(earlier), self.of_input(later)
        if self.cell == "fc":
            return torch.tanh(second + self.of_state(torch.tanh(first)))
        if self.cell == "lstm":
            into, _, candidate, out = first.chunk(4, dim=1)
            memory = torch.sigmoid(into) * torch.tanh(candidate)
            state = torch.sigmoid(out) * torch.tanh(memory)
            into, forget, candidate, out = (second + self.of_state(state)).chunk(4, dim=1)
            memory = torch.sigmoid(forget) * memory + torch.sigmoid(into) * torch.tanh(candidate)
            return torch.sigmoid(out) * torch.tanh(memory)
        _, update, candidate = first.chunk(3, dim=1)
        state = (1.0 - torch.sigmoid(update)) * torch.tanh(candidate)
        of_reset, of_update, of_candidate = self.of_state.weight.chunk(3, dim=0)
        reset, update, candidate = second.chunk(3, dim=1)
        reset = torch.sigmoid(reset + nn.functional.conv2d(state, of_reset))
        update = torch.sigmoid(update + nn.functional.conv2d(state, of_update))
        candidate = torch.tanh(candidate + nn.functional.conv2d(reset * state, of_candidate))
        return update * state + (1.0 - update) * candidate


class RecurrentChange(PairNetwork):
    """ReCNN: spectral and spatial features by convolutions, temporal ones by a recurrent layer, then two dense layers.

    Two convolutions 3x3 without padding or pooling turn the patch of a date into one vector; a recurrent layer reads
    the two vectors; a dense layer with ReLU and one without decide. Nothing but the patch decides, so that a scene is
    mapped in one fully convolutional pass whose pixels equal those of the patches around them; beyond a border there
    is no data, which is 0 in standardised units.

    Number of weights for C bands, K outputs, widths a and b, H units, D dense ones and g gates (1 FC-RNN, 3 GRU,
    4 LSTM): (9 C a + a) + (9 a b + b), twice where dates do not share them, + g H (b + H + 1) + (H D + D) + (D K + K).
    For 6 bands, 2 outputs and the usual arguments: 123,266 with LSTM.

    Mou, Bruzzone, Zhu (2019), Learning spectral-spatial-temporal features via a recurrent convolutional neural network
    for change detection in multispectral imagery, IEEE TGRS 57(2), 924-935, arXiv 1803.02642. The order of the layers
    and the variants FC-RNN, LSTM and GRU are published; patch, widths, units and dense layers could not be verified
    and are this project's choice. The paper widens the view by dilation instead of pooling; with patches of 5x5 and
    no padding two convolutions reach exactly to the corners without dilation, so that `dilations` above 1 need larger
    patches: (1, 2) sees 7x7. Bands are standardised by the training set over both dates, not for each image.

    Args:
        in_channels: Bands of one date.
        n_outputs: Output channels: changed or not, or kinds of change.
        cell: `fc`, `lstm` or `gru`.
        widths: Channels of the convolutions.
        dilations: Of the convolutions; a patch has 1 + 2 sum(dilations) rows and columns.
        hidden: Units of the recurrent layer.
        dense: Units of the dense layer before the last.
        shared: Whether both dates have the same convolutions.
        dropout: Share of the dense layer's units dropped while training.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        cell: Cell = "lstm",
        widths: Sequence[int] = (32, 64),
        dilations: Sequence[int] = (1, 1),
        hidden: int = 128,
        dense: int = 32,
        shared: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ConfigurationError(f"recnn has the recurrent units {', '.join(CELLS)}, not {cell!r}.")
        sizes = (*widths, *dilations, hidden, dense)
        if not widths or len(widths) != len(dilations) or min(sizes) < 1:
            raise ConfigurationError(
                "recnn needs positive widths with as many dilations, and positive numbers of units."
            )
        check_dropout(dropout, "recnn")
        self.margin = sum(dilations)
        self.patch_size = 1 + 2 * self.margin
        """Rows and columns of the patch that decides a pixel."""
        names = ("both",) if shared else ("earlier", "later")
        self.spatial = nn.ModuleDict({name: _patch_to_vector(in_channels, widths, dilations) for name in names})
        self.recurrence = TwoDateRecurrence(widths[-1], hidden, cell)
        self.dense = nn.Sequential(nn.Conv2d(hidden, dense, 1), nn.ReLU(inplace=True))
        self.dropout = nn.Dropout2d(dropout)
        self.head = nn.Conv2d(dense, n_outputs, 1)
        self.projection = FixedProjection(dense, 32)
        self.feature_channels = self.projection.out_channels

    def _vectors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the vector of each date at each pixel, two `[B, widths[-1], H, W]`."""
        images = nn.functional.pad(both_dates(x), (self.margin,) * 4)
        if "both" in self.spatial:
            return apart(self.spatial["both"](images))
        earlier, later = apart(images)
        return self.spatial["earlier"](earlier), self.spatial["later"](later)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (raw outputs `[B, n_outputs, H, W]`, features `[B, F, H, W]`) of pairs `[B, 2, C, H, W]`."""
        hidden = self.dense(self.recurrence(*self._vectors(x)))
        output: Tensor = self.head(self.dropout(hidden))
        return output, self.projection(hidden)


def _patch_to_vector(in_channels: int, widths: Sequence[int], dilations: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for (before, after), dilation in zip(pairwise((in_channels, *widths)), dilations, strict=True):
        layers += [nn.Conv2d(before, after, 3, dilation=dilation), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
