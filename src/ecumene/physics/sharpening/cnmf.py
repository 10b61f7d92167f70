"""Coupled non-negative matrix factorisation: both images unmixed with the same materials."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ecumene.physics.sharpening.guides import FusionInput, Image
from ecumene.physics.unmixing import solve_abundances, vca

_TINY = 1e-12
_SUM_WEIGHT = 0.1  # of the row of ones, relative to the mean of the image


def cnmf(
    data: FusionInput,
    *,
    endmembers: int | None = None,
    rounds: int = 2,
    inner: int = 100,
    back_projections: int = 3,
    seed: int = 0,
) -> Image:
    """CNMF (Yokoya, Yairi and Iwasaki 2012, IEEE TGRS 50(2):528-537).

    Coarse image ~ W H_l, fine image ~ R W H with H_l = H seen coarsely and R the spectral response; W and H are
    refined in turn by Lee and Seung's multiplicative updates, with a lightly weighted row that asks abundances to
    sum to one, and the result is W H. Differs from the paper in R, which is estimated here by non-negative least
    squares of the degraded fine on the coarse image instead of taken from laboratory curves, in the fixed numbers
    of iterations, and in a last back-projection, X <- X + interpolated (coarse - degraded X): an image of few bands
    is not spanned by as few materials, and W H alone does not give the coarse image back. Negative values are set
    to zero. Where fine bands lie outside of the coarse bands' spectrum (the visible bands of Sentinel-2 against its
    20 m bands) R is only a statistical relation and so is the result.

    Args:
        data: The images.
        endmembers: Materials; None: as many as coarse bands, at most 30.
        rounds: Of coarse and fine refinement.
        inner: Updates a refinement.
        back_projections: Iterations at the end; 0: the paper's result.
        seed: Of VCA, which gives the first W.

    Returns:
        `[B, H, W]`.
    """
    low = np.maximum(data.low, 0.0)
    high = np.maximum(data.high, 0.0)
    bands, (height, width) = len(low), data.pair.fine_shape
    coarse = low.reshape(bands, -1)
    response, offset = spectral_response(data)
    # The intercept of the response is part of the fine image's background, not of any material.
    fine = np.maximum(high - offset[:, None, None], 0.0).reshape(len(high), -1)
    count = min(endmembers or min(bands, 30), bands) if bands > 1 else 1
    valid = low[:, data.low_valid].T
    spectra = vca(valid, count, seed=seed).spectra if count > 1 else valid.mean(axis=0)[:, None]
    spectra = np.maximum(spectra, _TINY)
    shares = _start(coarse.T, spectra).T
    coarse_weight, fine_weight = _SUM_WEIGHT * float(coarse.mean()), _SUM_WEIGHT * float(fine.mean())
    spectra, shares = _update(coarse, spectra, shares, coarse_weight, inner, fixed=False)
    abundance = np.maximum(data.pair.interpolate(shares.reshape(count, *data.pair.shape)), _TINY).reshape(count, -1)
    for number in range(rounds):
        seen = np.maximum(response @ spectra, _TINY)
        _, abundance = _update(fine, seen, abundance, fine_weight, inner, fixed=True)
        if number == rounds - 1:
            break
        at_low = data.pair.degrade(abundance.reshape(count, height, width)).reshape(count, -1)
        for _ in range(inner):
            spectra *= (coarse @ at_low.T) / np.maximum(spectra @ (at_low @ at_low.T), _TINY)
    result = (spectra @ abundance).reshape(bands, height, width)
    for _ in range(back_projections):
        result = result + data.pair.interpolate(data.low - data.pair.degrade(result))
    return np.asarray(result)


def spectral_response(data: FusionInput) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (R `[M, B]` >= 0, intercepts `[M]` >= 0) of the degraded fine image on the coarse one, by NNLS."""
    from scipy.optimize import nnls

    x = data.low[:, data.low_valid].T
    design = np.column_stack([x, np.full(len(x), float(np.abs(x).mean()))])
    triangle, small = np.linalg.qr(design), data.high_at_low[:, data.low_valid]
    solutions = np.stack([nnls(triangle.R, triangle.Q.T @ band)[0] for band in small])
    return solutions[:, :-1], solutions[:, -1] * float(np.abs(x).mean())


def _start(pixels: NDArray[np.float64], spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    """First abundances: fully constrained, or even where the materials cannot be told apart."""
    from ecumene.core.errors import ConfigurationError

    try:
        shares, _ = solve_abundances(pixels, spectra)
    except ConfigurationError:
        shares = np.full((len(pixels), spectra.shape[1]), 1.0 / spectra.shape[1])
    return np.maximum(shares, 1e-3)


def _update(
    image: NDArray[np.float64],
    spectra: NDArray[np.float64],
    shares: NDArray[np.float64],
    weight: float,
    steps: int,
    *,
    fixed: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Multiplicative updates; `weight` is that of the row of ones which asks for a sum of one."""
    spectra, shares = spectra.copy(), shares.copy()
    squared = weight * weight
    numerator = spectra.T @ image + squared
    for _ in range(steps):
        if not fixed:
            spectra *= (image @ shares.T) / np.maximum(spectra @ (shares @ shares.T), _TINY)
            numerator = spectra.T @ image + squared
        shares *= numerator / np.maximum((spectra.T @ spectra + squared) @ shares, _TINY)
    return spectra, shares
