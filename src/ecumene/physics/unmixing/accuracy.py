"""How well endmembers and abundances agree with a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ContractError
from ecumene.physics.spectral_angles import spectral_angles_deg


@dataclass(frozen=True)
class UnmixingAccuracy:
    """Agreement with a reference after matching.

    Attributes:
        order: Estimated endmember that matches each reference endmember, `[p]`.
        angle_deg: Spectral angle of each pair, degrees, `[p]`.
        abundance_rmse: Root mean square error over all pixels and endmembers; None without abundances.
        endmember_rmse: The same for each endmember, `[p]`.
    """

    order: NDArray[np.int64]
    angle_deg: NDArray[np.float64]
    abundance_rmse: float | None
    endmember_rmse: NDArray[np.float64] | None


def spectral_angle_deg(first: Any, second: Any) -> NDArray[np.float64]:
    """Return angles between all pairs of columns of `[B, p]` and `[B, q]`: `[p, q]`, degrees, 0 to 180.

    See `physics.spectral_angles`.
    """
    return spectral_angles_deg(np.asarray(first)[:, :, None], np.asarray(second)[:, None, :])


def compare_with_reference(
    endmembers: Any, reference: Any, abundances: Any = None, reference_abundances: Any = None
) -> UnmixingAccuracy:
    """Match endmembers one to one by least total spectral angle (Hungarian method) and compare.

    Args:
        endmembers: `[B, p]`.
        reference: `[B, p]`.
        abundances: `[P, p]`, in the order of `endmembers`.
        reference_abundances: `[P, p]`, in the order of `reference`.

    Raises:
        ContractError: If shapes do not fit.
    """
    from scipy.optimize import linear_sum_assignment

    if np.shape(endmembers) != np.shape(reference):
        raise ContractError(
            f"Endmembers {np.shape(endmembers)} and reference {np.shape(reference)} differ in shape; compare equal "
            "numbers in the same bands."
        )
    angles = spectral_angle_deg(endmembers, reference)
    rows, columns = linear_sum_assignment(angles)
    order = np.empty(len(rows), np.int64)
    order[columns] = rows
    matched = angles[order, np.arange(len(order))]
    if abundances is None or reference_abundances is None:
        return UnmixingAccuracy(order, matched, None, None)
    error = np.asarray(abundances)[:, order] - np.asarray(reference_abundances)
    each = np.sqrt(np.nanmean(error**2, axis=0))
    return UnmixingAccuracy(order, matched, float(np.sqrt(np.nanmean(error**2))), each)
