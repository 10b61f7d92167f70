"""Executes a network bundle with torch."""

from __future__ import annotations

import contextlib
import copy
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models.contract import ModelSpec
from ecumene.models.deployed import DeployedNetwork
from ecumene.models.fusion import fold_batch_norms
from ecumene.models.half_weights import round_weights
from ecumene.models.hardware import processor_has_bfloat16
from ecumene.models.local_average import averaging_radius
from ecumene.models.memory_layout import to_channels_last
from ecumene.networks.base import BaseNetwork
from ecumene.trust.feature_choice import FeatureChoice
from ecumene.trust.scaling import Scaling


def _refuse_remote(arguments: Mapping[str, Any]) -> None:
    """Refuse text arguments that could name a file or a download (`hf-hub:...`, a path)."""
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            _refuse_remote(value)
        if name != "encoder_weights" and isinstance(value, str) and ({":", "/", "\\"} & set(value)):
            raise ModelError(f"The model's architecture asks for {name}={value[:60]!r}, which a bundle may not fetch.")


def _refuse_misfit(expected: Mapping[str, Tensor], weights: Mapping[str, NDArray]) -> None:
    missing, surplus = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if missing or surplus:
        name = (missing or surplus)[0]
        raise ModelError(
            f"The weights do not fit the model's architecture ({'missing' if missing else 'unknown'} array {name!r}); "
            "get the model again from its source."
        )
    for name, tensor in expected.items():
        if tuple(tensor.shape) != weights[name].shape:
            raise ModelError(
                f"The weights do not fit the model's architecture: {name!r} has shape {weights[name].shape} instead of "
                f"{tuple(tensor.shape)}; get the model again from its source."
            )


def build_with_weights(spec: ModelSpec, weights: Mapping[str, NDArray]) -> BaseNetwork:
    """Rebuild a network and fill it.

    The architecture is first built without memory and compared, so that a description from a stranger
    cannot ask for more memory than its weights file has.

    Raises:
        ModelError: If the architecture is unknown or the weights do not fit it.
    """
    from ecumene.networks import build_network

    name, arguments = spec.architecture.get("name"), spec.architecture.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ModelError("The model does not name its architecture; get the model again from its source.")
    _refuse_remote(arguments)
    try:
        with torch.device("meta"):
            _refuse_misfit(build_network(name, pretrained=False, **arguments).state_dict(), weights)
        network = build_network(name, pretrained=False, **arguments)
        state = {key: torch.from_numpy(np.array(value)) for key, value in weights.items()}
        network.load_state_dict(state)
    except (ConfigurationError, TypeError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"The architecture {name!r} cannot be built from the model's description ({str(error)[:120]})."
        ) from error
    return network.eval().requires_grad_(False)


def has_native_bfloat16(*, cuda: bool) -> bool:
    """Whether the GPU (`cuda`) or the processor multiplies bfloat16 in hardware (AVX-512 BF16, AMX, Arm BF16)."""
    if cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return processor_has_bfloat16()


STARTING_THREADS = torch.get_num_threads()
"""Threads of torch before any executor has changed them."""


class TorchExecutor:
    """See `models.contract.Executor`.

    Batch normalisations are folded into the convolutions before them (`models.fusion`), and images and weights lie
    with their channels last. On a GPU, float32 means float32 (no TensorFloat-32), arrays are copied from and to
    page-locked memory without blocking, and cuDNN takes only algorithms that give the same bits each time.

    Args:
        spec: The model.
        weights: Its arrays.
        scaling: Of the calibration, or None.
        detector: Outlier detector or None.
        precision: `auto` and `fp32` compute in float32; `bf16` in bfloat16 where that is stable. On a processor weights
            and images are then kept in bfloat16 as well, where that changes no bit (`models.half_weights`).
        threads: Threads of torch in this process; None leaves them.
        device: `auto` takes a GPU if there is one.
        choice: What `raw` returns as features; None: what the detector reads.
    """

    backend = "torch"

    def __init__(
        self,
        spec: ModelSpec,
        weights: Mapping[str, NDArray],
        *,
        scaling: Scaling | None = None,
        detector: Any = None,
        precision: str = "auto",
        threads: int | None = None,
        device: str = "auto",
        choice: FeatureChoice | None = None,
    ) -> None:
        if precision not in ("auto", "fp32", "bf16"):
            raise ConfigurationError(f"The precision is 'auto', 'fp32' or 'bf16', not {precision!r}.")
        self.precision = "bf16" if precision == "bf16" else "fp32"
        self.threads = threads
        self.temporal = spec.temporal
        cuda = torch.cuda.is_available() if device == "auto" else device.startswith("cuda")
        self.device = torch.device("cuda" if cuda else "cpu")
        network = build_with_weights(spec, weights)
        deployed = DeployedNetwork(
            network,
            spec.inputs,
            scaling=scaling,
            detector=detector,
            radius=averaging_radius(spec.margin),
            choice=choice,
        )
        deployed = fold_batch_norms(deployed.eval(), partial(_run_probe, spec))
        deployed = to_channels_last(deployed).eval()
        if self.precision == "bf16" and not cuda:
            deployed = self._in_half(spec, deployed)
        self.module = deployed.to(self.device)

    def _in_half(self, spec: ModelSpec, module: DeployedNetwork) -> DeployedNetwork:
        """Keep weights and images in bfloat16 where that changes no bit of the results."""

        def run(candidate: DeployedNetwork) -> tuple[Tensor, ...]:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return _run_probe(spec, candidate)

        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            image, _ = _probe(spec)
            half = module.takes_half_input(image)
        module = round_weights(module, run)
        module.half_input = half
        return module

    def side_by_side(self, number: int) -> list[TorchExecutor]:
        """Return executors that share this one's weights, this one among them; one may be used by one thread.

        Args:
            number: Of executors; each has as many threads as this one.
        """
        tensors = itertools.chain(self.module.parameters(), self.module.buffers())
        shared = {id(tensor): tensor for tensor in tensors}
        others = [copy.copy(self) for _ in range(number - 1)]
        for other in others:
            # Layers may leave notes on themselves during a run (`inner_layers.tap`), so that each has its own.
            other.module = copy.deepcopy(self.module, dict(shared))
        return [self, *others]

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (calibrated output, outlier score); see `Executor.run`."""
        return self.call(self.module, image, dates)

    def raw(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (output before scaling `[B, n, H, W]`, detector features `[B, F, H, W]`)."""
        return self.call(self.module.raw, image, dates)

    def call(
        self,
        function: Callable[..., tuple[Tensor, Tensor]],
        image: NDArray[np.float32],
        dates: NDArray[np.float32] | None,
        *,
        lay_out: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run one of the module's functions, or its compiled form, on arrays; arguments as `Executor.run`.

        `lay_out` puts the channels last beforehand, which the module itself does when it is neither compiled nor on a
        GPU, without a copy of the image.
        """
        # Sums depend on the number of threads in their last digits: what another executor has set must not matter.
        wanted = self.threads or STARTING_THREADS
        if torch.get_num_threads() != wanted:
            torch.set_num_threads(wanted)
        x = self._to_device(image)
        if (lay_out or x.device.type == "cuda") and not self.temporal:
            x = x.to(memory_format=torch.channels_last)
        when = self._to_device(dates) if self.temporal and dates is not None else None
        bf16 = self.precision == "bf16"
        with (
            torch.inference_mode(),
            self._exact(),
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16),
        ):
            first, second = function(x, when)
        return self._to_host(first, second)

    def _exact(self) -> contextlib.AbstractContextManager[None]:
        """Leave TensorFloat-32 and cuDNN's trials out of a GPU's work; nothing on a processor."""
        if self.device.type != "cuda":
            return contextlib.nullcontext()
        flags: Any = torch.backends.cudnn.flags
        exact: contextlib.AbstractContextManager[None] = flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=False
        )
        return exact

    def _to_device(self, array: NDArray[np.float32]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32))
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def _to_host(self, *tensors: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return float32 in the order in which it lies; a copy with the channels first would only cost time."""
        plain = [tensor.float() for tensor in tensors]
        if self.device.type == "cuda":
            plain = [tensor.contiguous() for tensor in plain]
            held = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in plain]
            for target, source in zip(held, plain, strict=True):
                target.copy_(source, non_blocking=True)
            torch.cuda.current_stream(self.device).synchronize()
            plain = held
        first, second = (tensor.numpy() for tensor in plain)
        return first, second


def _run_probe(spec: ModelSpec, module: DeployedNetwork) -> tuple[Tensor, ...]:
    """Run a module on a small made-up input; what folding layers is judged by."""
    with torch.no_grad():
        results: tuple[Tensor, ...] = module(*_probe(spec))
    return results


def _probe(spec: ModelSpec) -> tuple[Tensor, Tensor | None]:
    """Return a small made-up image, or series with its dates."""
    from ecumene.models.probe import probe_input

    image, dates = probe_input(spec, batch=1, side=64 if spec.stride > 1 else 8)
    return torch.from_numpy(image), None if dates is None else torch.from_numpy(dates)
