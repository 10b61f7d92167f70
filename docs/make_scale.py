"""Writes `docs/scale.md` from the benchmarks' JSON files, so that no figure is typed by hand.

Usage: python docs/make_scale.py [--check]; with `--check` it only fails if the page is out of date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from page import write_or_check  # noqa: E402 - lies beside this file
from tables import machine_note, table  # noqa: E402 - lies beside this file

RESULTS = HERE.parent / "benchmarks" / "results"
PAGE = HERE / "scale.md"
MILLION = 1_000_000
SHARD = 10_000
THREADS = 1000

HEAD = """# Many scenes, many tiles

One scene makes one product. Many scenes make a **collection**: a grid of tiles, one product a tile, a STAC Collection
that links them, a GeoParquet table of their Items, and a mosaic a layer that QGIS opens.

    ecumene map model/ --stac CATALOGUE --aoi area.geojson --period 2024-06/2024-08 --out store/
    ecumene map model/ --scenes list.txt --grid utm:50000 --composite least-cloudy --cluster local:4 --out store/

| option | what |
| --- | --- |
| `--stac` | a catalogue: a folder with `catalog.json`, a file, a URL or a search API (then with `--collection`) |
| `--scenes` | a text file, one path a line; what the files do not say is declared beside them or by options |
| `--aoi` | polygons: only tiles that they touch, only pixels inside of them |
| `--period` | `START/END`, both included; years, months, days or moments; `..` is open |
| `--grid` | `mgrs` (100 km squares in their UTM zones, cut where a zone ends), `utm:EDGE`, `EPSG:CODE:EDGE` (metres) |
| `--composite` | `median`, `geomedian`, `medoid`, `least-cloudy`: one image a tile; `none`: every day, or the series |
| `--cluster` | `local`, `local:N`, or a Dask scheduler `tcp://HOST:PORT` |
| `--out` | a folder that all workers reach, or `s3://BUCKET/PREFIX` |

## What is promised

**The tile is the unit of work, its product is its state.** A product is made in a folder of its own and takes its place
by one rename; in an object store its Item is uploaded last. The same command after a kill or a lost worker does
only what is missing and ends with the same rasters.

**Several runs may share a store.** A tile is claimed by an exclusively created object that is renewed while the work
goes on. A claim of a process that died is taken over at once on the same host, after two minutes from elsewhere, and a
worker that comes back notices that it was given up. When only tiles of other runs are left, a run waits for them.

**No seams.** A tile is computed with twice the network's margin of context on every side, read from the same scenes,
on windows that begin at multiples of the network's stride on one lattice of pixels, and only the tile is written. A
network whose field of view ends within that context gives the same values from both sides. The compact U-Net's is
wider: beside a single map, a test holds that its probabilities differ by at most one stored level (1/250), in less
than one pixel of a thousand. Composites by pixel do not depend on the tile. Two things do differ from a single map: at
the border of the data, where a single map mirrors and a tile has gaps; and where two UTM zones meet, whose pixels are
different places. There is one mosaic for each coordinate system.

**A cluster is a place that you trust.** Dask moves tasks by pickle; whoever reaches a scheduler can run code on its
workers. The model goes to each worker once, as the files of its bundle. Start workers with one thread each
(`dask worker --nthreads 1`): a worker maps one tile at a time. A tile that costs more than ten workers their lives,
mostly for lack of memory, is given up and reported.

**Object stores.** Scenes may be `s3://...`, the collection too. Endpoint and credentials come from `AWS_ENDPOINT_URL`,
`AWS_ACCESS_KEY_ID` and the other usual variables, and are written nowhere.

A run in which tiles failed writes the collection of the others, names the failures and exits with 9.
"""


def figures(scale: dict[str, Any]) -> str:
    """Return the section on what was measured."""
    empty, workers, killed, sizes = scale["empty_tile"], scale["workers"], scale["killed_workers"], scale["sizes"]
    rows = [
        ("a tile without data, in this process", f"{empty['tile_here_ms']:.1f} ms"),
        ("of which its pixels are read in", f"{empty['reading_of_it_ms']:.1f} ms"),
        ("Dask's bare task", f"{empty['dask_bare_task_ms']:.1f} ms"),
        ("a tile without data, as a task on one worker", f"{empty['dask_tile_ms']:.1f} ms"),
        (
            "over the bare task",
            f"{empty['dask_over_bare_ms']:.1f} ms (best part: {empty['dask_over_bare_best_ms']:.1f})",
        ),
        ("planning a tile", f"{scale['planning']['ms_a_tile']:.2f} ms"),
        ("two workers over one", f"{workers['two_over_one']:.2f} times as fast, on {scale['machine']['cores']} cores"),
        (
            f"{killed['workers_killed']} workers killed during {killed['tiles']} tiles",
            f"{killed['tiles_failed']} tiles failed, rasters {'the same' if killed['same_bytes'] else 'DIFFERENT'}",
        ),
        ("a unit of work on its way to a worker, 1 scene", f"{sizes['unit_bytes_1_scene'] / 1e3:.1f} kB"),
        ("with 30 scenes", f"{sizes['unit_bytes_30_scenes'] / 1e3:.1f} kB"),
        ("an Item", f"{sizes['item_bytes'] / 1e3:.1f} kB"),
        ("its line in the index / the collection / a mosaic", _line(sizes)),
        ("files a tile", f"{sizes['files_a_tile']}"),
    ]
    return (
        f"\n## Measured\n\n{table(('what', 'figure'), rows)}\nThe scenes are simulated. The machine was shared: its "
        f"load was {scale['load_average']:.1f} on {scale['machine']['cores']} cores at the end. {machine_note(scale)} "
        "Source: `benchmarks/results/scale.json`, made by `benchmarks/scale.py`.\n"
    )


def _line(sizes: dict[str, Any]) -> str:
    names = ("index_bytes_a_item", "collection_bytes_a_item", "mosaic_bytes_a_item")
    return " / ".join(f"{sizes[name] / 1e3:.2f}" for name in names) + " kB"


def kills(result: dict[str, Any]) -> str:
    """Return the section on kills."""
    return (
        f"\n## Killed again and again\n\nA collection of {result['tiles']} tiles was killed by SIGKILL "
        f"{result['kills']} times at random moments. {result['collections_finished']} collections were finished by "
        f"the runs that followed; of their {result['rasters_compared']} rasters {_different(result)} "
        f"differ from an undisturbed run's. Seed {result['seed']}, {result['minutes']:.1f} minutes. "
        "Source: `benchmarks/results/scale_kills.json`, made by `benchmarks/scale_kills.py`.\n"
    )


def _different(result: dict[str, Any]) -> str:
    return "none" if not result["collections_different"] else f"those of {result['collections_different']} collections"


def million(scale: dict[str, Any]) -> str:
    """Return the plan for a million tiles, by arithmetic from the figures."""
    empty, sizes = scale["empty_tile"], scale["sizes"]
    hours = MILLION * (empty["dask_tile_ms"] + scale["planning"]["ms_a_tile"]) / 3.6e6
    rows = [
        ("overhead of all tiles, in hours of one worker", f"{hours:.1f}"),
        (f"the same on {THREADS} workers, in minutes", f"{60 * hours / THREADS:.1f}"),
        (
            "one scheduler's own work, in hours (bare tasks)",
            f"{MILLION * empty['dask_bare_task_ms'] / 3.6e6:.1f}",
        ),
        ("planning, in minutes of one process", f"{MILLION * scale['planning']['ms_a_tile'] / 6e4:.0f}"),
        (
            f"scheduler: units in hand for {THREADS} threads, 30 scenes each",
            f"{3 * THREADS * sizes['unit_bytes_30_scenes'] / 1e9:.2f} GB",
        ),
        ("scheduler, if all units were submitted at once", f"{MILLION * sizes['unit_bytes_30_scenes'] / 1e9:.0f} GB"),
        ("files", f"{MILLION * sizes['files_a_tile'] / 1e6:.0f} million"),
        ("Items", f"{MILLION * sizes['item_bytes'] / 1e9:.0f} GB"),
        ("one collection.json of all tiles", f"{MILLION * sizes['collection_bytes_a_item'] / 1e6:.0f} MB"),
        (f"one of {SHARD} tiles", f"{SHARD * sizes['collection_bytes_a_item'] / 1e6:.1f} MB"),
        (f"index of {SHARD} tiles", f"{SHARD * sizes['index_bytes_a_item'] / 1e6:.1f} MB"),
        (f"mosaic of one layer of {SHARD} tiles", f"{SHARD * sizes['mosaic_bytes_a_item'] / 1e6:.1f} MB"),
    ]
    return (
        f"\n## A plan for a million tiles\n\nFigures of the table above, times 1,000,000:\n\n"
        f"{table(('what', 'amount'), rows)}\n"
        f"- **Shards.** A run keeps its units, and at the end its Items, in one process. Divide the area into "
        f"collections of about {SHARD} tiles (a country, a UTM zone), one `--aoi` and one `--out` each: "
        f"{MILLION // SHARD} runs that know nothing of each other. Their indices are tables and are read together.\n"
        "- **Scheduler.** A run hands three units a thread to the scheduler, so its memory depends on the threads, not "
        "on the tiles. A scheduler does one thing at a time: where tiles take less than the number of workers times "
        "the bare task, it is the bottleneck, and each shard gets a cluster of its own.\n"
        "- **Files.** On file systems that count them, leave out what is not needed (`--no-probability`), or write to "
        "an object store.\n"
        "- **Scenes.** Each scene is read by every tile that it touches, in windows. Tiles of the size of a scene "
        "(`mgrs`) read most once. Local scenes are hashed once a worker and file, for provenance.\n"
        "- **What dominates** is the network: compare the overhead of a tile with the minutes that 10,000 x 10,000 "
        "pixels take.\n"
    )


def make_page(folder: Path = RESULTS) -> str:
    """Return the page for the JSON files that are there.

    Args:
        folder: Where `scale.json` and `scale_kills.json` are.
    """
    page = HEAD
    for name, sections in (("scale", (figures, million)), ("scale_kills", (kills,))):
        path = folder / f"{name}.json"
        if path.exists():
            results = json.loads(path.read_text(encoding="utf-8"))
            page += "".join(section(results) for section in sections)
    return page


def main() -> None:
    """Write or check the page."""
    write_or_check(PAGE, make_page(), "make_scale.py", __doc__)


if __name__ == "__main__":
    main()
