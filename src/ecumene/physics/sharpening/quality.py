"""How good a sharpened image is: SAM, ERGAS, RMSE, correlation, UIQI and Q2n."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError
from ecumene.physics.spectral_angles import spectral_angles_deg


@dataclass(frozen=True)
class Quality:
    """Agreement of an image with its reference.

    Attributes:
        sam_deg: Mean spectral angle over pixels, degrees; 0 is best.
        ergas: Relative dimensionless global error in synthesis (Wald 2000), per cent; 0 is best.
        q2n: Hypercomplex quality index (Garzelli and Nencini 2009), 1 is best.
        rmse: Root mean square error over pixels and bands, unit of the image.
        correlation: Mean over bands of Pearson's correlation.
        uiqi: Mean over bands of the universal image quality index in blocks (Wang and Bovik 2002), 1 is best.
        band_rmse: Root mean square error of each band, unit of the image.
    """

    sam_deg: float
    ergas: float
    q2n: float
    rmse: float
    correlation: float
    uiqi: float
    band_rmse: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


def assess(image: Any, reference: Any, ratio: int, *, valid: Any = None, block: int = 32) -> Quality:
    """Compare an image with its reference.

    Args:
        image: `[B, H, W]`.
        reference: `[B, H, W]`, same unit.
        ratio: Of pixel sizes, for ERGAS.
        valid: bool `[H, W]`: pixels to compare; None: all that are finite in both.
        block: Edge of the blocks of Q2n and UIQI; blocks that are not wholly valid are left out.

    Raises:
        ContractError: If shapes differ or no pixel can be compared.
    """
    x, y = np.asarray(image, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 3:
        raise ContractError(f"Image {x.shape} and reference {y.shape} must have one shape [bands, rows, columns].")
    mask = np.isfinite(x).all(axis=0) & np.isfinite(y).all(axis=0)
    mask &= True if valid is None else np.asarray(valid, dtype=bool)
    if not mask.any():
        raise ContractError("No pixel is valid in both image and reference, so there is nothing to compare.")
    a, b = x[:, mask], y[:, mask]
    rmse = np.sqrt(np.mean((a - b) ** 2, axis=1))
    correlation = [_correlation(one, other) for one, other in zip(a, b, strict=True)]
    single = [q2n(one[None], other[None], valid=mask, block=block) for one, other in zip(x, y, strict=True)]
    return Quality(
        sam_deg=float(np.mean(spectral_angles_deg(a, b))),
        ergas=ergas(a, b, ratio),
        q2n=q2n(x, y, valid=mask, block=block),
        rmse=float(np.sqrt(np.mean((a - b) ** 2))),
        correlation=float(np.mean(correlation)),
        uiqi=float(np.mean(single)),
        band_rmse=tuple(float(value) for value in rmse),
    )


def ergas(image: Any, reference: Any, ratio: int) -> float:
    """Return 100 / ratio sqrt(mean_b (RMSE_b / mean_b)^2) (Wald 2000) of `[B, ...]`."""
    a, b = np.asarray(image, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    axes = tuple(range(1, a.ndim))
    squares = np.mean((a - b) ** 2, axis=axes)
    return float(100.0 / ratio * np.sqrt(np.mean(squares / np.mean(b, axis=axes) ** 2)))


def cayley_dickson_signs(dimension: int) -> NDArray[np.float64]:
    """Return s with e_i e_j = s[i, j] e_(i xor j) in the Cayley-Dickson algebra (1, 2, 4, 8, 16, ... dimensions)."""
    signs = np.ones((1, 1))
    while len(signs) < dimension:
        conjugate = np.where(np.arange(len(signs)) == 0, 1.0, -1.0)[None, :]
        # (a, b)(c, d) = (a c - d* b, d a + b c*)
        signs = np.block([[signs, signs.T], [signs * conjugate, -conjugate * signs.T]])
    return signs


def q2n(image: Any, reference: Any, *, valid: Any = None, block: int = 32) -> float:
    """Return Q2n (Garzelli and Nencini 2009, IEEE GRSL 6(4):662-665): UIQI of hypercomplex pixels, mean over blocks.

    A pixel's bands, filled with zeros to 2^n, are one hypercomplex number z. In every block
    Q = |s_xy| / (s_x s_y) 2 s_x s_y / (s_x^2 + s_y^2) 2 |m_x| |m_y| / (|m_x|^2 + |m_y|^2), with the hypercomplex
    covariance s_xy = E[x y*] - m_x m_y*. For one band this is UIQI with the covariance's absolute value. Blocks do
    not overlap and values are not normalised, as in the paper.

    Args:
        image: `[B, H, W]`.
        reference: `[B, H, W]`.
        valid: bool `[H, W]`; blocks that are not wholly valid are left out, unless none is whole: then all valid
            pixels make one block.
        block: Edge of a block, pixels.
    """
    x, y = np.asarray(image, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    mask = np.ones(x.shape[1:], bool) if valid is None else np.asarray(valid, dtype=bool)
    dimension = 1
    while dimension < len(x):
        dimension *= 2
    signs = cayley_dickson_signs(dimension)
    results = []
    for row in range(0, x.shape[1] - block + 1, block):
        for col in range(0, x.shape[2] - block + 1, block):
            part = (slice(row, row + block), slice(col, col + block))
            if mask[part].all():
                results.append(_block_quality(x[:, *part].reshape(len(x), -1), y[:, *part].reshape(len(y), -1), signs))
    if not results:
        results = [_block_quality(x[:, mask], y[:, mask], signs)]
    return float(np.mean(results))


def _block_quality(x: NDArray[np.float64], y: NDArray[np.float64], signs: NDArray[np.float64]) -> float:
    dimension, pixels = len(signs), x.shape[1]
    filled = np.zeros((2, dimension, pixels))
    filled[0, : len(x)], filled[1, : len(y)] = x, y
    means = filled.mean(axis=2)
    centred = filled - means[:, :, None]
    cross = centred[0] @ centred[1].T / pixels
    conjugate = np.where(np.arange(dimension) == 0, 1.0, -1.0)
    rows = np.arange(dimension)
    components = [np.sum((signs * conjugate[None] * cross)[rows, rows ^ k]) for k in range(dimension)]
    covariance = float(np.linalg.norm(components))
    spread = float(np.sum(centred**2)) / pixels
    length = float(np.sum(means**2))
    product = float(np.linalg.norm(means[0]) * np.linalg.norm(means[1]))
    brightness = 2.0 * product / length if length > 0 else 1.0
    return brightness * (2.0 * covariance / spread if spread > 0 else 1.0)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    first, second = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / size if size > 0 else 0.0
