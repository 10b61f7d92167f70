"""The bundle's `model.json`: a STAC Item with the machine-learning-model (MLM) extension.

Fields of the extension are written through the typed models below, so that they are right by
construction; the core of the Item is validated with the schemas that ship with pystac, offline.
Sources: STAC 1.1; MLM extension 1.6.0, classification 2.0.0, file 2.1.0, EO 2.0.0 (stac-extensions.github.io).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ecumene.core.errors import ModelError
from ecumene.legends import Legend
from ecumene.models import folder
from ecumene.models.contract import InputBand, ModelSpec

SPEC_PROPERTY = "ecumene:model"
EXTENSIONS = (
    "https://stac-extensions.github.io/mlm/v1.6.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
)
TASKS = {
    "segmentation": "semantic-segmentation",
    "scene-classification": "scene-classification",
    "multi-label": "classification",
    "pixel-regression": "regression",
}
_ASSETS: dict[str, tuple[str, str, list[str], str | None]] = {
    folder.NETWORK_WEIGHTS: ("weights", "application/octet-stream", ["mlm:model", "mlm:weights"], "safetensors"),
    folder.FOREST: ("weights", "application/octet-stream", ["mlm:model", "mlm:weights"], "safetensors"),
    folder.SVM: ("weights", "application/octet-stream", ["mlm:model", "mlm:weights"], "safetensors"),
    folder.BOOSTER: ("weights", "text/plain", ["mlm:model", "mlm:weights"], "lightgbm-text"),
    folder.DETECTOR: ("outlier-detector", "application/octet-stream", ["data"], None),
    folder.ONNX: ("onnx", "application/octet-stream", ["mlm:weights"], "onnx"),
    folder.ONNX_INT8: ("onnx-int8", "application/octet-stream", ["mlm:weights"], "onnx"),
    folder.CARD: ("card", "text/markdown", ["metadata"], None),
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ZScore(_Strict):
    """Value scaling (x - mean) / stddev."""

    type: Literal["z-score"] = "z-score"
    mean: float
    stddev: float = Field(gt=0)


class ArrayShape(_Strict):
    """Shape of an input or output; -1 is any size."""

    shape: list[int] = Field(min_length=1)
    dim_order: list[str] = Field(min_length=1)
    data_type: Literal["float32"] = "float32"


class Processing(_Strict):
    """What is done to the values before they are scaled: `package.module:function`."""

    format: Literal["python"] = "python"
    expression: str


STANDARDISING = Processing(expression="ecumene.scenes.standardised:standardise_dates")


class MlmInput(_Strict):
    """One entry of `mlm:input`."""

    name: str
    bands: list[str]
    input: ArrayShape
    value_scaling: list[ZScore]
    pre_processing_function: Processing | None = None


class MlmClass(_Strict):
    """One entry of `classification:classes`."""

    value: int
    name: str
    description: str
    color_hint: str = Field(pattern=r"^[0-9A-F]{6}$")


class MlmOutput(_Strict):
    """One entry of `mlm:output`."""

    name: str
    tasks: list[str]
    result: ArrayShape
    classes: list[MlmClass] | None = Field(default=None, serialization_alias="classification:classes")
    post_processing_function: None = None


class MlmProperties(_Strict):
    """The MLM fields of an Item's properties."""

    name: str = Field(serialization_alias="mlm:name", min_length=1)
    architecture: str = Field(serialization_alias="mlm:architecture", min_length=1)
    tasks: list[str] = Field(serialization_alias="mlm:tasks", min_length=1)
    framework: str = Field(serialization_alias="mlm:framework")
    input: list[MlmInput] = Field(serialization_alias="mlm:input", min_length=1)
    output: list[MlmOutput] = Field(serialization_alias="mlm:output", min_length=1)
    total_parameters: int = Field(serialization_alias="mlm:total_parameters", ge=0)
    pretrained: bool = Field(default=False, serialization_alias="mlm:pretrained")
    accelerator_constrained: bool = Field(default=False, serialization_alias="mlm:accelerator_constrained")


def _class_entries(legend: Legend | None) -> list[MlmClass] | None:
    if legend is None:
        return None
    return [
        MlmClass(
            value=item.value,
            name=item.name,
            description=item.description or item.name,
            color_hint=item.colour[1:].upper(),
        )
        for item in legend.classes
    ]


def mlm_properties(spec: ModelSpec, n_outputs: int, legend: Legend | None, parameters: int) -> dict[str, Any]:
    """Return the MLM fields for a model."""
    task = TASKS.get(str(spec.objective.get("name")), "regression" if legend is None else "classification")
    series = [-1] if spec.temporal else []
    side = -1 if spec.patch_size is None else spec.patch_size
    properties = MlmProperties(
        name=spec.name,
        architecture=str(spec.architecture.get("name", spec.kind)),
        tasks=[task],
        framework={"network": "pytorch", "boosting": "lightgbm"}.get(spec.kind, "scikit-learn"),
        input=[
            MlmInput(
                name="physical values with NaN for nodata",
                bands=[band.key for band in spec.inputs],
                input=ArrayShape(
                    shape=[-1, *series, len(spec.inputs), side, side],
                    dim_order=["batch", *(["time"] if series else []), "bands", "height", "width"],
                ),
                value_scaling=[ZScore(mean=band.mean, stddev=band.std) for band in spec.inputs],
                pre_processing_function=STANDARDISING if spec.standardised else None,
            )
        ],
        output=[
            MlmOutput(
                name="raw output of the objective",
                tasks=[task],
                result=ArrayShape(
                    shape=[-1, n_outputs, *((-1, -1) if spec.patch_size is None else (1, 1))],
                    dim_order=["batch", "class" if legend else "channel", "height", "width"],
                ),
                classes=_class_entries(legend),
            )
        ],
        total_parameters=parameters,
    )
    dumped = properties.model_dump(by_alias=True)
    for entry in dumped["mlm:output"]:
        if entry["classification:classes"] is None:
            del entry["classification:classes"]
    return dumped


def _band(band: InputBand, standardised: bool) -> dict[str, Any]:
    """Describe an input channel with STAC 1.1 common band fields.

    Statistics are of the band in its unit; where dates are standardised first the bundle has none such.
    """
    statistics = {"mean": band.mean, "stddev": band.std, "minimum": band.minimum, "maximum": band.maximum}
    if standardised:
        statistics = {}
    entry: dict[str, Any] = {
        "name": band.key,
        "description": f"{band.sensor} {band.level} band {band.band}",
        "data_type": "float32",
        "unit": band.unit,
        "nodata": "nan",
    }
    if statistics:
        entry["statistics"] = {key: value for key, value in statistics.items() if value is not None}
    if band.ground_sampling_m is not None:
        entry["gsd"] = band.ground_sampling_m
    if band.center_wavelength_um is not None:
        entry["eo:center_wavelength"] = band.center_wavelength_um
    return entry


def build_item(
    spec: ModelSpec, files: Mapping[str, bytes], *, n_outputs: int, legend: Legend | None, parameters: int
) -> dict[str, Any]:
    """Build and validate `model.json`.

    Args:
        spec: The model.
        files: Every other file of the bundle.
        n_outputs: Channels of the raw output.
        legend: Classes or None.
        parameters: Numbers in the weights.

    Returns:
        The Item as a dict.

    Raises:
        ModelError: If the Item is not valid.
    """
    created = _utc(spec.created)
    assets: dict[str, dict[str, Any]] = {}
    for name in sorted(files):
        key, media_type, roles, artifact = _ASSETS[name]
        assets[key] = {
            "href": f"./{name}",
            "type": media_type,
            "roles": roles,
            "file:checksum": folder.checksum(files[name]),
            "file:size": len(files[name]),
        } | ({"mlm:artifact_type": artifact} if artifact else {})
        if artifact:
            # STAC 1.1 wants bands at the asset that reads them, not among an Item's properties.
            assets[key]["bands"] = [_band(band, spec.standardised) for band in spec.inputs]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": spec.name,
        "geometry": None,
        "properties": {
            "datetime": created,
            "created": created,
            "title": spec.name,
            "license": "other" if spec.licence == "proprietary" else spec.licence,
            **mlm_properties(spec, n_outputs, legend, parameters),
            SPEC_PROPERTY: spec.model_dump(mode="json"),
        },
        "links": [],
        "assets": assets,
    }
    validate_item(item)
    return item


def _utc(created: str) -> str:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError as error:
        raise ModelError(f"The model's time of creation {created!r} is not an ISO 8601 time.") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def validate_item(item: Mapping[str, Any]) -> None:
    """Validate an Item's core against STAC 1.1, without network.

    Raises:
        ModelError: If it is not valid.
    """
    from pystac import STACObjectType, STACValidationError
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    try:
        plain = json.loads(json.dumps(item, allow_nan=False))
        JsonSchemaSTACValidator().validate_core(plain, STACObjectType.ITEM, "1.1.0")
    except (STACValidationError, ValueError, TypeError) as error:
        raise ModelError(f"The model's description is not a valid STAC Item ({str(error)[:200]}).") from error
