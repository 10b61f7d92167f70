"""`clear --model`: dates filled by a trained model, which the mapping engine executes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, ModelError
from ecumene.core.window import Window
from ecumene.mapping.engine import map_stack
from ecumene.mapping.options import MapOptions
from ecumene.mapping.product import Product
from ecumene.models.bundle import Model
from ecumene.restoration.contract import SeriesPixels, Target
from ecumene.restoration.holdout import Calibration, HeldOut, calibrate
from ecumene.scenes.stack import SceneStack
from ecumene.workflows.clear_fill import Estimate, Filler, rounded
from ecumene.workflows.clear_model_trust import STATEMENT
from ecumene.workflows.clear_scenes import ClearInput

_FOLDER = ".model"


@dataclass(frozen=True)
class ModelFiller(Filler):
    """Fills by the map that a model has made of the dates.

    Attributes:
        model: The bundle.
        mapped: Its map: `value` and `uncertainty`, and `outlier` where the model has a detector.
        positions: Place of each of the scene's bands among the model's.
        dates: Dates that the model has seen.
        calibration: Of its error bars on this series; None: its own.
        scores: Errors on hidden clear pixels, where it could be tried.
    """

    model: Model
    mapped: Product
    positions: tuple[int, ...]
    dates: tuple[str, ...]
    calibration: Calibration | None
    scores: dict[str, float]

    @property
    def method(self) -> str:
        """What fills."""
        return self.model.spec.name

    def estimate(self, window: Window, series: SeriesPixels, wanted: NDArray[np.intp]) -> Estimate:
        """See `Filler`."""
        value, spread = (self._read(name, window)[list(self.positions)] for name in ("value", "uncertainty"))
        strange = np.zeros(window.height * window.width, bool)
        if "outlier" in self.mapped.layers:
            strange = self._read("outlier", window)[0] == 1
        value, spread = value[:, wanted], spread[:, wanted]
        if self.calibration is not None:
            known = np.isfinite(value).all(axis=0)
            unknown = np.full(int(known.sum()), np.nan)
            spread[:, known] = self.calibration.apply(value[:, known], spread[:, known], unknown)
        return value, spread, strange[wanted]

    def _read(self, layer: str, window: Window) -> NDArray[np.float32]:
        """Return a layer `[bands, h * w]` in physical units, NaN without data."""
        import rasterio
        from rasterio.windows import Window as RasterWindow

        found = self.mapped.layers[layer]
        with rasterio.open(found.path) as raster:
            place = RasterWindow(window.col, window.row, window.width, window.height)
            stored = raster.read(window=place, masked=True).astype(np.float32).filled(np.nan)
        return np.asarray(stored * found.scale + found.offset, np.float32).reshape(len(stored), -1)

    def account(self) -> tuple[str, dict[str, Any]]:
        """See `Filler`."""
        stated = self.model.spec.training.get(STATEMENT, {})
        bars = "as its own calibration gives them"
        if self.calibration is not None:
            bars = f"recalibrated on {self.calibration.groups} blocks of this series' clear pixels that were hidden"
        lineage = (
            f"Clouds and shadows filled by the model {self.model.spec.name} from {len(self.dates)} date(s); error bars "
            f"{bars}."
        )
        figures: dict[str, Any] = {
            "model": {
                "name": self.model.spec.name,
                "checksum": self.model.checksum,
                "predicts": stated.get("predicts"),
            },
            "dates_used": list(self.dates),
        }
        if self.calibration is not None:
            figures["held_out"] = {self.method: rounded(self.scores)}
            figures["calibration"] = self.calibration.to_dict(self.source.bands)
        return lineage, figures


def open_restoration_model(model: str | Path, source: ClearInput) -> Model:
    """Load a model and check that it restores these bands.

    Raises:
        ModelError: If it is no model that fills clouds.
        ContractError: If it does not give all bands of the scenes.
    """
    bundle = Model.of(model)
    stated = bundle.spec.training.get(STATEMENT)
    if not isinstance(stated, dict) or not stated.get("bands"):
        raise ModelError(
            f"The model {bundle.spec.name} does not fill clouds; train one with a restoration system (see systems)."
        )
    missing = [band for band in source.bands if band not in stated["bands"]]
    if missing:
        raise ContractError(
            f"The model {bundle.spec.name} does not restore {', '.join(missing)}; choose its bands by --bands "
            f"{','.join(stated['bands'])}."
        )
    return bundle


@contextmanager
def model_filler(
    model: Model,
    source: ClearInput,
    target: Target,
    folder: Path,
    keep_observed: bool,
    noise: NDArray[np.float64],
    spread: NDArray[np.float64],
    held: HeldOut | None,
) -> Iterator[ModelFiller]:
    """Map the dates that the model needs into the product's folder, and delete that map at the end.

    `held` are hidden clear pixels of this series by which error bars are recalibrated, or None.

    Raises:
        ConfigurationError: If the model restores a single image and the day was not measured.
    """
    stated = model.spec.training[STATEMENT]
    stack = stack_for(model, source, target)
    work = folder / _FOLDER
    try:
        mapped = map_stack(stack, model, work, options=MapOptions(quicklook=False, overwrite=True))
        positions = tuple(list(stated["bands"]).index(band) for band in source.bands)
        dates = tuple(str(time)[:10] for time in stack.times)
        order = list(positions)
        mended = None if held is None else replace(held, mean=held.mean[order], deviation=held.deviation[order])
        mended = None if mended is None else replace(mended, truth=mended.truth[order])
        yield ModelFiller(
            source,
            target,
            keep_observed,
            noise,
            spread,
            model,
            mapped,
            positions,
            dates,
            None if mended is None else calibrate(mended),
            {} if mended is None else mended.scores(),
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def stack_for(model: Model, source: ClearInput, target: Target) -> SceneStack:
    """Return the dates that the model sees: the nearest to the day, with or without their clouds as it was taught.

    Raises:
        ConfigurationError: If the model fills a measured date and the day was not measured, or it needs more dates.
    """
    stated = model.spec.training[STATEMENT]
    whole = replace(source.stack, mask_clouds=stated.get("clouds") == "masked")
    first = stated.get("target_date") == "first-date"
    if (first or not model.spec.temporal) and target.index is None:
        raise ConfigurationError(
            f"The model {model.spec.name} restores a date that was measured; give --date of one of the scenes."
        )
    if not model.spec.temporal:
        assert target.index is not None
        return whole.at(target.index)
    nearest = np.argsort(np.abs(source.days - target.day), kind="stable")[: max(int(stated.get("dates") or 1), 2)]
    if len(nearest) < 2:
        raise ConfigurationError(f"The model {model.spec.name} fills a date from others; give two dates or more.")
    chosen = [int(index) for index in (nearest if first else np.sort(nearest))]
    return replace(whole, frames=tuple(whole.frames[index] for index in chosen))
