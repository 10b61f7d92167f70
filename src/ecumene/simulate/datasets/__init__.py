"""Simulated data sets in the files of published ones, so that official loaders are used end to end.

Everything here is simulated and says so: it supports no claim about real data.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import Progress, silent

__all__ = ["FORMATS", "SITE_FORMATS", "simulate_data_set"]

FORMATS: dict[str, tuple[str, str]] = {
    # name in the registry of data sets: (module, function)
    "eurosat": ("eurosat", "write_eurosat"),
    "sen12ms": ("sen12ms", "write_sen12ms"),
    "sen12ms-cr": ("sen12ms_cr", "write_sen12ms_cr"),
    "sen12ms-cr-ts": ("sen12ms_cr_ts", "write_sen12ms_cr_ts"),
    "so2sat-lcz42": ("so2sat", "write_so2sat"),
    "ucm-multilabel": ("ucm", "write_ucm"),
}
SITE_FORMATS: dict[str, tuple[str, str]] = {"growth-sites": ("growth", "write_growth_sites")}
"""Places at several dates, which `samples.datasets.growth_sites` reads."""


def simulate_data_set(
    name: str,
    out: Path | str,
    *,
    number: int | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Progress = silent,
) -> Any:
    """Write a simulated data set in the files of a published one.

    Args:
        name: One of `FORMATS` or `SITE_FORMATS`.
        out: Folder to make; it is whole or absent.
        number: Images, or sites; None: as many as the format's default.
        seed: Of everything; equal arguments give equal files, whatever `workers` is.
        workers: Processes, 1 or more.
        progress: Called with (done, total, what).

    Returns:
        What was written, a `files.Written`.

    Raises:
        ConfigurationError: If the format is unknown or a number out of range.
        ProductError: If the folder is not empty or cannot be written.
    """
    known = FORMATS | SITE_FORMATS
    if name not in known:
        raise ConfigurationError(f"No data set {name!r} can be simulated; there are: {', '.join(known)}.")
    if workers < 1:
        raise ConfigurationError(f"The number of workers must be 1 or more, not {workers}.")
    module, function = known[name]
    write = getattr(importlib.import_module(f"ecumene.simulate.datasets.{module}"), function)
    sized = {} if number is None else {"number": number}
    return write(out, seed=seed, workers=workers, progress=progress, **sized)
