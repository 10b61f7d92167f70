"""A made-up input that two copies of a model must answer alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError
from ecumene.models.contract import Executor, ModelSpec
from ecumene.networks import exact_dates

if TYPE_CHECKING:
    from ecumene.models.bundle import Model

ONNX_TOLERANCE = 1e-4
"""Largest difference between torch and ONNX Runtime, relative to the largest output (at least 1)."""


def probe_input(
    spec: ModelSpec, *, batch: int = 2, side: int = 32, n_dates: int = 3, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return (image, dates) with values like the training data's and some nodata.

    Args:
        spec: The model.
        batch: Images.
        side: Least pixels of a side; raised to a multiple of the stride. A model of whole images has its own.
        n_dates: Dates of a series, where the model takes any number of them.
        seed: Of the values.
    """
    generator = np.random.default_rng(seed)
    side = spec.patch_size or -(-side // spec.stride) * spec.stride
    n_dates = exact_dates(spec.architecture) or n_dates
    mean = np.array([band.mean for band in spec.inputs])[:, None, None]
    std = np.array([band.std for band in spec.inputs])[:, None, None]
    series = (n_dates,) if spec.temporal else ()
    image = mean + std * generator.standard_normal((batch, *series, len(spec.inputs), side, side))
    image[..., : side // 4, : side // 3] = np.nan
    image[..., 0, -1, -1] = np.nan
    if not spec.temporal:
        return image.astype(np.float32), None
    image[:, 0, :, side // 2 :] = np.nan
    days = 16_600 + 30 * np.arange(n_dates, dtype=np.float32)
    return image.astype(np.float32), np.tile(days, (batch, 1))


def require_equal_results(model: Model, copy: Model) -> None:
    """Run both on the probe.

    Raises:
        ModelError: If the copy's results differ, or its ONNX network's differ from its torch network's.
    """
    n_dates = 3
    if model.spec.kind != "network":
        from ecumene.models.row_execution import row_arguments

        n_dates = row_arguments(model.spec)[1]
    image, dates = probe_input(model.spec, n_dates=n_dates)
    expected = model.executor(device="cpu").run(image, dates)
    if not all(np.isfinite(part).all() for part in expected):
        raise ModelError("The model gives results that are not finite; train it again with a lower learning rate.")
    found = copy.executor(device="cpu").run(image, dates)
    if not all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True)):
        raise ModelError("The model as written gives other results than the model in memory; it was not saved.")
    if copy.onnx is not None:
        require_close(expected, copy.executor("onnx"), image, dates)


def require_close(
    expected: tuple[NDArray[np.float32], NDArray[np.float32]],
    executor: Executor,
    image: NDArray[np.float32],
    dates: NDArray[np.float32] | None,
) -> None:
    """Refuse an executor whose results are not those of torch.

    Raises:
        ModelError: If they differ by more than `ONNX_TOLERANCE`.
    """
    for wanted, found in zip(expected, executor.run(image, dates), strict=True):
        scale = max(1.0, float(np.abs(wanted).max()))
        if wanted.shape != found.shape or not float(np.abs(wanted - found).max()) <= ONNX_TOLERANCE * scale:
            raise ModelError("The exported ONNX network gives other results than torch; it was not saved.")
