"""The state of a training as one safetensors file: arrays, and the rest as JSON in its header.

One file, renamed into place, so that a kill leaves the state of one epoch or of the one before, never a
mixture; and nothing in it can execute. Everything random is derived from seed and epoch, so that no
generator's state needs to be kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ecumene.core.errors import ModelError
from ecumene.core.files import atomic_path

_STATE = "state"


def write_tensors(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write tensors and a JSON-able state atomically."""
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata={_STATE: json.dumps(state)})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        ModelError: If it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stream:
            state = json.loads((stream.metadata() or {})[_STATE])
            return {name: stream.get_tensor(name) for name in stream.keys()}, state  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise ModelError(f"The training state {path.name} is damaged; delete {path.parent} and train again.") from error


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's per-parameter tensors as `optimiser/<parameter>/<name>`."""
    packed = {}
    for number, entries in optimiser.state_dict()["state"].items():
        for name, value in entries.items():
            packed[f"optimiser/{number}/{name}"] = torch.as_tensor(value)
    return packed


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `pack_optimiser` returned; settings such as the learning rate are left as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser/"):
            _, number, name = key.split("/")
            state.setdefault(int(number), {})[name] = tensor
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
