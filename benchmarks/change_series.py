"""Breaks in image time series: speed beside other implementations, calibration of dates, and a real pixel.

    python benchmarks/change_series.py --nrt PYTHON --bfast PYTHON     # results/change_series.json
    python benchmarks/change_series.py --only bolivia                  # results/change_series_bolivia.json
    python benchmarks/change_series.py --quick                         # small, prints only

PYTHON are interpreters of environments with the peers (see `change_series_peers.py`); without them only our own speed
is measured. Goal: ten times the pixels a second of the fastest maintained Python implementation that installs, on 24
dates, with the same model; solutions agree. Runs are interleaved: every round measures all of them one after another.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common import data_root, data_set, store
from ecumene.change.breaks import BreakModel, detect_breaks
from ecumene.change.breaks_monitoring import monitor_breaks, watch
from ecumene.change.breaks_sequence import follow_changes
from ecumene.change.patterns import PATTERNS, find_patterns
from ecumene.change.seasons import season_design
from ecumene.change.series import DAYS_A_YEAR

MISSING, DATES, HISTORY = -32768, 24, 16
GOAL = 10.0
Array = NDArray[Any]

TRIED = {
    "nrt": "0.3.0, EUPL-1.2, maintained: runs (MoSum: least squares history and monitoring, compiled with numba)",
    "bfast": "0.7 (2021), no longer maintained: its sdist needs NumPy < 1.24 and no build isolation; then runs on the "
    "processor through PoCL 3.0 (OpenCL, three harmonics or more only) and in pure NumPy",
    "ruptures": "1.1.10, BSD-2, maintained: runs (Dynp with a linear cost: the same search for one break)",
    "lcmap-pyccd": "2021.7.19: installs, does not run with NumPy >= 1.24 (np.bool); Landsat only; not maintained",
    "pyccd": "not on the package index",
    "bfast-ray": "0.0.4 (2023): the NumPy code of bfast on Ray, one pixel after another",
    "hants": "not on the package index",
    "stumpy": "1.14.1: installs; matrix profiles, no season-trend model",
}


def simulate(rows: int, cols: int, seed: int = 0) -> tuple[Array, Array]:
    """Return (stack int16 `[24, rows, cols]` with a tenth missing, days): season, trend, noise, half with a step."""
    rng = np.random.default_rng(seed)
    days = np.sort(rng.choice(int(4 * DAYS_A_YEAR), DATES, replace=False)) + 17000
    design = season_design(days, order=1).astype(np.float32)
    stack = np.empty((DATES, rows, cols), np.int16)
    for row in range(rows):
        coefficients = rng.normal(size=(4, cols)).astype(np.float32) * np.array([[300], [60], [150], [150]], np.float32)
        y = 3000 + design @ coefficients + rng.normal(0, 100, (DATES, cols)).astype(np.float32)
        step = np.where(rng.random(cols) < 0.5, rng.normal(0, 500, cols), 0)
        y += step * (days[:, None] >= rng.uniform(days[0], days[-1], cols))
        stack[:, row] = np.where(rng.random((DATES, cols)) < 0.1, MISSING, np.rint(y))
    return stack, days


def as_float(stack: Array) -> Array:
    """Return float32 with NaN where missing."""
    values = stack.astype(np.float32)
    values[stack == MISSING] = np.nan
    return values


class Peer:
    """Another implementation in its own environment, one process a round."""

    def __init__(self, name: str, python: str, problem: Path, folder: Path, threads: int, rounds: int) -> None:
        self.name, self.answer = name, folder / f"{name}_{problem.stem}_{threads}.npz"
        script = Path(__file__).with_name("change_series_peers.py")
        self.command = [python, str(script), name, str(problem), str(self.answer), str(threads), str(rounds)]
        self.pixels = int(np.prod(np.load(problem)["stack"].shape[1:]))
        # Linear algebra of NumPy and the compiled loops of the peers run on as many threads as ours.
        self.limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        self.wall: list[float] = []
        self.processor: list[float] = []
        self.failed = ""

    def run(self) -> None:
        """Measure one round."""
        done = subprocess.run(self.command, capture_output=True, text=True, check=False, env=os.environ | self.limits)
        if done.returncode:
            self.failed = done.stderr.strip().splitlines()[-1][:300] if done.stderr.strip() else "no message"
            return
        found = np.load(self.answer, allow_pickle=False)
        self.wall += [float(x) for x in found["wall"]]
        self.processor += [float(x) for x in found["processor"]]

    def report(self) -> dict[str, Any]:
        """Return rates, or why there are none."""
        if self.failed:
            return {"failed": self.failed}
        return rates(self.wall, self.processor, self.pixels) | {"version": str(np.load(self.answer)["version"])}


def rates(wall: list[float], processor: list[float], pixels: int) -> dict[str, Any]:
    return {
        "pixels": pixels,
        "pixels_a_second_wall": pixels / min(wall),
        "pixels_a_second_wall_median": pixels / float(np.median(wall)),
        "microseconds_of_processor_a_pixel": 1e6 * min(processor) / pixels,
        "runs": len(wall),
    }


class Own:
    """One of our functions on pixels, timed like a peer."""

    def __init__(self, call: Callable[[], Any], pixels: int) -> None:
        self.call, self.pixels = call, pixels
        self.wall: list[float] = []
        self.processor: list[float] = []
        call()  # compiles

    def run(self, repetitions: int = 2) -> None:
        """Measure one round."""
        for _ in range(repetitions):
            start = time.perf_counter(), time.process_time()
            self.call()
            self.wall.append(time.perf_counter() - start[0])
            self.processor.append(time.process_time() - start[1])

    def report(self) -> dict[str, Any]:
        """Return rates."""
        return rates(self.wall, self.processor, self.pixels)


def agreement(peer: Peer, stack: Array) -> dict[str, Any]:
    """Compare alarms with ours for the peer's own design and boundary."""
    found = np.load(peer.answer)
    values = as_float(stack).reshape(DATES, -1)
    empty, design = np.empty((0, 0), np.bool_), np.ascontiguousarray(found["design"], np.float64)
    ours, summary = watch(values, empty, design, HISTORY, 0.25, float(found["boundary"]), 6, None)
    theirs = found["alarm"].ravel()
    both = (ours > -2) & (theirs > -2)
    near = np.abs(summary[0] / float(found["boundary"]) - 1.0) < 1e-4
    result: dict[str, Any] = {}
    if peer.name == "nrt":
        # It takes the history's residuals as prediction - value and later ones as value - prediction, so that sums
        # over both mix signs; with these signs explicit regressions give its alarms.
        some = np.flatnonzero(both)[:2000]
        signed = explicit_alarms(values[:, some], design, float(found["boundary"]), -1.0)
        result["equal_alarm_dates_with_its_signs"] = float((signed == theirs[some]).mean())
        plain = explicit_alarms(values[:, some], design, float(found["boundary"]), 1.0)
        result["ours_equal_explicit_regressions"] = float((plain == ours[some]).mean())
    return result | {
        "compared": int(both.sum()),
        "equal_alarm_dates": float((ours == theirs)[both].mean()),
        "equal_alarm_dates_apart_from_ties": float((ours == theirs)[both & ~near].mean()),
        "alarms": float((ours[both] >= 0).mean()),
        "boundary": float(found["boundary"]),
    }


def explicit_alarms(values: Array, design: Array, boundary: float, sign: float) -> Array:
    """Alarms by explicit regressions, pixel by pixel; `sign` of the history's residuals in the moving sums."""
    alarms = np.full(values.shape[1], -1)
    scaled = design / np.abs(design).max(axis=0)
    for pixel, y in enumerate(values.T.astype(np.float64)):
        seen = np.flatnonzero(~np.isnan(y))
        past = int((seen < HISTORY).sum())
        old = seen[:past]
        rest = y[seen] - scaled[seen] @ np.linalg.lstsq(scaled[old], y[old], rcond=None)[0]
        norm = np.sqrt(np.sum(rest[:past] ** 2) / (past - design.shape[1]) * past)
        rest[:past] *= sign
        window = int(past * 0.25)
        process = [abs(rest[k - window + 1 : k + 1].sum()) / norm for k in range(past, seen.size)]
        crossed = np.flatnonzero(np.array(process) > boundary)
        if crossed.size:
            alarms[pixel] = seen[past + crossed[0]]
    return alarms


def one_break_agreement(peer: Peer, stack: Array, days: Array) -> dict[str, Any]:
    """Compare the largest F of a break in all coefficients with the exact search of a peer."""
    found = np.load(peer.answer)
    ours = detect_breaks(as_float(stack)[None], days, model=BreakModel(breaking="all", least=5)).largest_f.ravel()
    both = np.isfinite(ours) & np.isfinite(found["largest_f"])
    relative = np.abs(ours[both] / found["largest_f"][both] - 1.0)
    return {"compared": int(both.sum()), "largest_relative_difference_of_f": float(relative.max())}


def speed(quick: bool, pythons: dict[str, str | None], rounds: int) -> dict[str, Any]:
    """Pixels a second, interleaved, on one thread and on all."""
    size, side, few = (512, 128, 24) if quick else (2048, 512, 64)
    threads = len(os.sched_getaffinity(0))
    result: dict[str, Any] = {"dates": DATES, "history": HISTORY, "missing": 0.1, "goal_ratio": GOAL, "tried": TRIED}
    result |= {"threads": threads, "load_average": os.getloadavg()[0], "rounds": rounds}
    large, days = simulate(size, size)
    values = as_float(large)
    history = int(days[HISTORY - 1])
    limit = float(monitor_breaks(values[:, :8, :8], days, history).boundary)
    own: dict[str, Own] = {}
    for count in sorted({1, threads}):
        suffix = "one_thread" if count == 1 else "all_threads"
        calls: dict[str, Callable[[int], Any]] = {
            "mosum_monitoring": lambda n: monitor_breaks(values, days, history, boundary=limit, threads=n),
            "mosum_monitoring_order_3": lambda n: monitor_breaks(
                values, days, history, order=3, boundary=limit, threads=n
            ),
            "break_level": lambda n: detect_breaks(values[None], days, threads=n),
            "break_trend": lambda n: detect_breaks(values[None], days, model=BreakModel(breaking="trend"), threads=n),
            "break_all": lambda n: detect_breaks(values[None], days, model=BreakModel(breaking="all"), threads=n),
        }
        own |= {
            f"{name}_{suffix}": Own(lambda call=call, n=count: call(n), size * size) for name, call in calls.items()
        }
        part = np.ascontiguousarray(values[None, :, :side, :side])
        own[f"sequence_{suffix}"] = Own(
            lambda n=count, part=part: follow_changes(part, days, confirm=4, threads=n), side * side
        )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, tiny = large[:, :side, :side], large[:, :few, :few]
        for key, stack, order in (("small", small, 1), ("tiny", tiny, 1), ("order_3", small, 3)):
            file = folder / f"{key}.npz"
            np.savez(file, stack=np.ascontiguousarray(stack), days=days, history=HISTORY, order=order)
        peers = {
            f"{peer}_{problem}_{count}": Peer(peer, python, folder / f"{problem}.npz", folder, count, 2)
            for peer, problem, counts in (
                ("nrt", "small", sorted({1, threads})),
                ("nrt", "order_3", [threads]),
                ("bfast_opencl", "order_3", [threads]),
                ("bfast_python", "tiny", [1]),
                ("ruptures", "tiny", [1]),
            )
            for count in counts
            if (python := pythons.get(peer.split("_")[0]))
        }
        for _ in range(rounds):
            for part in (*own.values(), *peers.values()):
                part.run()
        result["ours"] = {name: part.report() for name, part in own.items()}
        result["peers"] = {name: peer.report() for name, peer in peers.items()}
        for name, peer in peers.items():
            if not peer.failed:
                compare = (
                    one_break_agreement(peer, tiny, days)
                    if peer.name == "ruptures"
                    else agreement(peer, tiny if peer.name == "bfast_python" else small)
                )
                result["peers"][name]["agreement"] = compare
    result["ratios"] = ratios(result["ours"], result["peers"], threads)
    return result


def ratios(ours: dict[str, Any], peers: dict[str, Any], threads: int) -> dict[str, float]:
    """Ours over theirs: the same model on as many threads; wall time and processor time."""
    many = "all_threads" if threads > 1 else "one_thread"
    pairs = {
        "nrt_small_1": "mosum_monitoring_one_thread",
        f"nrt_small_{threads}": f"mosum_monitoring_{many}",
        f"nrt_order_3_{threads}": f"mosum_monitoring_order_3_{many}",
        f"bfast_opencl_order_3_{threads}": f"mosum_monitoring_order_3_{many}",
        "bfast_python_tiny_1": "mosum_monitoring_one_thread",
        "ruptures_tiny_1": "break_all_one_thread",
    }
    found = {}
    for peer, name in pairs.items():
        if "pixels_a_second_wall" in peers.get(peer, {}):
            theirs = peers[peer]
            found[f"{peer}_wall"] = ours[name]["pixels_a_second_wall"] / theirs["pixels_a_second_wall"]
            found[f"{peer}_processor"] = (
                theirs["microseconds_of_processor_a_pixel"] / ours[name]["microseconds_of_processor_a_pixel"]
            )
    return found


def coverage(series: int) -> dict[str, Any]:
    """How often 90 % intervals of the date hold, over noise, gaps, seasons, and autocorrelated noise."""
    result: dict[str, Any] = {"kind": "simulated", "series": series, "dates_a_year": 12, "goal": [0.88, 0.92]}
    cases: dict[str, tuple[BreakModel, float, bool]] = {
        "white_24_dates_level": (BreakModel(least=5), 0.0, False),
        "white_60_dates_level": (BreakModel(order=2), 0.0, True),
        "white_60_dates_trend": (BreakModel(breaking="trend"), 0.0, True),
        "white_60_dates_all": (BreakModel(breaking="all"), 0.0, True),
        "ar_0.3_taken_as_white": (BreakModel(), 0.3, True),
        "ar_0.3_accounted": (BreakModel(autocorrelation=0.3), 0.3, True),
        "ar_0.6_taken_as_white": (BreakModel(), 0.6, True),
        "ar_0.6_accounted": (BreakModel(autocorrelation=0.6), 0.6, True),
    }
    for number, (name, (model, phi, long)) in enumerate(cases.items()):
        rng = np.random.default_rng(number)
        values, days, date = broken_series(rng, series, 60 if long else 24, phi, model.trimming)
        found = detect_breaks(values[None], days, model=model)
        held = (found.date_low < date) & (date < found.date_high)
        seen = found.probability > 0.5
        result[name] = {
            "coverage": float(held.mean()),
            "coverage_where_detected": float(held[seen].mean()),
            "detected": float(seen.mean()),
            "median_width_days": float(np.median((found.date_high - found.date_low)[seen])),
            "median_error_days": float(np.median(np.abs(found.date - date)[seen])),
            "standard_error": float(np.sqrt(0.09 / series)),
        }
    return result


def broken_series(
    rng: np.random.Generator, series: int, dates: int, phi: float, trimming: float
) -> tuple[Array, Array, Array]:
    """Return (values `[T, P]`, days, dates of the breaks): steps of 0.5 to 10 noise deviations, a fifth missing.

    Dates are uniform in time where trimming allows a break.
    """
    days = np.sort(rng.choice(int(DAYS_A_YEAR * (5 if dates > 30 else 3)), dates, replace=False)) + 17000
    seen = rng.random((dates, series)) > 0.2
    count = seen.cumsum(axis=0)
    least = np.maximum(5, np.ceil(trimming * count[-1] - 1e-9))  # 5: what a break of all four coefficients needs
    date = rng.uniform(days[(count >= least).argmax(axis=0)], days[(count > count[-1] - least).argmax(axis=0)])
    noise = rng.standard_normal((dates, series))
    for t in range(1, dates):
        noise[t] = phi * noise[t - 1] + np.sqrt(1 - phi**2) * noise[t]
    size = rng.uniform(0.5, 10.0, series) * rng.choice([-1.0, 1.0], series)
    values = season_design(days, order=1) @ rng.normal(0, 2, (4, series)) + noise + size * (days[:, None] >= date)
    values[~seen] = np.nan
    return values, days, date


def radar_patterns(pixels: int) -> dict[str, Any]:
    """Families, dates and durations of simulated radar series in two polarisations, and speed."""
    days = np.arange(60) * 12 + 17000
    result: dict[str, Any] = {"kind": "simulated", "dates": 60, "pixels_a_family": pixels, "amplitude_db": [3.0, 2.0]}
    for looks in (4.0, 18.0):
        rng = np.random.default_rng(int(looks))
        table, rows = [], {}
        for code, name in enumerate(PATTERNS):
            begin, length = rng.uniform(days[10], days[35], pixels), rng.uniform(100, 250, pixels)
            t = days[:, None]
            course = {
                "constant": np.zeros((60, pixels)),
                "step up": 1.0 * (t >= begin),
                "step down": -1.0 * (t >= begin),
                "ramp": np.clip((t - begin) / length, 0.0, 1.0),
                "pulse": (t >= begin) * 1.0 - (t >= begin + length),
            }[name]
            speckle = 10.0 * np.log10(rng.gamma(looks, 1.0 / looks, (2, 60, pixels)))
            values = speckle + np.array([3.0, 2.0])[:, None, None] * course
            values[:, rng.random((60, pixels)) < 0.1] = np.nan
            found = find_patterns(values, days)
            table.append((np.bincount(found.pattern, minlength=5)[:5] / pixels).tolist())
            if code:
                right = found.pattern == code
                low, high = found.interval(0.9)
                rows[name] = {
                    "found": float(right.mean()),
                    "median_date_error_days": float(np.median(np.abs(found.date - begin)[right])),
                    "coverage_90": float(((low <= begin) & (begin <= high))[right].mean()),
                }
                if name in ("ramp", "pulse"):
                    rows[name]["median_duration_error_days"] = float(np.median(np.abs(found.duration - length)[right]))
        changed = np.array(table)
        hits, false = changed[1:, 1:].sum() / 4.0, changed[0, 1:].sum()
        result[f"{looks:g}_looks"] = {
            "families": list(PATTERNS),
            "confusion": table,
            "f1_of_change": float(2 * 4 * hits / (2 * 4 * hits + false + 4 * (1 - hits))),
            "patterns": rows,
        }
    start = time.process_time()
    find_patterns(values, days, threads=1)
    result["microseconds_of_processor_a_pixel"] = 1e6 * (time.process_time() - start) / pixels
    return result


def bolivia(folder: Path) -> dict[str, Any]:
    """Date of the clearing from Sentinel-1, from Landsat, and from both together."""
    path = folder / "series.csv"
    with path.open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["value"].strip().lower() not in ("", "nan", "na")]
    day = {row["date"]: int(np.datetime64(row["date"]).astype(int)) for row in rows}
    days = np.array(sorted(set(day.values())))
    both = np.full((2, days.size, 1), np.nan)
    for row in rows:
        band = 0 if row["sensor"].startswith("S1") else 1
        both[band, np.searchsorted(days, day[row["date"]]), 0] = float(row["value"])
    result: dict[str, Any] = {"kind": "real", "data": data_set("s1_landsat_deforestation_pixel_bolivia", [path])}
    for name, bands in (("sentinel_1_vv_db", [0]), ("landsat_ndvi", [1]), ("both", [0, 1])):
        seen = ~np.isnan(both[bands]).all(axis=(0, 2))
        found = detect_breaks(both[bands][:, seen], days[seen])
        text = [
            str(np.datetime64(int(np.floor(float(x[0]))), "D")) for x in (found.date, found.date_low, found.date_high)
        ]
        result[name] = {
            "date": text[0],
            "interval_90": text[1:],
            "between": [str(np.datetime64(int(x[0]), "D")) for x in (found.last_before, found.first_after)],
            "probability": float(found.probability[0]),
            "magnitude": [float(x) for x in found.magnitude[:, 0]],
            "magnitude_deviation": [float(x) for x in found.magnitude_deviation[:, 0]],
            "observations": int(found.observations[0]),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--nrt", help="python with nrt and ruptures")
    parser.add_argument("--bfast", help="python with bfast 0.7 and an OpenCL device")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["speed", "coverage", "patterns", "bolivia"])
    given = parser.parse_args()
    found: dict[str, Any] = {}
    if given.only in (None, "bolivia"):
        found["bolivia"] = bolivia(data_root() / "s1_landsat_deforestation_pixel_bolivia")
        print(json.dumps(found["bolivia"], indent=1), flush=True)
    if given.only in (None, "coverage"):
        found["coverage"] = coverage(2_000 if given.quick else 40_000)
        print(json.dumps(found["coverage"], indent=1), flush=True)
    if given.only in (None, "patterns"):
        found["patterns"] = radar_patterns(200 if given.quick else 2_000)
        print(json.dumps(found["patterns"], indent=1), flush=True)
    if given.only in (None, "speed"):
        pythons = {"nrt": given.nrt, "ruptures": given.nrt, "bfast": given.bfast}
        found["speed"] = speed(given.quick, pythons, 1 if given.quick else given.rounds)
        print(json.dumps(found["speed"], indent=1), flush=True)
    if not given.quick:
        store("change_series" if given.only is None else f"change_series_{given.only}", found)


if __name__ == "__main__":
    main()
