"""How a scene differs from a model's training data: which band, which season, which part of the scene, by how much."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.files import write_json
from ecumene.core.window import Window
from ecumene.models.bundle import Model
from ecumene.samples.patch_set import PatchSet
from ecumene.scenes.contract import Stack
from ecumene.trust.shift import BandShift, band_quantiles, band_shift

BAND_QUANTILES = "band_quantiles"
"""Entry of `ModelSpec.training` with the training data's quantiles of each band, by `sensor/band`."""
WINDOW = 128
LEAST_BLOCK = 24
"""Scenes with fewer than three times these pixels on a side are one block."""
NOTABLE = 0.5
"""Wasserstein distance (or difference of means), in training standard deviations, from which a band is named."""
NAMED_BANDS = 3
FLAGGED = 0.1
"""Share of flagged pixels from which a block is named, where it is twice the share that was promised."""
FAR_SEASON_DAYS = 45
_NAMES = (("north-west", "north", "north-east"), ("west", "centre", "east"), ("south-west", "south", "south-east"))
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


@dataclass(frozen=True)
class BlockShift:
    """One of up to nine parts of the scene.

    Attributes:
        name: `north-east`, `centre`, ..., or `all` for a small scene.
        pixels: Valid pixels that were looked at.
        flagged_share: Of them above the outlier threshold; None without one.
        band: The band that differs most there.
        mean_difference: Of that band, in training standard deviations.
    """

    name: str
    pixels: int
    flagged_share: float | None
    band: str
    mean_difference: float


@dataclass(frozen=True)
class Season:
    """Dates of the scene beside those of the training data.

    Attributes:
        dates: Of the scene, ISO.
        training_dates: Of the training data, ISO.
        unseen_months: Months of the scene, 1..12, in which no training date lies.
        days_off: Days from the scene's date that is farthest from any training date, whatever the year; None where a
            date is unknown.
    """

    dates: tuple[str, ...]
    training_dates: tuple[str, ...]
    unseen_months: tuple[int, ...]
    days_off: int | None


@dataclass(frozen=True)
class ShiftReport:
    """How a scene differs from the training data.

    Attributes:
        pixels: Valid pixels that were looked at.
        flagged_share: Of them above the outlier threshold; None without one.
        false_alarm_rate: Share of usual pixels that the threshold was set to flag; None without one.
        bands: Difference of each band, by `sensor/band`.
        blocks: Parts of the scene, north to south, west to east.
        season: Dates.
        sentence: All of it in words.
    """

    pixels: int
    flagged_share: float | None
    false_alarm_rate: float | None
    bands: dict[str, BandShift]
    blocks: tuple[BlockShift, ...]
    season: Season
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return asdict(self)

    def write(self, path: str | Path) -> Path:
        """Write it as JSON, whole or not at all.

        Raises:
            EcumeneError: If it cannot be written.
        """
        target = Path(path)
        write_json(target, self.to_dict())
        return target


@dataclass(frozen=True)
class _Pixels:
    """Valid pixels of one block: bands `[N, C]` (every date of a series) and flags `[M]`."""

    name: str
    bands: NDArray[np.float32]
    flags: NDArray[np.bool_] | None


def training_quantiles(patches: PatchSet) -> dict[str, list[float]]:
    """Return the quantiles of each channel of the training data, for `ModelSpec.training[BAND_QUANTILES]`.

    Args:
        patches: The training part.
    """
    return {
        channel.key: band_quantiles(patches.image[..., position, :, :])
        for position, channel in enumerate(patches.channels)
    }


def shift_report(model: Model, stack: Stack, *, windows_a_block: int = 4, seed: int = 0) -> ShiftReport:
    """Compare a scene with what a model states about its training data, and count its outliers.

    The scene is divided into nine blocks; of each, up to `windows_a_block` windows of 128 x 128 pixels are read.

    Args:
        model: The model.
        stack: The scene, with at least the model's channels.
        windows_a_block: Most windows of a block; drawn at random where there are more.
        seed: Of the draw.

    Raises:
        ContractError: If the scene does not fit the model.
        ConfigurationError: If no pixel of the scene is valid, or the model's statistics are damaged.
    """
    matched = model.match(stack)
    executor: Any = model.executor()
    parts = []
    for name, window in _blocks(matched):
        pixels = _read(model, matched, executor, name, window, windows_a_block, np.random.default_rng(seed))
        if len(pixels.bands):
            parts.append(pixels)
    if not parts:
        raise ConfigurationError("No pixel of the scene is valid; there is nothing to compare with the training data.")
    bands = _bands(model, np.concatenate([part.bands for part in parts]))
    blocks = tuple(_block_shift(model, part) for part in parts)
    flags = [part.flags for part in parts if part.flags is not None]
    share = float(np.concatenate(flags).mean()) if flags else None
    rate = None if model.detector is None else model.detector.false_alarm_rate
    season = _season(model, matched)
    sentence = _sentence(bands, blocks, season, share, rate)
    return ShiftReport(sum(len(part.bands) for part in parts), share, rate, bands, blocks, season, sentence)


def _blocks(stack: Stack) -> list[tuple[str, Window]]:
    """Divide a scene into nine named windows, or take it whole."""
    height, width = (int(size) for size in stack.geobox.shape)
    if min(height, width) < 3 * LEAST_BLOCK:
        return [("all", Window(0, 0, height, width))]
    rows = [height * step // 3 for step in range(4)]
    columns = [width * step // 3 for step in range(4)]
    upside_down = stack.geobox.affine.e > 0
    mirrored = stack.geobox.affine.a < 0
    return [
        (
            _NAMES[2 - row if upside_down else row][2 - col if mirrored else col],
            Window(rows[row], columns[col], rows[row + 1] - rows[row], columns[col + 1] - columns[col]),
        )
        for row in range(3)
        for col in range(3)
    ]


def _read(
    model: Model, stack: Stack, executor: Any, name: str, block: Window, most: int, generator: np.random.Generator
) -> _Pixels:
    """Read windows of a block and run the model on them."""
    stride = max(1, model.spec.stride)
    corners = [
        (row, col)
        for row in range(block.row, block.row + block.height, WINDOW)
        for col in range(block.col, block.col + block.width, WINDOW)
    ]
    chosen = sorted(generator.permutation(len(corners))[: max(1, most)])
    threshold = model.outlier_threshold
    bands, flags = [], []
    for position in chosen:
        row, col = corners[position]
        height = min(WINDOW, block.row + block.height - row)
        width = min(WINDOW, block.col + block.width - col)
        read = stack.read(Window(row, col, -(-height // stride) * stride, -(-width // stride) * stride))
        image, valid = read.image[:, :, :height, :width], read.valid[:, :height, :width]
        bands.append(np.moveaxis(image, 1, -1)[valid])
        if threshold is None:
            continue
        if model.spec.temporal:
            score = executor.run(read.image[None], read.dates[None].astype(np.float32))[1]
        else:
            score = executor.run(np.ascontiguousarray(read.image[:1]))[1]
        flags.append(score[0, :height, :width][valid.any(axis=0)] > threshold)
    return _Pixels(name, np.concatenate(bands), np.concatenate(flags) if flags else None)


def _bands(model: Model, values: NDArray[np.float32]) -> dict[str, BandShift]:
    known = model.spec.training.get(BAND_QUANTILES)
    found = {}
    for position, band in enumerate(model.spec.inputs):
        quantiles = known.get(band.key) if isinstance(known, dict) else None
        limits = None if band.minimum is None or band.maximum is None else (band.minimum, band.maximum)
        found[band.key] = band_shift(values[:, position], band.mean, band.std, quantiles=quantiles, limits=limits)
    return found


def _block_shift(model: Model, part: _Pixels) -> BlockShift:
    mean = np.array([band.mean for band in model.spec.inputs])
    std = np.array([band.std for band in model.spec.inputs])
    differences = (part.bands.mean(axis=0, dtype=np.float64) - mean) / std
    most = int(np.abs(differences).argmax())
    share = None if part.flags is None or not part.flags.size else float(part.flags.mean())
    return BlockShift(part.name, len(part.bands), share, model.spec.inputs[most].key, float(differences[most]))


def _season(model: Model, stack: Stack) -> Season:
    scenes = model.spec.training.get("scenes")
    stated = [entry.get("time") for entry in scenes if isinstance(entry, dict)] if isinstance(scenes, list) else []
    known = sorted({str(when)[:10] for when in stated if when})
    dates = sorted({str(when)[:10] for when in stack.times if when is not None})
    seen = {int(day[5:7]) for day in known}
    unseen = tuple(sorted({int(day[5:7]) for day in dates} - seen)) if known else ()
    days_off = None
    if known and dates:
        days_off = max(min(_days_between(day, other) for other in known) for day in dates)
    return Season(tuple(dates), tuple(known), unseen, days_off)


def _days_between(first: str, second: str) -> int:
    """Return the days between two dates of the year, the shorter way round."""
    days = [date.fromisoformat(day).timetuple().tm_yday for day in (first, second)]
    apart = abs(days[0] - days[1])
    return min(apart, 365 - apart) if apart < 365 else 0


def _sentence(
    bands: dict[str, BandShift],
    blocks: tuple[BlockShift, ...],
    season: Season,
    share: float | None,
    rate: float | None,
) -> str:
    parts = [_bands_in_words(bands)]
    if share is not None:
        usual = f" (of usual ones {100 * rate:g} %)" if rate is not None else ""
        parts.append(f"{100 * share:.0f} % of the pixels are flagged as outliers{usual}{_where(blocks, rate)}")
    if season.unseen_months:
        named = [_MONTHS[month - 1] for month in season.unseen_months]
        away = season.days_off or 0
        far = f" ({away} days of the year from the nearest one)" if away >= FAR_SEASON_DAYS else ""
        parts.append(f"not seen in training: dates in {_listed(named)}{far}")
    elif not season.training_dates or not season.dates:
        parts.append("whether the season was seen in training is unknown, because dates are missing")
    text = "; ".join(parts) + "."
    return text[0].upper() + text[1:]


def _bands_in_words(bands: dict[str, BandShift]) -> str:
    def size(shift: BandShift) -> float:
        return max(abs(shift.mean_difference), shift.wasserstein or 0.0)

    notable = sorted((key for key in bands if size(bands[key]) >= NOTABLE), key=lambda key: -size(bands[key]))
    if not notable:
        return f"no band differs by {NOTABLE:g} training standard deviations"
    words = []
    for key in notable[:NAMED_BANDS]:
        shift, name = bands[key], key.split("/")[-1]
        if abs(shift.mean_difference) >= NOTABLE:
            side = "higher" if shift.mean_difference > 0.0 else "lower"
            words.append(f"{name} is {abs(shift.mean_difference):.1f} training standard deviations {side}")
        else:
            words.append(f"{name} is spread {shift.spread_ratio:.1f} times as widely")
    more = len(notable) - len(words)
    return _listed(words) + (f" ({more} more bands differ by {NOTABLE:g} or more)" if more else "")


def _where(blocks: tuple[BlockShift, ...], rate: float | None) -> str:
    """Say which blocks stand out."""
    limit = max(FLAGGED, 2.0 * (rate or 0.0))
    out = [block.name for block in blocks if (block.flagged_share or 0.0) >= limit]
    if not out or len(blocks) == 1:
        return ""
    return ", everywhere" if len(out) == len(blocks) else f", most of them in the {_listed(out)}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
