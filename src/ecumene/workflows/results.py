"""Results of measurements as JSON: which machine, which versions, mean and spread."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LIBRARIES = (
    "ecumene",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "rasterio",
    "scikit-learn",
    "lightgbm",
    "onnxruntime",
    "openvino",
    "xarray",
)


def machine() -> dict[str, Any]:
    """Describe processor, memory and versions."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard deviation and the values."""
    return {
        "mean": statistics.fmean(values),
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
        "values": list(values),
    }


def stamped(name: str, results: dict[str, Any]) -> dict[str, Any]:
    """Return results with name, time and machine, as they are stored."""
    return {
        "benchmark": name,
        "run": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        **results,
    }
