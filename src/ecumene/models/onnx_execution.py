"""Executes an exported network with ONNX Runtime; torch is not imported."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.core.optional import require
from ecumene.models.contract import ModelSpec

MAX_NODES = 200_000


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and the graphs inside of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
            for inner in attribute.graphs:
                yield from _graphs(inner)


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor that a model holds, wherever it may hide."""
    bodies = [list(_graphs(model.graph))]
    for graph in bodies[0]:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    nodes = [node for graph in bodies[0] for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for graph in (attribute.g, *attribute.graphs):
                yield from graph.initializer


def check_onnx(data: bytes) -> None:
    """Refuse an ONNX file that is not self-contained.

    Args:
        data: The whole file.

    Raises:
        ModelError: If it is not ONNX, or any tensor lies in another file.
    """
    onnx = require("onnx")
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise ModelError("model.onnx is not a readable ONNX file; export the model again.") from error
    external = onnx.TensorProto.EXTERNAL
    for tensor in _tensors(model):
        if tensor.data_location == external or len(tensor.external_data):
            where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "another file")
            raise ModelError(
                f"model.onnx keeps its data in another file ({where[:80]!r}), which is not allowed; "
                "export the model as one file."
            )


def _runtime_errors(runtime: Any) -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises: one class for each of its status codes, without a common base of its own."""
    state = runtime.capi.onnxruntime_pybind11_state
    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, RuntimeError, ValueError)


def short(error: Exception) -> str:
    """Return the beginning of a library's message on one line."""
    return " ".join(str(error).split())[:120]


def check_signature(inputs: list[str], outputs: list[str], temporal: bool) -> None:
    """Refuse a graph that is not an executed model of ecumene.

    Raises:
        ModelError: If the names of its inputs or outputs are others.
    """
    wanted = ["image", "dates"] if temporal else ["image"]
    if inputs != wanted or outputs != ["output", "outlier_score"]:
        raise ModelError(
            f"model.onnx has the inputs {inputs} and outputs {outputs}, which is no network of ecumene's; "
            "export the model again."
        )


class OnnxExecutor:
    """See `models.contract.Executor`.

    Args:
        spec: The model.
        data: Bytes of `model.onnx`, or of `model-int8.onnx` for `int8`.
        precision: `auto` and `fp32`: float32; `int8`: as the graph's quantised layers say, the others in float32.
        threads: Threads of one run; None: all cores.

    Raises:
        ConfigurationError: If the precision is another one.
        ModelError: If the graph is not self-contained or cannot be executed.
        MissingDependencyError: If ONNX Runtime is not installed.
    """

    backend = "onnx"

    def __init__(self, spec: ModelSpec, data: bytes, *, precision: str = "auto", threads: int | None = None) -> None:
        self.precision = "fp32" if precision == "auto" else precision
        if self.precision not in ("fp32", "int8"):
            raise ConfigurationError(
                f"The onnx backend computes in fp32 or int8; {precision!r} needs the backend torch or openvino."
            )
        check_onnx(data)
        runtime = require("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        self._errors = _runtime_errors(runtime)
        try:
            self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except self._errors as error:
            raise ModelError(f"model.onnx cannot be executed ({short(error)}); export the model again.") from error
        self.temporal = spec.temporal
        inputs = [entry.name for entry in self._session.get_inputs()]
        check_signature(inputs, [entry.name for entry in self._session.get_outputs()], spec.temporal)

    def side_by_side(self, number: int) -> list[OnnxExecutor]:
        """Return executors that share this one's session and its threads, this one among them.

        Args:
            number: Of executors. A run in one thread needs none of the session's, so that such executors do not wait
                for each other.
        """
        return [self, *(copy.copy(self) for _ in range(number - 1))]

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (calibrated output, outlier score); see `Executor.run`."""
        feeds = {"image": np.ascontiguousarray(image, np.float32)}
        if self.temporal:
            if dates is None:
                raise ValueError("a series model needs dates")
            feeds["dates"] = np.ascontiguousarray(dates, np.float32)
        try:
            output, score = self._session.run(["output", "outlier_score"], feeds)
        except self._errors as error:
            raise ModelError(f"model.onnx failed on this input ({short(error)}); export the model again.") from error
        return output, score
