"""Small series with known temporal statistics, for tests of filling."""

from __future__ import annotations

import numpy as np

from ecumene.restoration.contract import Sample, SeriesPixels


def wandering_series(days, *, side=40, bands=3, sill=0.02, noise=0.004, range_days=40.0, seed=0, radar=False):
    """Pixels that wander in time with exponential covariance around a spatial mean, plus white noise."""
    rng = np.random.default_rng(seed)
    days = np.asarray(days, float)
    pixels = side * side
    covariance = sill**2 * np.exp(-np.abs(days[:, None] - days[None, :]) / range_days)
    root = np.linalg.cholesky(covariance + 1e-12 * np.eye(len(days)))
    ground = rng.uniform(0.1, 0.4, (1, 1, pixels)) * np.linspace(0.7, 1.3, bands)[None, :, None]
    wander = np.einsum("ts,skp->tkp", root, rng.normal(size=(len(days), bands, pixels)))
    image = ground + wander + noise * rng.normal(size=wander.shape)
    waves = None
    if radar:
        db = -20.0 + 40.0 * ground[0, :1] + 0.3 * rng.normal(size=(len(days), 2, pixels))
        waves = np.broadcast_to(db, (len(days), 2, pixels)).astype(np.float32)
    return SeriesPixels(image.astype(np.float32), np.ones((len(days), pixels), bool), days, waves)


def as_sample(series, side=40, block=5):
    """The whole series as a sample with blocks."""
    rows, cols = (part.ravel() for part in np.mgrid[:side, :side])
    return Sample(series, (rows // block) * 100 + cols // block, rows, cols)
