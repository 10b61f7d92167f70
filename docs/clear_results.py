"""The sections of `docs/results.md` on filled clouds, from the benchmarks' JSON files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tables import REAL, SIMULATED, Json, data_note, mean_and_spread, number, section, share, table

FIGURES = ("PSNR, dB", "SSIM", "SAM, degrees", "MAE", "UCE / RMSE", "90 % interval holds")


def weights(results: Json) -> str:
    """Whether weighing filled pixels helps a classifier."""
    columns = {
        "filled_as_observed": "as observed",
        "filled_weighed": "weighed",
        "filled_left_out": "left out",
        "true_date": "date without clouds",
        "gain_of_weights": "gain of weights",
    }
    rows = [
        [f"filled by {name}", share(found["filled_share"]["mean"]), *(mean_and_spread(found[key]) for key in columns)]
        for name, found in results["accuracy"].items()
    ]
    return section(
        "Filled pixels as training data",
        results,
        f"{REAL} {data_note([results['data']])} Clouds are simulated. Accuracy of a forest that learns from a partly "
        "filled date and is tested on the true one in other blocks; filled pixels count as observed ones, by the "
        "inverse of their variance, or not at all.",
        table(("date", "filled", *columns.values()), rows),
    )


def clear(results: Json) -> str:
    """Clouds filled on real scenes: simulated clouds and real ones apart."""
    heads = ("place", "level", "covered", "method", *FIGURES, "filled")
    kinds: dict[str, list[list[str]]] = {"part": [], "whole": []}
    for place, found in results["simulated_clouds"].items():
        for kind, rows in kinds.items():
            covered = share(found["covered"]["mean"], 0) if kind == "part" else "all"
            for name, figures in found.get(kind, {}).items():
                rows.append([place, found["level"], covered, name, *_errors(figures), share(figures["filled"], 0)])
    real = [
        [place, when, str(pair["days_apart"]), name, *_errors(figures)]
        for place, pairs in results["real_clouds"].items()
        for when, pair in pairs.items()
        if isinstance(pair, dict) and "methods" in pair
        for name, figures in pair["methods"].items()
    ]
    return section(
        "Clouds filled",
        results,
        f"{REAL} {data_note(results['data'])} {results['seeds']} seeds, which decide the clouds; means over covered "
        "pixels. *Simulated clouds* over a part of clear dates:",
        table(heads, kinds["part"]),
        "*Simulated clouds* over a whole date:",
        table(heads, kinds["whole"]),
        "*Real clouds*: clouded dates filled from the others without one clear neighbour in time, and compared with "
        "that neighbour, so that what changed in between counts as error:",
        table(("place", "date", "days apart", "method", *FIGURES), real),
        *_learned(results["simulated_clouds"]),
        *_discarded(results["simulated_clouds"]),
    )


def _rows(places: Json) -> Iterator[tuple[str, str, str, Json]]:
    """Yield place, `part` or `whole`, method and figures."""
    for place, found in places.items():
        for kind in ("part", "whole"):
            for name, figures in found.get(kind, {}).items():
                yield place, kind, name, figures


def _learned(places: Json) -> Iterator[str]:
    """Say how learned methods were trained, where the file says it."""
    rows = []
    for place, kind, name, figures in _rows(places):
        training = figures.get("training", {})
        if kind == "part" and "side" in training:
            real = ", ".join(training["places"]) or "none"
            rows.append(
                [
                    name,
                    place,
                    "yes" if training["radar"] else "no",
                    real,
                    str(training["simulated_places"]),
                    f"{training['samples']} of {training['side']} x {training['side']}",
                    str(training["epochs"]),
                    number(training["seconds"] / 60, 1),
                ]
            )
    if rows:
        heads = ("method", "judged on", "radar", "real places", "simulated places", "windows", "epochs", "minutes")
        yield (
            "How the learned methods were trained, without the place that they are judged on. These are short "
            "trainings from little data; figures of published networks here are not those of the published models:"
        )
        yield table(heads, rows)


def _discarded(places: Json) -> Iterator[str]:
    """Show the error of the surest pixels, where the file has curves."""
    rows = []
    shares: list[str] = []
    for place, kind, name, figures in _rows(places):
        curve = figures.get("discard")
        if curve:
            whole = curve["rmse"][-1]
            shares = [share(kept, 0) for kept in curve["kept"][:-1]]
            parts = [share(rmse / whole, 0) if whole > 0 else "-" for rmse in curve["rmse"][:-1]]
            rows.append([place, kind, name, number(figures.get("auce"), 4), number(whole, 4), *parts])
    if rows:
        yield (
            "*Discard curves* (Ebel et al. 2023): RMSE of the surest 10 % to 90 % of the covered pixels, as a share of "
            "the RMSE of all. Error bars that tell good pixels from bad ones give small shares on the left; 100 % "
            "means that they tell nothing. Pixels are ordered by their predicted variance, mean over bands. AUCE has "
            "20 bins of equal width in variance, and every pixel and band as a sample:"
        )
        yield table(("place", "covered", "method", "AUCE", "RMSE", *shares), rows)


def speed(results: Json) -> str:
    """How much longer the verb takes than the network alone."""
    rows = [
        [
            f"`{name}`",
            f"{found['products']} of {found['edge']} x {found['edge']}",
            number(found["verb"]["pixels_per_s"], 0),
            number(found["forward_pixels_per_s"], 0),
            number(found["ratios"]["verb_over_deployed_wall"], 2),
            number(found["ratios"]["verb_over_deployed_processor"], 2),
            ", ".join(f"{part} {share(part_share, 0)}" for part, part_share in _largest(found)),
        ]
        for name, found in results["systems"].items()
    ]
    heads = ("network", "products", "pixels/s of the verb", "of the network alone", "wall time", "processor", "largest")
    return section(
        "Speed of filling clouds by a model",
        results,
        f"{SIMULATED} A series of {len(results['months'])} dates; networks of the published size with random weights. "
        "*Wall time* and *processor* are those of the verb, which reads, tries, maps, and writes products, over those "
        "of the bare passes in their fastest arrangement; *largest* are the parts with most processor time of the "
        "verb's own threads, without those that a network starts besides. Small scenes: what a product costs however "
        "small it is weighs more than on large ones.",
        table(heads, rows),
    )


def _largest(found: Json) -> list[tuple[str, float]]:
    """Return the three parts of a run that took most processor time, with their shares."""
    parts = sorted(found["stages_processor_s"].items(), key=lambda item: -item[1])[:3]
    return [(part, seconds / found["verb"]["processor_s"]) for part, seconds in parts]


def _errors(figures: Json) -> tuple[str, ...]:
    """Return PSNR, SSIM, SAM, MAE, UCE over RMSE and coverage as text."""
    return (
        number(figures["psnr"], 1),
        number(figures["ssim"]),
        number(figures["sam"], 2),
        number(figures["mae"], 4),
        share(figures["uce_over_rmse"], 0),
        share(figures["coverage_90"]),
    )


SECTIONS: dict[str, Callable[[Json], str]] = {
    "restoration": clear,
    "restoration_weights": weights,
    "restoration_speed": speed,
}
