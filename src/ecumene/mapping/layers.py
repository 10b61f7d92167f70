"""Which layers a map has, in which order, and how they are stored."""

from __future__ import annotations

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.mapping.contract import MapModel
from ecumene.mapping.options import MapOptions
from ecumene.objectives.prediction import LayerSpec

OUTLIER = LayerSpec(
    name="outlier",
    dtype="uint8",
    nodata=255,
    categorical=True,
    role="outlier",
    description="1 where the pixel is unlike everything that the model was trained on; its value must not be trusted",
)
VALID = LayerSpec(
    name="valid",
    dtype="uint8",
    nodata=255,
    categorical=True,
    role="valid",
    description="1 where the pixel was mapped, 0 where there were no usable data or it lies outside of the clip",
)
FLAG_NAMES = {"outlier": ("known", "outlier"), "valid": ("not mapped", "mapped")}
"""What the codes 0 and 1 of the flag layers mean."""


def outlier_threshold(model: MapModel) -> float | None:
    """Return the score above which a pixel is flagged, or None if the model has none."""
    return None if model.detector is None else model.detector.threshold


def resolve_layers(model: MapModel, options: MapOptions) -> tuple[LayerSpec, ...]:
    """Return the layers to write: the objective's, the calibration's, outlier, valid.

    Probability layers are written when asked for, and with polygons, whose mean probability they give.

    Raises:
        ConfigurationError: If a layer is asked for that the model does not have, or the model does not map.
        ModelError: If two layers have one name.
    """
    objective = model.objective
    if objective.unit_of_work != "pixel":
        raise ConfigurationError(
            f"The model {model.spec.name} labels whole scenes, not pixels; a map needs a segmentation or regression."
        )
    specs = list(objective.layer_specs())
    if model.calibration is not None:
        specs += model.calibration.extra_layer_specs(objective)
    if outlier_threshold(model) is not None:
        specs.append(OUTLIER)
    specs.append(VALID)
    names = [spec.name for spec in specs]
    if len(set(names)) != len(names):
        raise ModelError(f"The model {model.spec.name} has two layers of one name ({', '.join(sorted(names))}).")
    if options.layers is not None:
        unknown = sorted(set(options.layers) - set(names))
        if unknown:
            raise ConfigurationError(f"The model has no layer {unknown[0]!r}; it has: {', '.join(names)}.")
    with_probability = options.probability or (options.polygons and objective.legend is not None)
    if options.polygons and objective.legend is None:
        raise ConfigurationError("Polygons need a map of classes; this model's value is a number.")
    return tuple(spec for spec in specs if _wanted(spec, options, with_probability))


def _wanted(spec: LayerSpec, options: MapOptions, with_probability: bool) -> bool:
    if spec.role == "valid" or (options.polygons and spec.role == "value"):
        return True
    if spec.role == "probability" and with_probability:
        return True
    if options.layers is not None:
        return spec.name in options.layers
    return spec.role != "probability"
