"""Diagrams of trust: each a picture, a sentence and its numbers as a table, so that nobody depends on the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ecumene.viewer.curves import curve_picture, histogram_picture, reliability_picture
from ecumene.viewer.report import Diagram, Table


def points_of(diagram: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """Return (confidence, accuracy, share) of the non-empty bins of a stored reliability diagram."""
    total = max(1, sum(diagram["count"]))
    return [
        (confidence, right, count / total)
        for confidence, right, count in zip(diagram["confidence"], diagram["accuracy"], diagram["count"], strict=True)
        if count and confidence is not None and right is not None
    ]


def reliability(calibration: Mapping[str, Any]) -> Diagram | None:
    """Show accuracy against confidence before and after calibration; None where the card has no such figures."""
    after = calibration.get("reliability")
    if not after:
        return None
    curves = {"held-out blocks": points_of(after)}
    before = calibration.get("reliability_before")
    changed = bool(before) and calibration.get("scaling", "identity") != "identity"
    if before and changed:
        curves = {"as the model is": points_of(before), "calibrated": points_of(after)}
    error = calibration["expected_calibration_error"]
    first = calibration.get("expected_calibration_error_before", error)
    sentence = f"Expected calibration error {error:.3f}" + (f" ({first:.3f} before calibration)." if changed else ".")
    rows = [
        [name, f"{confidence:.2f}", f"{right:.2f}", f"{share:.1%}"]
        for name, points in curves.items()
        for confidence, right, share in points
    ]
    return Diagram(
        "Is the confidence honest?",
        "Reliability diagram",
        reliability_picture(curves),
        "Accuracy against confidence on held-out blocks. On the grey line a confidence of 0.8 is right eight times out "
        f"of ten. Dot area: share of pixels. {sentence}",
        Table("Accuracy by confidence", ("curve", "mean confidence", "accuracy", "share of pixels"), rows),
    )


def sparsification(curve: Mapping[str, Any] | None, what: str = "wrong pixels") -> Diagram | None:
    """Show the error that is left when the most uncertain elements are left out; None without figures.

    Args:
        curve: `removed`, `error`, `oracle` and `ause` as `trust.regression_measures.Sparsification.to_dict` gives them.
        what: What the error counts.
    """
    if not curve:
        return None
    curves = {
        "by uncertainty": (curve["removed"], curve["error"]),
        "-by the errors themselves": (curve["removed"], curve["oracle"]),
        "-in no order": ([0.0, 1.0], [1.0, 1.0]),
    }
    steps = _every(len(curve["removed"]), 6)
    rows = [
        [f"{curve['removed'][i]:.0%}", f"{curve['error'][i]:.2f}", f"{curve['oracle'][i]:.2f}"] for i in steps
    ]  # fmt: skip
    half = min(range(len(curve["removed"])), key=lambda i: abs(curve["removed"][i] - 0.5))
    return Diagram(
        "Does the uncertainty know the errors?",
        "Sparsification curve",
        curve_picture(curves, "share of the most uncertain pixels left out", "error left, relative", square=False),
        f"Share of {what} on held-out blocks when the most uncertain pixels are left out, relative to all. Without the "
        f"more uncertain half {curve['error'][half]:.0%} of the error is left. Area between the curve and the best "
        f"possible one (AUSE): {curve['ause']:.3f}.",
        Table("Error left", ("left out", "by uncertainty", "best possible"), rows),
    )


def pit(shares: Sequence[float] | None) -> Diagram | None:
    """Show where truths lie in their predicted distributions; None without figures.

    Args:
        shares: Of `trust.regression_measures.pit_histogram`.
    """
    if not shares:
        return None
    number = len(shares)
    rows = [[f"{i / number:.2f} to {(i + 1) / number:.2f}", f"{share:.1%}"] for i, share in enumerate(shares)]
    ends, middle = shares[0] + shares[-1], 2.0 / number
    verdict = "too short" if ends > 1.5 * middle else "too long" if ends < 0.5 * middle else "of about the right length"
    return Diagram(
        "Are the error bars of the right length?",
        "Histogram of the probability integral transform",
        histogram_picture(shares),
        "Share of held-out pixels by where the truth lies in its predicted distribution (probability integral "
        f"transform). Even bars are honest; high ends say too short, a hump too long. Here they are {verdict}.",
        Table("Where the truth lies", ("part of the distribution", "share of pixels"), rows),
    )


def coverage_table(sets: Mapping[str, Any] | None, names: Sequence[str]) -> Table | None:
    """Return how often class sets hold the truth, over all, by block and by class; None without figures."""
    if not sets or "coverage_per_class" not in sets:
        return None
    rows = [
        ["all pixels", f"{sets['coverage']:.1%}"],
        ["mean of blocks", f"{sets['coverage_mean_of_blocks']:.1%}"],
        ["worst block", f"{sets['coverage_worst_block']:.1%}"],
    ]
    rows += [
        [name, "-" if share is None else f"{share:.1%}"]
        for name, share in zip(names, sets["coverage_per_class"], strict=True)
    ]
    promised = sets.get("promised_coverage")
    caption = (
        f"Wanted {sets['wanted_coverage']:.0%}"
        + ("" if promised is None else f", promised to a new block {promised:.0%}")
        + f"; {sets['mean_size']:.2f} classes a set, {sets['mean_size_knowing_shares_only']:.2f} if only the classes' "
        "shares were known."
    )
    return Table("Class sets that hold the truth", ("of", "coverage"), rows, caption)


def _every(number: int, wanted: int) -> list[int]:
    """Return about `wanted` positions from 0 to number - 1, both ends among them."""
    if number <= wanted:
        return list(range(number))
    return sorted({round(i * (number - 1) / (wanted - 1)) for i in range(wanted)})
