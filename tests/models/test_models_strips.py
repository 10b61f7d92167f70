"""Outlier scores are computed a few rows at a time, and the local average by shifted sums: same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from ecumene.models import deployed
from ecumene.models.contract import InputBand
from ecumene.networks import build_network
from ecumene.trust.gaussian import CombinedDetector


@pytest.mark.parametrize("size", [(24, 40), (32, 8)])
def test_scores_do_not_depend_on_the_strips(monkeypatch, size):
    torch.manual_seed(0)
    network = build_network("unet-small", in_channels=3, n_outputs=4, width=8).eval()
    inputs = [InputBand(sensor="s", level="L", band=f"B{k}", unit="1", mean=0.4, std=0.2) for k in range(3)]
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    image[0, :, 3:7] = torch.nan
    with torch.inference_mode():
        features = deployed.DeployedNetwork(network, inputs, radius=2).raw(image)[1]
        rows = features.movedim(1, -1).reshape(-1, features.shape[1]).numpy()
        detector = CombinedDetector.fit(rows, np.zeros(len(rows), np.int64))
        model = deployed.DeployedNetwork(network, inputs, detector=detector, radius=2)
        whole = model(image)[1]
        expected = detector.score(rows).reshape(2, *size)
        np.testing.assert_allclose(whole.numpy(), expected, rtol=2e-3, atol=1e-4)
        for pixels in (1, 5 * size[1] * 2, 7 * size[1] * 2):
            monkeypatch.setattr(deployed, "_SCORED_PIXELS", pixels)
            torch.testing.assert_close(model(image)[1], whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_shifted_sums_are_a_box_sum(radius):
    x = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    side = 2 * radius + 1
    expected = functional.avg_pool2d(x, side, stride=1, padding=radius) * side**2
    torch.testing.assert_close(deployed._box_sum(x, radius), expected)
