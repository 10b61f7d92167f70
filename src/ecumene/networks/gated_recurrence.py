"""The recurrence of a gated recurrent unit with PRetanh, with a backward pass of its own.

A spectrum of a hundred bands is a hundred steps that depend on each other, and each step is small. What does not depend
on the step before is therefore taken out of the loop: products with the inputs before it, and on the way back
everything that only needs stored values, and the gradients of the weights, in one matrix product each.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

_CACHED = 16_384
"""Numbers of one kind that the way back works on at once."""


def pretanh(x: Tensor, slope: Tensor) -> Tensor:
    """Parametric rectified tanh: `tanh(x)` for x > 0, `slope * tanh(x)` for x <= 0 (Mou et al. 2017).

    Args:
        x: `[..., H]`.
        slope: `[H]`; 1 gives tanh, 0 a rectified tanh.
    """
    bounded = torch.tanh(x)
    return torch.where(bounded > 0, bounded, slope * bounded)


def run_gated(projected: Tensor, weight: Tensor, slope: Tensor, keep: bool) -> Tensor:
    """Run the unit over all steps, without anything kept for gradients.

    Args:
        projected: `[T, N, 3H]`, inputs times their weights plus bias: reset gate, update gate, candidate.
        weight: `[3H, H]`, weights of the state, in the same order.
        slope: `[H]` of PRetanh.
        keep: Return the states of all steps instead of the last one.

    Returns:
        `[T, N, H]` or `[N, H]`.
    """
    hidden = weight.shape[1]
    gates, candidate = weight[: 2 * hidden].T, weight[2 * hidden :].T
    state = projected.new_zeros(projected.shape[1], hidden)
    states = []
    for step in projected.unbind(0):
        both = torch.sigmoid(torch.addmm(step[:, : 2 * hidden], state, gates))
        reset, update = both[:, :hidden], both[:, hidden:]
        new = pretanh(torch.addmm(step[:, 2 * hidden :], reset * state, candidate), slope)
        state = torch.lerp(new, state, update)
        if keep:
            states.append(state)
    return torch.stack(states) if keep else state


class GatedRecurrence(torch.autograd.Function):
    """`run_gated` with all states, differentiable; backpropagation through time by hand (float32 or float64)."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor, weight: Tensor, slope: Tensor) -> Tensor:
        """Return the states `[T, N, H]`; arguments as `run_gated`."""
        steps, count, width = projected.shape
        hidden = width // 3
        gates, candidate = weight[: 2 * hidden].T.contiguous(), weight[2 * hidden :].T.contiguous()
        states = projected.new_zeros(steps + 1, count, hidden)
        both = projected[..., : 2 * hidden].clone(memory_format=torch.contiguous_format)
        bounded = projected[..., 2 * hidden :].clone(memory_format=torch.contiguous_format)
        rest = 1.0 - slope
        rows = zip(states[:-1].unbind(0), states[1:].unbind(0), both.unbind(0), bounded.unbind(0), strict=True)
        resets, updates = both[..., :hidden].unbind(0), both[..., hidden:].unbind(0)
        for (state, after, gate, new), reset, update in zip(rows, resets, updates, strict=True):
            gate.addmm_(state, gates).sigmoid_()
            new.addmm_(reset * state, candidate).tanh_()
            # slope * b + (1 - slope) * max(b, 0) is PRetanh.
            torch.lerp(torch.addcmul(new * slope, new.clamp_min(0.0), rest), state, update, out=after)
        ctx.save_for_backward(weight, slope, states, both, bounded)
        return states[1:]

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of projected inputs, weights and slope."""
        weight, slope, states, both, bounded = ctx.saved_tensors
        steps, count, hidden = bounded.shape
        gates, candidate = weight[: 2 * hidden], weight[2 * hidden :]
        inner = both.new_empty(steps, count, 3 * hidden)
        of_weight, of_slope = torch.zeros_like(weight), torch.zeros_like(slope)
        arriving = torch.zeros_like(states[0])
        # Few steps at once: what they need stays in the processor's cache.
        size = max(1, _CACHED // (count * hidden))
        for first in range((steps - 1) // size * size, -1, -size):
            here = slice(first, min(first + size, steps))
            before, bound, row = states[:-1][here], bounded[here], inner[here]
            reset, update = both[here, :, :hidden], both[here, :, hidden:]
            rest, negative = 1 - update, bound.clamp_max(0.0)
            new = bound + (slope - 1) * negative
            to_update = (before - new) * update * rest
            to_candidate = rest * torch.where(bound > 0, 1.0, slope) * (1 - bound * bound)
            to_reset = before * reset * (1 - reset)
            arrived = gradients[0][here].clone()
            for step in range(len(bound) - 1, -1, -1):
                at, out = arrived[step].add_(arriving), row[step]
                torch.mul(at, to_candidate[step], out=out[:, 2 * hidden :])
                reached = out[:, 2 * hidden :] @ candidate
                torch.mul(reached, to_reset[step], out=out[:, :hidden])
                torch.mul(at, to_update[step], out=out[:, hidden : 2 * hidden])
                arriving = torch.addcmul(at * update[step], reached, reset[step]).addmm_(out[:, : 2 * hidden], gates)
            flat = row.flatten(0, 1)
            of_weight[: 2 * hidden].addmm_(flat[:, : 2 * hidden].T, before.flatten(0, 1))
            of_weight[2 * hidden :].addmm_(flat[:, 2 * hidden :].T, (reset * before).flatten(0, 1))
            of_slope += (arrived * rest * negative).sum(dim=(0, 1))
        return inner, of_weight, of_slope


class GatedUnit(nn.Module):
    """One layer of gated recurrent units with sigmoid gates and PRetanh or tanh for the candidate.

    `r = s(W_r x + U_r h + b_r)`, `u = s(W_u x + U_u h + b_u)`, `c = f(W x + U (r * h) + b)`,
    `h' = u * h + (1 - u) * c`. Unlike in cuDNN's unit, the reset gate acts before the product with U. With I inputs
    and H units there are `3 H (I + H + 1)` weights, and H slopes with PRetanh.

    Args:
        inputs: Numbers of one step, I.
        hidden: Units H.
        rectified: PRetanh with one trained slope a unit, which starts at 0.25 and is used within [0, 1]; else tanh.
    """

    ones: Tensor

    def __init__(self, inputs: int, hidden: int, rectified: bool) -> None:
        super().__init__()
        self.weight_input = nn.Parameter(torch.empty(3 * hidden, inputs))
        self.weight_state = nn.Parameter(torch.empty(3 * hidden, hidden))
        self.bias = nn.Parameter(torch.empty(3 * hidden))
        self.slope = nn.Parameter(torch.full((hidden,), 0.25)) if rectified else None
        self.register_buffer("ones", torch.ones(hidden), persistent=False)
        for parameter in (self.weight_input, self.weight_state, self.bias):
            nn.init.uniform_(parameter, -0.1, 0.1)

    def forward(self, x: Tensor, keep: bool) -> Tensor:
        """Return all states `[T, N, H]` (`keep`) or the last one `[N, H]` of sequences `[T, N, I]`."""
        slope = self.ones if self.slope is None else self.slope.clamp(0.0, 1.0)
        with torch.autocast(x.device.type, enabled=False) if x.device.type != "meta" else nullcontext():
            projected = nn.functional.linear(x.to(self.bias.dtype), self.weight_input, self.bias)
            # Nothing is kept where no gradient is asked for, and exported graphs hold plain operations only.
            if not torch.is_grad_enabled() or torch.compiler.is_exporting():
                return run_gated(projected, self.weight_state, slope, keep)
            states: Tensor = GatedRecurrence.apply(projected, self.weight_state, slope)
        return states if keep else states[-1]
