"""What a model is, by content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.models.contract import ModelSpec


def content_checksum(spec: ModelSpec, *contents: Mapping[str, NDArray[Any]] | str | None) -> str:
    """Return the SHA-256 of a model's statement and of what else decides its output.

    Args:
        spec: The statement.
        *contents: Arrays by name, or text, in an order that stays; None for what the model does not have.
    """
    # Keys sorted: a bundle that was written and read again has them in another order.
    stated = json.dumps(spec.model_dump(mode="json"), sort_keys=True)
    digest = hashlib.sha256(stated.encode())
    for content in contents:
        if isinstance(content, str):
            digest.update(content.encode())
            continue
        for key, value in sorted((content or {}).items()):
            array = np.ascontiguousarray(value)
            digest.update(f"{key}{array.dtype}{array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
