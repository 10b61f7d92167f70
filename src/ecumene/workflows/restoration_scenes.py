"""Learns to remove clouds from clear scenes: pixels are hidden in cloud shapes, or seen through simulated clouds."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model
from ecumene.restoration.cloud_simulation import CloudOptions, cover_field, simulate_clouds
from ecumene.samples.clouded_series import Clouding, clouded_samples
from ecumene.samples.contract import Part
from ecumene.samples.datasets.loading import CACHE_BYTES
from ecumene.samples.hidden_clouds import ClearSeries, hidden_samples, usable_places
from ecumene.samples.restoration_set import RestorationSamples
from ecumene.simulate.sun import Sun, sun_position
from ecumene.systems import System
from ecumene.training.provenance import training_provenance
from ecumene.workflows.export import check_graphs
from ecumene.workflows.fit import keep_model
from ecumene.workflows.restoration_fit import fit_restoration
from ecumene.workflows.restoration_places import open_places, simulated_places
from ecumene.workflows.restoration_statement import FIRST_DATE, target_date
from ecumene.workflows.restoration_train import restoration_system
from ecumene.workflows.restoration_trust import evaluate_restoration, fit_restoration_trust
from ecumene.workflows.stacks import Declaration, Paths, open_sources
from ecumene.workflows.train import check_options
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import SINGLE, Uncertainty, parse_uncertainty

if TYPE_CHECKING:
    from ecumene.training.from_bundle import Beginning

DATES = 4
"""Dates that a system sees which is given the wanted one among them."""
SAMPLES = 256
HELD_OUT_EVERY = 4
"""Of so many windows one is not learned from, where there are as many."""
_LONGEST = 40.0


def cloud_shape(shape: tuple[int, int], share: float, seed: int) -> NDArray[np.bool_]:
    """Return covered pixels in the shape of clouds."""
    if share <= 0.0:
        return np.zeros(shape, bool)
    return cover_field(shape, share, seed, longest=_LONGEST)


def clouding(bands: int, pixel_m: float) -> Clouding:
    """Return what puts simulated clouds on the first bands of a place."""

    def put(
        place: ClearSeries, clear: NDArray[np.float32], day: float, share: float, seed: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if share <= 0.0:
            return clear, np.zeros(clear.shape[1:], bool)
        sun = _sun(place, day)
        options = CloudOptions(cover=share, cirrus_cover=0.5 * share)
        made = simulate_clouds(clear, place.channels[:bands], pixel_m=pixel_m, sun=sun, seed=seed, options=options)
        return made.image, made.covered

    return put


def _sun(place: ClearSeries, day: float) -> Sun:
    return sun_position(np.datetime64(int(day), "D"), place.latitude)


def sample_side(system: System) -> int:
    """Return rows and columns of a system's samples."""
    return int(system.data_options.get("crop") or system.patch_size)


def usable_for(system: System, places: Sequence[ClearSeries]) -> list[ClearSeries]:
    """Return the places that have the dates which a system learns from.

    Raises:
        LabelError: If there is none, or channels differ.
    """
    if target_date(system) == FIRST_DATE:
        return usable_places(places, 2)
    return usable_places(places, 1, _dates_of(system) + 1 if system.reads == "series" else 1)


def _dates_of(system: System) -> int:
    return int(system.data_options.get("dates", 1))


def scene_samples(
    system: System, places: Sequence[ClearSeries], bands: int, pixel_m: float, number: int, seed: int
) -> RestorationSamples:
    """Return samples as a system reads them; in memory where they fit.

    A system that restores one of its dates, given without clouds' pixels, gets clear pixels hidden; all others see
    simulated clouds.

    Args:
        system: What learns.
        places: With the same channels.
        bands: Optical channels.
        pixel_m: Pixel size.
        number: Samples.
        seed: Of everything.

    Raises:
        LabelError: If no place has what the system needs.
        ConfigurationError: If the sun stands too low on a date for clouds to be simulated.
    """
    side = sample_side(system)
    if target_date(system) == FIRST_DATE:
        made = hidden_samples(places, cloud_shape, number=number, dates=DATES, side=side, seed=seed)
    else:
        series, dates = system.reads == "series", _dates_of(system)
        for place in places:
            for day in place.days:
                _sun(place, day)  # a sun too low is refused before the training
        put = clouding(bands, pixel_m)
        made = clouded_samples(
            places, put, bands, number=number, dates=dates, series=series, side=side, seed=seed
        )  # fmt: skip
        made = replace(made, key=made.key + f"\n{pixel_m}".encode())  # shadows fall by metres
    one = made.read([0])
    if number * (one.image.nbytes + one.target.nbytes + one.cloudy.nbytes) <= CACHE_BYTES:
        return made.read(range(number))
    return made


def train_on_scenes(
    places: Sequence[ClearSeries],
    system: str | System = "date-blend",
    *,
    fresh: Sequence[ClearSeries] = (),
    bands: int | None = None,
    seed: int = 0,
    simulated: int = 12,
    samples: int = SAMPLES,
    epochs: int | None = None,
    max_minutes: float | None = None,
    resolution_m: float = 10.0,
    folder: str | Path | None = None,
    name: str | None = None,
    false_alarm_rate: float = 0.02,
    uncertainty: Uncertainty = SINGLE,
    initial: Beginning | None = None,
    provenance: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
    progress: Progress = silent,
) -> Model:
    """Train a system on clear dates of scenes under clouds, and calibrate its error bars.

    Leave-one-place-out is a call without that place. Where there are few real places, simulated landscapes of the same
    bands are added; real and simulated ones take turns. Samples that stop the training, calibrate the error bars and
    test them are a fifth each, drawn anew under other clouds. Places that were not learned from are divided among the
    three; where there are fewer than three of them, calibration and test come first, and a note of the card says which
    parts share their places. A place's own clear pixels should recalibrate error bars (the verb `clear` does).

    Args:
        places: At least one, all with the same channels; see `restoration_places`.
        system: Name of a system that removes clouds.
        fresh: Places that are not learned from.
        bands: Optical channels, the first ones; None: all.
        seed: Of everything random.
        simulated: Landscapes that are added.
        samples: Windows to learn from.
        epochs: Instead of the system's.
        max_minutes: Time limit of the training.
        resolution_m: Of the pixels.
        folder: The bundle-to-be, beside which checkpoints go; None: a temporary one.
        name: Of the model; None: the system's.
        false_alarm_rate: Share of held-out pixels that may be flagged as outliers.
        uncertainty: How the network gets its members.
        initial: Bundle to go on from.
        provenance: What the card says of the scenes.
        notes: What the card says beside what is found here.
        progress: Called with (epochs done, epochs, what).

    Returns:
        The model with calibrated error bars, not saved.

    Raises:
        LabelError: If there is nothing to learn from.
    """
    if not places:
        raise LabelError("Filling clouds is learned from places; give the scenes of one or more.")
    chosen = restoration_system(system)
    channels = places[0].channels
    count = len(channels) if bands is None else bands
    everything = [*places, *simulated_places(channels, simulated, seed=seed)] if simulated else list(places)
    held = usable_for(chosen, fresh) if fresh else []
    ground = ground_of_parts(everything, held)
    sources = {
        part: scene_samples(
            chosen,
            ground[part],
            count,
            resolution_m,
            samples if part is Part.TRAIN else max(4, samples // 5),
            seed * 8 + int(part),
        )
        for part in ground
    }
    about = {
        "places": [place.name for place in places],
        "fresh_places": [place.name for place in held],
        "simulated_places": simulated,
        "samples": {part.name.lower(): len(source) for part, source in sources.items()},
        **(provenance or training_provenance((), seed=seed)),
    }
    with tempfile.TemporaryDirectory(prefix="ecumene-scenes-") as temporary:
        model = fit_restoration(
            chosen,
            tuple(channel.band for channel in channels[:count]),
            TrainingData(sources),
            name=name or chosen.name,
            resolution_m=resolution_m,
            seed=seed,
            epochs=epochs,
            max_minutes=max_minutes,
            folder=Path(folder) if folder is not None else Path(temporary) / "model",
            progress=progress,
            provenance=about,
            uncertainty=uncertainty,
            initial=initial,
        )
    model, found = fit_restoration_trust(
        model, sources[Part.TRAIN], sources[Part.CALIBRATION], false_alarm_rate=false_alarm_rate, seed=seed
    )
    accuracy = evaluate_restoration(model, sources[Part.TEST], seed=seed)
    return model.with_training(accuracy=accuracy, notes=[*_said(simulated, len(held)), *notes, *found])


def ground_of_parts(learned: list[ClearSeries], held: list[ClearSeries]) -> dict[Part, list[ClearSeries]]:
    """Return the places of each part: test, calibration and early stopping take turns, in this order.

    Args:
        learned: Places to learn from.
        held: Others. With fewer than three learning and early stopping share their places, with one calibration and
            test do, without any all parts.
    """
    count = min(3, len(held))
    shares = [held[start::count] for start in range(count)]
    test = shares[0] if count else learned
    return {
        Part.TRAIN: learned,
        Part.VALIDATION: shares[2] if count > 2 else learned,
        Part.CALIBRATION: shares[1] if count > 1 else test,
        Part.TEST: test,
    }


def _held_out(windows: Sequence[ClearSeries], seed: int) -> tuple[list[ClearSeries], list[ClearSeries]]:
    """Return the windows to learn from, and those that are kept for the other parts (none of three or fewer)."""
    order = np.random.default_rng([seed, 41]).permutation(len(windows))
    held = set(order[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY].tolist())
    parts: tuple[list[ClearSeries], list[ClearSeries]] = ([], [])
    for place, window in enumerate(windows):
        parts[place in held].append(window)
    return parts


def _said(simulated: int, held: int) -> list[str]:
    """Return what a user must know of the samples.

    Args:
        simulated: Landscapes among the places that it learned from.
        held: Places that it did not learn from.
    """
    notes = ["All clouds that it learned from and was tested on are simulated."]
    if simulated:
        notes.append(f"{simulated} of the places that it learned from are simulated.")
    if not held:
        notes.append(
            "It was calibrated and tested on the places that it learned from, under other clouds; elsewhere it may be "
            "worse, and its error bars too narrow."
        )
    if held == 1:
        notes.append(
            "One place calibrated and tested its error bars, under different clouds; elsewhere they may cover less."
        )
    if held < 3:
        notes.append("When to stop was told by the places that it learned from, under other clouds.")
    return notes


def train_restoration_on_scenes(
    scenes: Paths,
    system: str | System,
    out: str | Path,
    *,
    use_bands: Sequence[str] | None = None,
    samples: int = SAMPLES,
    uncertainty: str = "single",
    seed: int = 0,
    epochs: int | None = None,
    max_minutes: float | None = None,
    coverage: float = 0.9,
    false_alarm_rate: float = 0.02,
    onnx: bool = False,
    mask_clouds: bool = True,
    initial: Beginning | None = None,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Model:
    """Train a system on a user's own clear scenes with simulated clouds, and write its bundle.

    Args:
        scenes: Optical scenes of one place or several (those that overlap are dates of one place), and radar in dB.
        system: Name from `ecumene systems`, of one that removes clouds.
        out: Folder of the bundle; replaced if it is one.
        use_bands: Channels to learn from; None: all.
        samples: Windows to learn from.
        uncertainty: As for `train_model`.
        seed: Of everything random.
        epochs: Most passes over the training set; None: the system's.
        max_minutes: Stop after this time; None: no limit.
        coverage: Checked only: these models have error bars and no intervals.
        false_alarm_rate: Share of held-out pixels that may be flagged as outliers.
        onnx: Add `model.onnx`, to map without torch.
        mask_clouds: Tell clear pixels by the scenes' masks, or by the stated rule; False: all pixels are clear.
        initial: Bundle to go on from.
        progress: Called with (done, total, what).
        **declaration: What the files do not say.

    Returns:
        The model as written.

    Raises:
        EcumeneError: With a sentence, for unusable scenes or options.
    """
    out = Path(out)
    check_options(out, "block", coverage, false_alarm_rate)
    chosen, members = restoration_system(system), parse_uncertainty(uncertainty)
    if onnx:
        check_graphs(chosen, int8=False)
    sources = open_sources(scenes, **declaration)
    alone = target_date(chosen) == FIRST_DATE  # fills from optical dates; radar would be a band to restore
    found = open_places(
        sources, radar=not alone, mask_clouds=mask_clouds, use_bands=use_bands, side=sample_side(chosen)
    )
    windows, fresh = _held_out(usable_for(chosen, found.windows), seed)
    model = train_on_scenes(
        windows,
        chosen,
        fresh=fresh,
        bands=len(found.bands),
        seed=seed,
        simulated=0,
        samples=samples,
        epochs=epochs,
        max_minutes=max_minutes,
        resolution_m=found.resolution_m,
        folder=out,
        name=f"{out.resolve().name}-{chosen.name}",
        false_alarm_rate=false_alarm_rate,
        uncertainty=members,
        initial=initial,
        provenance={**training_provenance(sources, seed=seed), "mask_clouds": mask_clouds},
        notes=found.notes,
        progress=progress,
    )
    return keep_model(model, out, onnx=onnx)
