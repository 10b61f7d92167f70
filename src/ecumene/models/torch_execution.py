"""Executes a network bundle with torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models.contract import ModelSpec
from ecumene.models.deployed import DeployedNetwork
from ecumene.models.local_average import averaging_radius, check_detector


def _refuse_remote(arguments: Mapping[str, Any]) -> None:
    """Refuse text arguments that could name a file or a download (`hf-hub:...`, a path)."""
    for name, value in arguments.items():
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


def build_with_weights(spec: ModelSpec, weights: Mapping[str, NDArray]) -> torch.nn.Module:
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
        network: torch.nn.Module = build_network(name, pretrained=False, **arguments)
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
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as stream:
            flags = next((line for line in stream if line.lower().startswith(("flags", "features"))), "")
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(flags.split()))


class TorchExecutor:
    """See `models.contract.Executor`.

    Args:
        spec: The model.
        weights: Its arrays.
        temperature: Of the calibration, or 1.
        detector: Outlier detector or None.
        precision: `auto` and `fp32` compute in float32; `bf16` in bfloat16 where that is stable.
        threads: Threads of torch in this process; None leaves them.
        device: `auto` takes a GPU if there is one.
    """

    backend = "torch"

    def __init__(
        self,
        spec: ModelSpec,
        weights: Mapping[str, NDArray],
        *,
        temperature: float = 1.0,
        detector: Any = None,
        precision: str = "auto",
        threads: int | None = None,
        device: str = "auto",
    ) -> None:
        if precision not in ("auto", "fp32", "bf16"):
            raise ConfigurationError(f"The precision is 'auto', 'fp32' or 'bf16', not {precision!r}.")
        self.precision = "bf16" if precision == "bf16" else "fp32"
        self.threads = threads
        self.temporal = spec.temporal
        cuda = torch.cuda.is_available() if device == "auto" else device.startswith("cuda")
        self.device = torch.device("cuda" if cuda else "cpu")
        network = build_with_weights(spec, weights)
        check_detector(detector, len(spec.inputs) + int(network.feature_channels))  # type: ignore[arg-type]
        deployed = DeployedNetwork(
            network,
            spec.inputs,
            temperature=temperature,
            detector=detector,
            radius=averaging_radius(spec.margin),
        )
        if not spec.temporal:
            deployed = deployed.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.module = deployed.to(self.device).eval()

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (output / temperature, outlier score); see `Executor.run`."""
        return self._call(self.module, image, dates)

    def raw(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (output before temperature `[B, n, H, W]`, detector features `[B, F, H, W]`)."""
        return self._call(self.module.raw, image, dates)

    def _call(
        self,
        function: Callable[..., tuple[Tensor, Tensor]],
        image: NDArray[np.float32],
        dates: NDArray[np.float32] | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        x = torch.from_numpy(np.ascontiguousarray(image, np.float32)).to(self.device)
        if not self.temporal:
            x = x.to(memory_format=torch.channels_last)
        when = None
        if self.temporal and dates is not None:
            when = torch.from_numpy(np.ascontiguousarray(dates, np.float32)).to(self.device)
        bf16 = self.precision == "bf16"
        with torch.inference_mode(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bf16):
            first, second = function(x, when)
        return _to_numpy(first), _to_numpy(second)


def _to_numpy(tensor: Tensor) -> NDArray[np.float32]:
    """Return finite float32 in C order: values at invalid pixels are undefined, but must not be NaN."""
    array: NDArray[np.float32] = tensor.float().contiguous().cpu().numpy()
    return array
