"""Executes an exported network with OpenVINO, on x86 and Arm processors; torch is not imported."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.core.optional import require
from ecumene.models.contract import ModelSpec
from ecumene.models.distance_scores import PART_NAME, DistanceScores
from ecumene.models.hardware import processor_has_bfloat16
from ecumene.models.local_average import averaging_radius
from ecumene.models.onnx_execution import check_onnx, check_signature, short

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}


class OpenVinoExecutor:
    """See `models.contract.Executor`.

    A graph is compiled for each shape of input that comes (about a second for a U-Net). Threads are fixed, and a run
    has a stream of its own, so that the same input gives the same bytes.

    Args:
        spec: The model.
        data: Bytes of `model.onnx`, or of `model-int8.onnx` for `int8`; or a graph that OpenVINO has read.
        precision: `auto` and `fp32`: float32; `bf16`; `int8`: as the graph's quantised layers say, the others in
            float32.
        threads: Threads of one run; None: all cores.
        detector: Outlier detector whose score a kernel may make instead of the graph; None: the graph's own.

    Raises:
        ConfigurationError: If the precision is unknown, bf16 is not in the processor, or a series is to be mapped in
            bf16, where OpenVINO would round the dates too.
        ModelError: If the graph cannot be executed.
        MissingDependencyError: If OpenVINO is not installed.
    """

    backend = "openvino"

    def __init__(
        self,
        spec: ModelSpec,
        data: Any,
        *,
        precision: str = "auto",
        threads: int | None = None,
        detector: Any = None,
    ) -> None:
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
        core = openvino.Core()
        properties: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
            # Executors of one process would be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        if threads is not None:
            properties["INFERENCE_NUM_THREADS"] = threads
        try:
            if isinstance(data, bytes):
                check_onnx(data)
                data = core.read_model(model=data)
            inputs = [port.get_any_name() for port in data.inputs]
            outputs = [port.get_any_name() for port in data.outputs]
            check_signature(inputs, outputs, spec.temporal)
            distances = None
            if not spec.temporal:
                distances = DistanceScores.of(spec.inputs, detector, averaging_radius(spec.margin))
            opened = None if distances is None else _opened(openvino, data, distances)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelError(f"OpenVINO cannot execute model.onnx ({short(error)}); export the model again.") from error
        graph, self._factors = opened or (data, ())
        self._distances = distances if opened else None
        self._compiled = _Compiled(core, graph, properties)

    def side_by_side(self, number: int) -> list[OpenVinoExecutor]:
        """Return executors that share this one's compiled graphs, this one among them; one may be used by one thread.

        Args:
            number: Of executors; each has as many threads as this one.
        """
        self._compiled.share(number)
        return [self, *(copy.copy(self) for _ in range(number - 1))]

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
            with self._compiled.request(tuple(array.shape for array in arrays)) as request:
                found = _infer(request, arrays)
                # The request keeps its memory for the next run.
                output = np.array(found[0], np.float32)
                if self._distances is None:
                    return output, np.array(found[1], np.float32)
                parts = [(np.moveaxis(found[1 + k], -1, 1), factor) for k, factor in enumerate(self._factors)]
                return np.moveaxis(output, -1, 1), self._distances(arrays[0], parts)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"OpenVINO failed on this input ({short(error)}); export the model again.") from error


_FIRST = threading.Lock()
_begun = threading.Event()


def _infer(request: Any, arrays: list[NDArray[np.float32]]) -> Any:
    """Run a request; the first one of a process runs alone.

    OpenVINO's binding sets itself up in its first run, and two threads that do so at once wait for each other for ever:
    one holds the interpreter lock and waits for the set-up, the other one is in it and waits for the lock.
    """
    with contextlib.nullcontext() if _begun.is_set() else _FIRST:
        found = request.infer(arrays, share_inputs=True, share_outputs=True)
        _ = found[0]
        _begun.set()
    return found


class _Compiled:
    """The graph compiled for one shape of input, with a stream for every executor; safe between threads.

    Static shapes run faster than dynamic ones, but each holds memory for all layers of all streams. So only one is
    kept, and another one waits until nobody uses it any more; the engine brings windows of a shape one after another.
    """

    def __init__(self, core: Any, graph: Any, properties: dict[str, Any]) -> None:
        self._core, self._graph, self._properties = core, graph, properties
        self._threads = properties.get("INFERENCE_NUM_THREADS")
        self._changed = threading.Condition()
        self._shapes: tuple[tuple[int, ...], ...] | None = None
        self._compiled: Any = None
        self._free: list[Any] = []
        self._used = 0

    def share(self, streams: int) -> None:
        """Compile for this number of executors from now on."""
        with self._changed:
            if self._properties["NUM_STREAMS"] == str(streams):
                return  # what is compiled stays
            self._shapes, self._compiled, self._free = None, None, []
            self._properties["NUM_STREAMS"] = str(streams)
            if self._threads is not None:
                self._properties["INFERENCE_NUM_THREADS"] = streams * self._threads

    @contextlib.contextmanager
    def request(self, shapes: tuple[tuple[int, ...], ...]) -> Iterator[Any]:
        """Yield a request for these shapes that nobody else uses meanwhile."""
        with self._changed:
            while self._used and self._shapes != shapes:
                self._changed.wait()
            if self._shapes != shapes:
                self._compile(shapes)
            request = self._free.pop() if self._free else self._compiled.create_infer_request()
            self._used += 1
        try:
            yield request
        finally:
            with self._changed:
                self._used -= 1
                self._free.append(request)
                self._changed.notify_all()

    def _compile(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        self._shapes, self._compiled, self._free = None, None, []  # its memory first
        graph = self._graph.clone()
        graph.reshape({port.get_any_name(): list(shape) for port, shape in zip(graph.inputs, shapes, strict=True)})
        self._compiled = self._core.compile_model(graph, "CPU", self._properties)
        self._shapes = shapes


def _opened(openvino: Any, graph: Any, distances: DistanceScores) -> tuple[Any, tuple[int, ...]] | None:
    """Return a graph that ends with the features of its score instead of the score, and the features' factors.

    Results keep their channels last. None where the graph does not name
    its features, or they are not those that the detector reads.
    """
    factors: dict[int, int] = {}
    for operation in graph.get_ops():
        for port in operation.outputs():
            for name in port.get_names():
                factor = name.removeprefix(PART_NAME)
                if name != factor and factor.isdecimal():
                    shape = port.get_partial_shape()
                    factors[int(factor)] = shape[1].get_length() if shape.rank.get_length() == 4 else 0
    order = tuple(sorted(factors))
    if not distances.fits([(factors[factor], factor) for factor in order]):
        return None
    opened = graph.clone()
    opened.add_outputs([f"{PART_NAME}{factor}" for factor in order])
    opened.remove_result(next(r for r in opened.results if "outlier_score" in r.input_value(0).get_names()))
    # Convolutions leave their channels last; bringing them to the front would be a copy.
    steps = openvino.preprocess.PrePostProcessor(opened)
    for position in range(len(opened.outputs)):
        steps.output(position).model().set_layout(openvino.Layout("NCHW"))
        steps.output(position).tensor().set_layout(openvino.Layout("NHWC"))
    return steps.build(), order
