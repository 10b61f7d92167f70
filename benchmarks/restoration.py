"""Filled clouds against the truth: classical and learned methods on real scenes, simulated and real clouds apart.

    ECUMENE_DATA=... python benchmarks/restoration.py [--seeds 3] [--places spain,...] [--models NAME,...] [--quick]
    ... --only-models --models uncrtaints-mono --places spain,pakistan --minutes 4     # adds rows to the stored ones

Simulated clouds (water clouds with shadows, and cirrus) are put on dates that are clear, so that the truth is known;
every method is told which pixels are covered. "part" covers two thirds of a date, "whole" all of it. Methods are fitted
and calibrated on what stays clear, as the verb `clear` does it; nothing of the covered pixels is seen. Real clouds:
the two wholly clouded dates of Slovenia are filled, one clear neighbour in time is kept back, and the result is
compared with it: that difference contains what has changed in between. Figures are means over dates and seeds, of
covered pixels. `discard` is the error of the surest pixels (Ebel et al. 2023): the RMSE of the share that is kept when
the pixels with the largest predicted variance, mean over bands, are left out.

Learned methods see the clouds as their network was taught: hidden pixels, or the image under the simulated clouds (a
date that is covered wholly lies under an overcast sky). Their rows say how short the training was; rows that an earlier
run with as many seeds has learned stay. Results: benchmarks/results/restoration.json.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import RESULTS, data_set, spread, store
from ecumene.core.errors import EcumeneError, LabelError
from ecumene.core.window import Window
from ecumene.restoration.cloud_simulation import CloudOptions, CloudyScene, simulate_clouds_on
from ecumene.restoration.contract import Sample, SeriesPixels, Target
from ecumene.restoration.holdout import Chosen, choose_method
from ecumene.restoration.methods import METHODS, applicable
from ecumene.restoration.metrics import discard_curve, error_bar_measures, image_measures
from ecumene.restoration.spatial import SpatialFill
from ecumene.workflows.clear_fill import MethodFiller, noise_of, spread_of
from ecumene.workflows.clear_scenes import take_sample
from restoration_data import PLACES, UNDATED, Learned, Place, cloudy_patch

Array = NDArray[Any]
OPTIONS, OVERCAST = CloudOptions(cover=0.35, cirrus_cover=0.2), CloudOptions(cover=1.0, cirrus_cover=0.5)
_SAMPLE = 40_000
STAMP = ("benchmark", "run", "machine")
KEYS = ("mae", "rmse", "psnr", "ssim", "sam", "uce", "auce", "uce_over_rmse", "coverage_90", "filled")
_STEP = 0.1
Measures = dict[str, Any]
"""Figures of one run by name, None where there are none; `discard` is a curve."""


def sample_of(place: Place, series: SeriesPixels, seed: int) -> Sample:
    """Return pixels of a whole place, at most 40,000, with blocks as the verb has them."""
    height, width = place.shape
    rows, cols = (part.ravel() for part in np.mgrid[:height, :width])
    if series.pixels > _SAMPLE:
        chosen = np.sort(np.random.default_rng(seed).choice(series.pixels, _SAMPLE, replace=False))
        series, rows, cols = series.take(chosen), rows[chosen], cols[chosen]
    block = int(np.clip(max(height, width) // 16, 8, 256))
    return Sample(series, (rows // block) * 1000 + cols // block, rows, cols)


def judge(place: Place, date: int, mean: Array, deviation: Array, half: Array, covered: NDArray[np.bool_]) -> Measures:
    """Return the measures of covered pixels of one date (`mean` and the others `[K, H, W]`)."""
    truth = place.image[date]
    inside = covered & place.usable[date]
    known = inside & np.isfinite(mean).all(axis=0)
    # Measured pixels around a gap are in the windows of its similarity.
    shown = np.where(covered[None], mean, truth)
    result: Measures = dict(image_measures(shown, truth, known))
    result["filled"] = float(known.sum() / max(inside.sum(), 1))
    if known.any():
        height, width = place.shape
        rows, cols = np.mgrid[:height, :width]
        block = (rows // 16) * 1000 + cols // 16
        groups = np.broadcast_to(block[known], (len(truth), int(known.sum())))
        bars = error_bar_measures(
            mean[:, known], deviation[:, known], truth[:, known], groups, half_width=half[:, known]
        )
        result |= {name: bars[name] for name in ("uce", "auce", "uce_over_rmse", "coverage_90")}
        squares = np.mean((mean - truth)[:, known].astype(np.float64) ** 2, axis=0)
        variance = np.mean(deviation[:, known].astype(np.float64) ** 2, axis=0)
        result["discard"] = discard_curve(squares, np.sqrt(variance), _STEP)
    return result


def fill_classical(place: Place, series: SeriesPixels, date: int, chosen: Chosen) -> tuple[Array, Array, Array]:
    """Return mean, standard deviation and half widths of 90 % intervals `[K, H, W]`."""
    filled = chosen.method.fill(series, Target(float(place.days[date]), date))
    deviation = chosen.calibration.apply(filled.mean, filled.deviation, filled.surprise)
    half = deviation * chosen.calibration.interval[:, None].astype(np.float32)
    shape = (-1, *place.shape)
    return filled.mean.reshape(shape), deviation.reshape(shape), half.reshape(shape)


def fill_spatial(place: Place, date: int, clear: NDArray[np.bool_], seed: int) -> tuple[Array, Array, Array]:
    """Return the same of the spatial method, which knows no calibration but its own."""
    method = SpatialFill.fit(place.image[date], clear, seed=seed)
    mean, deviation = method.fill(place.image[date], clear)
    return mean, deviation, 1.6449 * deviation


def one_case(place: Place, date: int, covered: NDArray[np.bool_], seed: int) -> dict[str, Measures]:
    """Return the measures of every method that applies, for one date under one set of clouds."""
    clear = place.usable.copy()
    clear[date] &= ~covered
    series = place.series(clear)
    sample = sample_of(place, series, seed)
    whole = int(clear[date].sum()) < 300
    results: dict[str, Measures] = {}
    for name in (*[name for name in METHODS if name in applicable(sample)], "auto"):
        try:
            chosen = choose_method(sample, name, whole=whole, seed=seed)
        except LabelError:
            continue
        if chosen is not None:
            results[name] = judge(place, date, *fill_classical(place, series, date, chosen), covered)
    if clear[date].any():
        results["spatial"] = judge(place, date, *fill_spatial(place, date, clear[date], seed), covered)
    return results


def clouded(place: Place, date: int, seed: int, options: CloudOptions) -> CloudyScene:
    """Return a date under simulated clouds."""
    moment = place.source.stack.times[date]
    return simulate_clouds_on(
        place.image[date],
        place.channels,
        place.source.stack.geobox,
        UNDATED if moment is None else moment,
        seed=1000 * seed + date,
        options=options,
    )


def simulated(place: Place, seeds: int, models: Mapping[str, Learned], classical: bool = True) -> dict[str, Any]:
    """Return all tables of a place under simulated clouds."""
    found: dict[str, dict[str, list[Measures]]] = {"part": {}, "whole": {}}
    shares = []
    able = {name: model for name, model in models.items() if model.applies(place)}
    for date in place.judged:
        for seed in range(seeds):
            scene = clouded(place, date, seed, OPTIONS)
            shares.append(float(scene.covered.mean()))
            cases = {"part": (scene.covered, scene.image)}
            if seed == 0:
                overcast = clouded(place, date, seed, OVERCAST).image if able else scene.image
                cases["whole"] = (np.ones(place.shape, bool), overcast)
            for case, (covered, under) in cases.items():
                results = one_case(place, date, covered, seed) if classical else {}
                for name, model in able.items():
                    image = place.image.copy()
                    image[date] = under
                    results[name] = judge(place, date, *model.fill(place, image, date, covered), covered)
                for name, measures in results.items():
                    found[case].setdefault(name, []).append(measures)
    tables = {case: {name: summary(runs) for name, runs in rows.items()} for case, rows in found.items() if rows}
    for rows in tables.values():
        for name, model in able.items():
            rows[name]["training"] = model.training_of(place)
    return {"level": place.level, "dates": len(place.days), "covered": spread(shares), **tables}


def summary(runs: list[Measures]) -> dict[str, Any]:
    """Return means over runs, and the number of runs."""
    result: dict[str, Any] = {"runs": len(runs)}
    for key in KEYS:
        values = [run[key] for run in runs if run.get(key) is not None]
        result[key] = round(float(np.mean(values)), 5) if values else None
    curves = [run["discard"] for run in runs if "discard" in run]
    if curves:
        rmse = np.mean([curve["rmse"] for curve in curves], axis=0)
        result["discard"] = {"kept": curves[0]["kept"], "rmse": [round(float(value), 5) for value in rmse]}
    return result


def real_clouds(place: Place) -> dict[str, Any]:
    """Fill the wholly clouded dates; compare with a clear neighbour that is kept back."""
    result: dict[str, Any] = {}
    clear = [date for date in range(len(place.days)) if place.usable[date].any()]
    for date in (d for d in range(len(place.days)) if d not in clear):
        for neighbour in sorted(clear, key=lambda d: abs(place.days[d] - place.days[date]))[:2]:
            usable = place.usable.copy()
            usable[neighbour] = False
            series = place.series(usable)
            sample = sample_of(place, series, 0)
            day = str(np.datetime64(int(place.days[date]), "D"))
            against = str(np.datetime64(int(place.days[neighbour]), "D"))
            rows = {}
            for name in (*applicable(sample), "auto"):
                try:
                    chosen = choose_method(sample, name, whole=True)
                except LabelError:
                    continue
                if chosen is None:
                    continue
                filled = fill_classical(place, series, date, chosen)
                covered = np.ones(place.shape, bool)
                rows[name] = summary([judge(place, neighbour, *filled, covered)])
            lag = round(abs(float(place.days[neighbour] - place.days[date])))
            result[f"{day} against {against}"] = {"days_apart": lag, "methods": rows}
    return result


def cloudy_pair() -> dict[str, Any]:
    """Fill the SEN12MS-CR patch from its radar: its truth is not known, only that the error bar must grow."""
    source = cloudy_patch()
    sample = take_sample(source)
    chosen = choose_method(sample, "auto")
    filler = MethodFiller(source, Target(0.0, 0), True, noise_of(source, sample), spread_of(sample), chosen)
    layers = filler.tile(Window(0, 0, *source.shape))
    filled = layers["state"][0] == 1
    bars = np.sqrt(np.mean(layers["uncertainty"] ** 2, axis=0))
    scores = {} if chosen is None else chosen.scores
    return {
        "method": None if chosen is None else chosen.method.name,
        "share_filled": round(float(filled.mean()), 4),
        "deviation_observed": round(float(bars[~filled].mean()), 5),
        "deviation_filled": round(float(bars[filled].mean()), 5),
        "held_out": {name: {key: round(v, 5) for key, v in score.items()} for name, score in scores.items()},
    }


def learned(names: list[str], **options: Any) -> dict[str, Learned]:
    """Return learned methods by name; torch is imported only for these."""
    if not names:
        return {}
    from restoration_models import learned_methods

    return dict(learned_methods(names, **options))


def parse() -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--places", default=",".join(PLACES))
    parser.add_argument("--models", default="", help="systems that remove clouds")
    parser.add_argument("--samples", type=int, default=256, help="windows that learned methods see")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--minutes", type=float, help="most minutes of each training")
    parser.add_argument("--side", type=int, default=64, help="rows and columns of the windows of published networks")
    parser.add_argument("--only-models", action="store_true", help="add learned methods to the stored results")
    parser.add_argument("--quick", action="store_true", help="one seed, prints only")
    return parser.parse_args()


def main() -> None:
    """Run and store."""
    options = parse()
    seeds = 1 if options.quick else options.seeds
    names = [name for name in options.models.split(",") if name]
    models = learned(
        names, samples=options.samples, epochs=options.epochs, max_minutes=options.minutes, side=options.side
    )
    places = options.places.split(",")
    if options.only_models:
        add_learned(models, seeds, places, keep=not options.quick)
        return
    results: dict[str, Any] = {"seeds": seeds, "simulated_clouds": {}, "real_clouds": {}, "data": []}
    for name in places:
        begin = time.process_time()
        place = PLACES[name]()
        results["data"].append(data_set(name, place.files))
        results["simulated_clouds"][name] = simulated(place, seeds, models)
        if name == "slovenia":
            results["real_clouds"][name] = real_clouds(place)
        show(name, results["simulated_clouds"][name])
        print(f"  {time.process_time() - begin:.0f} s of processor time", flush=True)
    try:
        results["real_clouds"]["sen12ms-cr patch"] = cloudy_pair()
    except EcumeneError as error:
        results["real_clouds"]["sen12ms-cr patch"] = {"refused": str(error)}
    print(results["real_clouds"])
    if not options.quick:
        keep_learned(results)
        print(store("restoration", results))


def stored() -> dict[str, Any]:
    """Return the stored results without their stamp; empty where there are none."""
    path = RESULTS / "restoration.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return {key: value for key, value in found.items() if key not in STAMP}


def keep_learned(results: dict[str, Any]) -> None:
    """Take over the stored rows of learned methods that this run has not made, where seeds were as many."""
    before = stored()
    if before.get("seeds") != results["seeds"]:
        return
    for name, tables in results["simulated_clouds"].items():
        for case in ("part", "whole"):
            for method, row in before["simulated_clouds"].get(name, {}).get(case, {}).items():
                if "training" in row:
                    tables.setdefault(case, {}).setdefault(method, row)


def add_learned(models: Mapping[str, Learned], seeds: int, places: list[str], *, keep: bool) -> None:
    """Add the rows of learned methods to the stored results, without running the classical ones again."""
    results = stored()
    if keep and results.get("seeds") != seeds:
        raise SystemExit(f"The stored results have {results.get('seeds')} seeds, not {seeds}; run the others first.")
    for name in places:
        place = PLACES[name]()
        if not any(model.applies(place) for model in models.values()):
            continue
        begin = time.process_time()
        tables = simulated(place, seeds, models, classical=False)
        show(name, tables)
        print(f"  {time.process_time() - begin:.0f} s of processor time", flush=True)
        if keep:
            for case in ("part", "whole"):
                found = results["simulated_clouds"].setdefault(name, {}).setdefault(case, {})
                found |= tables.get(case, {})
            print(store("restoration", results))  # after each place: trainings are long


def show(name: str, tables: dict[str, Any]) -> None:
    """Print the tables of a place."""
    for case in ("part", "whole"):
        if case not in tables:
            continue
        print(f"{name} ({tables['level']}), {case}")
        for method, row in tables[case].items():
            cells = " ".join(f"{key} {row[key]:.4g}" if row[key] is not None else f"{key} -" for key in KEYS)
            print(f"  {method:20s} {cells}")
            if "discard" in row:
                print(f"  {'':20s} RMSE kept {' '.join(f'{value:.4f}' for value in row['discard']['rmse'])}")
            if "training" in row:
                print(f"  {'':20s} {row['training']}")


if __name__ == "__main__":
    main()
