"""`clear --method internal-learning`: networks fitted to the parts of a series, blended into whole dates."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.optional import require
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.restoration.contract import SeriesPixels, Target
from ecumene.restoration.internal_learning import FEWEST_CLEAR, NAME, Frames, InternalOptions, restore
from ecumene.restoration.internal_trust import Hidden, InternalTrust, hide_and_restore, learn_trust
from ecumene.workflows.clear_fill import Estimate, Filler, rounded
from ecumene.workflows.clear_scenes import ClearInput

PART, OVERLAP = 256, 32
"""Edge of a part that has a network of its own, as in the patches of SEN12MS-CR-TS, and how far parts overlap."""
MOST_PIXELS = 2048 * 2048
"""Pixels of a scene above which the networks would take days."""
_TRIED = 2  # parts that errors are learned on


@dataclass(frozen=True)
class RestoredDates:
    """What the networks say of the wanted days, over the whole scene; lies in files without names.

    Attributes:
        mean: float32 `[F, K, H, W]`, sum of weighted means.
        second: float32 `[F, K, H, W]`, sum of weighted second moments.
        strange: float32 `[F, H, W]`, sum of weighted surprises over their limit.
        weight: float32 `[F, H, W]`, sum of weights; 0 where nothing is known.
    """

    mean: NDArray[np.float32]
    second: NDArray[np.float32]
    strange: NDArray[np.float32]
    weight: NDArray[np.float32]

    @classmethod
    def empty(cls, days: int, bands: int, shape: tuple[int, int]) -> RestoredDates:
        """Return sums of nothing."""
        return cls(*(_scratch(size) for size in ((days, bands, *shape),) * 2 + ((days, *shape),) * 2))

    def add(
        self,
        day: int,
        window: Window,
        mean: NDArray[np.float32],
        deviation: NDArray[np.float32],
        strange: NDArray[np.float32],
        weight: NDArray[np.float32],
    ) -> None:
        """Add a part `[K, h, w]`; `weight` `[h, w]` counts where `mean` is a number."""
        rows, cols = window.slices
        w = np.where(np.isfinite(mean[0]), weight, np.float32(0.0))
        value = np.where(w > 0.0, mean, np.float32(0.0))
        self.mean[day, :, rows, cols] += w * value
        self.second[day, :, rows, cols] += w * (value**2 + np.where(w > 0.0, deviation, np.float32(0.0)) ** 2)
        self.strange[day, rows, cols] += w * np.where(w > 0.0, strange, np.float32(0.0))
        self.weight[day, rows, cols] += w

    def read(self, day: int, window: Window, wanted: NDArray[np.intp]) -> Estimate:
        """Return mean, standard deviation and flag of some pixels of a window."""
        rows, cols = window.slices
        weight = self.weight[day, rows, cols].ravel()[wanted]
        scale = np.where(weight > 0.0, 1.0 / np.maximum(weight, 1e-12), np.nan)
        mean, second = (
            part[day, :, rows, cols].reshape(part.shape[1], -1)[:, wanted] * scale for part in (self.mean, self.second)
        )
        deviation = np.sqrt(np.maximum(second - mean**2, 1e-12))
        flag = self.strange[day, rows, cols].ravel()[wanted] * scale > 1.0
        return mean.astype(np.float32), deviation.astype(np.float32), np.asarray(flag, np.bool_)


def _scratch(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return zeros in a file without a name, which is gone when they are.

    Raises:
        ProductError: If there is no space for it: a file that grows beyond it later would end the process.
    """
    wanted, free = 4 * int(np.prod(shape)), shutil.disk_usage(tempfile.gettempdir()).free
    if wanted > free:
        raise ProductError(
            f"The filled dates need {wanted / 2**30:.1f} GiB of temporary space, but {tempfile.gettempdir()} has "
            f"{free / 2**30:.1f} GiB; make room, set TMPDIR to another folder, or fill fewer dates."
        )
    with tempfile.TemporaryFile(prefix="ecumene-") as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


@dataclass(frozen=True)
class InternalFiller(Filler):
    """Reads a wanted day out of what the networks made of the series.

    Attributes:
        dates: What they made; None: nothing could be learned from.
        place: Of the day among the wanted ones.
        trust: Error bars of parts where the day has clear pixels (False), and where it has none (True), as far as there
            are such parts.
        fits: Networks that were fitted to parts.
        steps: Of the longest fit.
        gaps: Whether there was anything to fill.
    """

    dates: RestoredDates | None
    place: int
    trust: dict[bool, InternalTrust]
    fits: int
    steps: int
    gaps: bool

    @property
    def method(self) -> str:
        """What fills."""
        return "nothing" if self.dates is None else NAME

    def estimate(self, window: Window, series: SeriesPixels, wanted: NDArray[np.intp]) -> Estimate:
        """See `Filler`."""
        if self.dates is None:
            nothing = np.full((series.bands, len(wanted)), np.nan, np.float32)
            return nothing, nothing, np.zeros(len(wanted), bool)
        return self.dates.read(self.place, window, wanted)

    def account(self) -> tuple[str, dict[str, Any]]:
        """See `Filler`."""
        if not self.gaps:
            return "Every pixel was observed under a clear sky, so that none was filled.", {}
        if self.dates is None:
            return "No pixel could be filled, because no clear observation can be learned from.", {}
        seen = "radar and noise" if self.source.radar is not None else "noise"
        tried = all(trust.error is not None for trust in self.trust.values())
        bars = (
            "from clear pixels that were hidden" if tried else "not tried everywhere, for want of clear pixels to hide"
        )
        lineage = (
            f"Clouds and shadows filled by internal learning: {self.fits} network(s) fitted to the clear pixels of "
            f"this series from {seen}, at most {self.steps} steps each; error bars {bars}."
        )
        parts, whole = self.trust.get(False), self.trust.get(True)
        usual = parts or whole
        if usual is None:
            return lineage, {"networks": self.fits, "steps": self.steps, "held_out": {}, "calibration": {}}
        figures: dict[str, Any] = {
            "networks": self.fits,
            "steps": self.steps,
            "held_out": {NAME: rounded(usual.scores)},
            "calibration": usual.calibration.to_dict(self.source.bands),
        }
        if parts is not None and whole is not None:
            figures["where_no_pixel_is_clear"] = {
                "held_out": rounded(whole.scores),
                "calibration": whole.calibration.to_dict(self.source.bands),
            }
        return lineage, figures


def check_internal(source: ClearInput, keep_observed: bool) -> None:
    """Refuse what the method cannot do, before anything is read.

    Raises:
        ConfigurationError: If every pixel is to be estimated, or the scene is too large.
        MissingDependencyError: If torch is not installed.
    """
    require("torch")
    height, width = source.shape
    if not keep_observed:
        raise ConfigurationError(
            f"The method {NAME} learns from the observed pixels of a date, so that it cannot estimate them; keep them."
        )
    if height * width > MOST_PIXELS:
        raise ConfigurationError(
            f"The method {NAME} fits a network to every {PART} x {PART} pixels, which takes days for {height} x "
            f"{width}; give a smaller area or another method."
        )


def internal_fillers(
    source: ClearInput,
    targets: Sequence[Target],
    keep_observed: bool,
    noise: NDArray[np.float64],
    spread: NDArray[np.float64],
    *,
    options: InternalOptions,
    progress: Progress = silent,
) -> Callable[[Target], InternalFiller]:
    """Fit networks to the parts of a series that have gaps, and return what gives the filler of a wanted day.

    Errors are learned on the two parts with the most clear pixels: once with clouds on all dates, and, where a wanted
    day has no clear pixels, with dates hidden whole. A part with too few clear pixels to learn from stays unknown.

    Raises:
        ProductError: If the temporary folder has too little space.
    """
    plan = _planned(source, targets)
    total, done = len(plan.tried) * len(plan.kinds) + len(plan.needed), 0
    trust: dict[bool, InternalTrust] = {}
    for whole in plan.kinds:
        hidden: list[Hidden] = []
        for place in plan.tried:
            progress(done, total, "hiding")
            part = _frames(source, plan.windows[place], targets)
            hidden += hide_and_restore(part, options, whole=whole, place=place)
            done += 1
        trust[whole] = learn_trust(hidden, spread, seed=options.seed)
    used: list[dict[bool, InternalTrust]] = [{} for _ in targets]
    dates, fits = RestoredDates.empty(len(targets), len(source.bands), source.shape), 0
    for place in plan.needed:
        progress(done, total, "fitting")
        done += 1
        part = _frames(source, plan.windows[place], targets)
        restored = restore(part, options, plan.wanted)
        if restored is None:
            continue
        fits += 1
        weight = blend_weights(plan.windows[place], source.shape)
        for number, date in enumerate(plan.wanted):
            whole = not part.learned[date]
            used[number][whole] = kind = trust[whole]
            deviation, surprise = kind.of_date(part, restored, date)
            strange = np.nan_to_num(surprise) / np.float32(max(kind.calibration.surprise_limit, 1e-12))
            dates.add(number, plan.windows[place], restored.of(date)[0], deviation, strange, weight)
    made, steps = dates if fits else None, options.steps_for(plan.dates)

    def filler(target: Target) -> InternalFiller:
        place = targets.index(target)
        return InternalFiller(
            source, target, keep_observed, noise, spread, made, place, used[place], fits, steps, plan.gaps
        )

    return filler


@dataclass(frozen=True)
class _Plan:
    """Which parts get networks.

    Attributes:
        windows: All parts.
        needed: Parts with something to fill and something to learn from.
        tried: Parts that errors are learned on.
        wanted: Places of the wanted days among the frames of a part.
        kinds: Whether wanted days have clear pixels in the needed parts (False), or none (True).
        dates: Most dates that a part learns from.
        gaps: Whether any pixel of the wanted days is not clear.
    """

    windows: list[Window]
    needed: list[int]
    tried: list[int]
    wanted: list[int]
    kinds: list[bool]
    dates: int
    gaps: bool


def _planned(source: ClearInput, targets: Sequence[Target]) -> _Plan:
    windows = parts_of(*source.shape)
    # The last column is a day that was not measured.
    counts = np.pad(np.array([_clear_counts(source, window) for window in windows]), ((0, 0), (0, 1)))
    sizes = np.array([window.height * window.width for window in windows])
    wanted = [len(source.days) if target.index is None else target.index for target in targets]
    gaps: NDArray[np.bool_] = np.asarray((counts[:, wanted] < sizes[:, None]).any(axis=1))
    learned: NDArray[np.bool_] = np.asarray(counts >= FEWEST_CLEAR)
    usable = np.flatnonzero(learned.any(axis=1)).astype(np.intp)
    needed = usable[gaps[usable]]
    kinds = sorted({bool(whole) for whole in (~learned[needed][:, wanted]).ravel()})
    clearest = sorted(usable.tolist(), key=lambda place: (-int(counts[place].sum()), place))
    dates = int(learned[needed].sum(axis=1).max(initial=0))
    return _Plan(windows, needed.tolist(), sorted(clearest[:_TRIED]), wanted, kinds, dates, bool(gaps.any()))


def parts_of(height: int, width: int) -> list[Window]:
    """Return overlapping windows over a grid; one where it is hardly larger than one."""
    found = []
    for row, rows in _along(height):
        found += [Window(row, col, rows, cols) for col, cols in _along(width)]
    return found


def _along(length: int) -> list[tuple[int, int]]:
    """Return beginnings and lengths of parts along an axis."""
    if length <= PART + PART // 2:
        return [(0, length)]
    number = -(-(length - OVERLAP) // (PART - OVERLAP))
    return [(int(begin), PART) for begin in np.linspace(0, length - PART, number).round()]


def blend_weights(window: Window, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return positive weights `[h, w]` that fall off as a raised cosine to the edges inside of a scene."""
    rows = _ramp(window.row, window.height, shape[0])
    return (rows[:, None] * _ramp(window.col, window.width, shape[1])[None, :]).astype(np.float32)


def _ramp(begin: int, length: int, whole: int) -> NDArray[np.float64]:
    place = np.arange(length) + 0.5
    far = np.full(length, float(OVERLAP))
    if begin > 0:
        far = np.minimum(far, place)
    if begin + length < whole:
        far = np.minimum(far, length - place)
    return 0.5 - 0.5 * np.cos(np.pi * far / OVERLAP)


def _clear_counts(source: ClearInput, window: Window) -> NDArray[np.int64]:
    return np.asarray(source.read(window).clear.sum(axis=1), np.int64)


def _frames(source: ClearInput, window: Window, targets: Sequence[Target]) -> Frames:
    """Return a window of the series; a wanted day that is none of the dates is one more, without a clear pixel."""
    pixels = source.read(window)
    shape = (window.height, window.width)
    image, clear, days, radar = pixels.image, pixels.clear, pixels.days, pixels.radar
    extra = next((target for target in targets if target.index is None), None)
    if extra is not None:
        image = np.concatenate([image, np.full_like(image[:1], np.nan)])
        clear = np.concatenate([clear, np.zeros_like(clear[:1])])
        days = np.append(days, extra.day)
        if radar is not None:
            missing = np.full_like(radar[0], np.nan)
            radar = np.concatenate([radar, (missing if pixels.wanted is None else pixels.wanted)[None]])
    return Frames(
        image.reshape(len(days), -1, *shape),
        clear.reshape(len(days), *shape),
        days,
        None if radar is None else radar.reshape(len(days), -1, *shape),
    )
