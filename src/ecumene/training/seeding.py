"""Randomness that is fixed inside and untouched outside of a training."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed `random`, NumPy's legacy generator and torch, ask torch for deterministic algorithms, restore all after.

    Args:
        seed: Any integer >= 0.
    """
    from ecumene.models.torch_execution import STARTING_THREADS

    threads = torch.get_num_threads()
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002  # libraries may use it; we do not
            torch.manual_seed(seed)
            # An executor may have left another number, which would change the last digits of sums.
            torch.set_num_threads(STARTING_THREADS)
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
        finally:
            torch.set_num_threads(threads)
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
