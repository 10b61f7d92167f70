"""Internal learning: a network fitted to one series, from radar or noise to its clear pixels, fills the rest of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.restoration.contract import Array
from ecumene.restoration.interpolation import Linear

if TYPE_CHECKING:
    from torch import Tensor

    from ecumene.networks.hourglass import Hourglass

NAME = "internal-learning"
FEWEST_CLEAR = 100
"""Clear pixels from which on a date is learned from; with fewer it counts as wholly clouded."""
_STEPS, _VISITS = 400, 40  # steps, and steps a date where there are many
_SMALLEST = 3  # rows and columns of the network's smallest level


@dataclass(frozen=True)
class Frames:
    """A window of a series as images, with days that are wanted but were not measured among its dates.

    Attributes:
        image: float32 `[T, K, H, W]`, reflectance; what is not clear does not count.
        clear: bool `[T, H, W]`.
        days: float64 `[T]`, days since 1970-01-01, in any order.
        radar: float32 `[T, R, H, W]` in dB, NaN where there is none; None without radar.
    """

    image: NDArray[np.float32]
    clear: NDArray[np.bool_]
    days: Array
    radar: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit together."""
        dates, _, height, width = self.image.shape
        fits = self.clear.shape == (dates, height, width) and self.days.shape == (dates,)
        if self.radar is not None:
            fits &= (self.radar.shape[0], *self.radar.shape[2:]) == (dates, height, width)
        if not fits:
            raise ConfigurationError(
                "Frames need image [T, K, H, W], clear [T, H, W], days [T] and radar [T, R, H, W]."
            )

    def hide(self, cover: NDArray[np.bool_]) -> Frames:
        """Return the frames as if they were clouded there (bool `[T, H, W]`)."""
        return replace(self, clear=self.clear & ~cover)

    @property
    def learned(self) -> NDArray[np.bool_]:
        """Dates that a network can be fitted to, bool `[T]`."""
        return np.asarray(self.clear.sum(axis=(1, 2)) >= FEWEST_CLEAR, np.bool_)

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Pixels that are clear on a date which a network can be fitted to, bool `[H, W]`."""
        return np.asarray(self.clear[self.learned].any(axis=0), np.bool_)

    @property
    def radar_learned(self) -> bool:
        """Whether radar lies over enough clear pixels to learn what it says of reflectance."""
        if self.radar is None:
            return False
        seen = np.isfinite(self.radar).all(axis=1) & self.clear
        return int(seen[self.learned].sum()) >= FEWEST_CLEAR

    @property
    def told(self) -> NDArray[np.bool_]:
        """Pixels that something is known of, bool `[T, H, W]`: shown by a date, or by radar that was learned from."""
        told = np.broadcast_to(self.shown, self.clear.shape)
        return told | np.isfinite(self.radar).all(axis=1) if self.radar is not None and self.radar_learned else told


@dataclass(frozen=True)
class InternalOptions:
    """How a network is fitted to a series.

    Attributes:
        steps: Steps of the optimiser, each of which sees one date; None: 400, or 40 a date where these are more.
        width: Channels of the network.
        levels: Halvings of the network; fewer where an image is too small.
        noise: Channels of noise that all dates share; 0: radar alone.
        rate: Learning rate of Adam.
        jitter: Noise that is added to the noise in every step, in its standard deviations.
        looks: Snapshots of the last third of the steps that are averaged.
        seed: Of weights, noise and order.
    """

    steps: int | None = None
    width: int = 32
    levels: int = 4
    noise: int = 16
    rate: float = 0.01
    jitter: float = 0.1
    looks: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what is out of range."""
        if (
            min(1 if self.steps is None else self.steps, self.width, self.levels, self.looks) < 1
            or self.noise < 0
            or self.rate <= 0.0
        ):
            raise ConfigurationError(
                "Internal learning needs steps, width, levels and looks of 1 or more and a learning rate above 0."
            )

    def steps_for(self, dates: int) -> int:
        """Return the steps for so many dates that are learned from."""
        return max(_STEPS, _VISITS * dates) if self.steps is None else self.steps


@dataclass(frozen=True)
class Restored:
    """What a fitted network says of dates.

    Attributes:
        mean: float32 `[D, K, H, W]`, mean over snapshots; NaN where nothing is known.
        wander: float32 `[D, K, H, W]`, variance over snapshots; NaN where that is.
        dates: Places of the D dates in the series, ascending.
    """

    mean: NDArray[np.float32]
    wander: NDArray[np.float32]
    dates: tuple[int, ...]

    def of(self, date: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and variance `[K, H, W]` of one of the dates."""
        place = self.dates.index(date)
        return self.mean[place], self.wander[place]


def neighbours(days: Array, day: float) -> Array:
    """Return the weights `[N]` of ascending days from which a day between them is interpolated linearly."""
    return np.asarray(Linear().weights(np.ones((1, len(days)), np.bool_), days, day)[0], np.float64)


def date_codes(days: Array, learned: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return codes `[T, D]` of dates: 1 for a learned date itself; others lie between their neighbours in time.

    Args:
        days: `[T]`.
        learned: bool `[T]`: dates that the network is fitted to, at least one; each has a place of its own in the code.
    """
    own = np.flatnonzero(learned)
    order = own[np.argsort(days[own], kind="stable")]
    codes = np.stack(
        [(order == date) if learned[date] else neighbours(days[order], day) for date, day in enumerate(days)]
    )
    return codes.astype(np.float32)


def restore(frames: Frames, options: InternalOptions, dates: Sequence[int] | None = None) -> Restored | None:
    """Fit a network to a series, and let it predict dates of it.

    A network is fitted, from random weights, to the clear pixels of this series alone, and its structure fills the rest
    (Ulyanov, Vedaldi and Lempitsky 2018, Deep Image Prior). For series of images Zhang, Mai, Xu, Wang, Collomosse and
    Jin 2019 (An Internal Learning Approach to Video Inpainting, arXiv 1909.07957) make each frame from the frame's
    noise by one network, under the squared error of known pixels. Ebel, Schmitt and Zhu 2021 (Internal Learning for
    Sequence-to-Sequence Cloud Removal via Synthetic Aperture Radar Prior Information, IGARSS) put radar in the place of
    noise; the sequence-to-sequence model of SEN12MS-CR-TS (Ebel, Xu, Schmitt and Zhu 2022, arXiv 2201.09613), which
    predicts a clear series of equal length, is understood to follow it.

    The layers of these two could not be verified: the public code has the sequence-to-point model alone, and its
    options only name the layers of a perceptual loss after the deep image prior and after video. So the network is the
    hourglass of the deep image prior in two dimensions, a date at a time. Left out: the perceptual loss, which needs a
    network trained on photographs, and optical flow, because the ground does not move. Chosen here: noise that all
    dates share beside the radar, so that what one date shows at a place tells of the others; a code of the date
    (`date_codes`) that modulates every normalisation; standardised bands and radar; one date a step, dates in turns;
    Adam; the mean of snapshots of the last third of the steps.

    Args:
        frames: The series.
        options: How.
        dates: Which are predicted; None: all.

    Returns:
        Mean and variance of the snapshots; None if no date has clear pixels to learn from.

    Raises:
        ConfigurationError: If the images are too small for the network's levels.
    """
    from ecumene.training.seeding import seeded

    if not frames.learned.any():
        return None
    with seeded(options.seed):
        return _Fit(frames, options).run(tuple(sorted(range(len(frames.days)) if dates is None else set(dates))))


class _Fit:
    """One network with what it sees; made within `seeded`."""

    def __init__(self, frames: Frames, options: InternalOptions) -> None:
        import torch

        from ecumene.networks.hourglass import Hourglass

        self.frames, self.options = frames, options
        self.learned = np.flatnonzero(frames.learned)
        self.center, self.scale = _moments(frames)
        height, width = frames.image.shape[2:]
        target = (frames.image - self.center[:, None, None]) / self.scale[:, None, None]
        self.target = torch.from_numpy(np.where(frames.clear[:, None], target, 0.0).astype(np.float32))
        self.clear = torch.from_numpy(frames.clear.astype(np.float32))
        self.codes = torch.from_numpy(date_codes(frames.days, frames.learned))
        self.waves = _waves(frames)
        channels = options.noise + (0 if self.waves is None else self.waves.shape[1])
        if channels == 0:
            raise ConfigurationError("Internal learning without radar needs channels of noise; give one or more.")
        self.noise = torch.randn(1, options.noise, height, width)
        self.network: Hourglass = Hourglass(
            channels, frames.image.shape[1], self.codes.shape[1], options.width, levels=_levels(height, width, options)
        )
        # Where some dates have no radar, others are shown without, so that the network knows what to do.
        self.drops = self.waves is not None and not bool(self.waves[:, -1].all())

    def run(self, dates: tuple[int, ...]) -> Restored:
        """Fit and predict."""
        import torch

        options, network = self.options, self.network
        optimiser = torch.optim.Adam(network.parameters(), lr=options.rate)
        steps = options.steps_for(len(self.learned))
        last = max(steps // 3, 1)
        looks = {steps - last + -(-(i + 1) * last // options.looks) for i in range(options.looks)}
        total = np.zeros((len(dates), *self.frames.image.shape[1:]), np.float64)
        squares = np.zeros_like(total)
        torch.set_flush_denormal(True)
        try:
            for step in range(1, steps + 1):
                turn, place = divmod(step - 1, len(self.learned))
                if place == 0:
                    order = np.random.default_rng([options.seed, turn]).permutation(self.learned)
                date = int(order[place])
                optimiser.zero_grad(set_to_none=True)
                output = network(
                    self._input(date, jitter=True, radar=not (self.drops and turn % 4 == 3)), self._code(date)
                )
                weight = self.clear[date]
                loss = (((output[0] - self.target[date]) ** 2).mean(dim=0) * weight).sum() / weight.sum()
                loss.backward()
                optimiser.step()
                if step in looks:
                    self._look(dates, total, squares)
        finally:
            torch.set_flush_denormal(False)
        mean = total / len(looks)
        wander = np.maximum(squares / len(looks) - mean**2, 0.0)
        unknown = ~self.frames.told[list(dates), None]
        mean = np.where(unknown, np.nan, mean * self.scale[:, None, None] + self.center[:, None, None])
        wander = np.where(unknown, np.nan, wander * self.scale[:, None, None] ** 2)
        return Restored(mean.astype(np.float32), wander.astype(np.float32), dates)

    def _code(self, date: int) -> Tensor:
        return self.codes[date : date + 1]

    def _input(self, date: int, *, jitter: bool = False, radar: bool = True) -> Tensor:
        import torch

        noise = self.noise
        if jitter and self.options.jitter > 0.0:
            noise = noise + self.options.jitter * torch.randn_like(noise)
        if self.waves is None:
            return noise
        waves = self.waves[date : date + 1]
        return torch.cat([noise, waves if radar else torch.zeros_like(waves)], dim=1)

    def _look(self, dates: tuple[int, ...], total: Array, squares: Array) -> None:
        """Add a snapshot of dates."""
        import torch

        with torch.no_grad():
            for place, date in enumerate(dates):
                seen = self.network(self._input(date), self._code(date))[0].double().numpy()
                total[place] += seen
                squares[place] += seen**2


def _levels(height: int, width: int, options: InternalOptions) -> int:
    """Return the halvings that an image allows, at most those of the options."""
    possible = int(np.log2(max(min(height, width) / _SMALLEST, 1.0)))
    if possible < 1:
        raise ConfigurationError(
            f"Internal learning needs {2 * _SMALLEST} rows and columns or more, not {height} x {width}; give a larger "
            "area or another method."
        )
    return min(options.levels, possible)


def _moments(frames: Frames) -> tuple[Array, Array]:
    """Return mean and standard deviation of each band over all clear pixels."""
    values = np.moveaxis(frames.image, 1, 0)[:, frames.clear].astype(np.float64)
    return values.mean(axis=1), np.maximum(values.std(axis=1), 1e-6)


def _waves(frames: Frames) -> Tensor | None:
    """Return radar as the network sees it, `[T, R + 1, H, W]`: standardised, 0 where there is none, and where it is.

    None where it cannot be learned what it says: weights that no step has changed would make noise of it.
    """
    import torch

    if frames.radar is None or not frames.radar_learned:
        return None
    known: NDArray[np.bool_] = np.asarray(np.isfinite(frames.radar).all(axis=1))
    values = np.moveaxis(frames.radar, 1, 0)[:, known].astype(np.float64)
    center, scale = values.mean(axis=1), np.maximum(values.std(axis=1), 1e-6)
    scaled = (frames.radar - center[:, None, None]) / scale[:, None, None]
    seen = np.where(known[:, None], np.clip(scaled, -4.0, 4.0), 0.0)
    return torch.from_numpy(np.concatenate([seen, known[:, None]], axis=1).astype(np.float32))
