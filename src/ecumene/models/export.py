"""Exports a network bundle to ONNX, so that it can be mapped without torch."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from ecumene.core.errors import ModelError
from ecumene.core.optional import require
from ecumene.models.bundle import Model
from ecumene.models.deepness import deepness_metadata
from ecumene.models.distance_scores import PART_NAME
from ecumene.models.onnx_execution import OnnxExecutor
from ecumene.models.probe import probe_input, require_close
from ecumene.networks import exact_dates

OPSET = 18
OUTPUTS = ["output", "outlier_score"]


def export_onnx(model: Model, folder: Path | str | None = None) -> Model:
    """Add `model.onnx` to a network bundle.

    The graph is the whole executed model: physical units in, calibrated output and outlier score out;
    batch, height and width (multiples of the stride) and number of dates may vary. It is compared with
    torch on a probe of another size than it was traced with.

    Args:
        model: A network bundle with its final calibration and detector.
        folder: Bundle to write; None: nothing is written.

    Returns:
        The model with its ONNX network.

    Raises:
        ModelError: If the model is not a network, or torch and ONNX Runtime differ.
        MissingDependencyError: If the ONNX libraries are not installed.
    """
    if model.spec.kind != "network":
        raise ModelError("Only networks are exported to ONNX; forests and boosted trees run without torch as they are.")
    for library in ("torch", "onnx", "onnxscript", "onnxruntime"):
        require(library)
    from ecumene.models.torch_execution import TorchExecutor

    executor = model.executor("torch", device="cpu")
    assert isinstance(executor, TorchExecutor)
    data = _trace(model, executor.module)
    image, dates = probe_input(model.spec, batch=3, side=96, n_dates=4, seed=1)
    require_close(executor.run(image, dates), OnnxExecutor(model.spec, data), image, dates)
    exported = replace(model, onnx=data)
    if folder is not None:
        exported.save(folder)
    return exported


def _trace(model: Model, module: Any) -> bytes:
    """Return the ONNX bytes of a deployed network, weights inside."""
    import torch

    spec = model.spec
    image, dates = probe_input(spec, batch=2, side=64)
    dim = torch.export.Dim
    height, width = (
        dim(name, min=1, max=1 << 14) if spec.stride == 1 else spec.stride * dim(f"{name}_cells", min=1, max=1 << 12)
        for name in ("height", "width")
    )
    batch = dim("batch", min=1, max=1 << 12)
    shapes: dict[str, Any] = {"image": {0: batch} if spec.patch_size else {0: batch, 2: height, 3: width}}
    inputs: tuple[Any, ...] = (torch.from_numpy(image),)
    if spec.temporal:
        times = dim("time", min=2, max=1 << 10)
        shapes = {"image": {0: batch, 1: times, 3: height, 4: width}, "dates": {0: batch, 1: times}}
        if exact_dates(spec.architecture) is not None:
            shapes = {"image": {0: batch, 3: height, 4: width}, "dates": {0: batch}}
        inputs += (torch.from_numpy(dates),)
    proto = _with_named_parts(module, inputs, shapes) or trace_module(module, inputs, shapes, OUTPUTS)
    _describe(proto, model)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def _with_named_parts(module: Any, inputs: tuple[Any, ...], shapes: dict[str, Any]) -> Any | None:
    """Return the graph with names for the features that its score is made from, where a kernel could make it.

    They stay values inside of the graph, so that its outputs are those of any other one.
    """
    import torch

    if module.distances is None:
        return None
    with torch.no_grad():
        factors = module.part_factors(inputs[0])
    names = [f"{PART_NAME}{factor}" for factor in factors]
    if len(set(names)) != len(names):
        return None

    class Opened(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, image: Any) -> tuple[Any, ...]:
            opened: tuple[Any, ...] = self.module.opened(image)
            return opened

    proto = trace_module(Opened(), inputs, shapes, [*OUTPUTS, *names])
    del proto.graph.output[len(OUTPUTS) :]
    return proto


def trace_module(module: Any, inputs: tuple[Any, ...], shapes: dict[str, Any], outputs: list[str]) -> Any:
    """Return a module as an ONNX `ModelProto` without traces of the exporting machine.

    Args:
        module: In evaluation mode.
        inputs: Tensors to trace with.
        shapes: Dimensions that may vary, by name of input, as `torch.onnx.export` takes them.
        outputs: Names of the outputs.

    Raises:
        ModelError: If the network has something that ONNX has not.
    """
    import torch

    level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module.eval(),
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(shapes),
                output_names=outputs,
                dynamic_shapes=shapes,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        text = " ".join(str(error).split())[:120]
        raise ModelError(f"This network cannot be written as ONNX ({text}); map it with the torch backend.") from error
    finally:
        logging.getLogger("torch.onnx").setLevel(level)
    assert program is not None
    proto = program.model_proto  # a new one each time that it is asked for
    clean_graph(proto)
    return proto


def _describe(proto: Any, model: Model) -> None:
    """State what the graph is, for us and for desktop clients."""
    entries = {
        "ecumene:name": model.spec.name,
        "ecumene:bands": ",".join(band.key for band in model.spec.inputs),
    }
    for key, value in {**entries, **deepness_metadata(model)}.items():
        proto.metadata_props.add(key=key, value=value)


def clean_graph(proto: Any) -> None:
    """Delete the exporter's notes on model, graph, values, nodes and functions, which hold names of private paths."""
    graph = proto.graph
    parts = [proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer]
    for function in proto.functions:
        parts += [function, *function.node, *function.value_info]
    for part in parts:
        del part.metadata_props[:]
        if part.HasField("doc_string"):
            part.ClearField("doc_string")
