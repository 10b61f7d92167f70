"""Occlusion sensitivity: what changes when a sensor, a band, a date or a place is hidden from the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.models.contract import InputBand

Float = NDArray[np.float32]
ScoreFunction = Callable[[Float, Float | None], Float]
Baseline = Literal["mean", "zero", "noise"]
Kind = Literal["sensor", "band", "date"]
BASELINES: tuple[Baseline, ...] = ("mean", "zero", "noise")
NOISE_DRAWS = 8


@dataclass(frozen=True)
class Group:
    """Inputs that are hidden together.

    Attributes:
        kind: `sensor` (a modality), `band` or `date`.
        name: Physical name: sensor, `sensor/band`, or ISO date.
        inputs: bool `[T, C]`, True where hidden.
    """

    kind: Kind
    name: str
    inputs: NDArray[np.bool_]


def input_groups(inputs: Sequence[InputBand], dates: Sequence[str]) -> tuple[Group, ...]:
    """Return every sensor (if there are several), every band, and every date (if there are several).

    Args:
        inputs: The model's bands, in its order.
        dates: Names of the T frames.
    """
    shape = (len(dates), len(inputs))
    groups: list[Group] = []
    sensors = list(dict.fromkeys(band.sensor for band in inputs))
    if len(sensors) > 1:
        for sensor in sensors:
            mask = np.broadcast_to([band.sensor == sensor for band in inputs], shape)
            groups.append(Group("sensor", sensor, mask.copy()))
    for position, band in enumerate(inputs):
        mask = np.zeros(shape, bool)
        mask[:, position] = True
        groups.append(Group("band", band.key, mask))
    if len(dates) > 1:
        for position, name in enumerate(dates):
            mask = np.zeros(shape, bool)
            mask[position] = True
            groups.append(Group("date", name, mask))
    return tuple(groups)


@dataclass(frozen=True)
class Occluder:
    """Replaces inputs by what carries no information about the place.

    Sensors and bands become the mean of the training data (`mean`, zero in standardised units), zero in physical units
    (`zero`), or Gaussian noise with the mean and standard deviation of the training data (`noise`). A date of a series
    becomes missing, as if it had been clouded, because that is an input that the models know. Pixels without data stay
    so.

    Attributes:
        mean: Means of the training data, `[C]`, physical units.
        std: Standard deviations, `[C]`.
        baseline: See above.
        seed: Of the noise.
    """

    mean: Float
    std: Float
    baseline: Baseline = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise ConfigurationError(f"The baseline is one of {', '.join(BASELINES)}, not {self.baseline!r}.")

    @classmethod
    def of(cls, inputs: Sequence[InputBand], baseline: Baseline = "mean", seed: int = 0) -> Occluder:
        """Return an occluder with the statistics of a model's inputs."""
        mean = np.array([band.mean for band in inputs], np.float32)
        return cls(mean, np.array([band.std for band in inputs], np.float32), baseline, seed)

    @property
    def draws(self) -> int:
        """How often the replacement is drawn; effects are averaged over the draws."""
        return NOISE_DRAWS if self.baseline == "noise" else 1

    def hide(
        self, image: Float, inputs: NDArray[np.bool_], *, missing: bool = False, draw: int = 0, where: object = None
    ) -> Float:
        """Return a copy of an image with inputs hidden.

        Args:
            image: `[T, C, H, W]`, physical units, NaN without data.
            inputs: bool `[T, C]`, what to hide.
            missing: Hide by NaN instead of by the baseline.
            draw: Number of the draw of noise.
            where: bool `[H, W]`, only there; None: everywhere.
        """
        chosen = inputs[:, :, None, None] & np.isfinite(image)
        if where is not None:
            chosen = chosen & np.asarray(where, bool)
        if missing:
            return np.where(chosen, np.float32(np.nan), image).astype(np.float32)
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        if self.baseline == "noise":
            noise = np.random.default_rng((self.seed, draw)).standard_normal(image.shape, np.float32)
            replaced = mean + std * noise
        else:
            replaced = np.broadcast_to(mean if self.baseline == "mean" else np.zeros_like(mean), image.shape)
        return np.where(chosen, replaced, image).astype(np.float32)


def occlusion_effects(
    score: ScoreFunction,
    image: Float,
    dates: Float | None,
    groups: Sequence[Group],
    occluder: Occluder,
) -> Float:
    """Return how far the scores fall when each group is hidden.

    Modality occlusion after Ekim and Schmitt, "Explaining Multimodal Data Fusion: Occlusion Analysis for Wilderness
    Mapping" (2023, arXiv 2304.02407), applied to sensors, bands and dates alike: score(x) - score(x with the group
    hidden). Positive: the group speaks for the class. The paper occludes the modalities of one early-fusion
    segmentation network; here any model that maps is explained, and the score is its calibrated probability.

    Args:
        score: From (image `[B, (T,) C, H, W]`, dates) to scores `[B, K, H, W]`.
        image: One window `[T, C, H, W]`, physical units.
        dates: `[T]` days since 1970-01-01 for a series model, None for an image model (T = 1).
        groups: What to hide, one after the other.
        occluder: What replaces it.

    Returns:
        float32 `[G, K, H, W]`; NaN where hiding leaves nothing to decide from.
    """
    whole = _run(score, image, dates)
    effects = np.empty((len(groups), *whole.shape), np.float32)
    for number, group in enumerate(groups):
        missing = group.kind == "date"
        draws = 1 if missing else occluder.draws
        hidden = [occluder.hide(image, group.inputs, missing=missing, draw=draw) for draw in range(draws)]
        fallen = np.mean([_run(score, one, dates) for one in hidden], axis=0)
        effects[number] = whole - fallen
        if missing:
            nothing = ~np.isfinite(hidden[0]).all(axis=1).any(axis=0)
            effects[number][:, nothing] = np.nan
    return effects


def sensor_pairs(groups: Sequence[Group]) -> list[tuple[int, int, Group]]:
    """Return every pair of sensors: both positions in `groups`, and the group that hides both.

    With D the falls of `occlusion_effects`, I_ab = D_ab - D_a - D_b is their interaction. Negative: either of the two
    suffices, they say the same; positive: they are needed together.
    """
    sensors = [number for number, group in enumerate(groups) if group.kind == "sensor"]
    return [
        (a, b, Group("sensor", f"{groups[a].name} and {groups[b].name}", groups[a].inputs | groups[b].inputs))
        for a, b in combinations(sensors, 2)
    ]


def shares(effects: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the absolute effects of groups of one kind as shares that sum to 1 (all zero if nothing has an effect).

    Args:
        effects: `[G]`.
    """
    size = np.abs(np.nan_to_num(np.asarray(effects, np.float64)))
    total = float(size.sum())
    return size / total if total > 0 else size


def place_effects(
    score: ScoreFunction,
    image: Float,
    dates: Float | None,
    pixel: tuple[int, int],
    channel: int,
    occluder: Occluder,
    *,
    patch: int,
    inputs: NDArray[np.bool_] | None = None,
    batch: int = 8,
) -> Float:
    """Return how far the score at one pixel falls when patches of its surroundings are hidden, one by one.

    Patch-wise occlusion (Zeiler and Fergus 2014, section 4.2), for all inputs or for one modality.

    Args:
        score: See `occlusion_effects`.
        image: One window `[T, C, H, W]`.
        dates: `[T]` or None.
        pixel: Row and column of the explained pixel in the window.
        channel: Explained channel of the scores.
        occluder: What replaces a patch.
        patch: Side of a patch in pixels.
        inputs: bool `[T, C]`, what is hidden there; None: everything.
        batch: Windows that are run at once.

    Returns:
        float32 `[H, W]`, the fall for the patch over each pixel.
    """
    if patch < 1:
        raise ConfigurationError("The side of an occluded patch must be at least one pixel.")
    height, width = image.shape[-2:]
    everything = np.ones(image.shape[:2], bool) if inputs is None else inputs
    corners = [(row, col) for row in range(0, height, patch) for col in range(0, width, patch)]
    whole = float(_run(score, image, dates)[channel, pixel[0], pixel[1]])
    result = np.empty((height, width), np.float32)
    for start in range(0, len(corners), batch):
        some = corners[start : start + batch]
        hidden = []
        for row, col in some:
            where = np.zeros((height, width), bool)
            where[row : row + patch, col : col + patch] = True
            hidden.append(occluder.hide(image, everything, where=where))
        scores = _run_batch(score, np.stack(hidden), dates)[:, channel, pixel[0], pixel[1]]
        for (row, col), after in zip(some, scores, strict=True):
            result[row : row + patch, col : col + patch] = whole - after
    return result


def _run(score: ScoreFunction, image: Float, dates: Float | None) -> Float:
    scores: Float = _run_batch(score, image[None], dates)[0]
    return scores


def _run_batch(score: ScoreFunction, images: Float, dates: Float | None) -> Float:
    """Run windows `[B, T, C, H, W]`; image models lose the axis T."""
    if dates is None:
        return score(np.ascontiguousarray(images[:, 0]), None)
    return score(images, np.tile(dates.astype(np.float32), (len(images), 1)))
