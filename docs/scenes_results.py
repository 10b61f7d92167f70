"""The sections of `docs/results.md` on classes of images and of hyperspectral pixels, and their learning curves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from tables import REAL, SIMULATED, Json, data_note, mean_and_spread, number, section, share, table, words

from ecumene.systems import get_system

CURVES = "rsscn7_learning_curves.svg"
SVM = "svm"


def published(*systems: str) -> str:
    """Return the published figures of systems with their protocols, as sentences."""
    lines = [
        f"- `{name}`: {words(figure.metric)} {figure.value:.4g} on {figure.data_set}, {figure.protocol}"
        f"{'' if figure.verified else ' (quoted, not verified)'}."
        for name in systems
        for figure in get_system(name).figures
    ]
    return "Published, with other data or initial weights than here:\n\n" + "\n".join(lines) if lines else ""


# --- RSSCN7 -------------------------------------------------------------------------------------------------------


def title_of(row: Json) -> str:
    """Return a method with its training."""
    name = "support vector machine on colour and texture" if row["method"] == SVM else str(row["method"])
    return f"{name}, {row['epochs']} epochs of {row['input_size']} pixels" if "epochs" in row else name


def difference(against: Json | None) -> str:
    """Return a paired difference with its interval."""
    if against is None:
        return "-"
    interval = f" ({against['low']:+.3f} to {against['high']:+.3f})" if "low" in against else ""
    return f"{against['mean']:+.3f}{interval}, better in {against['better_in']} of {against['draws']}"


def rsscn7(results: Json) -> str:
    """Networks against a support vector machine, and the learning curves of those with more than two shares."""
    rows = results["rows"]
    shown = [
        (
            f"{row['share']:.0%}",
            title_of(row),
            str(len(row["overall_accuracy"]["values"])),
            mean_and_spread(row["overall_accuracy"]),
            difference(row.get("against_svm")),
            number(row["seconds"]["mean"], 0),
        )
        for row in sorted(rows, key=lambda row: (-row["share"], -row["overall_accuracy"]["mean"]))
        if row["share"] in (0.2, 0.5)
    ]
    heads = ("learned from", "method", "draws", "overall accuracy", "against the machine, same draws", "seconds a draw")
    starts = sorted({run["start"] for run in results["runs"].values() if run.get("start")})
    curves = learning_curves(rows)
    shares = sorted({point[0] for points in curves.values() for point in points})
    curve_rows = [
        (name, *(number(dict(points).get(value)) for value in shares)) for name, points in sorted(curves.items())
    ]
    blocks = [
        f"{REAL} {data_note([results['data']])}",
        " ".join(results["protocol"].split("\n\n")[1].split()),
        " ".join(starts),
        table(heads, shown),
        verdict(rows),
    ]
    if len(shares) > 1:
        blocks += [
            "Learning curves: mean overall accuracy by the share of images that is learned from.",
            table(("method", *(f"{value:.0%}" for value in shares)), curve_rows),
            f"![Learning curves on the RSSCN7 subset](images/{CURVES})",
        ]
    return section("Scenes: RSSCN7", results, *blocks)


def verdict(rows: list[Json]) -> str:
    """Say which networks are better than the machine at 50 %, by the interval of the paired difference."""
    half = [row for row in rows if row["share"] == 0.5 and "low" in row.get("against_svm", {})]
    if not half:
        return ""
    kinds = {
        "surely better": [row for row in half if row["against_svm"]["low"] > 0],
        "surely worse": [row for row in half if row["against_svm"]["high"] < 0],
    }
    kinds["not told apart"] = [row for row in half if not any(row in listed for listed in kinds.values())]
    said = "; ".join(f"{name}: {', '.join(title_of(row) for row in found)}" for name, found in kinds.items() if found)
    return f"Learning from 50 % of the images, by the 95 % interval of the paired difference to the machine: {said}."


def learning_curves(rows: list[Json]) -> dict[str, list[tuple[float, float]]]:
    """Return (share, mean accuracy) of the methods with at least three shares; of two where none has three."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in sorted(rows, key=lambda row: row["share"]):
        found.setdefault(title_of(row), []).append((row["share"], row["overall_accuracy"]["mean"]))
    most = min(3, max((len(points) for points in found.values()), default=0))
    return {name: points for name, points in found.items() if len(points) >= max(2, most)}


def learning_curve_picture(results: Json) -> str:
    """Return the learning curves as SVG."""
    curves = learning_curves(results["rows"])
    width, height, left, top, bottom = 640, 400, 60, 20, 60
    values = [value for points in curves.values() for _, value in points]
    low, high = (0.1 * int(min(values) * 10), 0.1 * -int(-max(values) * 10 // 1)) if values else (0.0, 1.0)
    colours = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#5b5b5b", "#000000")

    def x(value: float) -> float:
        return left + value * (width - left - 20)

    def y(value: float) -> float:
        return top + (high - value) / max(high - low, 0.1) * (height - top - bottom)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 18 * len(curves)}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for tenth in range(round(low * 10), round(high * 10) + 1):
        level = y(tenth / 10)
        parts.append(f'<path d="M{left} {level:.1f}H{width - 20}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 8}" y="{level + 4:.1f}" text-anchor="end">{tenth / 10:.1f}</text>')
    parts += [
        f'<text x="{x(tenth / 10):.1f}" y="{height - bottom + 18}" text-anchor="middle">{10 * tenth} %</text>'
        for tenth in range(0, 11, 2)
    ]
    parts.append(
        f'<text x="{(left + width - 20) / 2:.0f}" y="{height - bottom + 40}" text-anchor="middle">'
        "share of the images that is learned from</text>"
    )
    parts.append(f'<text transform="translate(16 {height / 2:.0f}) rotate(-90)" text-anchor="middle">accuracy</text>')
    for place, (name, points) in enumerate(sorted(curves.items())):
        colour = colours[place % len(colours)]
        path = "L".join(f"{x(share_):.1f} {y(value):.1f}" for share_, value in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(s):.1f}" cy="{y(v):.1f}" r="3.5" fill="{colour}"/>' for s, v in points]
        line = height + 18 * place
        parts.append(f'<path d="M{left} {line - 4}h24" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{left + 32}" y="{line}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>\n"])


# --- hyperspectral ------------------------------------------------------------------------------------------------


def hyperspectral(results: Json) -> str:
    """Hyperspectral pixels: few labels, random and disjoint, and the ablations of the recurrent network."""
    blocks = [f"{REAL} {data_note(results['data'])}", " ".join(results["protocol"].split())]
    for name, sizes in results["overall_accuracy"].items():
        columns = sorted(sizes, key=lambda size: int(size) if size.isdigit() else 0)
        methods = sorted({method for found in sizes.values() for method in found})
        rows = [(method, *(_cell(sizes[size].get(method)) for size in columns)) for method in methods]
        if name == "salinas, random":
            reference = results["reference_random"]
            known = (number(reference.get(size)) for size in columns)
            rows.append(("SVM, C = 100, as stated with the data", *known))
        titles = [f"{size} pixels a class" if size.isdigit() else "five folds" for size in columns]
        blocks += [f"Overall accuracy, {name} (draws in parentheses):", table(("method", *titles), rows)]
    blocks += [_recurrent_against_machine(results), _ablations(results.get("ablations", {}))]
    blocks.append(published("hsi-gru-pretanh", "hsi-gru-tanh", "hsi-lstm", "hsi-cnn", "hsi-svm", "hsi-rf"))
    return section("Hyperspectral pixels", results, *(block for block in blocks if block))


def _cell(entry: Json | None) -> str:
    return "-" if entry is None else f"{mean_and_spread(entry)} ({entry['draws']})"


def _recurrent_against_machine(results: Json) -> str:
    lines = []
    for name, sizes in results["overall_accuracy"].items():
        entry = sizes.get("50", {}).get("GRU-PRetanh", {})
        for other in ("SVM, C = 100", "SVM, grid search"):
            gain = entry.get(f"gain over {other}")
            if gain:
                lines.append(
                    f"- {name}, 50 pixels a class: GRU-PRetanh against {other} {gain['mean']:+.4f}, standard error "
                    f"{number(gain['standard_error'], 4)}, better in {gain['better']} of {gain['of']} draws."
                )
    return "The recurrent network against the machines, on the same draws:\n\n" + "\n".join(lines) if lines else ""


def _ablations(found: Json) -> str:
    rows = [
        (
            name,
            ", ".join(str(draw) for draw in entry["draws"]),
            number(entry["mean"], 4),
            "-" if "gain over GRU-PRetanh" not in entry else f"{entry['gain over GRU-PRetanh']:+.4f}",
        )
        for name, entry in sorted(found.items(), key=lambda item: -item[1]["mean"])
    ]
    if not rows:
        return ""
    heads = ("variant, 50 random pixels a class", "draws", "overall accuracy", "against GRU-PRetanh")
    return "Variants of the recurrent network, on draws of their own:\n\n" + table(heads, rows)


# --- local climate zones, training, the simulated EuroSAT -----------------------------------------------------------


def lcz(results: Json) -> str:
    """Local climate zones: networks against forests on one official split."""
    data = results["data"]
    metrics = ("overall_accuracy", "average_accuracy", "kappa", "oa_built", "oa_natural")
    rows = [
        (
            name,
            str(len(found["overall_accuracy"]["values"])),
            *(mean_and_spread(found[metric]) for metric in metrics),
            mean_and_spread(results["paired"].get(name)),
            number(found["training_seconds"]["mean"], 0),
        )
        for name, found in results["learners"].items()
    ]
    counts = ", ".join(f"{count} {part}" for part, count in results["split"]["images"].items())
    heads = ("learner", "seeds", *(words(metric) for metric in metrics), "accuracy against the forest", "seconds")
    return section(
        "Local climate zones",
        results,
        f"{REAL if data['kind'] == 'real' else SIMULATED} {data_note([data])} Split {results['split']['name']}: "
        f"{counts} patches; {results['epochs']} epochs at most.",
        table(heads, rows),
        published("sen2lcz-net-mf", "so2sat-resnext-cbam"),
    )


def training_speed(results: Json) -> str:
    """Speed of training from official files against training from memory."""
    wall, processor = results["images_per_second"], results["images_per_processor_second"]
    rows = [(name, number(_median(wall[name]), 1), number(_median(processor[name]), 1)) for name in wall]
    delivered = [(name, number(value, 0)) for name, value in results["delivered_per_second"].items()]
    ratios = (results["files_over_memory"]["median"], results["files_over_memory_augmented"]["median"])
    return section(
        "Training from official files",
        results,
        f"{SIMULATED} {results['data']['images']} patches of 64 x 64 pixels and 13 bands in EuroSAT's files; the "
        f"loader's cache was limited to {share(results['cache']['share'], 0)} of them. {results['network']}, "
        f"{results['precision']}, batches of {results['batch_size']}, {results['steps']} steps a timing, "
        f"{len(wall['in memory'])} rounds; medians.",
        table(("images come from", "images a second", "images a second of processor time"), rows),
        f"Reading the files with augmentation trains at {share(ratios[0])} of the rate of images that lie in memory, "
        f"and at {share(ratios[1])} of that of images in memory with the same augmentation. A plain PyTorch loop over "
        f"the same files trains on {number(results['trained_per_second']['plain'], 1)} images a second.",
        table(("loader alone", "images a second"), delivered),
    )


def simulated_eurosat(results: Json) -> str:
    """The simulated EuroSAT at its published size."""
    written, split = results["simulation"], results["split"]
    beside = {
        figure["metric"]: figure for figure in results["published"] if figure["bench"] == results["protocol"]
    }  # fmt: skip
    rows = [
        (words(metric), number(found.get("mean"), 4), _value(beside.get(metric)))
        for metric, found in results["metrics"].items()
    ]
    counts = ", ".join(f"{count:,} {part}" for part, count in split.items())
    wrote = "" if written["seconds"] is None else f", written in {number(written['seconds'], 0)} s"
    return section(
        "EuroSAT, simulated at full size",
        results,
        f"{SIMULATED} {data_note([results['data']])} {results['data']['images']:,} patches in "
        f"{number(written['gigabytes'], 2)} GB{wrote}; {counts}. `{results['system']}` on images of "
        f"{results['input_size']} pixels, {results['epochs_allowed']} epochs at most, {results['parameters']:,} "
        f"parameters. The bench took {number(results['seconds']['whole_bench'] / 60, 1)} minutes and "
        f"{number(results['gigabytes_of_memory'], 2)} GB of memory.",
        table(("metric", "ours, simulated", "published, real"), rows),
        "The two columns are not comparable: simulated patches, a bounded training, and no ImageNet weights unless the "
        "machine has them.",
    )


def _value(figure: Json | None) -> str:
    return "-" if figure is None else f"{figure['value']:.4f}{'' if figure['verified'] else ' (not verified)'}"


def _median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])


SECTIONS: dict[str, Callable[[Json], str]] = {
    "scenes_rsscn7": rsscn7,
    "hyperspectral": hyperspectral,
    "lcz": lcz,
    "scenes_simulated": simulated_eurosat,
    "scene_training": training_speed,
}
PICTURES: dict[str, tuple[str, Callable[[Json], str]]] = {CURVES: ("scenes_rsscn7", learning_curve_picture)}
"""Pictures beside the page: name, the benchmark that it is drawn from, and how."""
