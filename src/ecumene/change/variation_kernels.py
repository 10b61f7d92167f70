"""Compiled kernel: total variation denoising by accelerated projection on the dual."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def denoise(noisy, strength, rounds):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Return the minimiser of `|u - noisy|^2 / 2 + strength TV(u)`, isotropic variation.

    Rudin, Osher and Fatemi (1992), solved by Beck and Teboulle (2009, doi 10.1109/TIP.2009.2028250).
    """
    height, width = noisy.shape
    px, py = np.zeros((height, width)), np.zeros((height, width))
    qx, qy = np.zeros((height, width)), np.zeros((height, width))
    u = np.zeros((height, width))
    pace = 1.0
    step = 1.0 / (8.0 * strength)
    for turn in range(rounds + 1):
        last = turn == rounds
        for row in range(height):
            for col in range(width):
                spread = px[row, col] + py[row, col] if last else qx[row, col] + qy[row, col]
                if col > 0:
                    spread -= px[row, col - 1] if last else qx[row, col - 1]
                if row > 0:
                    spread -= py[row - 1, col] if last else qy[row - 1, col]
                u[row, col] = noisy[row, col] + strength * spread
        if last:
            break
        following = (1.0 + np.sqrt(1.0 + 4.0 * pace * pace)) / 2.0
        momentum = (pace - 1.0) / following
        pace = following
        for row in range(height):
            for col in range(width):
                x = qx[row, col] + (step * (u[row, col + 1] - u[row, col]) if col < width - 1 else 0.0)
                y = qy[row, col] + (step * (u[row + 1, col] - u[row, col]) if row < height - 1 else 0.0)
                length = max(1.0, np.sqrt(x * x + y * y))
                x /= length
                y /= length
                qx[row, col] = x + momentum * (x - px[row, col])
                qy[row, col] = y + momentum * (y - py[row, col])
                px[row, col] = x
                py[row, col] = y
    return u
