"""Outlier scores are computed a few rows at a time, and the local average by shifted sums: same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from ecumene.models import deployed, row_strips
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
        expected = detector.score(rows).reshape(2, *size)
        assert model.distances is not None
        np.testing.assert_allclose(model(image)[1].numpy(), expected, rtol=2e-3, atol=1e-4)
        model.distances = None  # from here on without the kernel
        whole = model(image)[1]
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


@pytest.mark.parametrize("shape", [(1, 3, 41, 30), (2, 5, 3, 37, 30)])
def test_normalising_and_averaging_by_strips_gives_the_same_numbers(monkeypatch, shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(2))
    image[..., 4:9, 3] = torch.nan
    image[..., 0, 20, 7] = torch.inf
    mean, std = torch.full((3, 1, 1), 0.4), torch.full((3, 1, 1), 0.3)
    whole = deployed.normalise_tensor(image, mean, std)
    average = deployed.local_average_tensor(*whole, 2)
    monkeypatch.setattr(row_strips, "_PIXELS", 7 * shape[-1])
    with torch.inference_mode():
        assert not row_strips.stays_whole(image)
        parts = deployed.normalise_tensor(image, mean, std)
        assert torch.equal(parts[0], whole[0])
        assert torch.equal(parts[1], whole[1])
        torch.testing.assert_close(deployed.local_average_tensor(*whole, 2), average, rtol=1e-6, atol=1e-7)
    with torch.enable_grad():
        assert row_strips.stays_whole(image)  # gradients go through


def test_strips_cover_every_row_once(monkeypatch):
    monkeypatch.setattr(row_strips, "_PIXELS", 100)
    for height, width in ((1, 1), (7, 30), (10, 100), (9, 1000)):
        rows = [row for part in row_strips.row_strips(torch.empty(2, height, width)) for row in range(height)[part]]
        assert rows == list(range(height))
