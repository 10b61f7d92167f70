"""`clear --model`: dates filled by a trained model, which the mapping engine executes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, ModelError, NothingToMapError
from ecumene.core.window import Window
from ecumene.mapping.engine import map_stack
from ecumene.mapping.options import MapOptions
from ecumene.mapping.product import Product
from ecumene.models.bundle import Model
from ecumene.restoration.contract import SeriesPixels, Target
from ecumene.scenes.contract import Stack
from ecumene.workflows.clear_fill import Estimate, Filler, rounded
from ecumene.workflows.clear_model_trust import SeriesTrust, band_order
from ecumene.workflows.clear_radar import MeasuredStack
from ecumene.workflows.clear_scenes import ClearInput
from ecumene.workflows.clear_wanted import clouded_cells, outlines
from ecumene.workflows.product_layers import opened_layer
from ecumene.workflows.restoration_statement import FIRST_DATE, stated_of

_FOLDER = ".model"


@dataclass(frozen=True)
class ModelFiller(Filler):
    """Fills by the map that a model has made of the dates.

    Attributes:
        model: The bundle.
        mapped: Its map, at least of the pixels to fill: `value` and `uncertainty`, and `outlier` where the model has a
            detector; None where there is nothing to fill, or no pixel has what the model needs.
        needed: Whether there is anything to fill.
        dates: Dates that the model has seen, ascending.
        trust: What this series says of its error bars; None: nothing.
    """

    model: Model
    mapped: Product | None
    needed: bool
    dates: tuple[str, ...]
    trust: SeriesTrust | None

    @property
    def method(self) -> str:
        """What fills."""
        return self.model.spec.name

    def pixels(self, window: Window) -> tuple[SeriesPixels, int | None]:
        """Read the wanted date alone: the model has read the others."""
        index = self.target.index
        return super().pixels(window) if index is None else (self.source.at(index).read(window), 0)

    def estimate(self, window: Window, series: SeriesPixels, wanted: NDArray[np.intp]) -> Estimate:
        """See `Filler`."""
        strange = np.zeros(len(wanted), bool)
        if self.mapped is None:
            nothing = np.full((series.bands, len(wanted)), np.nan, np.float32)
            return nothing, nothing, strange
        order = band_order(self.model, self.source.bands)
        value, spread = (self._read(name, window)[order][:, wanted] for name in ("value", "uncertainty"))
        if "outlier" in self.mapped.layers:
            strange = self._read("outlier", window)[0, wanted] == 1
        if self.trust is not None:
            known = np.isfinite(value).all(axis=0)
            unknown = np.full(int(known.sum()), np.nan)
            spread[:, known] = self.trust.calibration.apply(value[:, known], spread[:, known], unknown)
        return value, spread, strange

    def _read(self, layer: str, window: Window) -> NDArray[np.float32]:
        """Return a layer `[bands, h * w]` in physical units, NaN without data."""
        assert self.mapped is not None
        with opened_layer(self.mapped, layer) as opened:
            values = opened.read(window).astype(np.float32)
        return values.reshape(len(values), -1)

    def account(self) -> tuple[str, dict[str, Any]]:
        """See `Filler`."""
        bars = "as its own calibration gives them"
        if self.trust is not None:
            blocks = self.trust.calibration.groups
            bars = f"recalibrated on {blocks} blocks of this series' clear pixels that were hidden"
        name = self.model.spec.name
        lineage = f"Clouds and shadows filled by the model {name} from {len(self.dates)} date(s); error bars {bars}."
        if not self.needed:
            lineage = f"Every pixel was observed under a clear sky, so that the model {name} filled none."
        elif self.mapped is None:
            lineage = f"No pixel could be filled, because none has all channels that the model {name} needs."
        figures: dict[str, Any] = {
            "model": {
                "name": name,
                "checksum": self.model.checksum,
                "predicts": stated_of(self.model.spec).get("predicts"),
            },
            "dates_used": list(self.dates),
        }
        if self.trust is not None:
            figures["held_out"] = {self.method: rounded(self.trust.scores)}
            figures["calibration"] = self.trust.calibration.to_dict(self.source.bands)
        return lineage, figures


def open_restoration_model(model: str | Path, source: ClearInput) -> Model:
    """Load a model and check that it restores these bands.

    Raises:
        ModelError: If it is no model that fills clouds.
        ContractError: If it does not give all bands of the scenes.
    """
    bundle = Model.of(model)
    stated = stated_of(bundle.spec)
    if not stated.get("bands"):
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


class SeriesMaps:
    """How a model maps the dates of a series: executed alike for all of them, on the pixels that are to be filled.

    What executes the network is chosen for the first date (`models.selection`); the others take it without a trial.

    Args:
        model: The bundle.
        keep_observed: Whether clear pixels keep their measured value, so that the model need not see them.
    """

    def __init__(self, model: Model, keep_observed: bool) -> None:
        self.model, self.keep_observed = model, keep_observed
        self._executed: Model = model
        self._chosen: dict[str, Any] = {}

    def map(self, source: ClearInput, target: Target, stack: Stack, first: int | None, out: Path) -> Product:
        """Map the dates that the model sees; pixels far from any that is to be filled are left out.

        Raises:
            NothingToFill: If every pixel of the day keeps its measured value.
            NothingToMapError: If no pixel has what the model needs.
        """
        clip = None
        if self.keep_observed and target.index is not None:
            date = source.at(target.index)
            cells = clouded_cells(date)
            if not cells.any():
                raise NothingToFill
            whole = cells.all() or date.stack.geobox.crs is None  # the engine says what is to be done without one
            clip = None if whole else outlines(cells, date)
        layers = ("value", "uncertainty", *(() if self.model.outlier_threshold is None else ("outlier",)))
        options = MapOptions(quicklook=False, overwrite=True, first_date=first, layers=layers, **self._chosen)
        product = map_stack(stack, self._executed, out, options=options, clip=clip)
        if not self._chosen:
            self._keep(product.properties["ecumene:execution"])
        return product

    def _keep(self, execution: Mapping[str, Any]) -> None:
        """Execute the other dates as the first one was."""
        self._chosen = {"backend": execution["backend"], "precision": execution["precision"]}
        if (execution.get("choice") or {}).get("exported_in_run"):
            from ecumene.models.selection import with_graph

            self._executed = with_graph(self.model)


class NothingToFill(Exception):
    """Every pixel of a day keeps its measured value."""


@contextmanager
def model_filler(
    maps: SeriesMaps,
    source: ClearInput,
    target: Target,
    folder: Path,
    noise: NDArray[np.float64],
    spread: NDArray[np.float64],
    trust: SeriesTrust | None,
) -> Iterator[ModelFiller]:
    """Map the dates that the model needs into the product's folder, and delete that map at the end.

    Raises:
        ConfigurationError: If the model restores a single image and the day was not measured.
    """
    model = maps.model
    stack, first = seen_by(model, source, target)
    work = folder / _FOLDER
    mapped: Product | None = None
    needed = True
    try:
        try:
            mapped = maps.map(source, target, stack, first, work)
        except NothingToFill:
            needed = False
        except NothingToMapError:  # as where no radar is near: the date is beyond repair, others may not be
            pass
        dates = tuple(str(time)[:10] for time in stack.times) if needed else ()
        yield ModelFiller(source, target, maps.keep_observed, noise, spread, model, mapped, needed, dates, trust)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def seen_by(model: Model, source: ClearInput, target: Target) -> tuple[Stack, int | None]:
    """Return the dates that the model sees, ascending, and the place of the one that it is to be given first.

    They are the nearest to the day, with or without their clouds as the model was taught. Exact zeros in all radar
    channels are no measurement, as in its training.

    Raises:
        ConfigurationError: If the model fills a measured date and the day was not measured, or it needs more dates.
    """
    stated = stated_of(model.spec)
    whole = replace(source.stack, mask_clouds=stated.get("clouds") == "masked")
    given = stated.get("target_date") == FIRST_DATE
    if (given or not model.spec.temporal) and target.index is None:
        raise ConfigurationError(
            f"The model {model.spec.name} restores a date that was measured; give --date of one of the scenes."
        )
    if not model.spec.temporal:
        assert target.index is not None
        return MeasuredStack(whole.at(target.index)), None
    nearest = np.argsort(np.abs(source.days - target.day), kind="stable")[: max(int(stated.get("dates") or 1), 2)]
    if len(nearest) < 2:
        raise ConfigurationError(f"The model {model.spec.name} fills a date from others; give two dates or more.")
    chosen = sorted(int(index) for index in nearest)
    stack = replace(whole, frames=tuple(whole.frames[index] for index in chosen))
    return MeasuredStack(stack), chosen.index(target.index) if given and target.index is not None else None
