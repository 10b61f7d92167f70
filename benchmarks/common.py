"""What every benchmark shares: the machine, versions, data sets by name and checksum, and the JSON."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ecumene.workflows.results import machine, spread, stamped

__all__ = ["RESULTS", "checksum", "data_root", "data_set", "machine", "spread", "store"]

RESULTS = Path(__file__).parent / "results"


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


def store(name: str, results: dict[str, Any]) -> Path:
    """Write results with machine and time to `benchmarks/results/<name>.json`."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(stamped(name, results), indent=2, allow_nan=False) + "\n")
    return path
