"""Runs the benchmarks of the physics room, each in a process of its own, one after the other.

    ECUMENE_DATA=... python benchmarks/physics.py                          # all, results to benchmarks/results/
    ECUMENE_DATA=... python benchmarks/physics.py --only unmixing,speckle  # some
    ECUMENE_DATA=... python benchmarks/physics.py --quick                  # small, writes nothing

Every part writes `benchmarks/results/physics_<part>.json` with machine, versions, data by name and checksum, and seeds;
tomography also draws its detection curves into `docs/images/`. `ECUMENE_PEERS_PYTHON` names an interpreter with the
solvers that tomography is compared with.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
PARTS = {
    "tomography": "simulated: bounds, detection, differential, few baselines, speed",
    "interferometry": "real: Sentinel-1 over Mexico City; simulated: unwrapping, coverage, speed",
    "unmixing": "real: Jasper Ridge and Samson; simulated: coverage; speed",
    "sharpening": "real: Rotterdam, a Sentinel-2 tile in Thailand, Jasper Ridge",
    "speckle": "real: UAVSAR chips, polarimetry of Manitoba; simulated: filters, equivalent looks",
    "retrieval": "simulated: Jacobians, coverage, the network outside of its training, merged series",
}
REAL = {"interferometry", "unmixing", "sharpening", "speckle"}


def chosen(text: str | None) -> list[str]:
    """Return the parts to run.

    Raises:
        SystemExit: If one is unknown.
    """
    names = list(PARTS) if text is None else [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise SystemExit(f"--only takes parts out of {', '.join(PARTS)}; {unknown} is none.")
    return names


def main() -> None:
    """Run the parts; go on where one fails, and say so at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"comma-separated, out of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="small problems; prints, writes nothing")
    arguments = parser.parse_args()
    names = chosen(arguments.only)
    if REAL & set(names) and not os.environ.get("ECUMENE_DATA"):
        raise SystemExit("Set ECUMENE_DATA to the folder of the real data sets, or leave out the parts that need them.")
    failed = []
    for name in names:
        print(f"{name}: {PARTS[name]}", flush=True)
        start = time.perf_counter()
        command = [sys.executable, str(HERE / f"physics_{name}.py"), *(["--quick"] if arguments.quick else [])]
        code = subprocess.run(command, check=False).returncode
        print(
            f"{name}: {'done' if code == 0 else f'failed ({code})'} in {time.perf_counter() - start:.0f} s", flush=True
        )
        failed += [name] if code else []
    if failed:
        sys.exit(f"These parts failed: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
