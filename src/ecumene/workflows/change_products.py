"""Change between two products of classes: from what to what, with the probabilities of both maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from ecumene.change.class_pair import FromTo, JointPrior, compare_classes, compare_codes, estimate_joint
from ecumene.change.sharpness import sharpness_results
from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.indicators.areas import pixel_areas
from ecumene.legends import Legend, LegendClass
from ecumene.mapping.layers import VALID
from ecumene.mapping.product import Product
from ecumene.objectives.prediction import LayerSpec
from ecumene.samples.raster_labels import tiles
from ecumene.scenes.grid import full_window
from ecumene.viewer.charts import Axis, Chart, ChartTable, Series
from ecumene.workflows.change_scenes import error_layer, outlier_layer, probability_layer, value_layer
from ecumene.workflows.product_layers import ClassLayers, open_classes

_TILE = 1024
_SAMPLE = 100_000  # pixels that the prior of pairs of classes is estimated from
_MOST_KINDS = 60
_OTHER = 254


@dataclass
class ClassChange:
    """Two products of the same classes, opened, with what is added up while tiles are computed.

    Attributes:
        before: First product.
        after: Second product.
        geobox: The common grid.
        joint: Prior of the pairs of classes; None: a map has no probabilities.
        kinds: Code of each (from, to) pair of class indices that has one of its own.
        areas_m2: Mapped area of each pair of classes, `[K, K]`, from and to.
        expected_m2: Sum of area times probability of change.
        total_m2: Area with a class at both dates.
    """

    before: ClassLayers
    after: ClassLayers
    geobox: GeoBox
    joint: JointPrior | None
    kinds: Mapping[tuple[int, int], int]
    areas_m2: NDArray[np.float64]
    expected_m2: float = 0.0
    total_m2: float = 0.0

    @classmethod
    def of(
        cls, first: Product, second: Product, geobox: GeoBox, stay: float | None, stack: contextlib.ExitStack
    ) -> ClassChange:
        """Open two products and learn what the whole maps say.

        Args:
            first: Before.
            second: After, of the same classes.
            geobox: Grid of the result.
            stay: Share of pixels that keep their class; None: estimated.
            stack: Closes the files.

        Raises:
            ConfigurationError: If `stay` is out of range, or no pixel has a class at both dates.
        """
        if stay is not None and not 0.0 < stay < 1.0:
            raise ConfigurationError(f"The share that keeps its class must lie between 0 and 1, but is {stay:g}.")
        before, after = open_classes(first, stack, geobox), open_classes(second, stack, geobox)
        count = len(before.legend)
        made = cls(before, after, geobox, None, {}, np.zeros((count, count)))
        if before.chances is not None and after.chances is not None:
            made.joint = estimate_joint(made._sampled(), stay)
        made.kinds = made._frequent_kinds()
        return made

    def _sampled(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield probabilities of a regular sample of pixels, tile by tile."""
        whole = full_window(self.geobox)
        step = max(1, int(np.ceil(np.sqrt(whole.height * whole.width / _SAMPLE))))
        for window in tiles(whole, _TILE):
            one, two = self.before.probabilities(window), self.after.probabilities(window)
            assert one is not None  # only maps with probabilities are sampled
            assert two is not None
            rows = slice((-window.row) % step, None, step)
            cols = slice((-window.col) % step, None, step)
            first, second = one[:, rows, cols], two[:, rows, cols]
            good = np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0)
            yield first[:, good], second[:, good]

    def compare(self, window: Window) -> FromTo:
        """Compare the maps in a window."""
        first, known_first = self.before.classes(window)
        second, known_second = self.after.classes(window)
        valid = known_first & known_second
        if self.joint is None:
            return compare_codes(first, second, valid)
        one, two = self.before.probabilities(window), self.after.probabilities(window)
        assert one is not None  # the prior is known only where both maps have probabilities
        assert two is not None
        return compare_classes(one, two, valid, self.joint)

    def _frequent_kinds(self) -> dict[tuple[int, int], int]:
        """Give codes to the pairs of classes that occur, the most frequent first."""
        count = len(self.before.legend)
        pairs = np.zeros(count * count, np.int64)
        seen = 0
        for window in tiles(full_window(self.geobox), _TILE):
            found = self.compare(window)
            seen += int(found.valid.sum())
            both = found.before[found.changed].astype(np.int64) * count + found.after[found.changed]
            pairs += np.bincount(both, minlength=count * count)
        if not seen:
            raise ConfigurationError("The maps have no pixel with a class at both dates; choose maps that overlap.")
        order = [int(pair) for pair in np.argsort(-pairs, kind="stable")[:_MOST_KINDS] if pairs[pair]]
        return {divmod(pair, count): code for code, pair in enumerate(order, 1)}

    def legend(self) -> Legend:
        """Return the classes of the layer `kind`."""
        names, colours = self.before.legend.names, [entry.colour for entry in self.before.legend.classes]
        entries = [LegendClass(value=0, name="no change", colour="#e6e6e6")]
        for (source, target), code in self.kinds.items():
            colour = _mixed(colours[source], colours[target])
            entries.append(LegendClass(value=code, name=f"{names[source]} to {names[target]}", colour=colour))
        entries.append(LegendClass(value=_OTHER, name="other change", colour="#000000"))
        return Legend(name="from-to", classes=tuple(entries))

    def tile(self, window: Window) -> dict[str, NDArray[Any]]:
        """Return all layers of a window, and add its areas up."""
        found = self.compare(window)
        areas = np.broadcast_to(pixel_areas(self.geobox, window), found.valid.shape)
        count = len(self.before.legend)
        both = found.before[found.valid].astype(np.int64) * count + found.after[found.valid]
        sums = np.bincount(both, weights=areas[found.valid], minlength=count * count)
        self.areas_m2 += sums.reshape(count, count)
        self.total_m2 += float(areas[found.valid].sum())
        kind = np.zeros(found.valid.shape, np.uint8)
        kind[found.changed] = _OTHER
        for (source, target), code in self.kinds.items():
            kind[found.changed & (found.before == source) & (found.after == target)] = code
        codes = np.asarray(self.before.legend.values)
        odd = self.before.flags(window) | self.after.flags(window)
        layers = {
            "value": found.changed[None],
            "kind": kind[None],
            "from": codes[np.where(found.valid, found.before, 0)][None],
            "to": codes[np.where(found.valid, found.after, 0)][None],
            "outlier": (odd & found.valid)[None],
            "valid": found.valid[None],
        }
        if self.joint is not None:
            chance = found.probability
            self.expected_m2 += float((areas[found.valid] * chance[found.valid]).sum())
            layers |= {"error": found.error[None], "probability": np.stack([1.0 - chance, chance])}
        return layers

    def layers(self) -> tuple[LayerSpec, ...]:
        """Return the specifications of the layers."""
        known = self.joint is not None
        said = "the class differs between the maps" if not known else "the class probably differs between the dates"
        specs = [value_layer(f"1 where {said}")]
        specs += [error_layer(), probability_layer()] if known else []
        shared: dict[str, Any] = {"dtype": "uint8", "nodata": 255, "categorical": True}
        specs.append(LayerSpec("kind", description="from which class to which", band_names=("kind",), **shared))
        specs.append(LayerSpec("from", description="class at the first date", band_names=("class",), **shared))
        specs.append(LayerSpec("to", description="class at the second date", band_names=("class",), **shared))
        specs.append(outlier_layer("1 where one of the maps is flagged as outlier; distrust its class"))
        return (*specs, VALID)

    def results(self) -> dict[str, Any]:
        """Return the figures of the run."""
        names = self.before.legend.names
        changed = self.areas_m2.sum() - np.trace(self.areas_m2)
        found: dict[str, Any] = {
            "total_m2": self.total_m2,
            "changed_m2": float(changed),
            "from_to_m2": {
                names[i]: {names[j]: float(self.areas_m2[i, j]) for j in range(len(names)) if self.areas_m2[i, j]}
                for i in range(len(names))
                if self.areas_m2[i].any()
            },
        }
        if self.joint is not None:
            found |= {
                "expected_changed_m2": self.expected_m2,
                "share_that_keeps_its_class": self.joint.stay,
                "prior_of_pairs": {
                    source: dict(zip(names, map(float, row), strict=True))
                    for source, row in zip(names, self.joint.pairs, strict=True)
                },
                **sharpness_results(self.joint.sharpness),
            }
        return found

    def charts(self) -> list[Chart]:
        """Return the areas of the most frequent changes as a chart."""
        names = self.before.legend.names
        pairs = sorted(
            ((self.areas_m2[pair] / 1e4, f"{names[pair[0]]} to {names[pair[1]]}") for pair in self.kinds), reverse=True
        )[:12]
        if not pairs:
            return []
        rows = [[name, f"{area:,.2f}"] for area, name in pairs]
        return [
            Chart(
                id="from-to",
                title="What became what",
                kind="bars",
                caption="Mapped area of the most frequent changes.",
                x=Axis(categories=[name for _, name in pairs]),
                y=Axis(label="area", unit="ha"),
                series=[Series(name="area", y=[float(area) for area, _ in pairs], colour="#d55e00")],
                table=ChartTable(columns=["change", "area, ha"], rows=rows),
            )
        ]


def _mixed(source: str, target: str) -> str:
    """Return a colour that is mostly that of the new class."""
    parts = [(int(source[k : k + 2], 16), int(target[k : k + 2], 16)) for k in (1, 3, 5)]
    return "#" + "".join(f"{round(0.3 * one + 0.7 * two):02x}" for one, two in parts)
