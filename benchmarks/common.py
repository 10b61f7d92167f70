"""What every benchmark shares: the machine, versions, data sets by name and checksum, and the JSON."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
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


def data_root() -> Path:
    """Return the folder of the real data sets, or stop with a sentence."""
    root = os.environ.get("ECUMENE_DATA")
    if not root:
        raise SystemExit("Set ECUMENE_DATA to the folder of the real data sets.")
    return Path(root)


def checksum(paths: Iterable[Path]) -> str:
    """Return one SHA-256 over files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda item: item.name):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def data_set(name: str, paths: Iterable[Path], kind: str = "real") -> dict[str, str]:
    """Describe a data set by name, kind and checksum, never by path."""
    return {"name": name, "kind": kind, "sha256": checksum(paths)}


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


def store(name: str, results: dict[str, Any]) -> Path:
    """Write results with machine and time to `benchmarks/results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    stamped = {
        "benchmark": name,
        "run": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        **results,
    }
    path.write_text(json.dumps(stamped, indent=2, allow_nan=False) + "\n")
    return path
