"""Runs in environments of their own: other implementations of break detection on the series of a file.

    python change_series_peers.py nrt|bfast_opencl|bfast_python|ruptures problem.npz answer.npz threads rounds

The file holds `stack` int16 [T, rows, cols] with -32768 for missing, `days` since 1970-01-01, `history`, the number of
dates before monitoring begins, and `order`, the harmonics of the year. The answer holds seconds of wall and processor
time of every round but the first, which compiles, and what was found.

Environments: `nrt` and `ruptures`: pip install nrt ruptures. bfast 0.7 needs NumPy below 1.24 and is built without
isolation: pip install "numpy==1.23.5" "pandas<2" "scikit-learn<1.3" "scipy<1.11" pyopencl
pocl-binary-distribution wheel "setuptools<66", then pip install --no-build-isolation --no-deps bfast==0.7.
"""

from __future__ import annotations

import importlib.metadata
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np

MISSING = -32768
Answer = dict[str, Any]


def moments(days: np.ndarray) -> list[datetime]:
    return [datetime(1970, 1, 1) + timedelta(days=int(day)) for day in days]


def nrt(stack: np.ndarray, days: np.ndarray, history: int, order: int, threads: int) -> Callable[[], Answer]:
    import warnings

    import pandas as pd
    import xarray as xr
    from nrt.monitor.mosum import MoSum

    warnings.simplefilter("ignore")
    dates = moments(days)
    values = np.where(stack == MISSING, np.nan, stack).astype(np.float32)
    rows, cols = (np.arange(size, dtype=float) for size in stack.shape[1:])
    array = xr.DataArray(
        values[:history],
        dims=("time", "y", "x"),
        coords={"time": pd.DatetimeIndex(dates[:history]), "y": rows, "x": cols},
    )

    def run() -> Answer:
        monitor = MoSum(trend=True, harmonic_order=order, sensitivity=0.05, h=0.25)
        monitor.fit(array, method="OLS", n_threads=threads)
        for t in range(history, len(dates)):
            monitor.monitor(values[t], dates[t])
        alarm = np.where(monitor.mask == 3, np.searchsorted(days, monitor.detection_date), -1)
        alarm[monitor.mask == 4] = -2
        past = monitor.build_design_matrix(array, trend=True, harmonic_order=order)
        later = [np.ravel(monitor._regressors(date)) for date in dates[history:]]
        return {"alarm": alarm, "boundary": monitor.critval * np.sqrt(2.0), "design": np.vstack([past, later])}

    return run


def bfast(stack: np.ndarray, days: np.ndarray, history: int, order: int, backend: str) -> Callable[[], Answer]:
    from bfast import BFASTMonitor

    dates = moments(days)
    start = datetime(dates[0].year, 1, 1)
    position = np.array([(date - start).days for date in dates], float)
    waves = [f(2 * np.pi * k * position / 365) for k in range(1, order + 1) for f in (np.sin, np.cos)]
    design = np.stack([np.ones_like(position), position / 1000, *waves], axis=1)
    model = BFASTMonitor(dates[history], freq=365, k=order, hfrac=0.25, trend=True, level=0.05, backend=backend)

    def run() -> Answer:
        model.fit(stack, dates, nan_value=MISSING)
        alarm = np.where(model.breaks >= 0, model.breaks + history, model.breaks)
        from bfast.monitor.utils import compute_lam

        return {"alarm": alarm, "boundary": compute_lam(len(dates), 0.25, 0.05, 10), "design": design}

    return run


def ruptures(stack: np.ndarray, days: np.ndarray) -> Callable[[], Answer]:
    import ruptures as rpt

    years = (days - 0.5 * (days[0] + days[-1])) / 365.25
    angle = 2 * np.pi * days / 365.25
    design = np.stack([np.ones_like(years), years, np.cos(angle), np.sin(angle)], axis=1)
    series = np.where(stack == MISSING, np.nan, stack).reshape(len(days), -1).T.astype(float)

    def run() -> Answer:
        largest = np.full(len(series), np.nan)
        split = np.full(len(series), -1)
        for k, y in enumerate(series):
            seen = ~np.isnan(y)
            n = int(seen.sum())
            x, z = design[seen], y[seen]
            least = max(5, int(np.ceil(0.15 * n - 1e-9)))
            if n < 2 * least:
                continue
            search = rpt.Dynp(model="linear", min_size=least, jump=1).fit(np.column_stack([z, x]))
            place = search.predict(n_bkps=1)[0]
            squares = search.cost.error(0, place) + search.cost.error(place, n)
            whole = search.cost.error(0, n)
            largest[k] = (whole - squares) / 4 * (n - 8) / squares
            split[k] = np.flatnonzero(seen)[place]
        return {"largest_f": largest, "split": split}

    return run


def main() -> None:
    name, problem, target, threads, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    given = np.load(problem)
    stack, days, history, order = given["stack"], given["days"], int(given["history"]), int(given["order"])
    if name.startswith("bfast"):
        run = bfast(stack, days, history, order, name.removeprefix("bfast_"))
    else:
        run = ruptures(stack, days) if name == "ruptures" else nrt(stack, days, history, order, threads)
    wall, processor = [], []
    for _ in range(rounds + 1):
        start = time.perf_counter(), time.process_time()
        answer = run()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    package = name.split("_")[0]
    np.savez(
        target, wall=wall[1:], processor=processor[1:], version=importlib.metadata.version(package), **answer
    )  # fmt: skip


if __name__ == "__main__":
    main()
