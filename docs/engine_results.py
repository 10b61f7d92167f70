"""The sections of `docs/results.md` on the engine and on collections of tiles, from the benchmarks' JSON files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from tables import SIMULATED, Json, number, section, share, table, words

MAP_GOAL = 1.25
EXTRA_GOAL = 1.07
MEMORY_GOAL_MIB = 1536
GROWTH_GOAL = 1.05
HELP_GOAL_S = 1.0
AGREEMENT_GOAL = 0.98
PEER_GOALS = {"torchgeo": {"bf16": 6.0, "int8": 10.0}, "dask": {"bf16": 1.7, "int8": 2.5}}
TILE_GOAL_MS = 5.0
TILES_GOAL, WORKERS_GOAL, KILLS_GOAL = 200, 20, 1000


def against(text: str, met: bool) -> str:
    """Mark a figure that misses its goal; one that meets it stays as it is."""
    return text if met else f"{text}, missed"


# --- int8 ---------------------------------------------------------------------------------------------------------


def int8(results: Json) -> str:
    """Agreement and speed of the backends and precisions."""
    protocol, made = results["protocol"], results["quantisation"]
    rows = [
        [
            way,
            against(share(found["agreement"]["agreement"], 2), found["qualifies"]),
            number(found["agreement"]["mean_difference"], 4),
            number(found["agreement"]["largest_difference"], 4),
            share(found["agreement"]["outlier_agreement"], 2),
            number(found["overall_accuracy"]),
            number(found["times_eager_fp32_wall"], 2),
            number(found["times_eager_fp32_processor"], 2),
        ]
        for way, found in results["ways"].items()
    ]
    heads = (
        "backend, precision", "same class", "probabilities: mean difference", "largest", "same outlier flag",
        "overall accuracy", "times as fast, wall", "times as fast, processor",
    )  # fmt: skip
    height, width = protocol["city_pixels"]
    return section(
        "Engine: backends and int8",
        results,
        f"{SIMULATED} {results['what'][0].upper()}{results['what'][1:]}: {protocol['training_cities']} cities to learn "
        f"from in {protocol['training_steps']} steps, {protocol['test_cities']} of {width} x {height} pixels to "
        f"compare on; {protocol['bands']} bands, {protocol['classes']} classes. Reference: {protocol['reference']}; "
        f"{protocol['timing']}. Goal for int8, and the rule of `auto`: the same class in at least "
        f"{share(AGREEMENT_GOAL, 0)} of the pixels. {made['convolutions']} convolutions were quantised in "
        f"{made['seconds']:.0f} s; {len(made['steps'][-1]['in_float'])} stayed in float.\n\n" + table(heads, rows),
    )


# --- the engine ---------------------------------------------------------------------------------------------------


def engine(results: Json) -> str:
    """Whole maps against the forward passes alone, memory, commands, other ways to map."""
    runs = results["runs"]
    intro = (
        f"{SIMULATED} Made-up scenes, small trained models, {results['classes']} classes; medians of interleaved "
        "rounds, ratios of one run. Goals: a map (value, "
        f"uncertainty, outlier, valid) in at most {MAP_GOAL} times the wall time of the bare network over as many "
        f"pixels in its fastest arrangement, {share(EXTRA_GOAL - 1, 0)} extra pixels, {MEMORY_GOAL_MIB / 1024:g} GiB."
    )
    blocks = [
        _maps(title, results[key]) + "\n" + _stages(results[key])
        for key, title in (
            ("image", f"One scene of {_size(runs, 'image', 'edge')}"),
            ("series", f"A series of {results['dates']} dates of {_size(runs, 'series', 'series_edge')}"),
        )
        if key in results
    ]
    if "memory" in results:
        blocks.append(_memory(results["memory"]))
    if "commands" in results:
        blocks.append(_commands(results["commands"]))
    if "peers" in results:
        blocks.append(f"Scenes of {_size(runs, 'peers', 'edge')}. " + _peers(results["peers"]))
    return section("Engine: speed of a map", results, intro, *blocks)


def _size(runs: Json, part: str, edge: str) -> str:
    run = runs.get(part, {edge: 0, "rounds": 0})
    rounds = f"{run['rounds']} rounds" if run["rounds"] > 1 else "1 round"
    return f"{run[edge]} x {run[edge]} pixels ({rounds})"


def _maps(title: str, cases: Json) -> str:
    rows = []
    for name, found in cases.items():
        ratios, made = found["ratios"], found["map"]
        goal = ratios.get("map_over_network_wall", ratios["map_over_deployed_wall"])
        alone = ratios.get("map_over_network_wall")
        rows.append(
            [
                name,
                number(alone, 2) if alone is None else against(number(alone, 2), alone <= MAP_GOAL),
                against(number(ratios["map_over_deployed_wall"], 2), alone is not None or goal <= MAP_GOAL),
                number(ratios.get("map_over_network_processor"), 2),
                number(ratios["map_over_deployed_processor"], 2),
                against(number(made["executed_over_mapped"]), made["executed_over_mapped"] <= EXTRA_GOAL),
                against(f"{made['peak_rss_mib']:,.0f}", made["peak_rss_mib"] <= MEMORY_GOAL_MIB),
                number(made["start_to_first_tile_s"], 1),
            ]
        )
    heads = (
        "case", "map / network, wall", "map / network with scores, wall", "the first, processor",
        "the second, processor", "executed / mapped pixels", "peak memory, MiB", "start to first tile, s",
    )  # fmt: skip
    return f"{title}:\n\n" + table(heads, rows)


def _stages(cases: Json) -> str:
    names = list(dict.fromkeys(stage for found in cases.values() for stage in found["stages_processor_s"]))
    rows = []
    for name, found in cases.items():
        seconds, total = found["stages_processor_s"], found["map"]["processor_s"]
        rows.append([name, *(share(seconds[stage] / total) if stage in seconds else "-" for stage in names)])
    return (
        "Where the processor's time goes; of the network only the calling thread is counted, so that the rest of a "
        "row to 100 % is its other threads and the start:\n\n"
    ) + table(("case", *map(words, names)), rows)


def _memory(found: Json) -> str:
    rows = [
        [
            name,
            against(f"{entry['single_mib']:,.0f}", entry["single_mib"] <= MEMORY_GOAL_MIB),
            f"{entry['double_mib']:,.0f}",
            against(number(entry["ratio"]), entry["ratio"] <= GROWTH_GOAL),
        ]
        for name, entry in found.items()
    ]
    heads = ("case", "peak, MiB", "at twice the height, MiB", "ratio")
    return f"Peak memory; goal {GROWTH_GOAL} for twice the height:\n\n" + table(heads, rows)


def _commands(found: Json) -> str:
    rows = [
        [words(name), against(number(seconds, 2), name != "help" or seconds < HELP_GOAL_S)]
        for name, seconds in found.items()
    ]
    return f"Whole commands; goal for help {HELP_GOAL_S:g} s:\n\n" + table(("command", "seconds"), rows)


def _peers(found: Json) -> str:
    rows = []
    for bands, ways in found.items():
        ours = [name for name in ways if name.startswith("ecumene")]
        for name, entry in ways.items():
            times = (
                [_times(name, own, entry["wall_over"][own]) for own in ours] if name not in ours else ["-"] * len(ours)
            )
            rows.append(
                [
                    bands,
                    name,
                    share(entry["agreement"], 2),
                    number(entry["wall_s"], 1),
                    *times,
                    f"{entry['peak_rss_mib']:,.0f}",
                ]
            )
    names = list(dict.fromkeys(name for ways in found.values() for name in ways if name.startswith("ecumene")))
    goals = "; ".join(
        f"{peer}: {', '.join(f'{goal:g} in {precision}' for precision, goal in entry.items())}"
        for peer, entry in PEER_GOALS.items()
    )
    heads = ("scene", "way", "same class", "seconds", *(f"{name} is faster, times" for name in names), "peak, MiB")
    return (
        f"Other ways to map the same scene with the same weights, from the libraries' documentation. Goals, times as "
        f"fast as {goals}.\n\n" + table(heads, rows)
    )


def _times(peer: str, own: str, ratio: float) -> str:
    goals = next((entry for name, entry in PEER_GOALS.items() if peer.startswith(name)), {})
    goal = goals.get(own.rpartition(" ")[2])
    return against(number(ratio, 2), goal is None or ratio >= goal)


# --- scale --------------------------------------------------------------------------------------------------------


def scale(results: Json) -> str:
    """Overhead of a tile, two workers, workers that die; the rest is `scale.md`."""
    tile, workers, killed = results["empty_tile"], results["workers"], results["killed_workers"]
    over = tile["dask_over_bare_ms"]
    fair = killed["tiles"] >= TILES_GOAL and killed["workers_killed"] >= WORKERS_GOAL
    rows: Sequence[Sequence[str]] = [
        ["a tile without data, in the process", f"{number(tile['tile_here_ms'], 1)} ms", "-"],
        ["of it bound to the processor", f"{number(tile['tile_here_processor_bound_ms'], 1)} ms", "-"],
        ["a bare task of Dask", f"{number(tile['dask_bare_task_ms'], 1)} ms", "-"],
        [
            "a tile without data on a worker, over the bare task",
            f"{number(over, 1)} ms",
            against(f"{TILE_GOAL_MS:g} ms", over <= TILE_GOAL_MS),
        ],
        [
            f"two workers against one, {workers['tiles']} tiles",
            f"{number(workers['two_over_one'], 2)} times; the same bytes: {_yes(workers['same_bytes'])}",
            "-",
        ],
        [
            "workers killed at random",
            f"{killed['workers_killed']} in {killed['tiles']} tiles; failed: {killed['tiles_failed']}; the same "
            f"bytes: {_yes(killed['same_bytes'])}",
            against(f"{WORKERS_GOAL} in {TILES_GOAL} tiles, the same bytes", fair and killed["same_bytes"]),
        ],
    ]
    return section(
        "Scale: tiles of a collection",
        results,
        f"{SIMULATED} Costs of {tile['tiles']} tiles that hold no data (claim, search, write, checksum, Item, rename) "
        f"and of small maps; load average of the machine {number(results['load_average'], 1)}, which lengthens every "
        "time. What follows for a million tiles is in [scale.md](scale.md).\n\n"
        + table(("what", "measured", "goal"), rows),
    )


def _yes(value: Any) -> str:
    return "yes" if value else "no"


def kills(results: Json) -> str:
    """Runs that are killed at random moments."""
    rows = [
        ["runs killed", f"{results['kills']:,}", against(f"{KILLS_GOAL:,}", results["kills"] >= KILLS_GOAL)],
        ["collections finished after kills", f"{results['collections_finished']:,}", "-"],
        [
            "of them with other rasters than the undisturbed run",
            f"{results['collections_different']:,} ({results['rasters_compared']:,} rasters compared)",
            against("0", results["collections_different"] == 0),
        ],
        ["attempts that failed", f"{results['attempts_failed']:,}", against("0", results["attempts_failed"] == 0)],
    ]
    return section(
        "Scale: runs killed at random moments",
        results,
        f"{SIMULATED} A collection of {results['tiles']} tiles is ended by SIGKILL after a random time and begun again "
        f"until it is finished; its rasters are compared byte by byte; seed {results['seed']}.\n\n"
        + table(("what", "measured", "goal"), rows),
    )


SECTIONS: dict[str, Callable[[Json], str]] = {
    "engine": engine,
    "engine_int8": int8,
    "scale": scale,
    "scale_kills": kills,
}
