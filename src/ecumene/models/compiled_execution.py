"""Executes a network through torch's compiler (Inductor), where a C++ compiler or a GPU's tools are there."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.models.hardware import compiler
from ecumene.models.onnx_execution import short
from ecumene.models.torch_execution import TorchExecutor

MAX_SHAPES = 64
"""Shapes of input that are compiled, each on its own, so that a batch's bytes never depend on earlier batches."""


class CompiledExecutor:
    """See `models.contract.Executor`.

    Weights are frozen into the compiled code. Every shape of input is compiled when it first comes, which takes
    between ten seconds and a minute for a U-Net, so that only large maps gain.

    Args:
        eager: What is compiled.

    Raises:
        ConfigurationError: If there is no compiler.
    """

    backend = "compiled"

    def __init__(self, eager: TorchExecutor) -> None:
        if eager.device.type == "cpu" and compiler() is None:
            raise ConfigurationError(
                "The compiled backend needs a C++ compiler such as g++, and none was found; install one or use "
                "--backend torch."
            )
        self.precision = eager.precision
        self._eager = eager
        self._compiled: Any = torch.compile(eager.module, dynamic=False, options={"freezing": True})

    def run(
        self, image: NDArray[np.float32], dates: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (calibrated output, outlier score); see `Executor.run`."""
        dynamo: Any = torch._dynamo
        try:
            with warnings.catch_warnings(), dynamo.config.patch(recompile_limit=MAX_SHAPES), torch.no_grad():
                warnings.simplefilter("ignore")
                return self._eager.call(self._compiled, image, dates, lay_out=True)
        except (dynamo.exc.TorchDynamoException, RuntimeError) as error:
            raise ModelError(
                f"torch cannot compile this network ({short(error)}); use --backend torch, which needs no compiler."
            ) from error
