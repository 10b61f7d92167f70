"""Sharpening by joint sparsity: coarse patches of several bands are written with the same few patches of the guide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ecumene.core.threads import count_threads
from ecumene.physics.sharpening.guides import FusionInput, Image, guide_for
from ecumene.physics.sharpening.patch_kernels import fuse_patches


def joint_sparsity(
    data: FusionInput,
    *,
    patch: int = 5,
    step: int = 2,
    reach: int = 3,
    atoms: int = 3,
    residual: float = 0.02,
    group_correlation: float = 0.9,
    back_projections: int = 3,
    threads: int | None = None,
) -> Image:
    """Sharpen after J-SparseFI (Zhu, Grohnfeldt and Bamler 2016, IEEE TGRS 54(5):2664-2681).

    A pair of dictionaries is built from the guide: patches as the coarse sensor sees them, and the same patches at
    full resolution. Every coarse patch is represented in the first by few atoms, which all bands of a group share
    (joint sparsity), and put together from the second with the same coefficients; overlapping patches are
    averaged. Bands form groups by their correlation; patches lose their mean before and get it back after. Differs
    from the paper in three ways: the dictionary is local (guide patches within `reach` coarse pixels), the group
    problem is solved by simultaneous orthogonal matching pursuit instead of an L2,1 relaxation, and the result is
    made consistent with the coarse image by iterated back-projection (Irani and Peleg 1991).

    Args:
        data: The images; several fine bands are combined for each group by regression, and used singly as well.
        patch: Edge of a patch, coarse pixels.
        step: Distance of patches, coarse pixels.
        reach: Search radius of the dictionary, coarse pixels.
        atoms: Most atoms of a patch.
        residual: Relative residual at which a patch is represented well enough.
        group_correlation: Bands that correlate more than this share their atoms.
        back_projections: Iterations of X <- X + interpolated (coarse - degraded X).
        threads: Threads over strips of patches.

    Returns:
        `[B, H, W]`.
    """
    size = min(patch, *data.pair.shape)
    guide = guide_for(data.low, data)
    result = np.empty((len(data.low), *data.pair.fine_shape))
    for group in band_groups(data.low, data.low_valid, group_correlation):
        # One guide for the group, from the regression of each member, and the fine bands themselves.
        members = guide[group].mean(axis=0, keepdims=True)
        fine = np.concatenate([members, data.high]) if len(data.high) > 1 else data.high
        scale = fine[:, data.high_valid].std(axis=1)
        scale[scale == 0] = 1.0
        fine = np.ascontiguousarray(fine / scale[:, None, None])
        spread = data.low[group][:, data.low_valid].std(axis=1)
        spread[spread == 0] = 1.0
        bands = np.ascontiguousarray(data.low[group] / spread[:, None, None])
        fused = _fuse(
            bands, data.pair.degrade(fine), fine, size, step, reach, data.pair.ratio, atoms, residual, threads
        )
        result[group] = fused * spread[:, None, None]
    for _ in range(back_projections):
        result += data.pair.interpolate(data.low - data.pair.degrade(result))
    return result


def band_groups(low: Image, valid: NDArray[np.bool_], least: float) -> list[list[int]]:
    """Return bands in groups in which every band correlates with a neighbour of the group by at least `least`."""
    from scipy.sparse.csgraph import connected_components

    values = low[:, valid]
    values = values - values.mean(axis=1, keepdims=True)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    values = values / np.where(length > 0, length, 1.0)
    count, label = connected_components(np.abs(values @ values.T) >= least, directed=False)
    return [np.flatnonzero(label == number).tolist() for number in range(count)]


def _corners(length: int, size: int, step: int) -> NDArray[np.int64]:
    """Patch corners that cover an axis, the last flush with its end."""
    return np.unique(np.append(np.arange(0, length - size + 1, step), length - size)).astype(np.int64)


def _fuse(
    bands: Image,
    guide_low: Image,
    guide_high: Image,
    size: int,
    step: int,
    reach: int,
    ratio: int,
    atoms: int,
    residual: float,
    threads: int | None,
) -> Image:
    rows, cols = _corners(bands.shape[1], size, step), _corners(bands.shape[2], size, step)
    options = np.array([size, reach, ratio, atoms])
    # Strips have a fixed size and are added in order, so that the result does not depend on the threads.
    strips = [rows[k : k + 16] for k in range(0, len(rows), 16)]

    def run(strip: NDArray[np.int64]) -> tuple[int, Image, Image]:
        top, bottom = int(strip[0]) * ratio, (int(strip[-1]) + size) * ratio
        total, weight = np.zeros((len(bands), *guide_high.shape[1:])), np.zeros(guide_high.shape[1:])
        fuse_patches(bands, guide_low, guide_high, strip, cols, options, residual, total, weight)
        return top, total[:, top:bottom].copy(), weight[top:bottom].copy()

    total, weight = np.zeros((len(bands), *guide_high.shape[1:])), np.zeros(guide_high.shape[1:])
    with ThreadPoolExecutor(count_threads(threads)) as pool:
        for top, part, counts in pool.map(run, strips):
            total[:, top : top + part.shape[1]] += part
            weight[top : top + len(counts)] += counts
    return np.asarray(total / weight)
