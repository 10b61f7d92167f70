"""Two images of one place at two pixel sizes: how the finer becomes the coarser, and back by interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError

_REACH = 3.5  # standard deviations at which the Gaussian is cut


@dataclass(frozen=True)
class ScalePair:
    """A coarse grid whose every pixel covers `ratio` x `ratio` pixels of a fine grid.

    The sensor that sees coarsely is a Gaussian whose transfer function has the value `nyquist_gain` at the coarse
    grid's Nyquist frequency (Aiazzi et al. 2006, PE&RS 72(5):591-596): standard deviation
    ratio sqrt(-2 ln gain) / pi fine pixels, sampled at the centres of coarse pixels. Weights are normalised inside
    of the image, so constants stay constant up to the border.

    Attributes:
        shape: Rows and columns of the coarse grid.
        ratio: Fine pixels along a coarse one, >= 2.
        nyquist_gain: In (0, 1); 0.2 to 0.35 for most optical sensors.
    """

    shape: tuple[int, int]
    ratio: int
    nyquist_gain: float = 0.3

    def __post_init__(self) -> None:
        if self.ratio < 2 or int(self.ratio) != self.ratio:
            raise ConfigurationError(f"The ratio of pixel sizes must be a whole number from 2, but is {self.ratio}.")
        if not 0.0 < self.nyquist_gain < 1.0:
            raise ConfigurationError(
                f"The gain at the Nyquist frequency must be between 0 and 1, not {self.nyquist_gain}."
            )
        if min(self.shape) < 2:
            raise ConfigurationError(f"An image of {self.shape[0]} x {self.shape[1]} pixels is too small to sharpen.")

    @property
    def fine_shape(self) -> tuple[int, int]:
        """Rows and columns of the fine grid."""
        return self.shape[0] * self.ratio, self.shape[1] * self.ratio

    @property
    def blur_deviation(self) -> float:
        """Standard deviation of the Gaussian, fine pixels."""
        return self.ratio * float(np.sqrt(-2.0 * np.log(self.nyquist_gain))) / float(np.pi)

    @cached_property
    def _down(self) -> tuple[Any, Any]:
        return tuple(_blur_matrix(size, self.ratio, self.blur_deviation) for size in self.shape)  # type: ignore[return-value]

    @cached_property
    def _up(self) -> tuple[Any, Any]:
        return tuple(_cubic_matrix(size, self.ratio) for size in self.shape)  # type: ignore[return-value]

    def degrade(self, fine: Any) -> NDArray[np.float64]:
        """Return `[..., H, W]` as the coarse sensor sees it, `[..., h, w]`."""
        return _apply(self._down, fine)

    def interpolate(self, coarse: Any) -> NDArray[np.float64]:
        """Return `[..., h, w]` on the fine grid by cubic convolution (Keys 1981, a = -1/2), `[..., H, W]`."""
        return _apply(self._up, coarse)

    def repeat(self, coarse: Any) -> NDArray[Any]:
        """Return `[..., h, w]` with every pixel repeated, `[..., H, W]`, any type."""
        return np.asarray(np.repeat(np.repeat(coarse, self.ratio, axis=-2), self.ratio, axis=-1))

    def coarser(self) -> ScalePair:
        """Return the pair one scale up, whose fine grid is this one's coarse grid without incomplete borders.

        Raises:
            ConfigurationError: If nothing would be left.
        """
        return ScalePair((self.shape[0] // self.ratio, self.shape[1] // self.ratio), self.ratio, self.nyquist_gain)


def _apply(matrices: tuple[Any, Any], image: Any) -> NDArray[np.float64]:
    rows, columns = matrices
    data = np.asarray(image, dtype=np.float64)
    flat = data.reshape(-1, *data.shape[-2:])
    result = np.stack([np.asarray((columns @ np.asarray(rows @ band).T).T) for band in flat])
    return np.ascontiguousarray(result.reshape(*data.shape[:-2], *result.shape[-2:]))


def _blur_matrix(coarse: int, ratio: int, deviation: float) -> Any:
    from scipy.sparse import csr_array

    fine = coarse * ratio
    centers = (np.arange(coarse) + 0.5) * ratio - 0.5
    reach = int(np.ceil(_REACH * deviation)) + 1
    index = np.floor(centers).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)[None]
    weight = np.exp(-0.5 * ((index - centers[:, None]) / deviation) ** 2)
    weight[np.abs(index - centers[:, None]) > _REACH * deviation] = 0.0  # the same on both sides of the centre
    weight[(index < 0) | (index >= fine)] = 0.0
    weight /= weight.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(coarse)[:, None], index.shape)
    kept = weight > 0
    return csr_array((weight[kept], (rows[kept], index[kept])), shape=(coarse, fine))


def _cubic_matrix(coarse: int, ratio: int) -> Any:
    from scipy.sparse import csr_array

    fine = coarse * ratio
    position = (np.arange(fine) + 0.5) / ratio - 0.5
    first = np.floor(position).astype(np.int64)
    index = first[:, None] + np.arange(-1, 3)[None]
    distance = np.abs(position[:, None] - index)
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1.0
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4.0 * distance + 2.0
    weight = np.where(distance <= 1.0, near, np.where(distance < 2.0, far, 0.0))
    rows = np.broadcast_to(np.arange(fine)[:, None], index.shape)
    clamped = np.clip(index, 0, coarse - 1)  # the border pixel is repeated
    return csr_array((weight.ravel(), (rows.ravel(), clamped.ravel())), shape=(fine, coarse))
