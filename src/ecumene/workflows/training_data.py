"""From a stack and labels to training sets of every part of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.models.row_features import RowFeatures
from ecumene.samples.contract import Part
from ecumene.samples.labels import LabelRaster
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.patches import collect_patches, collect_pixels
from ecumene.samples.split import Split
from ecumene.samples.targets import TargetRaster
from ecumene.scenes.complete import CompleteStack
from ecumene.scenes.contract import Stack
from ecumene.scenes.stack import SceneStack
from ecumene.scenes.standardised import StandardisedStack
from ecumene.systems import System

Labels = LabelRaster | TargetRaster
PAIR = 2
PARTS = (Part.TRAIN, Part.VALIDATION, Part.CALIBRATION, Part.TEST)


@dataclass(frozen=True)
class TrainingData:
    """Patches (single pixels, or images with one answer each) of every part, in the form that the system reads."""

    parts: Mapping[Part, Any]

    def __getitem__(self, part: Part) -> Any:
        return self.parts[part]


def require_pair(system: System, stack: Stack) -> None:
    """Refuse a system of two dates where the scenes have another number of them.

    Raises:
        ConfigurationError: If they do not make a pair.
    """
    if system.reads == "pair" and len(stack.times) != PAIR:
        raise ConfigurationError(
            f"{system.name} learns what changed between two dates, but the scenes have {len(stack.times)}; give the "
            "scenes of one date before and of one date after."
        )


def require_features(system: System, stack: Stack) -> None:
    """Refuse scenes of which a per-pixel system cannot make its rows.

    Raises:
        ContractError: If a band of an index is missing, or the scenes are not of one year where they must be.
    """
    features = RowFeatures.from_config(system.row_features)
    features.require_bands(stack.channels)
    features.require_one_year(stack.times)


def _frames(stack: SceneStack, system: System) -> Sequence[Stack]:
    """A system that reads images sees every date as a sample of its own; others see the whole series, or the pair."""
    if system.reads == "image" and len(stack.times) > 1:
        return [stack.at(position) for position in range(len(stack.times))]
    whole: Stack = CompleteStack(stack) if system.reads == "pair" else stack
    return [StandardisedStack(whole) if system.standardised else whole]


def _collect(
    stack: Stack, labels: Labels, split: Split, part: Part, system: System, seed: int, limit: int | None
) -> PatchSet:
    if system.patch_size == 1:
        return collect_pixels(stack, labels, split, part, limit_per_class=limit, seed=seed)
    side = system.patch_size
    # Overlapping training windows show every label in several contexts; the other parts need each once.
    stride = side // 2 if part is Part.TRAIN else side
    return collect_patches(stack, labels, split, part, patch_size=side, stride=stride, seed=seed)


def collect_training_data(
    stack: SceneStack,
    labels: Labels,
    split: Split,
    system: System,
    *,
    seed: int,
    pixels_per_class: int | None = 20_000,
) -> TrainingData:
    """Read the labelled pixels of every part.

    Args:
        stack: The scenes.
        labels: Classes or numbers on the stack's grid.
        split: Which pixel belongs to which part.
        system: Decides between windows and pixels, images and series.
        seed: Of the subsampling.
        pixels_per_class: Most pixels of a class (of all numbers) for per-pixel systems; None: all.

    Returns:
        The sets of all parts.

    Raises:
        LabelError: If a part that learning needs has no valid labelled pixel.
    """
    sets: dict[Part, PatchSet] = {}
    for part in PARTS:
        collected = [
            _collect(frame, labels, split, part, system, seed, pixels_per_class) for frame in _frames(stack, system)
        ]
        sets[part] = collected[0] if len(collected) == 1 else PatchSet.concatenate(collected)
    for part in (Part.TRAIN, Part.VALIDATION):
        if not sets[part].labelled.any():
            raise LabelError(
                f"No labelled pixel with valid data is left for {part.name.lower()}; "
                "give more or larger polygons, smaller blocks (--block-size) or a smaller buffer (--buffer)."
            )
    return TrainingData(sets)
