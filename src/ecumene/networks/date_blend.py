"""Fills a date from the others: each is brought to the wanted date's light and season, then they are blended."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecumene.core.errors import ConfigurationError
from ecumene.networks.projection import FixedProjection
from ecumene.networks.restoration import RestorationNetwork

_FAR = -1.0e4
"""Logit of a date without data; finite, so that a pixel without any stays finite too."""
NEARNESS = 10.0
"""Loss of weight in a hundred days, as a power of e, of a date that nothing else speaks for."""
RIDGE = 1.0
"""Penalty of the linear map between dates, in squared scaled units summed over pixels."""
FAR_DAYS = 10.0
"""Days, in hundreds, to a date that does not see the pixel."""
_SEEN = 1e-3
"""Share of a square's pixels with data below which its mean says nothing."""


class DateBlend(RestorationNetwork):
    """The first given date where clouds hide it, from the other dates (no publication; an own method).

    Pixels under clouds and shadows are given without data. What is known of a pixel of the first date are its values on
    other dates, and how the surroundings differ between the dates: in squares of several sizes the mean difference
    over pixels that both dates see is added to the other date's value, the finer square's as far as it is full. A small
    network of two convolutions, the same for every date, looks at values, differences, how well the date explains the
    surroundings, and days between, and gives a weight, a correction and a variance; weights are made to sum to one over
    dates that see the pixel. Where none does, nothing is known of it: the mean of the first date's surroundings is put
    there with the variance of a number that may be anything within the limits. The variance is that of the blended
    dates, which grows with the days between, plus their spread.

    With `regress`, each other date's spectra are first mapped linearly to those of the wanted date: least squares over
    the pixels of the window that both dates see, drawn to the identity where they are few. That map is the window's, so
    that the result depends on windows then; without it, windows give what the whole image gives.

    Nothing depends on the number of dates or on which other dates there are. A network that is learned at one place
    can fill another one, because what it sees are differences.

    Args:
        in_channels: Bands, all of which are restored.
        n_outputs: See `RestorationNetwork`.
        targets: K; None: half of `n_outputs`.
        width: Channels of the small network.
        radii: Of the squares, rising.
        regress: Bring the other dates' spectra to the wanted date's by a linear map first, see above.
        scaling: See `RestorationNetwork`.

    Raises:
        ConfigurationError: If an argument is out of range.
    """

    temporal = True
    target_date = "first-date"

    def __init__(
        self,
        in_channels: int,
        n_outputs: int,
        targets: int | None = None,
        width: int = 32,
        radii: Sequence[int] = (2, 8, 32),
        regress: bool = False,
        scaling: str = "times-ten",
    ) -> None:
        super().__init__(in_channels, n_outputs, targets, scaling)
        self.regress = bool(regress)
        if width < 1 or not radii or min(radii) < 1 or list(radii) != sorted(radii):
            raise ConfigurationError("date-blend needs a width of 1 or more and rising radii of squares.")
        self.radii = tuple(int(radius) for radius in radii)
        seen = 3 * self.bands + len(self.radii) + 4
        self.look = nn.Sequential(
            nn.Conv2d(seen, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, width, 3, padding=1), nn.GELU()
        )
        self.say = nn.Conv2d(width, 1 + 2 * self.bands, 1)
        nn.init.zeros_(self.say.weight)
        assert self.say.bias is not None
        nn.init.zeros_(self.say.bias)
        self.trust = nn.Parameter(torch.full((len(self.radii),), -2.0))
        self.drift = nn.Parameter(torch.full((self.bands,), -3.0))
        self.projection = FixedProjection(2 * self.bands, 32)
        self.feature_channels = self.projection.out_channels
        self.margin = 2 * max(self.radii) + 2

    def _square_means(self, x: Tensor, seen: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return means of `x` `[N, K, H, W]` over squares where `seen` `[N, 1, H, W]`, and how full each square is.

        From the largest square to the smallest, each is mixed in by how full it is; the largest is drawn to 0.
        """
        estimate = torch.zeros_like(x)
        shares = []
        for place in reversed(range(len(self.radii))):
            radius = self.radii[place]
            share = _box_mean(seen, radius)
            mean = _box_mean(x * seen, radius) / share.clamp_min(_SEEN)
            mixed = share / (share + torch.exp(self.trust[place]).to(x.dtype))
            estimate = estimate + mixed * (mean - estimate)
            shares.append(share)
        return estimate, shares

    def _blend(self, x: Tensor, dates: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (means, variances, blended hidden features), `[B, K, H, W]` each."""
        batch, others = x.shape[0], x.shape[1] - 1
        bands = self.limited(x)[:, :, : self.bands]
        has = valid[:, :, None].to(x.dtype)
        wanted, known = bands[:, :1].expand(-1, others, -1, -1, -1), has[:, :1].expand(-1, others, -1, -1, -1)
        value, there = bands[:, 1:].flatten(0, 1), has[:, 1:].flatten(0, 1)
        both = known.flatten(0, 1) * there
        if self.regress:
            value = _regressed(value, wanted.flatten(0, 1), both)
        difference, shares = self._square_means(wanted.flatten(0, 1) - value, both)
        candidate = value + difference
        misfit = (wanted.flatten(0, 1) - candidate).square() * both
        around = _box_mean(misfit, self.radii[-1]) / _box_mean(both, self.radii[-1]).clamp_min(_SEEN)
        days = ((dates[:, 1:] - dates[:, :1]) / 100.0).to(x.dtype).flatten()[:, None, None, None]
        gap = days.expand(-1, 1, *x.shape[-2:])
        # Of the dates that see the pixel: a date without data is none, and may stand on any day.
        apart = gap.abs().masked_fill(there < 0.5, FAR_DAYS).unflatten(0, (batch, others))
        nearest = apart.amin(dim=1, keepdim=True).expand_as(apart).flatten(0, 1)
        seen = torch.cat((value, difference, (around + 1e-6).sqrt(), *shares, there, gap, gap.abs(), nearest), dim=1)
        said = self.say(self.look(seen)).float()
        said = said.unflatten(0, (batch, others))
        present = there.unflatten(0, (batch, others)).float()
        logit = said[:, :, :1].masked_fill(present < 0.5, _FAR)
        # Begin with what explains the surroundings and is near in time.
        begin = -(around.float().unflatten(0, (batch, others)).mean(dim=2, keepdim=True) + 1e-2).log()
        blind = (shares[0] < _SEEN).float()  # nothing around is seen by both: nearness in time alone decides
        near = gap.float().abs() * (1.0 + (NEARNESS - 1.0) * blind)
        begin = begin - near.unflatten(0, (batch, others))
        weight = torch.softmax(logit + begin, dim=1) * present
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-6)
        proposed = candidate.float().unflatten(0, (batch, others)) + 0.1 * said[:, :, 1 : 1 + self.bands]
        mean = (weight * proposed).sum(dim=1)
        spread = (weight * (proposed - mean[:, None]).square()).sum(dim=1)
        own = around.float().unflatten(0, (batch, others)) * torch.exp(said[:, :, 1 + self.bands :].clamp(-6.0, 6.0))
        drift = F.softplus(self.drift)[:, None, None] * gap.float().abs().unflatten(0, (batch, others))
        inner = (weight * (own + drift)).sum(dim=1) + spread + 1e-3
        surroundings, _ = self._square_means(bands[:, 0], has[:, 0])
        filled = (present.sum(dim=1) > 0.5).float()
        low, high = self.limits[:, 0, 0, 0]
        unknown = (high - low) ** 2 / 12.0
        mean = filled * mean + (1.0 - filled) * surroundings.float()
        return mean, filled * inner + (1.0 - filled) * unknown, torch.cat((mean, inner.sqrt()), dim=1)

    def forward_features(
        self, x: Tensor, dates: Tensor | None = None, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (means and variances of the first date, features `[B, F, H, W]`).

        Args:
            x: `[B, T, C, H, W]`, the wanted date first, the others in any order.
            dates: `[B, T]` days since 1970-01-01.
            valid: bool `[B, T, H, W]`; False under clouds.
        """
        if dates is None or x.shape[1] < 2:
            raise ConfigurationError("date-blend needs the wanted date first, and one more date or several.")
        present = torch.ones_like(x[:, :, 0], dtype=torch.bool) if valid is None else valid
        mean, variance, features = self._blend(x, dates, present)
        if self.variances != self.bands:
            variance = variance.mean(dim=1, keepdim=True)
        return torch.cat((mean, variance), dim=1), self.projection(features)


def _regressed(value: Tensor, wanted: Tensor, both: Tensor) -> Tensor:
    """Return `value` `[N, K, H, W]` after the linear map that brings it nearest to `wanted` where both are seen.

    Ridge regression with intercept on what both see; its penalty draws the map to the identity with a plain shift.
    """
    number = value.shape[1]
    x, y, seen = (part.flatten(2).double() for part in (value, wanted, both))
    count = seen.sum(dim=2, keepdim=True)
    share = seen / count.clamp_min(1.0)
    mean_x, mean_y = ((part * share).sum(dim=2, keepdim=True) for part in (x, y))
    left, right = (x - mean_x) * seen, (y - x - (mean_y - mean_x)) * seen
    eye = torch.eye(number, dtype=left.dtype, device=left.device)
    moments = left @ left.transpose(1, 2) + RIDGE * eye
    change = torch.linalg.solve(moments, left @ right.transpose(1, 2))
    mapped = x + change.transpose(1, 2) @ (x - mean_x) + (mean_y - mean_x) * (count > 0)
    result: Tensor = mapped.to(value.dtype).unflatten(2, value.shape[-2:])
    return result


def _box_mean(x: Tensor, radius: int) -> Tensor:
    """Return the mean over a square around each pixel, cut at the border, by running sums in float32."""
    result = x.float()
    for dim in (-2, -1):
        length = x.shape[dim]
        padding = (radius + 1, radius) if dim == -1 else (0, 0, radius + 1, radius)
        running = F.pad(result, padding).cumsum(dim)
        sums = running.narrow(dim, 2 * radius + 1, length) - running.narrow(dim, 0, length)
        place = torch.arange(length, device=x.device)
        count = (place + radius).clamp_max(length - 1) - (place - radius).clamp_min(0) + 1
        result = sums / (count[:, None] if dim == -2 else count)
    return result.to(x.dtype)
