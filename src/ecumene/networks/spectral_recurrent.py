"""A recurrent network that reads the spectrum of a pixel band after band."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.gated_recurrence import GatedUnit
from ecumene.networks.projection import FixedProjection
from ecumene.networks.spectral import SpectralNetwork

Cell = Literal["gru-pretanh", "gru", "lstm"]
Head = Literal["last_state", "all_states"]


class LongShortTermMemory(nn.Module):
    """One layer of torch's LSTM with the signature of `GatedUnit`; `4 H (I + H + 2)` weights (two biases).

    Args:
        inputs: Numbers of one step, I.
        hidden: Units H.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.layer = nn.LSTM(inputs, hidden)
        for parameter in self.layer.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)

    def forward(self, x: Tensor, keep: bool) -> Tensor:
        """Return all states `[T, N, H]` (`keep`) or the last one `[N, H]` of sequences `[T, N, I]`."""
        states: Tensor = self.layer(x)[0]
        return states if keep else states[-1]


class SpectralRecurrent(SpectralNetwork):
    """The spectrum as a sequence of bands: one recurrent layer, normalisation, tanh, linear classifier.

    Mou, Ghamisi and Zhu, "Deep Recurrent Neural Networks for Hyperspectral Image Classification", IEEE TGRS 55(7),
    2017: one layer of 64 modified gated recurrent units with sigmoid gates and PRetanh for the candidate; weights and
    biases of the recurrent layer drawn from U(-0.1, 0.1). The formula of PRetanh and the start of its slopes are not
    checked against the paper. `gru` and `lstm` are the paper's comparisons.

    Left open by what is known of the paper, and therefore an argument: whether the classifier sees the last state only
    (64 numbers) or the states of all steps (64 a band), as in the public port DeepHyperX.

    Weights for C bands, K outputs, H units, I bands a step and T = ceil(C / I) steps: recurrent layer
    `3 H (I + H + 1)`, + H slopes with PRetanh (`4 H (I + H + 2)` for `lstm`); with S = H (`last_state`) or S = T H
    states: normalisation 2 S, classifier `(S + 1) K`.

    Args:
        in_channels: Bands C, in the order of their wavelength.
        n_outputs: Output channels K.
        cell: `gru-pretanh`, `gru` (tanh) or `lstm`.
        hidden: Units of the recurrent layer.
        head: `last_state` or `all_states`: what the classifier sees.
        bands_per_step: Adjacent bands that form one step; 1 as published. The last step is filled up with zeros.
        chunk: Pixels run at once where no gradient is needed, which bounds the memory of a map.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        cell: Cell = "gru-pretanh",
        hidden: int = 64,
        head: Head = "all_states",
        bands_per_step: int = 1,
        chunk: int = 512,
    ) -> None:
        super().__init__()
        if cell not in get_args(Cell) or head not in get_args(Head):
            raise ConfigurationError(
                f"spectral-rnn has the cells {', '.join(get_args(Cell))} and the heads {', '.join(get_args(Head))}, "
                f"but got {cell!r} and {head!r}."
            )
        if min(hidden, bands_per_step, chunk) < 1 or bands_per_step > in_channels:
            raise ConfigurationError(
                f"spectral-rnn needs at least one unit, one pixel a chunk and 1 to {in_channels} bands a step, "
                f"but got {hidden}, {chunk} and {bands_per_step}."
            )
        self.bands_per_step, self.chunk, self.head_kind = bands_per_step, chunk, head
        self.hidden = hidden
        self.steps = -(-in_channels // bands_per_step)
        self.filling = self.steps * bands_per_step - in_channels
        self.layer: nn.Module = (
            LongShortTermMemory(bands_per_step, hidden)
            if cell == "lstm"
            else GatedUnit(bands_per_step, hidden, rectified=cell == "gru-pretanh")
        )
        seen = hidden * self.steps if head == "all_states" else hidden
        self.norm = nn.BatchNorm1d(seen)
        self.classifier = nn.Linear(seen, n_outputs)
        self.projection = FixedProjection(hidden, 32)
        self.feature_channels = self.projection.out_channels

    def encode(self, spectra: Tensor) -> Tensor:
        """Return what the classifier sees, `[N, S]`, of spectra `[N, C]`."""
        steps = nn.functional.pad(spectra, (0, self.filling)) if self.filling else spectra
        sequence = steps.reshape(spectra.shape[0], self.steps, self.bands_per_step).transpose(0, 1)
        states: Tensor = self.layer(sequence, self.head_kind == "all_states")
        seen = states.transpose(0, 1).flatten(1) if self.head_kind == "all_states" else states
        return torch.tanh(self.norm(seen))

    def summarise(self, encoded: Tensor) -> Tensor:
        """Return the last state `[N, H]`, which has read the whole spectrum."""
        return encoded[:, -self.hidden :]
