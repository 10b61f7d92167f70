"""Endmembers from the image itself: pixels at the corners of the data's simplex."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError
from ecumene.physics.unmixing.checks import finite_spectra
from ecumene.physics.unmixing.result import Endmembers


def vca(spectra: Any, count: int, *, seed: int = 0, snr_db: float | None = None) -> Endmembers:
    """Vertex component analysis (Nascimento and Bioucas-Dias 2005, IEEE TGRS 43(4):898-910, algorithm 1).

    Projects onto `count` dimensions where the signal is strong (projectively, so that brightness does not count)
    or onto `count - 1` principal components where it is weak, and takes again and again the pixel that lies
    farthest along a random direction orthogonal to the endmembers found so far. Differs from the paper only in
    that endmembers are pixels of the image (`index`), not their projections.

    Args:
        spectra: `[P, B]`; pixels that are not finite are left out.
        count: Endmembers to find, p >= 2.
        seed: Of the random directions.
        snr_db: Signal-to-noise ratio; None: estimated as in the paper.

    Returns:
        The endmembers.

    Raises:
        ConfigurationError: If `count` is not between 2 and the number of bands.
        SceneError: If there are fewer finite pixels than endmembers.
    """
    data, pixels = _usable(spectra, count)
    if snr_db is None:
        snr_db = estimate_snr_db(data, count)
    if snr_db > 15.0 + 10.0 * np.log10(count):
        projected = _project(data, count, centred=False)
        weight = projected @ projected.mean(axis=0)
        safe = np.where(np.abs(weight) > 1e-12 * np.abs(weight).max(), weight, np.inf)
        points = projected / safe[:, None]
    else:
        reduced = _project(data, count - 1, centred=True)
        radius = np.sqrt(np.max(np.sum(reduced**2, axis=1)))
        points = np.column_stack([reduced, np.full(len(reduced), radius)])
    generator = np.random.default_rng(seed)
    found = np.zeros((count, count))
    found[-1, 0] = 1.0
    index, score = np.empty(count, np.int64), np.empty(count)
    for k in range(count):
        direction = generator.standard_normal(count)
        basis = np.linalg.pinv(found)
        direction -= found @ (basis @ direction)
        direction /= np.linalg.norm(direction)
        length = np.abs(points @ direction)
        index[k] = int(np.argmax(length))
        score[k] = length[index[k]]
        found[:, k] = points[index[k]]
    return Endmembers(spectra=data[index].T.copy(), index=pixels[index], score=score)


def n_findr(spectra: Any, count: int, *, seed: int = 0, max_sweeps: int = 50) -> Endmembers:
    """N-FINDR (Winter 1999, Proc. SPIE 3753:266-275): the pixels that span the simplex of largest volume.

    Starts from VCA's pixels and exchanges one vertex at a time for the pixel that enlarges the volume most, until
    none does. With the vertices as columns [1; x] of a matrix V, exchanging vertex j for pixel x multiplies the
    volume by |(V^-1 [1; x])_j|, so that one matrix product rates all pixels for all vertices; the paper computes a
    determinant for each.

    Args:
        spectra: `[P, B]`.
        count: Endmembers to find.
        seed: Of the start.
        max_sweeps: Exchanges, at most `max_sweeps * count`.

    Returns:
        The endmembers; `score` is the best ratio any pixel would reach at that vertex (1: nothing better).

    Raises:
        ConfigurationError: As `vca`, and if the pixels do not span `count - 1` dimensions.
        SceneError: As `vca`.
    """
    data, pixels = _usable(spectra, count)
    reduced = _project(data, count - 1, centred=True)
    lifted = np.column_stack([np.ones(len(reduced)), reduced / (np.abs(reduced).max() or 1.0)])
    start = vca(data, count, seed=seed).index
    vertices = start.copy()
    if abs(np.linalg.det(lifted[vertices])) < 1e-14:
        vertices = _spread_start(lifted, count)
    ratio = np.ones((len(lifted), count))
    for _ in range(max_sweeps * count):
        matrix = lifted[vertices].T
        if np.linalg.cond(matrix) > 1e12:
            raise ConfigurationError(
                f"The image has fewer than {count} different materials (its pixels do not span a simplex of that many "
                "corners); ask for fewer endmembers."
            )
        ratio = np.abs(np.linalg.solve(matrix, lifted.T).T)
        best = np.unravel_index(int(np.argmax(ratio)), ratio.shape)
        if ratio[best] <= 1.0 + 1e-9:
            break
        vertices[best[1]] = best[0]
    return Endmembers(spectra=data[vertices].T.copy(), index=pixels[vertices], score=ratio.max(axis=0))


def ppi(
    spectra: Any, count: int, *, skewers: int = 10_000, seed: int = 0, least_angle_deg: float = 3.0
) -> tuple[Endmembers, NDArray[np.int64]]:
    """Pixel purity index (Boardman, Kruse and Green 1995): how often a pixel is an end of a random skewer.

    The published method leaves choosing endmembers from the purest pixels to a human; here the purest pixel is
    taken, then the next purest whose spectral angle to all taken ones is large enough.

    Args:
        spectra: `[P, B]`.
        count: Endmembers to find.
        skewers: Random directions in the `count - 1` leading principal components.
        seed: Of the directions.
        least_angle_deg: Smallest spectral angle between endmembers.

    Returns:
        (the endmembers; the index of every pixel of `spectra`, `[P]`).

    Raises:
        ConfigurationError: As `vca`, and if no `count` pure pixels differ by the angle.
        SceneError: As `vca`.
    """
    data, pixels = _usable(spectra, count)
    reduced = _project(data, count - 1, centred=True)
    generator = np.random.default_rng(seed)
    score = np.zeros(len(reduced), np.int64)
    for start in range(0, skewers, 500):
        directions = generator.standard_normal((reduced.shape[1], min(500, skewers - start)))
        length = reduced @ directions
        np.add.at(score, length.argmax(axis=0), 1)
        np.add.at(score, length.argmin(axis=0), 1)
    unit = data / np.maximum(np.linalg.norm(data, axis=1, keepdims=True), 1e-300)
    limit = np.cos(np.radians(least_angle_deg))
    chosen: list[int] = []
    for candidate in np.argsort(-score, kind="stable"):
        if score[candidate] == 0 or len(chosen) == count:
            break
        if not chosen or np.max(unit[chosen] @ unit[candidate]) < limit:
            chosen.append(int(candidate))
    if len(chosen) < count:
        raise ConfigurationError(
            f"Only {len(chosen)} pure pixels differ by {least_angle_deg:g} degrees; ask for fewer endmembers or a "
            "smaller angle."
        )
    everywhere = np.zeros(np.shape(spectra)[0], np.int64)
    everywhere[pixels] = score
    index = np.array(chosen)
    return Endmembers(spectra=data[index].T.copy(), index=pixels[index], score=score[index].astype(float)), everywhere


def estimate_snr_db(spectra: Any, count: int) -> float:
    """Estimate the signal-to-noise ratio as VCA does: power inside of the signal subspace over power outside.

    Args:
        spectra: `[P, B]`, finite.
        count: Dimension of the signal.

    Returns:
        Decibel; inf where nothing is outside.
    """
    data = np.asarray(spectra, dtype=np.float64)
    power = float(np.mean(np.sum(data**2, axis=1)))
    mean = data.mean(axis=0)
    inside = float(np.mean(np.sum(_project(data, count, centred=True) ** 2, axis=1)) + mean @ mean)
    noise = power - inside
    signal = inside - count / data.shape[1] * power
    if noise <= 1e-14 * power:
        return float("inf")
    return float(10.0 * np.log10(max(signal, 1e-300) / noise))


def _usable(spectra: Any, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    bands = np.shape(spectra)[1] if np.ndim(spectra) == 2 else 0
    if not 2 <= count <= max(bands, 2):
        raise ConfigurationError(f"The number of endmembers must be from 2 to the {bands} bands, but is {count}.")
    return finite_spectra(spectra, count)


def _project(data: NDArray[np.float64], dimensions: int, centred: bool) -> NDArray[np.float64]:
    """Return coordinates on the leading eigenvectors of the (centred) second moments, signs fixed."""
    shifted = data - data.mean(axis=0) if centred else data
    _, vectors = np.linalg.eigh(shifted.T @ shifted)
    leading = vectors[:, ::-1][:, :dimensions]
    leading = leading * np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(dimensions)])
    return np.asarray(shifted @ leading)


def _spread_start(lifted: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return pixels chosen by Gram-Schmidt with pivoting: a simplex that is not flat, if there is one."""
    from scipy.linalg import qr

    _, _, order = qr(lifted.T, mode="economic", pivoting=True)
    return np.asarray(order[:count], dtype=np.int64)
