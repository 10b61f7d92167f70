"""When a place was built, from a series: features refined in time, changes of all pairs of dates, one posterior."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.base import BaseNetwork, check_widths
from ecumene.networks.contract import Loss
from ecumene.networks.multimodal_parts import (
    Decoder,
    Encoder,
    as_logits,
    levels_of,
    margin_of,
)
from ecumene.networks.projection import FixedProjection
from ecumene.networks.temporal_graph import (
    EdgeKind,
    edges_of,
    group_scores,
    joint_weights,
    most_probable_states,
    state_groups,
)
from ecumene.samples.contract import IGNORE

PIXELS_AT_ONCE = 1 << 14


class _TemporalLayer(nn.Module):
    """A transformer encoder layer over the dates of a pixel, normalised after each part (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.entries = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.feed = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width), nn.Dropout(dropout)
        )
        self.attention_dropout, self.dropout = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[P, T, D]` of `[P, T, D]`."""
        parts = self.entries(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.shape[-1])
        mixed = torch.matmul(self.attention_dropout(scores.softmax(dim=-1)), value)
        x = self.norms[0](x + self.dropout(self.attended(mixed.transpose(1, 2).flatten(2))))
        refined: Tensor = self.norms[1](x + self.feed(x))
        return refined


class TemporalRefinement(nn.Module):
    """Lets the dates of a pixel look at each other: a transformer over T tokens of a level's width.

    Args:
        width: Channels of the level, a multiple of the heads.
        dates: T.
        layers: Of the transformer.
        heads: Of its attention.
        hidden: Units of its feed-forward part.
        dropout: While training.
    """

    def __init__(self, width: int, dates: int, layers: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_TemporalLayer(width, heads, hidden, dropout) for _ in range(layers))
        place = torch.arange(dates, dtype=torch.float64)[:, None]
        channel = torch.arange(width, dtype=torch.float64)
        angle = place / 10_000.0 ** ((channel - channel % 2) / width)
        encoding = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
        self.register_buffer("encoding", encoding.float(), persistent=False)
        self.encoding: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return `[B, T, D, h, w]` of `[B, T, D, h, w]`."""
        batch, _, _, height, width = x.shape
        tokens = x.permute(0, 3, 4, 1, 2).flatten(0, 2)
        tokens = tokens + self.encoding.to(tokens.dtype)
        if self.training or torch.compiler.is_compiling():
            refined = self._refine(tokens)
        else:
            refined = torch.cat([self._refine(part) for part in tokens.split(PIXELS_AT_ONCE)])
        placed: Tensor = refined.unflatten(0, (batch, height, width)).permute(0, 3, 4, 1, 2)
        return placed

    def _refine(self, tokens: Tensor) -> Tensor:
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


class RefinedSeriesUNet(BaseNetwork):
    """Built-up ground at every date and change between dates, joined to the posterior of when a place was built.

    One encoder sees every date; at every level a transformer refines the features over time; one decoder says what is
    built at each date, another what has changed between two dates (it reads differences of features), for all edges of
    the graph of dates. Both are integrated by the pairwise Markov network of `temporal_graph`: instead of its most
    probable states alone, the network puts out the exact posterior of what a pixel went through: never built, built
    throughout, built between two neighbouring dates, anything else (equally probable beforehand). `states` gives the
    published answer, the most probable states.

    The loss is PJ(built-up at all dates) + PJ(change of all edges), the objective's power Jaccard loss.

    Number of weights: encoder, two decoders, 2 (w0 + 1) of the heads, and `layers` times
    4 D^2 + 2 D f + 9 D + f for each level of width D, with f = `hidden`: 26,585,794 for 3 bands and the defaults.

    Hafner, Fang, Azizpour, Ban, Continuous Urban Change Detection from Satellite Image Time Series with Temporal
    Feature Refinement and Multi-Task Integration, arXiv 2406.17458. Differences: the posterior above; bands arrive
    standardised and of any sensor (the publication reads PlanetScope's red, green, blue). As in the publication,
    neither pauses between dates nor missing dates are encoded.

    Args:
        in_channels: Bands at one date.
        n_outputs: T + 2 classes, or 3: never built, built throughout, changed.
        dates: T, 2 to 8.
        widths: Of the levels; one pooling each.
        edges: `dense`, `adjacent` or `cyclic`.
        layers: Of each transformer.
        heads: Of its attention.
        hidden: Of its feed-forward part; None: four times the first width.
        dropout: Of the transformers.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    temporal = True

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        dates: int = 5,
        widths: Sequence[int] = (64, 128, 256, 512),
        edges: EdgeKind = "dense",
        layers: int = 2,
        heads: int = 2,
        hidden: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if layers < 1 or heads < 1 or not 0.0 <= dropout < 1.0:
            raise ConfigurationError(
                f"refined-series needs one layer and head or more and a dropout in [0, 1), but got {layers}, {heads} "
                f"and {dropout}."
            )
        widths = check_widths(widths, "refined-series", multiple=heads)
        self.dates, self.edges = dates, edges_of(edges, dates)
        self.groups = state_groups(dates, n_outputs)
        self.encoder = Encoder(in_channels, widths)
        hidden = 4 * widths[0] if hidden is None else hidden
        self.refine = nn.ModuleList(
            TemporalRefinement(width, dates, layers, heads, hidden, dropout) for width in levels_of(widths)
        )
        self.built, self.changed = Decoder(widths), Decoder(widths)
        self.built_head, self.changed_head = nn.Conv2d(widths[0], 1, 1), nn.Conv2d(widths[0], 1, 1)
        self.register_buffer("weights", joint_weights(dates, self.edges), persistent=False)
        self.weights: Tensor
        self.projection = FixedProjection(widths[0], 32)
        self.feature_channels = self.projection.out_channels
        self.stride, self.margin = 2 ** len(widths), margin_of(widths)

    def _run(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of built-up `[B, T, H, W]` and of change `[B, E, H, W]`, and the mean last map of the dates."""
        if x.shape[1] != self.dates:
            raise ConfigurationError(
                f"refined-series was made for {self.dates} dates, but got {x.shape[1]}; give as many."
            )
        maps = [level.unflatten(0, (-1, self.dates)) for level in self.encoder(x.flatten(0, 1))]
        maps = [refine(level) for refine, level in zip(self.refine, maps, strict=True)]
        dated = self.built([level.flatten(0, 1) for level in maps])
        first, second = ([edge[side] for edge in self.edges] for side in (0, 1))
        change = self.changed([(level[:, second] - level[:, first]).flatten(0, 1) for level in maps])
        built = self.built_head(dated).unflatten(0, (-1, self.dates))[:, :, 0]
        changed = self.changed_head(change).unflatten(0, (-1, len(self.edges)))[:, :, 0]
        return built, changed, dated.unflatten(0, (-1, self.dates)).mean(dim=1)

    def forward(self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None) -> Tensor:
        """Return unnormalised log-posteriors `[B, n_outputs, H, W]` of a series `x` `[B, T, C, H, W]`."""
        built, changed, _ = self._run(x)
        return group_scores(built, changed, self.weights, self.groups)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (unnormalised log-posteriors `[B, n_outputs, H, W]`, features `[B, F, H, W]`)."""
        built, changed, mean = self._run(x)
        return group_scores(built, changed, self.weights, self.groups), self.projection(mean)

    def states(self, x: Tensor) -> Tensor:
        """Return the most probable state of each date, built (True) or not, bool `[B, T, H, W]`."""
        built, changed, _ = self._run(x)
        return most_probable_states(built, changed, self.weights)

    def training_loss(self, loss: Loss, x: Tensor, target: Tensor, valid: Tensor) -> Tensor:
        """Return the loss of a batch.

        Args:
            loss: Of the objective.
            x: `[B, T, C, H, W]` in normalised units.
            target: int `[B, 1 + T, H, W]`: the class, and built-up at each date; -1 unlabelled.
            valid: bool `[B, T, H, W]`.

        Raises:
            ConfigurationError: If the target has no map of each date.
        """
        if target.ndim != 4 or target.shape[1] != 1 + self.dates:
            raise ConfigurationError(
                "refined-series learns from maps of what is built at each date; train it on sites with --data."
            )
        built, changed, _ = self._run(x)
        known = target[:, 1:]
        first, second = ([edge[side] for edge in self.edges] for side in (0, 1))
        before, after = known[:, first], known[:, second]
        change = torch.where((before == IGNORE) | (after == IGNORE), IGNORE, (before != after).long())
        seen = valid[:, first] & valid[:, second]
        losses = [(built, known, valid), (changed, change, seen)]
        flat = [(as_logits(a.flatten(0, 1)[:, None].float()), b.flatten(0, 1), c.flatten(0, 1)) for a, b, c in losses]
        return loss(*flat[0]) + loss(*flat[1])
