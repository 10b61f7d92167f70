"""From sites at several dates to training sets: windows of one date, of two, or of a series, labelled or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends import Legend, LegendClass
from ecumene.samples.contract import IGNORE, Part
from ecumene.samples.datasets.growth_sites import GrowthSites, Site, require_mapped
from ecumene.samples.patch_set import PatchSet
from ecumene.workflows.training_data import TrainingData

LARGEST_WINDOW = 512
ROLE_OF = {
    Part.TRAIN: "train",
    Part.VALIDATION: "validation",
    Part.CALIBRATION: "calibration",
    Part.TEST: "test",
}


@dataclass(frozen=True)
class SiteOptions:
    """What is taken from the sites.

    Attributes:
        dates: Dates of a sample: 1, 2, or those of a series.
        samples: Sets of dates drawn from each site to learn from; the first is evenly spaced from first to last.
        unlabelled: Whether places without labels are learned from as well.
        labelled_share: Share of the sites to learn from whose labels are used; the others count as unlabelled.
        least_labelled: Least share of an epoch's windows that have labels; these are repeated for it. 0: each once, so
            that few labelled places are rare among many unlabelled ones, as published.
        bands: Bands of Sentinel-2; None: all.
    """

    dates: int = 2
    samples: int = 2
    unlabelled: bool = False
    labelled_share: float = 1.0
    least_labelled: float = 0.0
    bands: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        shares = 0.0 < self.labelled_share <= 1.0 and 0.0 <= self.least_labelled < 1.0
        whole = all(isinstance(value, int) for value in (self.dates, self.samples))
        if not whole or self.dates < 1 or self.samples < 1 or not shares:
            raise ConfigurationError(
                "Samples of sites need a positive whole number of dates and draws, a labelled_share in (0, 1] and a "
                f"least_labelled in [0, 1), not {self.dates}, {self.samples}, {self.labelled_share} and "
                f"{self.least_labelled}."
            )


def growth_legend(dates: int) -> Legend:
    """Return the classes: built-up (one date), newly built-up (two), or when it was built (a series of T: T + 2)."""
    if dates == 1:
        named = [("not built up", "#d9d9d9"), ("built up", "#b22222")]
    elif dates == 2:
        named = [("no new building", "#d9d9d9"), ("newly built up", "#b22222")]
    else:
        shades = [f"#{250 - 30 * t:02x}{60 + 20 * t:02x}{40 + 25 * t:02x}" for t in range(dates - 1)]
        between = [(f"built between date {t + 1} and {t + 2}", shades[t]) for t in range(dates - 1)]
        named = [("never built up", "#d9d9d9"), ("built up throughout", "#4d4d4d"), *between, ("otherwise", "#8a5fa8")]
    classes = tuple(LegendClass(value=v, name=name, colour=colour) for v, (name, colour) in enumerate(named))
    return Legend(name=f"growth-{dates}", source="maps of buildings at each date", classes=classes)


def target_maps(built: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class, and what is built at each date, `[1 + T, H, W]`, of what is built `[T, H, W]` (-1: unknown).

    Newly built-up of two dates is 0 before and 1 after, as published: what is torn down counts as no new building.
    """
    known = (built != IGNORE).all(axis=0)
    dates = len(built)
    if dates == 1:
        answer = built[0]
    elif dates == 2:
        answer = ((built[0] == 0) & (built[1] == 1)).astype(np.int64)
    else:
        steps = np.diff(built, axis=0)
        grown = (steps >= 0).all(axis=0)
        when = steps.argmax(axis=0) + 2
        answer = np.where(built[0] == 1, 1, np.where(steps.any(axis=0), when, 0))
        answer = np.where(grown, answer, dates + 1)
    return np.concatenate((np.where(known, answer, IGNORE)[None], built))


def draw_dates(count: int, length: int, samples: int, rng: np.random.Generator) -> list[list[int]]:
    """Return positions of dates of each sample: evenly spaced first, then drawn; of single dates evenly spaced ones.

    Args:
        count: Dates of the site.
        length: Dates of a sample.
        samples: Samples; fewer where there are no more different ones of a single date.
        rng: Of the draws.

    Raises:
        SceneError: If the site has too few dates.
    """
    if count < length:
        raise SceneError(f"A site has {count} dates, but this system needs {length}; give sites with more dates.")
    if length == 1:
        return [[int(t)] for t in np.unique(np.linspace(0, count - 1, samples).round())]
    drawn = [np.linspace(0, count - 1, length).round().astype(int).tolist()]
    drawn += [sorted(rng.choice(count, length, replace=False).tolist()) for _ in range(samples - 1)]
    return drawn


def _starts(size: int, window: int) -> list[int]:
    """Return where windows begin that cover a side; the last is moved back."""
    return sorted({*range(0, size - window + 1, window), size - window})


def site_patches(
    sites: GrowthSites,
    chosen: Sequence[Site],
    options: SiteOptions,
    window: int,
    *,
    samples: int,
    labelled: bool,
    seed: int,
) -> PatchSet:
    """Cut sites into windows.

    Args:
        sites: The data set.
        chosen: Which of its sites.
        options: What is taken from them.
        window: Rows and columns of a window; no larger than a site.
        samples: Sets of dates of each site.
        labelled: Whether the maps of buildings are used; else all is unlabelled.
        seed: Of the drawn dates.

    Returns:
        Patches with targets `[N, 1 + T, P, P]`, see `target_maps`; each pixel of a sample has its label once. The group
        is the number of the site.

    Raises:
        EcumeneError: If a site has too few dates, no labels or another size.
    """
    images, masks, dates, groups = [], [], [], []
    for site in chosen:
        number = sites.sites.index(site)
        rng = np.random.default_rng([seed, number])
        if labelled:
            require_mapped(site)
        for positions in draw_dates(len(site.dates), options.dates, samples, rng):
            frames = np.stack([sites.image(site, t) for t in positions])
            frames[:, :, ~np.isfinite(frames).all(axis=(0, 1))] = np.nan  # a pixel is there on all dates or on none
            built = np.stack([sites.built(site, t) for t in positions]) if labelled else None
            if min(frames.shape[-2:]) < window or (built is not None and built.shape[1:] != frames.shape[2:]):
                raise SceneError(
                    f"The images of {site.name} have {frames.shape[-2]} x {frames.shape[-1]} pixels; they must hold a "
                    f"window of {window} and be as large as its maps of buildings."
                )
            maps = target_maps(built if built is not None else np.full((len(frames), *frames.shape[2:]), IGNORE))
            left = np.ones(frames.shape[-2:], bool)
            for top in _starts(frames.shape[-2], window):
                for start in _starts(frames.shape[-1], window):
                    part = (..., slice(top, top + window), slice(start, start + window))
                    images.append(frames[part])
                    masks.append(np.where(left[part], maps[part], IGNORE))
                    dates.append(site.days[positions])
                    groups.append(number)
                    left[part] = False
    if not images:
        raise LabelError("There are no sites for a part that is needed; name train, validation and test sites.")
    image, mask = np.stack(images), np.stack(masks)
    if options.dates == 1:
        image = image[:, 0]
    valid = np.asarray(np.isfinite(image).all(axis=-3))
    group = np.broadcast_to(np.array(groups, np.int32)[:, None, None], (len(image), window, window)).copy()
    return PatchSet(image, mask, valid, np.stack(dates).astype(np.int64), group, sites.channels)


def labelled_sites(sites: Sequence[Site], share: float, seed: int) -> tuple[list[Site], list[Site]]:
    """Return (sites whose labels are used, the others); a larger share holds the sites of a smaller one.

    Args:
        sites: To choose from.
        share: Of them; at least one is chosen.
        seed: Of the choice.
    """
    order = np.random.default_rng([seed, 7]).permutation(len(sites))
    count = max(1, round(share * len(sites)))
    keep = set(order[:count].tolist())
    return [s for i, s in enumerate(sites) if i in keep], [s for i, s in enumerate(sites) if i not in keep]


def collect_sites(sites: GrowthSites, options: SiteOptions, crop: int, stride: int, *, seed: int) -> TrainingData:
    """Return the training sets of a data set of sites.

    Windows are up to twice as large as the crops that are drawn from them while training; all of them are in memory.
    Sites for calibration are needed; where there are none, every second one for validation calibrates.

    Args:
        sites: The data set.
        options: What is taken from it.
        crop: Side of the training crops.
        stride: Of the network; windows are multiples of it.
        seed: Of drawn dates and of the choice of labelled sites.

    Raises:
        EcumeneError: If a part has no site, or a site does not fit.
    """
    roles = {part: sites.of(role) for part, role in ROLE_OF.items()}
    if not roles[Part.CALIBRATION] and len(roles[Part.VALIDATION]) > 1:
        roles[Part.CALIBRATION] = roles[Part.VALIDATION][1::2]
        roles[Part.VALIDATION] = roles[Part.VALIDATION][::2]
    for part, role in ROLE_OF.items():
        if not roles[part]:
            raise LabelError(f"data_set.json names no site for {role}; give one at least (validation: two).")
    sides = [min(sites.shape(site)) for site in sites.sites]
    window = min(2 * crop, min(sides), LARGEST_WINDOW) // stride * stride
    if window < stride:
        raise SceneError(f"The smallest site has a side of {min(sides)} pixels; {stride} are needed at least.")
    known, spare = labelled_sites(roles[Part.TRAIN], options.labelled_share, seed)
    train = site_patches(sites, known, options, window, samples=options.samples, labelled=True, seed=seed)
    without = [*sites.of("unlabelled"), *spare] if options.unlabelled else []
    if without:
        more = site_patches(sites, without, options, window, samples=options.samples, labelled=False, seed=seed)
        wanted = options.least_labelled / (1.0 - options.least_labelled) * len(more)
        repeated = train.take(np.tile(np.arange(len(train)), max(1, round(wanted / len(train)))))
        train = PatchSet.concatenate([repeated, more])
    parts = {Part.TRAIN: train}
    fewer = 2 if options.dates == 1 else 1
    for part in (Part.VALIDATION, Part.CALIBRATION, Part.TEST):
        parts[part] = site_patches(sites, roles[part], options, window, samples=fewer, labelled=True, seed=seed)
    return TrainingData(parts)
