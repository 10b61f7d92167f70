"""The scaling of logits as part of the executed graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ecumene.trust.scaling import IDENTITY, DirichletScaling, Scaling, Temperature, VectorScaling, members_of


class ScaledOutput(nn.Module):
    """Applies a `trust.scaling.Scaling` to logits `[B, M * K, ...]`, with operators that ONNX has.

    Args:
        scaling: What to apply; None: nothing.

    Raises:
        ConfigurationError: On the first run, if the channels are no multiple of the scaling's classes.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, scaling: Scaling | None = None) -> None:
        super().__init__()
        self.scaling = IDENTITY if scaling is None else scaling
        self.temperature = self.scaling.temperature if isinstance(self.scaling, Temperature) else 1.0
        if isinstance(self.scaling, VectorScaling):
            self.register_buffer("weight", torch.tensor(self.scaling.weight, dtype=torch.float32), persistent=False)
        if isinstance(self.scaling, DirichletScaling):
            rows = torch.tensor(self.scaling.matrix, dtype=torch.float32)
            self.register_buffer("weight", rows.T.contiguous(), persistent=False)
        if isinstance(self.scaling, VectorScaling | DirichletScaling):
            self.register_buffer("bias", torch.tensor(self.scaling.bias, dtype=torch.float32), persistent=False)

    def forward(self, logits: Tensor, in_place: bool = False) -> Tensor:
        """Return the calibrated logits, of the same shape; `in_place` allows to overwrite the given ones."""
        if isinstance(self.scaling, VectorScaling):
            members = members_of(self.scaling, logits.shape[1])
            shape = (1, logits.shape[1]) + (1,) * (logits.ndim - 2)
            weight, bias = (entry.repeat(members).reshape(shape) for entry in (self.weight, self.bias))
            return logits.mul_(weight).add_(bias) if in_place else logits * weight + bias
        if isinstance(self.scaling, DirichletScaling):
            members, classes = members_of(self.scaling, logits.shape[1]), self.scaling.n_classes
            parts = []
            for member in range(members):
                own = logits[:, member * classes : (member + 1) * classes]
                mapped = own.log_softmax(dim=1).movedim(1, -1) @ self.weight + self.bias
                parts.append(mapped.movedim(-1, 1))
            return parts[0] if members == 1 else torch.cat(parts, dim=1)
        if self.temperature == 1.0:
            return logits
        return logits.div_(self.temperature) if in_place else logits / self.temperature
