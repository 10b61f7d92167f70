"""Calibrated 8-bit quantisation of an exported network, as far as its classes stay what they are.

Post-training static quantisation (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference"; Nagel et al. 2021, "A White Paper on Neural Network Quantization", sections 3 and
4): weights of a convolution get one symmetric scale an output channel, activations one affine scale a tensor, found on
calibration windows of the training scene. Quantise/dequantise pairs are written into the ONNX graph by ONNX Runtime's
quantiser; OpenVINO and ONNX Runtime fuse them into integer kernels.

Only what lies between the first and the last convolution is quantised. Normalisation, the last layer, the calibration
of the output, and everything that only the outlier score needs stay in float32. If the result disagrees with float32 on
held-out windows, the convolutions with the largest quantisation error return to float, a few at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.core.optional import require
from ecumene.core.progress import Progress, silent
from ecumene.models.agreement import Agreement, compare
from ecumene.models.bundle import Model
from ecumene.models.candidates import installed
from ecumene.models.contract import Executor

SHARES_IN_FLOAT = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5)
"""Shares of the convolutions that are tried in float, the worst first."""
QUANTISED = ("Conv", "Relu", "Add", "Concat", "MaxPool", "Resize")
"""Operators between quantised convolutions that pass 8-bit numbers on."""


class QuantisationStep(BaseModel):
    """One attempt: how many convolutions stay in float, and how well the rest agrees."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    in_float: tuple[str, ...]
    agreement: Agreement
    failure: str | None


@dataclass(frozen=True)
class Quantised:
    """The result.

    Attributes:
        model: The model with `onnx_int8`, or without it if no attempt agreed.
        steps: Every attempt.
        convolutions: Number of convolutions that may be quantised.
        backend: What executed the attempts.
    """

    model: Model
    steps: tuple[QuantisationStep, ...]
    convolutions: int
    backend: str

    @property
    def succeeded(self) -> bool:
        """Whether the last attempt agreed."""
        return self.model.onnx_int8 is not None


def quantise(
    model: Model,
    calibration: Sequence[NDArray[np.float32]],
    held_out: Sequence[NDArray[np.float32]],
    *,
    progress: Progress = silent,
    threads: int | None = None,
) -> Quantised:
    """Quantise an exported network.

    Args:
        model: A bundle with `model.onnx`.
        calibration: Windows `[B, C, H, W]` in physical units that scales are found on, e.g. 16 of 256 x 256.
        held_out: Other windows that agreement is measured on.
        progress: Called with (done, total, what).
        threads: Of the runs; None: all cores.

    Returns:
        The model with `onnx_int8` and the attempts; without it where no attempt reached the agreement that
        `agreement.LIMITS` asks for.

    Raises:
        ConfigurationError: If the model reads series, has no convolutions, or windows are missing.
        ModelError: If there is no `model.onnx`, or the quantiser cannot handle it.
        MissingDependencyError: If the ONNX libraries are not installed.
    """
    if model.onnx is None:
        raise ModelError("The model has no model.onnx; export it first with `ecumene export MODEL --to onnx`.")
    if model.spec.temporal:
        raise ConfigurationError("int8 is for networks of convolutions on one image; map a series in fp32 or bf16.")
    if not calibration or not held_out:
        raise ConfigurationError("int8 needs calibration pixels; give scenes like those of the training.")
    onnx = require("onnx")
    graph = onnx.load_model_from_string(model.onnx)
    region = _region(graph.graph)
    convolutions = [node for node in graph.graph.node if node.name in region and node.op_type == "Conv"]
    if not convolutions:
        raise ConfigurationError("This network has no inner convolutions that int8 could speed up; use another one.")
    ranges = _calibrate(graph, region, calibration)
    ranking = _ranking(graph, convolutions, ranges, calibration[0])
    reference = model.executor("onnx", "fp32", threads)
    expected = [reference.run(window) for window in held_out]
    backend = "openvino" if installed("openvino") else "onnx"
    steps: list[QuantisationStep] = []
    counts = sorted({round(share * len(ranking)) for share in SHARES_IN_FLOAT})
    for number, count in enumerate(counts):
        progress(number, len(counts), "quantisation")
        data = _write(graph, region - set(ranking[:count]), ranges)
        candidate = replace(model, onnx_int8=data)
        agreement = _agreement(candidate, candidate.executor(backend, "int8", threads), held_out, expected)
        steps.append(
            QuantisationStep(in_float=tuple(ranking[:count]), agreement=agreement, failure=agreement.failure("int8"))
        )
        if steps[-1].failure is None:
            return Quantised(candidate, tuple(steps), len(convolutions), backend)
    return Quantised(replace(model, onnx_int8=None), tuple(steps), len(convolutions), backend)


def _agreement(
    model: Model, executor: Executor, windows: Sequence[NDArray[np.float32]], expected: Sequence[Any]
) -> Agreement:
    """Compare on all windows together."""
    found = [executor.run(window) for window in windows]
    join = [
        [np.concatenate([_flat(part) for part in parts], axis=-1) for parts in zip(*side, strict=True)]
        for side in (expected, found)
    ]
    usable = np.concatenate(
        [np.logical_and.reduce(np.isfinite(window), axis=1).reshape(1, 1, -1) for window in windows], axis=-1
    )
    threshold = model.outlier_threshold
    return compare(model.objective, tuple(join[0]), tuple(join[1]), usable, threshold)  # type: ignore[arg-type]


def _flat(part: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `[1, n, 1, N]` of `[B, n, H, W]`, or `[1, 1, N]` of `[B, H, W]`."""
    if part.ndim == 3:
        return part.reshape(1, 1, -1)
    return np.moveaxis(part, 1, 0).reshape(1, part.shape[1], 1, -1)


# -- the graph ---------------------------------------------------------------------------------------


def _region(graph: Any) -> set[str]:
    """Return the names of the nodes that may be quantised.

    They lie on a way from one convolution to another one, all on the way to the output: what comes before the
    first convolution (normalisation) and the last ones (whose result no other convolution reads) are left out.
    """
    weights = {tensor.name for tensor in graph.initializer}
    maker = {name: node for node in graph.node for name in node.output}
    to_output = _ancestors(maker, ["output"])
    convolutions = [n for n in graph.node if n.op_type == "Conv" and n.name in to_output and n.input[1] in weights]
    before = _ancestors(maker, [node.input[0] for node in convolutions])
    after: set[str] = set()
    reached = {name for node in convolutions for name in node.output}
    for node in graph.node:  # ONNX lists nodes in an order in which they can be executed
        if any(name in reached for name in node.input):
            after.add(node.name)
            reached.update(node.output)
    inner = {node.name for node in convolutions if node.name in before}
    between = {node.name for node in graph.node if node.name in before & after and node.op_type in QUANTISED}
    return inner | between


def _ancestors(maker: dict[str, Any], names: list[str]) -> set[str]:
    """Return the names of the nodes that these values are made from."""
    found: set[str] = set()
    open_ = list(names)
    while open_:
        node = maker.get(open_.pop())
        if node is not None and node.name not in found:
            found.add(node.name)
            open_.extend(node.input)
    return found


class _Windows:
    """Calibration windows, one a time, as ONNX Runtime's calibrator reads them."""

    def __init__(self, windows: Sequence[NDArray[np.float32]]) -> None:
        self._rest: Iterator[NDArray[np.float32]] = iter(windows)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        window = next(self._rest, None)
        return None if window is None else {"image": np.ascontiguousarray(window, np.float32)}


def _calibrate(graph: Any, region: set[str], windows: Sequence[NDArray[np.float32]]) -> Any:
    """Return the range of every activation in the region over the windows."""
    quantization: Any = require("onnxruntime.quantization")
    calibrate: Any = require("onnxruntime.quantization.calibrate")
    with tempfile.TemporaryDirectory(prefix="ecumene-int8-") as folder:
        original = Path(folder) / "model.onnx"
        original.write_bytes(graph.SerializeToString())
        try:
            calibrator = calibrate.create_calibrator(
                original,
                sorted({node.op_type for node in graph.graph.node if node.name in region}),
                augmented_model_path=str(Path(folder) / "watched.onnx"),
                calibrate_method=quantization.CalibrationMethod.MinMax,
                extra_options={"symmetric": False},
            )
            calibrator.collect_data(_Windows(windows))
            ranges = calibrator.compute_data()
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"The network cannot be calibrated for int8 ({str(error)[:100]}); use bf16.") from error
    return ranges


def _copy(graph: Any) -> Any:
    duplicate = type(graph)()
    duplicate.CopyFrom(graph)
    return duplicate


def _write(graph: Any, nodes: set[str], ranges: Any) -> bytes:
    """Return the graph with these nodes quantised."""
    quantization: Any = require("onnxruntime.quantization")
    module: Any = require("onnxruntime.quantization.qdq_quantizer")
    kind = quantization.QuantType
    try:
        quantizer = module.QDQQuantizer(
            _copy(graph),
            per_channel=True,
            reduce_range=False,
            weight_qType=kind.QInt8,
            activation_qType=kind.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=sorted(nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=list(QUANTISED),
            extra_options={
                "WeightSymmetric": True,
                "ActivationSymmetric": False,
                # A rectifier that rounding makes superfluous is still needed by those who read the float tensor.
                "QDQKeepRemovableActivations": True,
            },
        )
        quantizer.quantize_model()
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"The network cannot be quantised ({str(error)[:100]}); use bf16.") from error
    _restore_float(quantizer.model.model.graph, nodes)
    data: bytes = quantizer.model.model.SerializeToString(deterministic=True)
    return data


def _restore_float(graph: Any, nodes: set[str]) -> None:
    """Let every node outside of the region read the float tensors again, where the quantiser gave it rounded ones."""
    maker = {name: node for node in graph.node for name in node.output}
    weights = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.name in nodes or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for position, name in enumerate(node.input):
            back = maker.get(name)
            if back is None or back.op_type != "DequantizeLinear":
                continue
            there = maker.get(back.input[0])
            if there is not None and there.op_type == "QuantizeLinear" and there.input[0] not in weights:
                node.input[position] = there.input[0]


def _ranking(graph: Any, convolutions: Sequence[Any], ranges: Any, window: NDArray[np.float32]) -> list[str]:
    """Return the convolutions, the one with the largest relative quantisation error first.

    Input and weights of a convolution contribute the mean square of their rounding error over their own mean square;
    a sum of products has the sum of both, as far as the errors are independent.
    """
    onnx, runtime = require("onnx"), require("onnxruntime")
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    watched = _copy(graph)
    names = list(dict.fromkeys(node.input[0] for node in convolutions))
    del watched.graph.output[:]
    watched.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = runtime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    seen = dict(zip(names, session.run(names, {"image": np.ascontiguousarray(window[:1], np.float32)}), strict=True))
    errors = {}
    for node in convolutions:
        rows = weights[node.input[1]].reshape(len(weights[node.input[1]]), -1)
        step = np.maximum(np.abs(rows).max(axis=1, keepdims=True), 1e-30) / np.float32(127.0)
        low, high = (float(np.squeeze(limit)) for limit in ranges[node.input[0]].range_value)
        errors[node.name] = _noise(rows, step, -np.inf, np.inf) + _noise(
            seen[node.input[0]], (max(high, 0.0) - min(low, 0.0)) / 255.0 or 1.0, min(low, 0.0), max(high, 0.0)
        )
    return sorted(errors, key=lambda name: (-errors[name], name))


def _noise(values: NDArray[np.floating], step: Any, low: float, high: float) -> float:
    """Return the mean square error of rounding to multiples of `step` inside of limits, over the mean square."""
    rounded = np.rint(np.clip(values, low, high) / step) * step
    return float(np.mean(np.square(rounded - values)) / max(float(np.mean(np.square(values))), 1e-30))
