"""Executes an exported network with OpenVINO, on x86 and Arm processors; torch is not imported."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.core.optional import require
from ecumene.models.contract import ModelSpec
from ecumene.models.hardware import processor_has_bfloat16
from ecumene.models.onnx_execution import check_onnx, check_signature, short

MAX_SHAPES = 8
"""Compiled graphs that are kept: one a shape of input, since static shapes run faster than dynamic ones."""

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


class OpenVinoExecutor:
    """See `models.contract.Executor`.

    A graph is compiled for each shape of input that comes (about a second for a U-Net). Threads are fixed and one
    stream is used, so that the same input gives the same bytes.

    Args:
        spec: The model.
        data: Bytes of `model.onnx`, or of `model-int8.onnx` for `int8`; or a graph that OpenVINO has read.
        precision: `auto` and `fp32`: float32; `bf16`; `int8`: as the graph's quantised layers say, the others in
            float32.
        threads: Threads of one run; None: all cores.

    Raises:
        ConfigurationError: If the precision is unknown, bf16 is not in the processor, or a series is to be mapped in
            bf16, where OpenVINO would round the dates too.
        ModelError: If the graph cannot be executed.
        MissingDependencyError: If OpenVINO is not installed.
    """

    backend = "openvino"

    def __init__(self, spec: ModelSpec, data: Any, *, precision: str = "auto", threads: int | None = None) -> None:
        self.precision = "fp32" if precision == "auto" else precision
        if self.precision not in _HINTS:
            raise ConfigurationError(f"The openvino backend computes in fp32, bf16 or int8, not in {precision!r}.")
        if self.precision == "bf16" and not processor_has_bfloat16():
            raise ConfigurationError(
                "This processor has no bfloat16 arithmetic, so bf16 would only be slower; use --precision fp32."
            )
        if self.precision == "bf16" and spec.temporal:
            raise ConfigurationError(
                "OpenVINO would round day numbers to bfloat16, which confuses months; map a series with --precision "
                "fp32, or with --backend torch, which keeps dates in float32."
            )
        openvino: Any = require("openvino")
        self.temporal = spec.temporal
        self._core = openvino.Core()
        self._properties: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
            # Executors of one process would be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            self._properties["INFERENCE_NUM_THREADS"] = threads
        try:
            self._graph: Any = data
            if isinstance(data, bytes):
                check_onnx(data)
                self._graph = self._core.read_model(model=data)
            inputs = [port.get_any_name() for port in self._graph.inputs]
            outputs = [port.get_any_name() for port in self._graph.outputs]
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelError(f"OpenVINO cannot execute model.onnx ({short(error)}); export the model again.") from error
        check_signature(inputs, outputs, spec.temporal)
        self._requests: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (calibrated output, outlier score); see `Executor.run`."""
        arrays = [np.ascontiguousarray(image, np.float32)]
        if self.temporal:
            if dates is None:
                raise ValueError("a series model needs dates")
            arrays.append(np.ascontiguousarray(dates, np.float32))
        try:
            request = self._request(tuple(array.shape for array in arrays))
            found = request.infer(arrays, share_inputs=True)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"OpenVINO failed on this input ({short(error)}); export the model again.") from error
        # The request keeps its memory for the next run.
        output, score = (np.array(found[position], np.float32) for position in (0, 1))
        return output, score

    def _request(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        """Return the request that is compiled for these shapes."""
        request = self._requests.pop(shapes, None)
        if request is None:
            graph = self._graph.clone()
            graph.reshape({port.get_any_name(): list(shape) for port, shape in zip(graph.inputs, shapes, strict=True)})
            request = self._core.compile_model(graph, "CPU", self._properties).create_infer_request()
            while len(self._requests) >= MAX_SHAPES:
                self._requests.popitem(last=False)
        self._requests[shapes] = request
        return request
