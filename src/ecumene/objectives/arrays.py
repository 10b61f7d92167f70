"""The few array functions that predictions need, alike for NumPy arrays and tensors.

Both libraries name most of the functions of the Python array API standard alike; these helpers cover what
differs, so that a model executed without torch maps the same way and no branch is spread over the objectives.
Nothing here imports torch: a tensor brings it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_tensor(x: Any) -> bool:
    """Whether `x` is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def namespace(x: Any) -> Any:
    """Return the library of an array: `torch` for tensors, `numpy` for everything else."""
    return sys.modules["torch"] if is_tensor(x) else np


def as_float(x: Any) -> Any:
    """Return `x` in float32, or float64 if it is float64 already."""
    if is_tensor(x):
        return x if x.dtype == namespace(x).float64 else x.float()
    array = np.asarray(x)
    return array if array.dtype == np.float64 else array.astype(np.float32, copy=False)


def to_numpy(x: Any) -> NDArray[Any]:
    """Return `x` as a NumPy array."""
    return np.asarray(x.detach().cpu().numpy()) if is_tensor(x) else np.asarray(x)


def softmax(x: Any, axis: int = 1) -> Any:
    """Return the softmax along an axis."""
    if is_tensor(x):
        return namespace(x).softmax(x, dim=axis)
    shifted = np.exp(x - x.max(axis=axis, keepdims=True))
    return shifted / shifted.sum(axis=axis, keepdims=True)


def sigmoid(x: Any) -> Any:
    """Return the logistic function without overflow."""
    if is_tensor(x):
        return namespace(x).sigmoid(x)
    # tanh saturates where exp(-x) would overflow.
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softplus(x: Any) -> Any:
    """Return log(1 + exp(x)) without overflow."""
    library = namespace(x)
    return library.log1p(library.exp(-library.abs(x))) + clip(x, 0.0, None)


def clip(x: Any, low: float | None, high: float | None) -> Any:
    """Return `x` limited to [low, high]."""
    return x.clamp(min=low, max=high) if is_tensor(x) else np.clip(x, low, high)


def smaller(x: Any, y: Any) -> Any:
    """Return the smaller of two arrays, element by element."""
    return namespace(x).minimum(x, y)


def total(x: Any, axis: int = 1, keep: bool = False) -> Any:
    """Return the sum along an axis."""
    return x.sum(dim=axis, keepdim=keep) if is_tensor(x) else x.sum(axis=axis, keepdims=keep)


def mean(x: Any, axis: int = 1) -> Any:
    """Return the mean along an axis."""
    return x.mean(dim=axis) if is_tensor(x) else x.mean(axis=axis)


def concatenate(parts: Sequence[Any], axis: int = 1) -> Any:
    """Join arrays along an axis."""
    if is_tensor(parts[0]):
        return namespace(parts[0]).cat(list(parts), dim=axis)
    return np.concatenate(list(parts), axis=axis)


def split(x: Any, axis: int = 1) -> list[Any]:
    """Return the slices of an array along an axis."""
    return [x.take(k, axis) if not is_tensor(x) else x.select(axis, k) for k in range(x.shape[axis])]


def argmax(x: Any, axis: int = 1) -> Any:
    """Return the position of the (first) largest value along an axis."""
    return x.argmax(dim=axis) if is_tensor(x) else x.argmax(axis=axis)


def look_up(table: Sequence[int], index: Any) -> Any:
    """Return `table[index]` as uint8, in the library of `index`."""
    codes = np.asarray(table, dtype=np.uint8)
    if is_tensor(index):
        return namespace(index).from_numpy(codes).to(index.device)[index]
    return codes[index]


def as_uint8(x: Any) -> Any:
    """Return `x` (bool or small non-negative numbers) as uint8."""
    return x.to(namespace(x).uint8) if is_tensor(x) else x.astype(np.uint8)


def double(x: Any) -> Any:
    """Return `x` in float64."""
    return x.double() if is_tensor(x) else np.asarray(x, dtype=np.float64)


def like_type(x: Any, like: Any) -> Any:
    """Return `x` in the type of `like`."""
    return x.to(like.dtype) if is_tensor(x) else np.asarray(x, dtype=np.asarray(like).dtype)


def constant(values: Sequence[float], like: Any) -> Any:
    """Return numbers `[N]` in the library, type and device of `like`."""
    return like.new_tensor(list(values)) if is_tensor(like) else np.asarray(values, dtype=like.dtype)


def per_channel(values: Sequence[float], like: Any) -> Any:
    """Return numbers shaped to multiply axis 1 of `like`, in its library, type and device."""
    shape = (1, len(values)) + (1,) * (like.ndim - 2)
    if is_tensor(like):
        return like.new_tensor(list(values)).reshape(shape)
    return np.asarray(values, dtype=like.dtype).reshape(shape)


def entropy(probabilities: Any, axis: int = 1) -> Any:
    """Return the Shannon entropy -sum p ln p in nat along an axis, with 0 ln 0 = 0."""
    library = namespace(probabilities)
    tiny = 1e-30
    return -total(probabilities * library.log(clip(probabilities, tiny, None)), axis)
