"""Arrays as safetensors bytes: a header of names, types and shapes, then numbers; nothing can execute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ModelError

_ALLOWED = frozenset({"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"})


def pack_arrays(arrays: Mapping[str, NDArray]) -> bytes:
    """Return the arrays as safetensors bytes, the same for the same arrays.

    Args:
        arrays: NumPy arrays by name.

    Raises:
        ModelError: If an array has a type that bundles do not hold.
    """
    from safetensors.numpy import save

    for name, array in arrays.items():
        if str(np.asarray(array).dtype) not in _ALLOWED:
            raise ModelError(f"The array {name!r} has the type {array.dtype}, which a model bundle does not hold.")
    return bytes(save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}))


def unpack_arrays(data: bytes, what: str) -> dict[str, NDArray]:
    """Read safetensors bytes from a stranger.

    Args:
        data: The whole file.
        what: Its name, for the error.

    Returns:
        Arrays by name.

    Raises:
        ModelError: If the bytes are not safetensors, or hold another type or values that are not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, NDArray] = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"{what} is not a readable safetensors file ({str(error)[:120]}); get the model again from its source."
        ) from error
    for name, array in arrays.items():
        if str(array.dtype) not in _ALLOWED:
            raise ModelError(f"{what} holds {name!r} as {array.dtype}, which a model bundle does not hold.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(f"{what} holds numbers in {name!r} that are not finite; train the model again.")
    return arrays


def require_names(arrays: Mapping[str, NDArray], names: Iterable[str], what: str) -> None:
    """Refuse `arrays` unless its names are exactly `names`.

    Raises:
        ModelError: Naming the first missing and the first surplus array.
    """
    wanted = set(names)
    missing, surplus = sorted(wanted - set(arrays)), sorted(set(arrays) - wanted)
    if missing or surplus:
        parts = [f"lacks {missing[0]!r}"] if missing else []
        parts += [f"has the unknown {surplus[0]!r}"] if surplus else []
        raise ModelError(f"{what} does not fit the model's architecture: it {' and '.join(parts)}.")
