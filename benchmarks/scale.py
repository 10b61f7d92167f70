"""What many tiles cost: overhead of a tile, one worker against two, workers that die; figures for `docs/scale.md`.

1. A tile without data goes the whole way (claim, search for data, layer, checksum, Item, rename), in this process
   and on a Dask worker, beside Dask's bare task.
2. The same tiles on one and on two workers.
3. Many tiles with workers killed at random; the rasters are compared with an undisturbed run's.
4. Sizes: of a unit of work on its way to a worker, of an Item, of the index, of a plan.

    python benchmarks/scale.py [--tiles 200] [--kills 20] [--speed-tiles 48]
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import signal
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from common import store as store_results
from scale_data import OPTIONS, forest_model, write_land
from scale_kills import digest

GRID = "EPSG:32633:640"


def nothing(number):
    """Return its argument: Dask's bare task."""
    return number


def source_of(scene):
    """Return the arguments that all collections here share."""
    return {"scenes": [scene], "grid": GRID, "options": OPTIONS}


def overhead(folder, model, count=200):
    """Measure a tile without data in this process and on a worker, beside a bare task."""
    from ecumene.catalogue.claims import take_claim
    from ecumene.catalogue.cluster import Address, _prepare, connected, work_remotely
    from ecumene.catalogue.store import FolderStore
    from ecumene.catalogue.work import SharedModel, map_unit, stack_of
    from ecumene.core.window import Window
    from ecumene.workflows.map_collection import plan_collection

    scene = write_land(folder / "empty.tif", 64 * round(count**0.5), empty=True)
    plan = plan_collection(model, **source_of(scene))
    settings = plan.settings.model_copy(update={"backend": "trees", "precision": "fp32"})
    units = plan.units[:count]
    shared = SharedModel(model)
    here = FolderStore(folder / "here")
    here.prepare()
    times, reading, claims = [], [], []
    for unit in units:
        began = time.perf_counter()
        outcome = map_unit(unit, settings, here, shared)
        times.append(time.perf_counter() - began)
        assert outcome.state == "empty", outcome
        stack = stack_of(unit, settings, shared)
        began = time.perf_counter()
        stack.read(Window(*unit.crop))
        reading.append(time.perf_counter() - began)
        began = time.perf_counter()
        take_claim(here.claims, "probe").release()
        claims.append(time.perf_counter() - began)
    there = FolderStore(folder / "there")
    there.prepare()
    bare, tiles = [], []
    with connected(Address(workers=1)) as client:
        _prepare(client, settings, model, Address(workers=1))
        client.gather(client.map(nothing, range(100), pure=False))
        halves = [units[k::4] for k in range(4)]
        for part in halves:  # interleaved, because the machine is shared
            began = time.perf_counter()
            client.gather(client.map(nothing, range(500), pure=False))
            bare.append((time.perf_counter() - began) / 500)
            began = time.perf_counter()
            futures = [client.submit(work_remotely, u, settings, str(there), pure=False) for u in part]
            assert {outcome.state for outcome in client.gather(futures)} == {"empty"}
            tiles.append((time.perf_counter() - began) / len(part))
    middle = statistics.median
    return {
        "tiles": len(units),
        "tile_here_ms": 1e3 * middle(times),
        "tile_here_processor_bound_ms": 1e3 * min(times),
        "reading_of_it_ms": 1e3 * middle(reading),
        "claim_of_it_ms": 1e3 * middle(claims),
        "dask_bare_task_ms": 1e3 * middle(bare),
        "dask_tile_ms": 1e3 * middle(tiles),
        "dask_over_bare_ms": 1e3 * (middle(tiles) - middle(bare)),
        "dask_over_bare_best_ms": 1e3 * (min(tiles) - min(bare)),
    }, plan


def speed(folder, model, count):
    """Map the same tiles with one and with two workers."""
    from ecumene.workflows.map_collection import map_collection

    scene = write_land(folder / "speed.tif", 64 * round(count**0.5))
    seconds = {}
    for workers in (1, 2):
        marks = []
        result = map_collection(
            model,
            folder / f"workers{workers}",
            cluster=f"local:{workers}",
            progress=lambda done, total, what, marks=marks: marks.append((time.perf_counter(), done)),
            **source_of(scene),
        )
        assert not result.failures
        first = next(moment for moment, done in marks if done >= 4)  # workers have started
        seconds[workers] = (marks[-1][0] - first) / (marks[-1][1] - 4)
    return {
        "tiles": len(result.plan.units),
        "seconds_a_tile_1_worker": seconds[1],
        "seconds_a_tile_2_workers": seconds[2],
        "two_over_one": seconds[1] / seconds[2],
        "same_bytes": digest(folder / "workers1") == digest(folder / "workers2"),
    }


def survive(folder, model, count, kills, seed=0):
    """Map tiles while workers are killed at random; return counts and whether the bytes are those of one process."""
    from ecumene.catalogue import cluster
    from ecumene.workflows.map_collection import map_collection

    scene = write_land(folder / "kills.tif", 64 * round(count**0.5))
    undisturbed = map_collection(model, folder / "undisturbed", **source_of(scene))
    generator, killed = random.Random(seed), []
    original, stop = cluster._prepare, threading.Event()
    total = len(undisturbed.plan.units)

    def prepare(client, *rest):
        original(client, *rest)

        def killer():
            while len(killed) < kills and not stop.is_set():
                done = len(list((folder / "disturbed" / "tiles").iterdir()))
                if done < total * (len(killed) + generator.random()) / (kills + 1):
                    time.sleep(0.02)
                    continue
                pids = [
                    info["pid"] for info in client.run(pid_of, on_error="ignore").values() if isinstance(info, dict)
                ]
                if pids:
                    victim = generator.choice(pids)
                    os.kill(victim, signal.SIGKILL)
                    killed.append(victim)

        threading.Thread(target=killer, daemon=True).start()

    cluster._prepare = prepare
    try:
        result = map_collection(model, folder / "disturbed", cluster="local:2", **source_of(scene))
    finally:
        stop.set()
        cluster._prepare = original
    return {
        "tiles": total,
        "workers_killed": len(killed),
        "tiles_failed": len(result.failures),
        "same_bytes": digest(folder / "undisturbed") == digest(folder / "disturbed"),
        "claims_left": len(list((folder / "disturbed" / ".work" / "claims").iterdir())),
    }


def pid_of():
    """Return the process of a worker."""
    return {"pid": os.getpid()}


def another(source, number):
    """Return a scene like one, with names, grids and properties of its own: nothing is shared when it is sent."""
    bands = tuple(
        replace(
            band,
            href=f"{band.href}-{number}",
            geobox=band.geobox.pad(number + 1),
            scale=band.scale * (1 + number),
        )
        for band in source.bands
    )
    copied = replace(source, id=f"{source.id}-{number}", bands=bands, geobox=bands[0].geobox)
    return replace(copied, files=tuple(band.href for band in bands), properties={**source.properties, "number": number})


def sizes(folder, plan):
    """Return the bytes of what a run keeps and sends."""
    unit = plan.units[0]
    many = replace(unit, sources=tuple(another(unit.sources[0], k) for k in range(30)))
    store = folder / "undisturbed"
    items = [path.stat().st_size for path in store.glob("tiles/*/item.json")]
    return {
        "unit_bytes_1_scene": len(pickle.dumps(unit)),
        "unit_bytes_30_scenes": len(pickle.dumps(many)),
        "item_bytes": statistics.median(items),
        "index_bytes_a_item": (store / "items.parquet").stat().st_size / len(items),
        "collection_bytes_a_item": (store / "collection.json").stat().st_size / len(items),
        "mosaic_bytes_a_item": (store / "value.vrt").stat().st_size / len(items),
        "files_a_tile": len(list(next(store.glob("tiles/*")).iterdir())),
    }


def planning(folder, model, count=2500):
    """Measure how long a plan of many tiles takes, and how much memory its units hold."""
    from ecumene.workflows.map_collection import plan_collection

    scene = write_land(folder / "plan.tif", 8 * round(count**0.5))
    began = time.perf_counter()
    plan = plan_collection(model, scenes=[scene], grid="EPSG:32633:80", options=OPTIONS)
    seconds = time.perf_counter() - began
    return {"tiles": len(plan.units), "ms_a_tile": 1e3 * seconds / len(plan.units)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--speed-tiles", type=int, default=100)
    arguments = parser.parse_args()
    model = forest_model()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        empty, plan = overhead(folder, model)
        results = {"empty_tile": empty}
        print(results, flush=True)
        results["planning"] = planning(folder, model)
        results["workers"] = speed(folder, model, arguments.speed_tiles)
        print(results["workers"], flush=True)
        results["killed_workers"] = survive(folder, model, arguments.tiles, arguments.kills)
        print(results["killed_workers"], flush=True)
        results["sizes"] = sizes(folder, plan)
        results["load_average"] = os.getloadavg()[0]
    print(store_results("scale", results))


if __name__ == "__main__":
    main()
