"""The verb `view --model --scenes`: the page explains places by occlusion, when it is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.core.progress import silent
from ecumene.core.threads import available_threads
from ecumene.explanation.occlusion import Group, Occluder, input_groups
from ecumene.explanation.scores import Scores
from ecumene.models.bundle import Model
from ecumene.scenes.contract import Stack
from ecumene.workflows import explain_methods as run
from ecumene.workflows.explain_place import Place, locate_point
from ecumene.workflows.explain_result import Explanation

if TYPE_CHECKING:
    from ecumene.viewer.server.extension import Extension
    from ecumene.viewer.server.library import Library, ProductEntry
    from ecumene.viewer.server.why import Step

MOST_STEPS = 400
"""Inputs that are hidden one after the other at most; a model with more is explained by `ecumene explain`."""

MOST_SHOWN = 10
"""Inputs of a kind that the page lists."""

_KINDS = ("sensor", "band", "date")


class _Watched(Scores):
    """Scores that can be stopped before every run of the model."""

    step: Step | None = None

    def __call__(self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        if self.step is not None:
            self.step()
        return super().__call__(image, dates)


@dataclass(frozen=True)
class PointExplainer:
    """Explains single places of the map that a model made of scenes.

    Attributes:
        scores: Of the model.
        stack: The matched scenes.
        entry: The product, whose class is compared with what is explained.
    """

    scores: _Watched
    stack: Stack
    entry: ProductEntry

    def __call__(self, lon: float, lat: float, step: Step) -> dict[str, Any]:
        """Hide every sensor, band and date at a place, one after the other.

        Args:
            lon: Longitude in degrees.
            lat: Latitude in degrees.
            step: Called before every run of the model; what it raises ends the explanation.

        Returns:
            `text`, `notes` and `sections` as the page shows them.

        Raises:
            SceneError: If the place lies outside of the scenes or on pixels without data.
        """
        self.scores.step = step
        explanation = self._explained(locate_point(self.stack.geobox, f"{lon!r},{lat!r}", "OGC:CRS84"))
        return {
            "text": explanation.sentence,
            "notes": self._notes(explanation, lon, lat),
            "sections": _sections(explanation),
        }

    def _explained(self, place: Place) -> Explanation:
        groups = _groups(self.scores.model, self.stack)
        channel = run.decided(self.scores, self.stack, place, None, "choose another place")
        occluder = Occluder.of(self.scores.model.spec.inputs)
        area = run.area_effects(self.scores, self.stack, place.view, groups, occluder, channel, silent)
        explanation = Explanation(
            target=self.scores.names[channel],
            unit=self.scores.unit,
            score=run.score_of(area, place),
            place=place.text,
            model=self.scores.model.spec.name,
            baseline=occluder.baseline,
        )
        run.add_occlusion(explanation, groups, area, place)
        return explanation

    def _notes(self, explanation: Explanation, lon: float, lat: float) -> list[str]:
        """Say where the map itself holds something else than what was explained."""
        mapped = (self.entry.pixel(lon=lon, lat=lat)["value"] or {}).get("class")
        if mapped is None or mapped == explanation.target:
            return []
        return [
            f"The map says {mapped} here: it was made of other scenes than these, or changed by its neighbourhood or a "
            "mask afterwards."
        ]


def _groups(model: Model, stack: Stack) -> tuple[Group, ...]:
    """Return sensors, bands and dates, which are hidden one after the other."""
    return input_groups(model.spec.inputs, run.date_names(stack))


def _sections(explanation: Explanation) -> list[dict[str, Any]]:
    sections = []
    for kind in _KINDS:
        effects = [effect for effect in explanation.of_kind(kind) if np.isfinite(effect.fall)]
        if effects:
            sections.append(
                {
                    "title": f"Fall of the {explanation.unit} of {explanation.target} when the {kind} is hidden",
                    "product": explanation.model,
                    "description": "occlusion, computed for this place",
                    "bands": [{"name": effect.name, "value": effect.fall} for effect in effects[:MOST_SHOWN]],
                }
            )
    return sections


def open_why(
    library: Library,
    models: Sequence[Path | Model],
    scenes: Sequence[str],
    declaration: Mapping[str, Any] | None = None,
) -> Extension:
    """Return the part of the server that explains places of the products that a model made.

    Args:
        library: The products.
        models: The one model, or its folder.
        scenes: Its scenes, one path an acquisition.
        declaration: What the scenes' files do not say (`sensor`, `level`, ...).

    Raises:
        ConfigurationError: If it needs something else, or cannot be done for this model.
        ContractError: If the scenes are none for the model.
        SceneError: If a scene cannot be opened.
    """
    from ecumene.viewer.server.why import why_extension
    from ecumene.workflows.stacks import open_stack

    if len(models) != 1:
        raise ConfigurationError("--scenes lets the page explain places, for which it needs one --model.")
    model = Model.of(models[0])
    if model.spec.patch_size is not None:
        raise ConfigurationError("This model judges whole images; explain one with: ecumene explain.")
    masked = bool(model.spec.training.get("mask_clouds", True))
    stack = model.match(open_stack(list(scenes), mask_clouds=masked, **(declaration or {})))
    _check_local(stack)
    inputs = len(_groups(model, stack))
    if inputs > MOST_STEPS:
        raise ConfigurationError(f"The model has {inputs} inputs, too many to hide for a click; use ecumene explain.")
    entries = _entries(library, model.checksum)
    scores = _Watched(model, max(1, available_threads() // 2))
    explain: Mapping[str, PointExplainer] = {
        entry.identifier: PointExplainer(scores, stack, entry) for entry in entries
    }
    return why_extension(explain)


def _entries(library: Library, checksum: str) -> list[ProductEntry]:
    """Return the products of a model that have a place on the Earth."""
    from ecumene.viewer.server.library import ProductEntry

    products = [entry for entry in library.entries.values() if isinstance(entry, ProductEntry)]
    made = [entry for entry in products if entry.product.model_checksum == checksum]
    found = [entry for entry in made if entry.description["georeferenced"]]
    if not found:
        raise ConfigurationError(
            "--scenes lets the page explain single maps of --model with a place on the Earth; none of these is one."
        )
    return found


def _check_local(stack: Stack) -> None:
    """Make sure that no click can make the server fetch anything.

    Raises:
        ConfigurationError: If a scene lies on another machine.
    """
    from ecumene.scenes.security import is_remote

    hrefs = [(source.id, band.href) for source in stack.sources for band in source.bands]
    hrefs += [(source.id, source.mask.href) for source in stack.sources if source.mask and source.mask.href]
    far = next((name for name, href in hrefs if is_remote(href)), None)
    if far is not None:
        raise ConfigurationError(
            f"The scene {far} lies on another machine, which the web map never asks; fetch it first."
        )
