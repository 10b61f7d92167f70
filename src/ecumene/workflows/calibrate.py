"""Fits what makes a classifier honest on blocks that it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, EcumeneError, ModelError
from ecumene.models.bundle import Model
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.patch_set import PatchSet
from ecumene.samples.scene_set import SceneSamples
from ecumene.systems import System
from ecumene.trust.block_residuals import BlockResiduals
from ecumene.trust.calibration import Calibration
from ecumene.trust.conformal import ConformalSets
from ecumene.trust.decision_threshold import threshold_of_largest_f1
from ecumene.trust.likelihood import pooled_probabilities
from ecumene.trust.outlier import CombinedDetector
from ecumene.trust.quantile import best_coverage
from ecumene.trust.scaling import IDENTITY, Scaling
from ecumene.trust.scaling_fit import ScalingChoice, choose_scaling
from ecumene.workflows.training_data import TrainingData


@dataclass(frozen=True)
class LabelledPixels:
    """Model results at labelled, valid pixels.

    Attributes:
        output: Raw output before scaling, float32 `[N, K]`.
        features: Features of the outlier detector, float32 `[N, F]`.
        target: Class index, int64 `[N]`.
        group: Block or feature of the pixel, int64 `[N]`; pixels of one group are not independent.
        image_side: Rows of the images that have one answer each; None where every pixel has one.
    """

    output: NDArray[np.float32]
    features: NDArray[np.float32]
    target: NDArray[np.int64]
    group: NDArray[np.int64]
    image_side: int | None = None

    def __len__(self) -> int:
        return len(self.target)


def results_at_labels(
    model: Model, patches: PatchSet | SceneSamples, *, limit: int = 200_000, seed: int = 0, batch_pixels: int = 1 << 18
) -> LabelledPixels:
    """Run the model over patches and keep what it says at labelled pixels.

    Args:
        model: The model.
        patches: Windows, single pixels, or whole images with labels.
        limit: Most pixels to keep (drawn at random).
        seed: Of the draw.
        batch_pixels: Pixels of one batch.

    Returns:
        The results, in the order of the patches.
    """
    if isinstance(patches, SceneSamples):
        return results_of_scenes(model, patches, limit=limit, seed=seed)
    generator = np.random.default_rng(seed)
    side = patches.image.shape[-1] * patches.image.shape[-2]
    step = max(1, batch_pixels // side)
    outputs, features, targets, groups = [], [], [], []
    for start in range(0, len(patches), step):
        part = slice(start, min(start + step, len(patches)))
        mask = patches.mask[part]
        valid = patches.valid[part]
        usable = (mask != IGNORE) & (valid if valid.ndim == mask.ndim else valid.any(axis=1))
        if not usable.any():
            continue
        dates = None
        if model.spec.temporal:
            dates = patches.dates[part].astype(np.float32)
        image = np.ascontiguousarray(patches.image[part], np.float32)
        output, feature = model.raw_results(image, dates)
        outputs.append(np.moveaxis(output, 1, -1)[usable])
        features.append(np.moveaxis(feature, 1, -1)[usable])
        targets.append(mask[usable].astype(np.int64))
        groups.append(patches.group[part][usable].astype(np.int64))
    if not targets:
        classes, channels = model.objective.n_outputs, 1
        return LabelledPixels(
            np.empty((0, classes), np.float32),
            np.empty((0, channels), np.float32),
            np.empty(0, np.int64),
            np.empty(0, np.int64),
        )
    result = LabelledPixels(
        np.concatenate(outputs), np.concatenate(features), np.concatenate(targets), np.concatenate(groups)
    )
    if len(result) > limit:
        keep = np.sort(generator.choice(len(result), limit, replace=False))
        result = LabelledPixels(result.output[keep], result.features[keep], result.target[keep], result.group[keep])
    return result


def results_of_scenes(
    model: Model, scenes: SceneSamples, *, limit: int = 200_000, seed: int = 0, batch: int = 128
) -> LabelledPixels:
    """Run the model over images with one answer each; an image counts as a pixel does.

    Args:
        model: The model.
        scenes: The images; those without a label or any valid pixel are left out.
        limit: Most images to keep (drawn at random).
        seed: Of the draw.
        batch: Images of one batch.

    Returns:
        The results, in the order of the images; the target is `[N, K]` where an image has several labels.
    """
    label, side = scenes.label, int(scenes.image_shape[-1])
    known = np.isfinite(label) if label.dtype.kind == "f" else label != IGNORE
    usable = np.flatnonzero(known if known.ndim == 1 else known.any(axis=1))
    if len(usable) > limit:
        usable = np.sort(np.random.default_rng(seed).choice(usable, limit, replace=False))
    outputs, features, kept = [], [], []
    for start in range(0, len(usable), batch):
        chosen = usable[start : start + batch]
        image = scenes.read(chosen).image
        seen = np.asarray(np.isfinite(image).all(axis=1)).any(axis=(1, 2))
        if seen.any():
            output, feature = model.raw_results(np.ascontiguousarray(image[seen], np.float32))
            outputs.append(output[:, :, 0, 0])
            features.append(feature[:, :, 0, 0])
            kept.append(chosen[seen])
    if not kept:
        none = np.empty(0, np.intp)
        empty, unseen = np.empty((0, model.objective.n_outputs), np.float32), np.empty((0, 1), np.float32)
        return LabelledPixels(empty, unseen, label[none].astype(np.int64), none.astype(np.int64), side)
    order = np.concatenate(kept)
    return LabelledPixels(
        np.concatenate(outputs),
        np.concatenate(features),
        label[order].astype(np.int64),
        scenes.group[order].astype(np.int64),
        side,
    )


def probabilities_of(model: Model, output: NDArray[np.floating], scaling: Scaling | None = None) -> NDArray[np.float64]:
    """Return class probabilities `[N, K]` of raw output `[N, M * K]`, pooled over members.

    Args:
        model: A classifier.
        output: Raw output before scaling.
        scaling: What to apply; None: the model's own.
    """
    chosen = (model.scaling or IDENTITY) if scaling is None else scaling
    return pooled_probabilities(chosen.apply(output.astype(np.float64)), output.shape[1] // model.objective.members)


def calibration_part(data: TrainingData, system: System) -> PatchSet:
    """Return the labels that calibrate a learner: those that it has not seen and that nothing is measured on.

    Networks stop by the validation part, and of several forests it chooses one. Other trees do not look at it, so that
    it serves them as further calibration blocks.

    Args:
        data: The parts.
        system: What was trained.
    """
    own: PatchSet = data[Part.CALIBRATION]
    spare: PatchSet = data[Part.VALIDATION]
    if system.kind == "network" or "runs" in system.training or len(spare) == 0:
        return own
    return spare if len(own) == 0 else PatchSet.concatenate([spare, own])


def fit_trust(
    model: Model,
    train: PatchSet | SceneSamples,
    held_out: PatchSet | SceneSamples,
    *,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    seed: int = 0,
    decide_on: PatchSet | None = None,
) -> tuple[Model, list[str]]:
    """Fit the scaling of logits, class sets and the outlier detector; return the model with them.

    Blocks (or polygons) are the units: the scaling replaces the model's own probabilities only where it gains on
    blocks that it was not fitted on (`trust.scaling_fit`), and every block has the same weight for the class sets.

    Args:
        model: A fitted classifier.
        train: What it has learned from: reference of the outlier detector.
        held_out: Blocks that it has not learned from: scaling, class sets, outlier threshold.
        coverage: Share of pixels whose class set shall hold the truth.
        false_alarm_rate: Share of held-out pixels that may be flagged.
        seed: Of subsampling.
        decide_on: Where the threshold on a class that is looked for is chosen, see `choose_threshold`; None: nowhere.

    Returns:
        The model, and sentences about what could not be fitted or promised, and why.

    Raises:
        ModelError: If the model's output is not finite.
    """
    known = results_at_labels(model, train, limit=50_000, seed=seed)
    fresh = results_at_labels(model, held_out, seed=seed)
    require_finite(known, fresh)
    choice, notes = _choose_scaling(model, fresh, held_out)
    if decide_on is not None and model.objective.positive_index is not None:
        scaling = IDENTITY if choice is None else choice.scaling
        model, more = choose_threshold(model, (decide_on, train), scaling, seed=seed)
        notes += more
    calibration = Calibration(scaling=IDENTITY)
    if choice is not None:
        calibration, more = _fit_sets(model, fresh, held_out, coverage, choice)
        notes += more
    detector = CombinedDetector.fit(known.features, known.target, seed=seed)
    # Networks of whole images have more features than small sets have images: training images would look too usual.
    reference = fresh if len(fresh) >= 50 or known.image_side is not None else known
    if reference is known:
        notes.append("The outlier threshold was set on training pixels, because fewer than 50 held-out pixels exist.")
    # Neighbouring pixels repeat each other: a quantile over pixels would be broken by the next block.
    trusting: CombinedDetector | None = None
    try:
        trusting = detector.with_threshold(detector.score(reference.features), false_alarm_rate, groups=reference.group)
    except ConfigurationError as error:
        if known.image_side is None:
            raise
        notes.append(f"Outliers are not flagged: {str(error).replace('pixels', 'images')}")
    trusted = model.with_trust(calibration=calibration, detector=trusting)
    if choice is not None:
        trusted = trusted.with_training(scaling=choice.to_dict())
    return trusted, notes


def require_finite(*results: LabelledPixels) -> None:
    """Make sure that a model's output is finite wherever it was asked for.

    Raises:
        ModelError: If it is not.
    """
    if not all(np.isfinite(part.output).all() for part in results):
        raise ModelError("The model puts out numbers that are not finite; train it again with a lower learning rate.")


def choose_threshold(
    model: Model, labels: Sequence[PatchSet | SceneSamples], scaling: Scaling, *, seed: int = 0
) -> tuple[Model, list[str]]:
    """Choose from which probability on a model calls the class that it looks for: that of the largest F1.

    The card says the threshold, its figures and where it was chosen under `threshold`.

    Args:
        model: Of two classes, one of which is looked for.
        labels: Validation and training part; the first that has the class is chosen on.
        scaling: Of the logits, as the model will have it.
        seed: Of the draw, where there are many labels.

    Returns:
        The model, and a sentence where the class occurs in none of them.
    """
    index, legend = model.objective.positive_index, model.objective.legend
    assert index is not None
    assert legend is not None
    for name, part in zip(("validation", "training"), labels, strict=True):
        known = results_at_labels(model, part, seed=seed)
        truth = known.target == index
        if not truth.any():
            continue
        chosen = threshold_of_largest_f1(probabilities_of(model, known.output, scaling)[:, index], truth)
        objective = model.objective.looking_for(legend.names[index], chosen.value)
        spec = model.spec.model_copy(update={"objective": objective.to_config()})
        about = {"class": legend.names[index], "chosen_on": f"{name} labels", **asdict(chosen)}
        return replace(model, spec=spec, objective=objective).with_training(threshold=about), []
    return model, [f"No pixel is {legend.names[index]}: it is put out where its probability is above one half."]


def _choose_scaling(
    model: Model, fresh: LabelledPixels, held_out: PatchSet | SceneSamples
) -> tuple[ScalingChoice | None, list[str]]:
    """Choose the scaling; without usable labels, say why the probabilities are the model's own."""
    labelled = int((held_out.mask != IGNORE).sum())
    if len(fresh) == 0 and labelled:
        return None, [
            f"None of the {labelled} calibration labels lies on valid data, so that nothing could be calibrated; "
            "label places that the scenes show without cloud or nodata."
        ]  # fmt: skip
    try:
        return choose_scaling(fresh.output, fresh.target, fresh.group, members=model.objective.members), []
    except EcumeneError as error:
        return None, [str(error)]


def _fit_sets(
    model: Model, fresh: LabelledPixels, held_out: PatchSet | SceneSamples, coverage: float, choice: ScalingChoice
) -> tuple[Calibration, list[str]]:
    """Fit class sets to scaled probabilities, and what the blocks' class shares are off by."""
    probabilities = probabilities_of(model, fresh.output, choice.scaling)
    sets = ConformalSets.fit(
        probabilities,
        fresh.target,
        coverage,
        groups=fresh.group,
        aim="average",
        decided=model.objective.decide(probabilities),
    )
    notes = [choice.note] if choice.scaling is IDENTITY and choice.note else []
    legend = model.objective.legend
    if choice.missing and legend is not None:
        listed = ", ".join(legend.names[channel] for channel in choice.missing)
        notes.append(f"No calibration pixel is {listed}: how honest these probabilities are is unknown; label more.")
    blocks = len(np.unique(fresh.group))
    if best_coverage(blocks) < coverage:
        needed = int(np.ceil(coverage / (1.0 - coverage) - 1e-9))
        notes.append(
            f"The class sets aim at {coverage:.0%}, but with {blocks} calibration block{'s' * (blocks > 1)} nobody can "
            f"promise more than {best_coverage(blocks):.0%} for a new block; {coverage:.0%} needs {needed} blocks."
        )
    residuals = None
    if blocks >= 2 and _mixed_blocks(fresh) >= 0.5:
        area = _block_area(model, held_out, fresh.image_side or 1)
        residuals = BlockResiduals.fit(probabilities, fresh.target, fresh.group, area)
    return Calibration(scaling=choice.scaling, sets=sets, residuals=residuals), notes


def _mixed_blocks(fresh: LabelledPixels) -> float:
    """Return the share of blocks with labels of several classes.

    Blocks of one class each are polygons that somebody drew class by class; how often a class occurs in them says
    nothing about how often it occurs in the map, so that no area can be corrected by them.
    """
    pairs = np.unique(np.stack([fresh.group, fresh.target]), axis=1)
    _, classes = np.unique(pairs[0], return_counts=True)
    return float((classes > 1).mean())


def _block_area(model: Model, held_out: PatchSet | SceneSamples, pixels: int) -> float:
    """Return the mean labelled area of a block in square metres; a label's side has this many pixels."""
    groups = held_out.group[held_out.mask != IGNORE]
    side = model.spec.resolution_m * pixels
    return float(groups.size / len(np.unique(groups)) * side**2)
