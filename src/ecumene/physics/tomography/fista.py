"""Batched FISTA for the L1 problem of `l1`, on the CPU or, through torch, on a GPU.

Beck & Teboulle, SIAM J. Imaging Sci. 2(1), 2009, with the gradient restart of O'Donoghue & Candes (Found.
Comput. Math. 15, 2015). All pixels share the dictionary and so the step; an iteration is two matrix
products of all pixels at once. It needs hundreds of iterations where columns are coherent: it is here
for very large dictionaries, for GPUs, and as an independent check of the active-set solver.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecumene.core.errors import ConfigurationError


@dataclass(frozen=True)
class DenseProfiles:
    """Profiles on the whole grid.

    Attributes:
        amplitude: `[P, L, M]`.
        gap: Duality gap over the objective of the zero profile, `[P]`.
        iterations: Iterations done.
        converged: Whether the gap is within the tolerance, `[P]`.
    """

    amplitude: NDArray[np.complex128]
    gap: NDArray[np.float64]
    iterations: int
    converged: NDArray[np.bool_]


def solve_fista(
    dictionary: NDArray[np.complex128],
    data: NDArray[np.complex128],
    threshold: ArrayLike,
    *,
    tolerance: float = 1e-6,
    max_iterations: int = 20000,
    device: str = "cpu",
) -> DenseProfiles:
    """Solve the problem of `solve_l1` for every pixel at once.

    Args:
        dictionary: `[N, L]`.
        data: `[P, N]` or `[P, N, M]`, finite.
        threshold: kappa, one number or `[P]`, positive.
        tolerance: Largest duality gap over the objective of the zero profile.
        max_iterations: Stop after this many.
        device: A torch device, e.g. `cuda`.

    Returns:
        Profiles with their gaps.

    Raises:
        ConfigurationError: If shapes do not fit.
        MissingDependencyError: If torch is not installed.
    """
    from ecumene.core.optional import require

    torch = require("torch")
    if data.ndim not in (2, 3) or data.shape[1] != dictionary.shape[0]:
        raise ConfigurationError(f"Data of shape {data.shape} do not fit a dictionary of shape {dictionary.shape}.")
    stack = data[:, :, None] if data.ndim == 2 else data
    pixels, _, looks = stack.shape
    atoms = torch.as_tensor(np.asarray(dictionary, np.complex128), device=device)
    y = torch.as_tensor(np.ascontiguousarray(stack.transpose(1, 0, 2)), dtype=torch.complex128, device=device)
    y = y.reshape(atoms.shape[0], pixels * looks)
    kappa = torch.as_tensor(np.broadcast_to(threshold, (pixels,)).astype(np.float64), device=device)[None, :, None]
    adjoint = atoms.conj().T.resolve_conj().contiguous()
    step = 1.0 / float(torch.linalg.matrix_norm(atoms, 2)) ** 2
    shape = (atoms.shape[1], pixels, looks)
    x = torch.zeros(shape, dtype=torch.complex128, device=device)
    ahead, momentum, gap, done = x, 1.0, None, 0
    for done in range(1, max_iterations + 1):
        slope = adjoint @ (atoms @ ahead.reshape(shape[0], -1) - y)
        moved = ahead - step * slope.reshape(shape)
        size = _row_norms(torch, moved)
        new = moved * torch.clamp(1.0 - step * kappa / torch.clamp(size, min=1e-300), min=0.0)
        turned = float(((ahead - new).conj() * (new - x)).real.sum()) > 0
        faster = 1.0 if turned else 0.5 * (1.0 + (1.0 + 4.0 * momentum**2) ** 0.5)
        ahead = new if turned else new + ((momentum - 1.0) / faster) * (new - x)
        x, momentum = new, faster
        if done % 25 == 0 or done == max_iterations:
            gap = _gap(torch, atoms, adjoint, y, x, kappa)
            if float(gap.max()) <= tolerance:
                break
    found = gap.cpu().numpy() if gap is not None else np.full(pixels, np.inf)
    profile = np.ascontiguousarray(x.cpu().numpy().transpose(1, 0, 2))
    return DenseProfiles(profile, found, done, found <= tolerance)


def _row_norms(torch: Any, rows: Any) -> Any:
    return torch.sqrt((rows.real**2 + rows.imag**2).sum(dim=2, keepdim=True))


def _gap(torch: Any, atoms: Any, adjoint: Any, y: Any, x: Any, kappa: Any) -> Any:
    shape = x.shape
    rest = y - atoms @ x.reshape(shape[0], -1)
    largest = _row_norms(torch, (adjoint @ rest).reshape(shape)).amax(dim=0)[:, 0]
    scale = torch.clamp(kappa[0, :, 0] / torch.clamp(largest, min=1e-300), max=1.0)

    def energy(values: Any) -> Any:
        return 0.5 * (values.real**2 + values.imag**2).reshape(-1, shape[1], shape[2]).sum(dim=(0, 2))

    primal = energy(rest) + kappa[0, :, 0] * _row_norms(torch, x).sum(dim=(0, 2))
    lifted = rest.reshape(-1, shape[1], shape[2]) * scale[None, :, None]
    dual = energy(y) - energy(y - lifted.reshape(y.shape))
    return (primal - dual) / torch.clamp(energy(y), min=1e-300)
