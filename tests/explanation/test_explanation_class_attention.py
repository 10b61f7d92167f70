"""Grad-CAM against theory, and what a network must have for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explanation_models import make_network
from torch import nn

from ecumene.core.errors import ConfigurationError
from ecumene.explanation.class_attention import activation_map, attention_layer, date_attention, grad_cam


class Pooled(nn.Module):
    """Convolutions, global average pooling, a linear layer: the network that class activation maps are exact for."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x).mean(dim=(2, 3)))


def test_it_is_the_class_activation_map_of_a_pooled_linear_network():
    torch.manual_seed(0)
    network, x = Pooled().eval(), torch.randn(1, 4, 16, 20)
    layer = attention_layer(network, lambda: network(x))
    assert layer == "body", "a container is the last of its size to be done"
    maps = network.body(x)[0]
    for channel in range(3):
        found = activation_map(network, network, x, channel, layer=layer)
        cam = torch.einsum("k,khw->hw", network.head.weight[channel], maps).clamp(min=0)
        torch.testing.assert_close(found * maps[0].numel(), cam, rtol=1e-4, atol=1e-5)


def test_a_scene_classifier_is_explained_the_same_way():
    from ecumene.networks import build_network

    torch.manual_seed(1)
    network, x = build_network("scene-resnet", in_channels=4, n_outputs=3).eval(), torch.randn(1, 4, 64, 64)
    layer = attention_layer(network, lambda: network(x))
    found = activation_map(network, network, x, 1, layer=layer)
    assert found.shape == (2, 2)
    assert (found >= 0).all()


def test_members_are_summed_and_pixels_chosen():
    torch.manual_seed(2)
    body, head = nn.Conv2d(4, 5, 3, padding=1), nn.Conv2d(5, 6, 1)
    network, x = nn.Sequential(body, head), torch.randn(1, 4, 8, 8)
    where = np.zeros((8, 8), bool)
    where[2, 3] = True
    found = activation_map(network, network, x, 1, layer="0", where=where, members=2)
    weights = (head.weight[1, :, 0, 0] + head.weight[4, :, 0, 0]) / 64
    torch.testing.assert_close(found, torch.einsum("k,khw->hw", weights, body(x)[0]).clamp(min=0))


def test_the_map_is_between_0_and_1_and_depends_on_the_weights(unet, image):
    where = np.zeros(image.shape[-2:], bool)
    where[8:12, 8:12] = True
    heat, layer = grad_cam(unet, image, None, 1, where=where)
    assert heat.shape == image.shape[-2:]
    assert heat.min() >= 0
    assert heat.max() in (0, 1)
    assert layer == "down.3" or "dropout" in layer
    other, _ = grad_cam(make_network("unet-small", seed=9, width=8), image, None, 1, where=where, layer=layer)
    assert not np.allclose(heat, other)
    with pytest.raises(ConfigurationError, match=r"no layer 'nowhere'; it has: .*down"):
        grad_cam(unet, image, None, 1, layer="nowhere")


def test_pixels_that_are_decided_alone_have_no_surroundings(regressor, forest, image):
    with pytest.raises(ConfigurationError, match="decides every pixel by itself"):
        grad_cam(regressor, image, None, 0)
    with pytest.raises(ConfigurationError, match="made of trees; use --method occlusion"):
        grad_cam(forest, image, None, 0)


def test_attention_to_dates_adds_up_and_ignores_missing_ones(series, unet, image):
    stack = np.concatenate([image, np.full_like(image, np.nan), image + 0.1])
    dates = np.array([18000, 18100, 18200], np.float32)
    found = date_attention(series, stack, dates, (3, 4))
    assert found.sum() == pytest.approx(1, abs=1e-5)
    assert found[1] == 0
    with pytest.raises(ConfigurationError, match="no attention over dates"):
        date_attention(unet, stack, dates, (3, 4))
