"""Chooses what executes a network: the fastest way whose results agree with float32, tried once a run.

The reference runs a probe first. From its time and the pixels of the map follows how long choosing may take; ways that
would cost more than they could gain are not tried. Each that is tried must agree with the reference (`agreement`)
and be faster. The choice is a statement that goes into a plan: a run that is continued keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ecumene.core.errors import EcumeneError
from ecumene.models.agreement import Agreement, Results, compare
from ecumene.models.bundle import Model
from ecumene.models.candidates import EXPORT_S, Candidate, list_candidates, reference_candidate
from ecumene.models.contract import Executor

FEWEST_PROBES = 12
"""Maps of fewer probes than this are executed by the reference: choosing would cost more than it gains."""
SHARE_OF_TIME = 0.15
"""Most of the reference's estimated time that choosing may take."""
MOST_SECONDS = 20.0
"""Most seconds that choosing may take, but for maps whose `SHARE_OF_LONG_MAPS` is more."""
SHARE_OF_LONG_MAPS = 0.02
LEAST_GAIN = 1.1
"""A way must be this much faster than the reference to replace it."""


class Trial(BaseModel):
    """What became of one way of executing the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    precision: str
    chosen: bool = False
    reason: str
    setup_s: float | None = Field(default=None, description="Loading, exporting, compiling and the first run.")
    megapixels_per_s: float | None = None
    times_reference: float | None = Field(default=None, description="Speed over the reference's.")
    agreement: Agreement | None = None


class ExecutionChoice(BaseModel):
    """Why a run is executed as it is; part of its plan and of its product's provenance."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    precision: str
    reason: str
    reference: str
    probe: Literal["scene", "made-up", "none"] = "none"
    exported_in_run: bool = Field(default=False, description="The bundle has no ONNX file; one was made in memory.")
    seconds: float = Field(default=0.0, description="That choosing took.")
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class Probe:
    """A batch to try executors on.

    Attributes:
        image: As `Executor.run` takes it.
        dates: Of a series.
        real: Whether these are pixels of the scene to map.
    """

    image: NDArray[np.float32]
    dates: NDArray[np.float32] | None
    real: bool

    @property
    def pixels(self) -> int:
        """Pixels of an execution."""
        return int(self.image.shape[0] * self.image.shape[-2] * self.image.shape[-1])

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Pixels `[B, H, W]` with data in all bands (at any date)."""
        finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(self.image), axis=-3)
        usable: NDArray[np.bool_] = np.logical_or.reduce(finite, axis=1) if finite.ndim == 4 else finite
        return usable


@dataclass(frozen=True)
class Chosen:
    """What to execute with.

    Attributes:
        choice: The statement for the plan.
        model: The model, with an exported graph where the choice needs one.
        executor: A first executor, ready.
    """

    choice: ExecutionChoice
    model: Model
    executor: Executor


def choose_execution(
    model: Model,
    probe: Callable[[int], Probe],
    pixels: int,
    *,
    backend: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    executors: int = 1,
) -> Chosen:
    """Choose backend and precision for a map.

    Args:
        model: A network's bundle.
        probe: Returns a batch of about this many pixels to try on; called at most once.
        pixels: That will be executed.
        backend: `auto`, or the only one that may be chosen.
        precision: `auto`, or the only one that may be chosen.
        threads: Of one run; None: all cores.
        executors: That will share the map.

    Returns:
        The choice with an executor.

    Raises:
        EcumeneError: If what the user has asked for cannot be executed.
    """
    reference = reference_candidate(model)
    if backend != "auto" and precision != "auto":
        return _settled(model, Candidate(backend, precision, 0.0), reference, "as asked for", threads)
    allowed = [
        c for c in list_candidates(model) if backend in ("auto", c.backend) and precision in ("auto", c.precision)
    ]
    if executors > 1 and backend == "auto":
        # A compiled network runs alone, and the plan has already shared the cores.
        allowed = [c for c in allowed if c.backend != "compiled"]
    default = _default(model, reference, allowed, backend, precision)
    if pixels < FEWEST_PROBES * PROBE_PIXELS or not allowed:
        reason = "the map is too small to gain from a choice" if allowed else "there is nothing else to choose from"
        return _settled(model, default, reference, reason, threads)
    return _Contest(model, probe(PROBE_PIXELS), pixels // executors, reference, default, threads).run(allowed)


PROBE_PIXELS = 1 << 18
"""Wanted pixels of a probe."""


def restore_execution(model: Model, choice: ExecutionChoice, threads: int | None) -> Chosen:
    """Return what an earlier choice asks for, without trying anything.

    Raises:
        EcumeneError: If it cannot be executed here.
    """
    if choice.exported_in_run:
        model = with_graph(model)
    return Chosen(choice, model, model.executor(choice.backend, choice.precision, threads))


def _default(
    model: Model, reference: Candidate, allowed: Sequence[Candidate], backend: str, precision: str
) -> Candidate:
    """Return what is executed without a contest."""
    fits = backend in ("auto", reference.backend) and precision in ("auto", reference.precision)
    if fits:
        return reference
    if backend != "auto":
        return Candidate(backend, "fp32", 0.0)
    # The user insists on a precision: the usually fastest way that needs no export.
    ready = [candidate for candidate in allowed if not candidate.exports]
    if ready:
        return ready[0]
    return Candidate("onnx" if precision == "int8" else "torch", precision, 0.0)


def _settled(model: Model, way: Candidate, reference: Candidate, reason: str, threads: int | None) -> Chosen:
    executor = model.executor(way.backend, way.precision, threads)
    choice = ExecutionChoice(
        backend=executor.backend, precision=executor.precision, reason=reason, reference=reference.name
    )
    return Chosen(choice, model, executor)


def with_graph(model: Model) -> Model:
    """Return a network with its ONNX graph; what the bundle has of it is kept."""
    if model.onnx is not None:
        return model
    from ecumene.models.export import export_onnx

    return replace(export_onnx(model), onnx_int8=model.onnx_int8)


class _Contest:
    """One choice in the making."""

    def __init__(
        self, model: Model, probe: Probe, pixels: int, reference: Candidate, default: Candidate, threads: int | None
    ) -> None:
        self.began = perf_counter()
        self.model, self.probe, self.threads = model, probe, threads
        self.reference, self.default = reference, default
        self.usable = probe.usable
        self.detector_threshold: float | None = model.outlier_threshold
        self.first: Executor = model.executor(reference.backend, reference.precision, threads)
        self.expected, self.base_s = self._measure(self.first)
        self.estimate_s = self.base_s * pixels / probe.pixels
        self.budget_s = min(SHARE_OF_TIME * self.estimate_s, max(MOST_SECONDS, SHARE_OF_LONG_MAPS * self.estimate_s))
        self.trials: list[Trial] = []

    def run(self, candidates: Sequence[Candidate]) -> Chosen:
        """Try the candidates and return the winner."""
        best: tuple[float, Candidate, Executor] | None = None
        for candidate in candidates:
            trial, executor, seconds = self._try(candidate)
            self.trials.append(trial)
            if executor is not None and (best is None or seconds < best[0]):
                best = (seconds, candidate, executor)
            del executor
        if best is None:
            return self._without_winner()
        _, candidate, executor = best
        self.trials = [
            trial.model_copy(update={"chosen": True})
            if (trial.backend, trial.precision) == (candidate.backend, candidate.precision)
            else trial
            for trial in self.trials
        ]
        reason = f"{self.base_s / best[0]:.1f} times as fast as {self.reference.name}, and in agreement with it"
        return Chosen(self._choice(candidate, reason), self.model, executor)

    def _without_winner(self) -> Chosen:
        same = self.default == self.reference
        executor = self.first if same else None
        if executor is None:
            executor = self.model.executor(self.default.backend, self.default.precision, self.threads)
        reason = "nothing that was tried is faster and in agreement"
        return Chosen(self._choice(self.default, reason), self.model, executor)

    def _choice(self, way: Candidate, reason: str) -> ExecutionChoice:
        pixels = self.probe.pixels / 1e6
        first = Trial(
            backend=self.reference.backend,
            precision=self.reference.precision,
            chosen=way == self.reference,
            reason="the reference",
            megapixels_per_s=_round(pixels / self.base_s),
            times_reference=1.0,
        )
        return ExecutionChoice(
            backend=way.backend,
            precision=way.precision,
            reason=reason,
            reference=self.reference.name,
            probe="scene" if self.probe.real else "made-up",
            exported_in_run=way.exports,
            seconds=_round(perf_counter() - self.began),
            trials=(first, *self.trials),
        )

    def _try(self, candidate: Candidate) -> tuple[Trial, Executor | None, float]:
        """Return (report, executor if it qualifies, seconds of a probe)."""
        report = partial(Trial, backend=candidate.backend, precision=candidate.precision)
        exported = candidate.exports and self.model.onnx is not None
        setup = candidate.setup_s - (EXPORT_S if exported else 0.0)
        left = self.budget_s - (perf_counter() - self.began)
        if setup + 2 * self.base_s > left:
            reason = "not tried: it could cost more time than it gains"
            return report(reason=reason), None, 0.0
        start = perf_counter()
        try:
            if candidate.exports:
                self.model = with_graph(self.model)
            executor = self.model.executor(candidate.backend, candidate.precision, self.threads)
            found, seconds = self._measure(executor)
        except EcumeneError as error:
            return report(reason=f"cannot be executed: {error}"[:300]), None, 0.0
        setup_s = perf_counter() - start - seconds
        agreement = compare(self.model.objective, self.expected, found, self.usable, self.detector_threshold)
        gain = self.base_s / seconds
        failure = agreement.failure(candidate.precision)
        slow = None if gain >= LEAST_GAIN else "not faster than the reference"
        trial = report(
            reason=failure or slow or "qualified",
            setup_s=_round(setup_s),
            megapixels_per_s=_round(self.probe.pixels / 1e6 / seconds),
            times_reference=_round(gain),
            agreement=agreement,
        )
        return trial, (None if failure or slow else executor), seconds

    def _measure(self, executor: Executor) -> tuple[Results, float]:
        """Return (results, seconds of a run after the first)."""
        executor.run(self.probe.image, self.probe.dates)
        start = perf_counter()
        results = executor.run(self.probe.image, self.probe.dates)
        return results, max(perf_counter() - start, 1e-6)


def _round(value: float) -> float:
    return float(f"{value:.4g}")
