"""How honest a trained model's error bars are on the series that it fills: clear pixels of it are hidden and filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.window import Window
from ecumene.mapping.memory import keep_freed_memory, return_freed_memory
from ecumene.models.bundle import Model
from ecumene.objectives.arrays import to_numpy
from ecumene.restoration.cloud_simulation import cover_field
from ecumene.restoration.holdout import COVER, Calibration, HeldOut, calibrate
from ecumene.workflows.restoration_statement import fills_given_date, stated_of

if TYPE_CHECKING:
    from ecumene.workflows.clear_scenes import ClearInput

_EDGE, _WINDOWS, _FEWEST = 192, 6, 200
_BLOCK = 12  # edge of a block in pixels, for windows of `_EDGE`


@dataclass(frozen=True)
class SeriesWindow:
    """A window of a series.

    Attributes:
        image: float32 `[T, C, H, W]`, in the model's channels, as measured; NaN without data.
        clear: bool `[T, H, W]`.
        days: `[T]`, days since 1970-01-01.
    """

    image: NDArray[np.float32]
    clear: NDArray[np.bool_]
    days: NDArray[np.float64]


class RestorationRun:
    """A model that fills a date given masked, from others: what it is given, and what it says."""

    def __init__(self, model: Model, backend: str = "torch") -> None:
        """Load what executes the model."""
        self.model = model
        self.stated = stated_of(model.spec)
        self._executor = model.executor(backend, "fp32", None)

    @property
    def hides(self) -> bool:
        """Whether it fills a given date whose hidden pixels have no data, so that hiding some shows how well."""
        return fills_given_date(self.stated)

    def order(self, days: NDArray[np.float64], date: int) -> list[int]:
        """Return the dates that it sees: the wanted one first, then the nearest ones."""
        others = [int(i) for i in np.argsort(np.abs(days - days[date]), kind="stable") if i != date]
        return [date, *others[: max(1, int(self.stated.get("dates") or 2) - 1)]]

    def fill(
        self, window: SeriesWindow, date: int, hidden: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation `[K, H, W]` of a date, as if it were also clouded in some pixels.

        Args:
            window: The series.
            date: The wanted date.
            hidden: bool `[H, W]`; None: nothing more than what is not clear.
        """
        order = self.order(window.days, date)
        image = np.where(window.clear[order][:, None], window.image[order], np.float32(np.nan))
        if hidden is not None:
            image[0][:, hidden] = np.nan
        stride = self.model.spec.stride
        height, width = image.shape[2:]
        image = np.pad(image, ((0, 0), (0, 0), (0, -height % stride), (0, -width % stride)), mode="edge")
        days = window.days[order].astype(np.float32)
        output, _ = self._executor.run(np.ascontiguousarray(image[None]), days[None])
        objective = self.model.objective
        said = objective.from_moments(objective.moments(output))
        value, total = (to_numpy(part)[0, :, :height, :width].astype(np.float32) for part in (said.value, said.total))
        unseen = ~np.isfinite(image[:, 0, :height, :width]).any(axis=0)
        value[:, unseen] = np.nan
        total[:, unseen] = np.nan
        return value, total


def hold_out_model(
    run: RestorationRun, windows: Sequence[SeriesWindow], *, whole: bool, seed: int = 0
) -> HeldOut | None:
    """Hide clear pixels under simulated clouds and fill them by a model.

    Args:
        run: The model.
        windows: Of the series.
        whole: Hide whole dates.
        seed: Of the clouds.

    Returns:
        The results; None if the model cannot be tried so, or nothing could be hidden.
    """
    if not run.hides:
        return None
    parts: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.int64]]] = []
    for number, window in enumerate(windows):
        shape = (int(window.clear.shape[1]), int(window.clear.shape[2]))
        rows, cols = np.mgrid[: shape[0], : shape[1]]
        block = (rows // _BLOCK) * 1000 + cols // _BLOCK
        for date in range(len(window.days)):
            cover = cover_field(shape, COVER, 7919 * seed + 101 * number + date, longest=max(4.0, max(shape) / 3.0))
            cover = np.ones(shape, bool) if whole else cover
            hidden = cover & window.clear[date]
            if hidden.sum() < _FEWEST:
                continue
            mean, deviation = run.fill(window, date, cover)
            group = (number * len(window.days) + date) * 1_000_000 + block[hidden]
            truth = window.image[date][: len(mean)][:, hidden]
            parts.append((mean[:, hidden], deviation[:, hidden], truth, group.astype(np.int64)))
    if not parts:
        return None
    means, deviations, truths = (
        np.concatenate([part[k] for part in parts], axis=1).astype(np.float64) for k in range(3)
    )
    groups = np.concatenate([part[3] for part in parts])
    return HeldOut(means, deviations, truths, groups, np.full(len(groups), np.nan))


@dataclass(frozen=True)
class SeriesTrust:
    """What the hidden clear pixels of a series say of a model.

    Attributes:
        calibration: Of its error bars, in the order of the scenes' bands.
        scores: Its errors.
    """

    calibration: Calibration
    scores: dict[str, float]


def trust_on_series(
    model: Model, source: ClearInput, kinds: Sequence[bool], *, seed: int = 0
) -> dict[bool, SeriesTrust | None]:
    """Try a model on hidden clear pixels of a series.

    Args:
        model: Its bands are among those of the series.
        source: The series.
        kinds: Whether whole dates are hidden, once for each kind that is wanted.
        seed: Of the clouds.

    Returns:
        For each kind what was found; None if the model cannot be tried so, or nothing could be hidden.
    """
    if not fills_given_date(stated_of(model.spec)):
        return dict.fromkeys(kinds)
    keep_freed_memory()  # as a map does: the passes would take the same memory again and again
    run = RestorationRun(model)
    windows = windows_of(source, model)
    order = band_order(model, source.bands)
    found: dict[bool, SeriesTrust | None] = {}
    for whole in kinds:
        held = hold_out_model(run, windows, whole=whole, seed=seed)
        if held is not None:
            held = replace(held, mean=held.mean[order], deviation=held.deviation[order], truth=held.truth[order])
        found[whole] = None if held is None else SeriesTrust(calibrate(held), held.scores())
    return_freed_memory()
    return found


def band_order(model: Model, bands: Sequence[str]) -> list[int]:
    """Return the place of each band among those that the model restores."""
    restored = list(stated_of(model.spec)["bands"])
    return [restored.index(band) for band in bands]


def windows_of(source: ClearInput, model: Model) -> list[SeriesWindow]:
    """Return windows spread over a series, in the model's channels."""
    matched = model.match(replace(source.stack, mask_clouds=False))
    height, width = source.shape
    rows, cols = min(_EDGE, height), min(_EDGE, width)
    steps = np.linspace(0.0, 1.0, _WINDOWS) if max(height, width) > _EDGE else np.zeros(1)
    found = []
    for place, step in enumerate(steps.tolist()):
        across = (place * 0.6180339887) % 1.0  # evenly spread, never along one line
        window = Window(round(step * (height - rows)), round(across * (width - cols)), rows, cols)
        image = matched.read(window).image
        clear = source.read(window).clear.reshape(-1, rows, cols)
        found.append(SeriesWindow(image, clear, source.days))
    return found
