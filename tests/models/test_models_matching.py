"""Data that do not fit a model are refused with the reason."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ContractError
from ecumene.scenes.contract import Channel


@dataclass(frozen=True)
class FakeStack:
    geobox: GeoBox
    channels: tuple[Channel, ...]
    times: tuple

    def select(self, keys):
        return replace(self, channels=tuple(next(c for c in self.channels if c.key == key) for key in keys))


def stack(resolution=10.0, bands=("B08", "B01", "B02", "B03", "B04"), dates=1, crs="EPSG:32633", **channel):
    box = (500_000, 5_000_000, 500_000 + 64 * resolution, 5_000_000 + 32 * resolution)
    geobox = GeoBox.from_bbox(box, crs, resolution=resolution)
    entry = {"sensor": "sentinel-2", "level": "L2A", "unit": "1"} | channel
    channels = tuple(Channel(band=band, **entry) for band in bands)
    times = tuple(np.datetime64("2020-01-01") + 10 * i for i in range(dates))
    return FakeStack(geobox, channels, times)


def test_bands_are_found_by_name_and_put_in_order(network_model):
    matched = network_model("mlp").match(stack())
    assert [c.band for c in matched.channels] == ["B02", "B03", "B04", "B08"]


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (stack(bands=("B02", "B03", "B08")), "needs sentinel-2/B04"),
        (stack(sensor="landsat-8"), "needs sentinel-2/B02, sentinel-2/B03"),
        (stack(level="L1C"), "of level L1C"),
        (stack(unit="DN"), "in the unit 'DN'"),
        (stack(resolution=20.0), "20 m"),
        (stack(resolution=7.9), "ground sampling"),
        (stack(dates=3), "series of 3 dates"),
    ],
)
def test_misfits_are_named(network_model, given, match):
    with pytest.raises(ContractError, match=match) as caught:
        network_model("mlp").match(given)
    assert str(caught.value).endswith(".")


def test_small_differences_of_sampling_are_fine(network_model):
    network_model("mlp").match(stack(resolution=11.5))
    network_model("mlp").match(stack(resolution=8.5))


def test_a_series_model_needs_a_series(network_model, tree_model):
    network_model("ltae").match(stack(dates=4))
    with pytest.raises(ContractError, match="one date only"):
        network_model("ltae").match(stack(dates=1))
    tree_model("forest", 3).match(stack(dates=3))
    with pytest.raises(ContractError, match="exactly 3 dates"):
        tree_model("forest", 3).match(stack(dates=4))


def test_degrees_are_measured_in_metres(network_model):
    geobox = GeoBox.from_bbox((10.0, 48.0, 10.01, 48.01), "EPSG:4326", resolution=0.0001)
    found = replace(stack(), geobox=geobox)
    network_model("mlp").match(found)
    with pytest.raises(ContractError, match="ground sampling"):
        network_model("mlp").match(
            replace(found, geobox=GeoBox.from_bbox((10, 48, 11, 49), "EPSG:4326", resolution=0.01))
        )
