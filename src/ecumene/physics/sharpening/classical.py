"""Standard sharpeners: Brovey, principal components, Gram-Schmidt, MTF-matched generalised Laplacian pyramid.

The critical comparison of Vivone et al. (2015, IEEE TGRS 53(5):2565-2586) describes all of them in one notation,
followed here: M~ is the interpolated coarse image, P the guide, I a component made of M~.
"""

from __future__ import annotations

import numpy as np

from ecumene.physics.sharpening.guides import FusionInput, Image, guide_for, injection_gains, regress


def interpolation(data: FusionInput) -> Image:
    """Return the coarse image by cubic convolution: what any sharpener must beat."""
    return data.pair.interpolate(data.low)


def brovey(data: FusionInput) -> Image:
    """Brovey transform (Gillespie, Kahle and Walker 1987): M~ P / I, I the mean of the bands.

    P has I's moments. Where I is not positive the interpolated value stays.
    """
    intensity = data.low.mean(axis=0, keepdims=True)
    guide = guide_for(intensity, data)
    smooth = data.pair.interpolate(data.low)
    component = data.pair.interpolate(intensity)
    factor = np.divide(guide, component, out=np.ones_like(guide), where=component > 1e-9 * np.abs(component).max())
    return np.asarray(smooth * np.maximum(factor, 0.0))


def principal_components(data: FusionInput) -> Image:
    """Principal component substitution (Chavez, Sides and Anderson 1991): the first component becomes the guide.

    The eigenvector's sign is taken so that the component goes along with the fine image.
    """
    values = data.low[:, data.low_valid]
    mean = values.mean(axis=1)
    _, vectors = np.linalg.eigh(np.cov(values))
    leading = vectors[:, -1]
    component = np.tensordot(leading, data.low - mean[:, None, None], axes=1)[None]
    reference = data.high_at_low.mean(axis=0)[data.low_valid]
    if np.sum((reference - reference.mean()) * component[0][data.low_valid]) < 0:
        leading, component = -leading, -component
    detail = guide_for(component, data) - data.pair.interpolate(component)
    return np.asarray(data.pair.interpolate(data.low) + leading[:, None, None] * detail)


def gram_schmidt(data: FusionInput, *, adaptive: bool = False) -> Image:
    """Gram-Schmidt sharpening (Laben and Brower 2000, US patent 6,011,875, expired): M~ + g (P - I).

    g_b = cov(M~_b, I) / var(I). The first Gram-Schmidt vector I is the mean of the bands (mode 1) or, adaptively,
    the combination of bands that fits the degraded guide best (GSA; Aiazzi, Baronti and Selva 2007, IEEE TGRS
    45(10):3230-3239).
    """
    if adaptive:
        target = data.high_at_low.mean(axis=0, keepdims=True)
        weights, offset = regress(target, data.low, data.low_valid)
        intensity = np.tensordot(weights, data.low, axes=1) + offset[:, None, None]
        guide = data.high.mean(axis=0, keepdims=True)
    else:
        intensity = data.low.mean(axis=0, keepdims=True)
        guide = guide_for(intensity, data)
    gains = injection_gains(data.low, intensity, data.low_valid)
    detail = guide - data.pair.interpolate(intensity)
    return np.asarray(data.pair.interpolate(data.low) + gains[:, None, None] * detail)


def gram_schmidt_adaptive(data: FusionInput) -> Image:
    """Gram-Schmidt with the adaptive component; see `gram_schmidt`."""
    return gram_schmidt(data, adaptive=True)


def mtf_glp(data: FusionInput) -> Image:
    """MTF-GLP with context-free regression gains (Aiazzi et al. 2006, PE&RS 72(5):591-596): M~ + g (P - P_L).

    P_L is the guide seen by the coarse sensor and interpolated, so that only frequencies beyond the coarse
    sensor's are injected; g_b = cov(M_b, P_L) / var(P_L).
    """
    guide = guide_for(data.low, data)
    degraded = data.pair.degrade(guide)
    gains = injection_gains(data.low, degraded, data.low_valid)
    detail = guide - data.pair.interpolate(degraded)
    return np.asarray(data.pair.interpolate(data.low) + gains[:, None, None] * detail)
