"""The trust benchmark: runs its parts one after another, each in a process of its own.

    ECUMENE_DATA=... python benchmarks/trust.py [--only blocks,calibration,outliers,members,label_next,cost] [--seeds 5]

| part | what | result |
| --- | --- | --- |
| blocks | OSCD, RSSCN7, Salinas, Potsdam and Beijing heights: error bars in distribution | `trust_blocks.json` |
| calibration | Slovenia, Amazon, simulated town: scalings and class sets | `trust_calibration.json` |
| outliers | every detector on real shifts | `trust_outliers.json` |
| members | ensembles, dropout, Laplace, symmetries, MIMO: quality and cost | `trust_members.json` |
| label_next | learning curves of strategies on Slovenia | `label_next.json` |
| cost | the default trust stack of a map against a class map | `trust_cost.json` |
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PARTS = {
    "blocks": ("trust_blocks.py", True),
    "calibration": ("trust_calibration.py", False),
    "outliers": ("trust_outliers.py", True),
    "members": ("trust_members.py", False),
    "label_next": ("label_next.py", False),
    "cost": ("trust_cost.py", False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    names = chosen.only.split(",")
    unknown = sorted(set(names) - set(PARTS))
    if unknown:
        raise SystemExit(f"There is no part {unknown[0]!r}; parts are {', '.join(PARTS)}.")
    for name in names:
        script, seeded = PARTS[name]
        command = [sys.executable, str(HERE / script), *(["--seeds", str(chosen.seeds)] if seeded else [])]
        print(f"-- {name}", flush=True)
        if subprocess.run(command, check=False).returncode:
            raise SystemExit(f"The part {name} failed.")


if __name__ == "__main__":
    main()
