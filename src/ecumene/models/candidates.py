"""Which ways of executing a network this machine and this bundle offer, and what trying one costs."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecumene.models.hardware import compiler, has_gpu, processor_has_bfloat16

if TYPE_CHECKING:
    from ecumene.models.bundle import Model

EXPORT_S = 6.0
"""Rough seconds of exporting a network to ONNX in memory, on two cores."""
COMPILE_S = 25.0
"""Rough seconds of compiling one shape of input with torch's compiler, on two cores."""


@dataclass(frozen=True)
class Candidate:
    """One way of executing a network.

    Attributes:
        backend: Of `Model.executor`.
        precision: Its arithmetic.
        setup_s: Rough seconds before its first result.
        exports: Whether the graph must be exported first, because the bundle has none.
    """

    backend: str
    precision: str
    setup_s: float
    exports: bool = False

    @property
    def name(self) -> str:
        """For people and for the plan."""
        return f"{self.backend} {self.precision}"


def installed(*modules: str) -> bool:
    """Whether all of these libraries are there; nothing is imported."""
    return all(importlib.util.find_spec(module) is not None for module in modules)


def reference_candidate(model: Model) -> Candidate:
    """Return what others are compared with: float32, uncompiled.

    That is torch; for a bundle with `model.onnx` on a machine without GPU it is ONNX Runtime, because the file was
    compared with torch when it was written, and torch need not be imported then.
    """
    if model.onnx is not None and installed("onnx", "onnxruntime") and not (has_gpu() and installed("torch")):
        return Candidate("onnx", "fp32", 0.5)
    return Candidate("torch", "fp32", 0.5)


def list_candidates(model: Model) -> tuple[Candidate, ...]:
    """Return every way that could be faster than the reference, the usually fastest first."""
    torch_there = installed("torch")
    if has_gpu() and torch_there:
        return (
            Candidate("torch", "bf16", 0.5),
            Candidate("compiled", "bf16", COMPILE_S),
            Candidate("compiled", "fp32", COMPILE_S),
        )
    bf16 = processor_has_bfloat16()
    exports = model.onnx is None
    exportable = not exports or (torch_there and installed("onnx", "onnxscript"))
    openvino, runtime = installed("openvino", "onnx"), installed("onnxruntime", "onnx")
    setup, series = EXPORT_S if exports else 0.0, model.spec.temporal
    offers = (
        (openvino and model.onnx_int8 is not None, Candidate("openvino", "int8", 2.0)),
        (openvino and bf16 and exportable and not series, Candidate("openvino", "bf16", 1.5 + setup, exports)),
        # With a graph at hand torch has nothing to add but the seconds of its import, except for dates in float32.
        (torch_there and bf16 and (exports or series or not openvino), Candidate("torch", "bf16", 0.5)),
        (openvino and exportable, Candidate("openvino", "fp32", 1.5 + setup, exports)),
        (runtime and model.onnx_int8 is not None, Candidate("onnx", "int8", 1.0)),
        (runtime and exportable, Candidate("onnx", "fp32", 1.0 + setup, exports)),
        (torch_there and bf16 and compiler() is not None, Candidate("compiled", "bf16", COMPILE_S)),
        (torch_there and compiler() is not None, Candidate("compiled", "fp32", COMPILE_S)),
    )
    reference = reference_candidate(model)
    return tuple(
        candidate
        for offered, candidate in offers
        if offered and (candidate.backend, candidate.precision) != (reference.backend, reference.precision)
    )
