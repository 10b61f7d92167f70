"""The figures of a trust report for a model of a number: errors, error bars, intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.core.progress import Progress
from ecumene.indicators.regression import regression_report
from ecumene.trust.calibration import Calibration
from ecumene.workflows.regression import CHOICE, MOST_PIXELS, bar_figures, interval_figures
from ecumene.workflows.trust_pixels import Asker, HonestLabels, labelled_tiles, number_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NumberResults:
    """What a model of a number says at pixels.

    Attributes:
        mean: Predicted number `[N]`.
        before: Standard deviation before recalibration `[N]`.
        after: After it, as the map writes it.
        score: Outlier score `[N]`, larger is stranger.
        target: True number `[N]`.
        block: Block `[N]`.
    """

    mean: Array
    before: Array
    after: Array
    score: Array
    target: Array
    block: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.target)


def number_results(asker: Asker, labels: HonestLabels, progress: Progress) -> NumberResults:
    """Run the model where there are numbers to judge by, at most 200,000 pixels, drawn at random.

    Args:
        asker: A model of one number, and scenes.
        labels: With numbers.
        progress: Called with tiles done.

    Raises:
        LabelError: If no number lies on valid data.
    """
    assert labels.numbers is not None  # honest_labels gives them for a model of a number
    bare = Calibration().calibrated(asker.model.objective)
    tiles = labelled_tiles(labels)
    found: list[list[NDArray[Any]]] = []
    for done, (tile, place) in enumerate(tiles):
        image, dates, valid, inner = asker.read(tile)
        output, score = asker.executor.run(image, dates)
        after, before = (objective.predict(output) for objective in (asker.model.objective, bare))
        use = labels.use[place] & valid
        maps = [np.asarray(part)[0, 0][inner] for part in (after.value, before.total, after.total)]
        columns = [*maps, score[0][inner], labels.numbers.values[place], labels.block[place]]
        found.append([column[use] for column in columns])
        progress(done + 1, len(tiles), "labels")
    joined = [np.concatenate(parts) for parts in zip(*found, strict=True)]
    if not joined or len(joined[0]) == 0:
        raise LabelError("No number to judge by lies on valid data of the scenes (nodata or cloud); give other labels.")
    if len(joined[0]) > MOST_PIXELS:
        keep = np.sort(np.random.default_rng(0).choice(len(joined[0]), MOST_PIXELS, replace=False))
        joined = [part[keep] for part in joined]
    mean, earlier, later, strange, target = (part.astype(np.float64) for part in joined[:5])
    return NumberResults(mean, earlier, later, strange, target, joined[5].astype(np.int64))


def number_figures(asker: Asker, results: NumberResults) -> dict[str, Any]:
    """Return `errors`, `error_bars`, `intervals` and `sparsification` of a trust report.

    Args:
        asker: The model.
        results: What it says at numbers that it has not learned from.
    """
    model = asker.model
    number = number_of(model)
    assert number is not None
    before = bar_figures(results.mean, results.before, results.target)
    after = bar_figures(results.mean, results.after, results.target)
    intervals = None if model.calibration is None else model.calibration.intervals
    errors = regression_report(results.target, results.mean, blocks=results.block)
    return {
        "number": {"name": number.targets[0], "unit": number.unit},
        "errors": {"pixels": len(results), "blocks": len(np.unique(results.block)), **errors.to_dict()},
        "error_bars": {
            "recalibration": str((model.spec.training.get(CHOICE) or {}).get("chosen", "none")),
            "choice": model.spec.training.get(CHOICE),
            "before": before,
            "after": after,
        },
        "intervals": None
        if intervals is None
        else interval_figures(intervals, results.mean, results.after, results.target, results.block),
        "sparsification": after.get("sparsification"),
    }
