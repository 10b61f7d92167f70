"""The other ways to map a scene, run by `engine.py`: their scripts, and a search for the settings that suit them.

The peers' scripts begin with settings as their documentation has them. `tune` tries alternatives on a small scene, one
group after the other, and keeps the fastest of each group; what was tried is returned with its times. It is a
coordinate search over the few settings listed here, not a proof that nothing is faster.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LEAST_AGREEMENT = 0.95
"""Share of pixels that a setting must classify as the first one does, to count at all."""
Settings = dict[str, Any]

GROUPS: Mapping[str, Sequence[Sequence[Settings]]] = {
    "torchgeo_map": (
        ({"chip": 256, "batch": 16}, {"chip": 512, "batch": 4}, {"chip": 1024, "batch": 1}),
        ({"channels_last": False}, {"channels_last": True}),
        ({"precision": "fp32"}, {"precision": "bf16"}),
        ({"workers": 0}, {"workers": 1}),
    ),
    "dask_map": (
        ({"chunk": 512}, {"chunk": 1024}, {"chunk": 2048}),
        ({"workers": None, "threads_a_worker": 1}, {"workers": 1, "threads_a_worker": None}),
        ({"precision": "bf16"}, {"precision": "fp32"}),
    ),
}
"""Alternatives by script; in a group the first one counts until another is faster."""


def peer_scripts(name: str) -> list[Path]:
    """Return the scripts of a peer."""
    found = sorted((HERE / "peers").glob(f"{name}_*.py"))
    if not found:
        raise SystemExit(f"There is no peer {name!r} in benchmarks/peers.")
    return found


def run_peer(
    python: str, script: Path, scene: Path, network: Path, out: Path, threads: int, settings: Settings | None = None
) -> dict[str, Any]:
    """Map a scene with a peer in a process of its own and return what it reports."""
    words = [python, script, "--scene", scene, "--network", network, "--out", out, "--threads", threads]
    words += ["--settings", json.dumps(settings or {})]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The peer {script.stem} failed:\n{done.stderr[-3000:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def tune(
    python: str,
    script: Path,
    scene: Path,
    network: Path,
    folder: Path,
    threads: int,
    agreement: Callable[[Path, Path], float],
    rounds: int = 2,
) -> dict[str, Any]:
    """Find the fastest of a few settings, by wall time, among those whose map is that of the settings to begin with.

    Args:
        python: Interpreter of the peer's environment.
        script: The peer.
        scene: A small scene.
        network: Description of the weights.
        folder: Where maps may be written.
        threads: Of this machine.
        agreement: Share of equal pixels of two maps; a chip larger than the scene, for example, maps nothing at all.
        rounds: The best of this many interleaved runs counts.

    Returns:
        `settings` that won, and `tried`: every alternative with its wall and processor seconds and its agreement.
    """
    chosen: Settings = {}
    known: dict[str, tuple[float, float]] = {}
    same: dict[str, float] = {}
    tried = []
    reference, out = folder / "tuning-first.tif", folder / "tuning.tif"
    run_peer(python, script, scene, network, reference, threads)
    for group in GROUPS[script.stem]:
        options = [chosen | {k: threads if v is None else v for k, v in option.items()} for option in group]
        new = {json.dumps(option, sort_keys=True): option for option in options}
        for _ in range(rounds):
            for key, option in new.items():
                report = run_peer(python, script, scene, network, out, threads, option)
                wall, processor = float(report["wall_s"]), float(report["processor_s"])
                same[key] = agreement(reference, out)
                known[key] = min(known.get(key, (wall, processor)), (wall, processor))
        for key, option in new.items():
            wall, processor = known[key]
            tried.append({"settings": option, "wall_s": wall, "processor_s": processor, "agreement": same[key]})
        right = [key for key in new if same[key] >= LEAST_AGREEMENT] or list(new)[:1]
        chosen = new[min(right, key=lambda key: known[key][0])]
    print(f"{script.stem}, tuned at {scene.name}: {json.dumps(chosen)}")
    return {"scene": scene.name, "rounds": rounds, "settings": chosen, "tried": tried}
