"""The section of `docs/results.md` on the web map, from the JSON file of `benchmarks/viewer.py`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tables import SIMULATED, Json, number, section, table

ROWS = (
    ("bare_read", "rio-tiler's bare read, no picture, no server"),
    ("rio_tiler_picture", "rio-tiler's read, coloured and packed as PNG, no server"),
    ("alone", "the server, one client"),
    ("alone_asked_again", "the server, the same tiles again"),
    ("alone_with_fade", "the server, faded by uncertainty"),
    ("many_clients", "the server, many clients at once"),
)


def viewer(results: Json) -> str:
    """Return the section: time of a tile, and memory under load."""
    size, crowd, load = results["size"], results["many_clients"], results["under_load"]
    rows = [(name, number(results[key]["median_ms"], 1), number(results[key]["p99_ms"], 1)) for key, name in ROWS]
    memory = [
        ("at rest", number(results["rss_mib_at_rest"], 0)),
        ("largest under load", number(load["rss_mib_largest"], 0)),
        ("median of the second third of the load", number(load["rss_mib_median_of_second_third"], 0)),
        ("median of the last third", number(load["rss_mib_median_of_last_third"], 0)),
    ]
    return section(
        "Web map: tiles and memory",
        results,
        f"{SIMULATED} Tiles of 256 pixels from a Cloud-Optimised GeoTIFF of {size} x {size} pixels, classes and their "
        "uncertainty; none was asked for before, unless it says so.",
        table(("what", "median, ms", "99th percentile, ms"), rows),
        f"Tile by tile, the server takes {number(results['ratio_to_bare_read'], 2)} times as long as the bare read and "
        f"{number(results['ratio_to_rio_tiler_picture'], 2)} times as long as rio-tiler's own picture. "
        f"{crowd['clients']} clients at once get {number(crowd['tiles_per_second'], 1)} tiles a second.",
        f"Memory of the server, MiB, in {number(load['minutes'], 0)} minutes of load by {load['clients']} clients "
        f"({load['tiles']:,} tiles, {len(load['failed'])} failed):",
        table(("when", "MiB"), memory),
    )


SECTIONS: dict[str, Callable[[Json], str]] = {"viewer": viewer}
