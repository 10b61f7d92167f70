"""The verb `export`: a network for other runtimes, for 8-bit arithmetic, and for QGIS."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Unpack, get_args

import numpy as np

from ecumene.core.errors import ConfigurationError, EcumeneError, ModelError
from ecumene.core.files import atomic_path, write_json
from ecumene.core.optional import require
from ecumene.core.progress import Progress, silent
from ecumene.models.bundle import Model
from ecumene.models.folder import ONNX, ONNX_INT8
from ecumene.scenes.stack import SceneStack
from ecumene.systems import System
from ecumene.workflows.calibration_windows import Windows, read_windows, windows_of
from ecumene.workflows.stacks import Declaration

Target = Literal["onnx", "openvino"]
Precision = Literal["fp32", "fp16", "int8"]
Purpose = Literal["ecumene", "deepness"]
NO_CALIBRATION = "int8 needs pixels to find its scales on; give scenes of the training: --calibration SCENE."


@dataclass(frozen=True)
class Exported:
    """What an export has written.

    Attributes:
        paths: Files, the network first.
        notes: Sentences for the user.
        report: Figures: attempts and agreement of a quantisation, agreement of a conversion.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...]
    report: dict[str, Any]


def export_model(
    model: str | Path,
    *,
    to: str = "onnx",
    precision: str = "fp32",
    purpose: str = "ecumene",
    out: str | Path | None = None,
    calibration: Sequence[str | Path] = (),
    mask_clouds: bool | None = None,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> Exported:
    """Export a network bundle.

    To ONNX, the bundle gets `model.onnx` or, quantised, `model-int8.onnx`, and every backend can use them. To
    OpenVINO, an `.xml` with its `.bin` is written into a folder of its own, because a bundle holds nothing that is not
    checked. For Deepness, an ONNX file with that plugin's conventions is written (see `models.deepness`).

    Args:
        model: The bundle's folder.
        to: `onnx` or `openvino`.
        precision: `fp32`; `int8` (quantised with pixels of `calibration`); `fp16` (stored weights; openvino only).
        purpose: `ecumene`, or `deepness` for the QGIS plugin (ONNX in fp32).
        out: Folder to write; None: the bundle itself, or for other files `<model>-openvino` or `<model>-deepness`.
        calibration: Scenes like those of the training, each a path.
        mask_clouds: Leave clouds out of the calibration; None: as in the training.
        progress: Called with (done, total, what).
        **declaration: What the scenes' files do not say.

    Returns:
        Files, notes and figures.

    Raises:
        ConfigurationError: If arguments do not fit each other.
        ModelError: If the model cannot be exported, or no quantised network agrees with it.
        MissingDependencyError: If a library is missing.
    """
    _check(to, precision, purpose, calibration)
    folder = Path(model).resolve()
    bundle = Model.load(folder)
    if bundle.spec.kind != "network":
        raise ModelError("Only networks are exported; forests and boosted trees run without torch as they are.")
    if purpose == "deepness":
        return _export_deepness(bundle, Path(out) if out else folder.with_name(f"{folder.name}-deepness"))
    # What is in the bundle was compared with its weights; only a new model.onnx is made anew.
    if bundle.onnx is None or (to, precision) == ("onnx", "fp32"):
        from ecumene.models.export import export_onnx

        bundle = replace(export_onnx(bundle), onnx_int8=bundle.onnx_int8)
    report: dict[str, Any] = {}
    notes: list[str] = []
    if precision == "int8" and (calibration or bundle.onnx_int8 is None):
        if not calibration:
            raise ConfigurationError(NO_CALIBRATION)
        masked = bool(bundle.spec.training.get("mask_clouds", True)) if mask_clouds is None else mask_clouds
        windows = read_windows(bundle, calibration, mask_clouds=masked, **declaration)
        bundle, report, notes = _quantised(bundle, *windows, progress)
    if to == "openvino":
        target = Path(out) if out else folder.with_name(f"{folder.name}-openvino")
        return _export_openvino(bundle, precision, target, report, notes)
    target = Path(out) if out else folder
    bundle.save(target)
    name = ONNX_INT8 if precision == "int8" else ONNX
    return Exported((target / name,), tuple(notes), report)


def _check(to: str, precision: str, purpose: str, calibration: Sequence[str | Path]) -> None:
    """Refuse arguments that are unknown or do not fit each other."""
    for name, value, known in (
        ("--to", to, get_args(Target)),
        ("--precision", precision, get_args(Precision)),
        ("--for", purpose, get_args(Purpose)),
    ):
        if value not in known:
            raise ConfigurationError(f"{name} is {' or '.join(known)}, not {value!r}.")
    if precision == "fp16" and to != "openvino":
        raise ConfigurationError("fp16 only shortens what OpenVINO stores; use --to openvino, or another precision.")
    if precision == "int8" and not calibration and to == "onnx":
        raise ConfigurationError(NO_CALIBRATION)
    if purpose == "deepness" and (to, precision) != ("onnx", "fp32"):
        raise ConfigurationError("Deepness reads ONNX in fp32; leave out --to and --precision.")


def add_graphs(model: Model, stack: SceneStack, *, int8: bool, progress: Progress = silent) -> Model:
    """Return a trained network with its ONNX graph and, on request, the 8-bit one, scaled by pixels of its scenes.

    Args:
        model: A network; one that reads single images for `int8`.
        stack: The scenes of the training; each of their dates gives windows.
        int8: Add the 8-bit graph. Where none agrees with float32, the model has a note that says so, and no such graph.
        progress: Called with (done, total, what).

    Returns:
        The model with the graphs, and with notes about them.

    Raises:
        ModelError: If the network cannot be exported.
        MissingDependencyError: If a library is missing.
    """
    from ecumene.models.export import export_onnx

    model = export_onnx(model)
    if not int8:
        return model
    dates = [stack.at(position) for position in range(len(stack.times))] if len(stack.times) > 1 else [stack]
    try:
        model, _, notes = _quantised(model, *windows_of(model, dates, len(dates)), progress)
        notes = [f"int8: {note}" for note in notes]
    except EcumeneError as error:  # the training is not lost for it
        notes = [f"There is no int8 network: {error}"]
    return model.with_training(notes=[*model.spec.training.get("notes", []), *notes])


def check_graphs(system: System, *, int8: bool) -> None:
    """Refuse before a training what could not be exported after it.

    Raises:
        ConfigurationError: If an 8-bit network is asked for of a system that has no convolutions on one image.
        MissingDependencyError: If a library is missing.
    """
    if int8 and (system.kind != "network" or system.reads != "image"):
        raise ConfigurationError(
            f"--int8 is for networks of convolutions on one image, not for {system.name}; leave it out, or use "
            "--system unet-small."
        )
    if system.kind == "network":
        for library in ("onnx", "onnxscript", "onnxruntime"):
            require(library)


def _quantised(
    bundle: Model, fitted: Windows, held_out: Windows, progress: Progress
) -> tuple[Model, dict[str, Any], list[str]]:
    """Return the bundle with its quantised graph, figures, and sentences."""
    from ecumene.models.quantisation import quantise

    result = quantise(bundle, fitted, held_out, progress=progress)
    last = result.steps[-1]
    report = {
        "backend": result.backend,
        "convolutions": result.convolutions,
        "windows": [len(fitted), len(held_out)],
        "steps": [step.model_dump(mode="json") for step in result.steps],
    }
    if not result.succeeded:
        best = max(step.agreement.agreement for step in result.steps)
        raise ModelError(
            f"No int8 network agrees well enough with float32 (at best {100 * best:.2f} % of the classes are equal; "
            f"{last.failure}); map with bf16 or fp32."
        )
    note = (
        f"{100 * last.agreement.agreement:.2f} % of {last.agreement.pixels} held-out pixels agree with float32, "
        f"{len(last.in_float)} of {result.convolutions} convolutions stay in float."
    )
    return result.model, report, [note]


def _export_deepness(bundle: Model, folder: Path) -> Exported:
    from ecumene.models.deepness import deepness_graph, stretch_limits
    from ecumene.models.onnx_execution import check_onnx

    data = deepness_graph(bundle)
    check_onnx(data)
    target = folder / f"{bundle.spec.name}.onnx"
    with atomic_path(target) as path:
        path.write_bytes(data)
    low, high = stretch_limits(bundle)
    limits = [
        {"band": band.key, "unit": band.unit, "value_of_0": float(a), "value_of_255": float(b)}
        for band, a, b in zip(bundle.spec.inputs, low, high, strict=True)
    ]
    stretch = folder / f"{bundle.spec.name}-stretch.json"
    write_json(stretch, {"bands": limits})
    return Exported(
        (target, stretch),
        (
            "Deepness feeds 8-bit pixels: stretch the bands, in this order, to 0..255 as the second file says.",
            "Error bars, outlier flags and nodata are not part of what Deepness shows.",
        ),
        {},
    )


def _export_openvino(bundle: Model, precision: str, folder: Path, report: dict[str, Any], notes: list[str]) -> Exported:
    """Write `.xml` and `.bin`, the `.xml` last, and read them back."""
    from ecumene.models.agreement import compare
    from ecumene.models.openvino_execution import OpenVinoExecutor
    from ecumene.models.probe import probe_input

    openvino: Any = require("openvino")
    data = bundle.onnx_int8 if precision == "int8" else bundle.onnx
    assert data is not None
    image, dates = probe_input(bundle.spec, batch=1, side=64, n_dates=4, seed=2)
    usable = np.ones((1, *image.shape[-2:]), np.bool_)
    graph = openvino.Core().read_model(model=data)
    for key, value in _metadata(bundle, precision).items():
        graph.set_rt_info(value, ["ecumene", key])
    xml = folder / f"{bundle.spec.name}-{precision}.xml"
    with atomic_path(xml) as path:
        # OpenVINO names the .bin after the .xml and stores no name in it.
        openvino.save_model(graph, str(path), compress_to_fp16=precision == "fp16")
        written = path.with_suffix(".bin")
        try:
            saved = openvino.Core().read_model(model=str(path), weights=str(written))
            executor = OpenVinoExecutor(bundle.spec, saved, precision="int8" if precision == "int8" else "fp32")
            found = executor.run(image, dates)
            reference = bundle.executor("onnx").run(image, dates)
            agreement = compare(bundle.objective, reference, found, usable)
            with atomic_path(xml.with_suffix(".bin")) as final:
                written.replace(final)
        finally:
            written.unlink(missing_ok=True)
    return Exported((xml, xml.with_suffix(".bin")), tuple(notes), {**report, "probe": agreement.model_dump()})


def _metadata(bundle: Model, precision: str) -> dict[str, str]:
    legend = bundle.objective.legend
    return {
        "name": bundle.spec.name,
        "precision": precision,
        "bands": ",".join(band.key for band in bundle.spec.inputs),
        "resolution_m": f"{bundle.spec.resolution_m:g}",
        "classes": "" if legend is None else json.dumps(list(legend.names), ensure_ascii=False),
    }
