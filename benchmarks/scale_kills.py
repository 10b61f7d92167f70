"""Kills a small map again and again at random moments and compares the rasters with those of an undisturbed run.

One process imports everything, loads the model, and is forked for every attempt, so that an attempt costs no start-up.
A child maps a collection of a few tiles, each of several tiles of the engine, and is ended by SIGKILL after a random
time between nothing and most of the time of the undisturbed run; the next child goes on in the same store. A finished
store is compared byte by byte with the undisturbed one, and the next begins.

    python benchmarks/scale_kills.py [--kills 1000] [--minutes 20] [--seed 0]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from common import store as store_results
from scale_data import OPTIONS, forest_model, write_land


def digest(folder):
    """Return the SHA-256 of every raster of a collection by name."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(folder).glob("tiles/*/*.tif"))
    }


def attempt(work, out):
    """Run a forked child; return its process number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            work(out)
            code = 0
        finally:
            os._exit(code)
    return child


def finished(child, seconds):
    """Wait for a child at most so long; kill it then. Return its exit status, or None if it was killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    import stac_geoparquet.arrow  # noqa: F401  imported before the fork

    from ecumene.workflows.map_collection import map_collection

    generator = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = write_land(folder / "scene.tif", 160)
        model = forest_model()

        def work(out):
            source = {"scenes": [scene], "grid": "EPSG:32633:800", "options": OPTIONS}
            if map_collection(model, out, **source).failures:
                os._exit(3)

        # Kernels are compiled here, once, before the fork.
        from ecumene.mapping import map_stack
        from ecumene.scenes.opening import describe_scenes
        from ecumene.scenes.stack import align_scenes

        map_stack(align_scenes(describe_scenes([scene])), model, folder / "warm", options=OPTIONS)
        began = time.monotonic()
        assert finished(attempt(work, folder / "whole"), 300) == 0
        whole_s = time.monotonic() - began
        wanted = digest(folder / "whole")
        assert wanted
        kills = rounds = different = failed = 0
        began = time.monotonic()
        while kills < arguments.kills and time.monotonic() - began < 60 * arguments.minutes:
            out = folder / "store"
            shutil.rmtree(out, ignore_errors=True)
            while True:
                left = arguments.kills - kills
                limit = generator.uniform(0, 0.7 * whole_s) if left > 0 else 300
                code = finished(attempt(work, out), limit)
                if code is None:
                    kills += 1
                    continue
                failed += code != 0
                break
            rounds += 1
            different += digest(out) != wanted
            leftovers = list((out / ".work" / "claims").iterdir())
            failed += bool(leftovers)
            print(f"{kills} kills, {rounds} collections finished, {different} different, {failed} failed", flush=True)
        results = {
            "kills": kills,
            "collections_finished": rounds,
            "tiles": len({name.split("/")[1] for name in wanted}),
            "rasters_compared": rounds * len(wanted),
            "collections_different": different,
            "attempts_failed": failed,
            "undisturbed_seconds": whole_s,
            "minutes": (time.monotonic() - began) / 60,
            "seed": arguments.seed,
        }
        print(store_results("scale_kills", results))
        sys.exit(bool(different or failed))


if __name__ == "__main__":
    main()
