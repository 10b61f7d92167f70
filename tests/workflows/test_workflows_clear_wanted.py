"""`clear --model`: the model is executed where there is something to fill, and alike on all dates."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from affine import Affine
from clear_series import SIZE, disc, read, write_date
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from ecumene.core.window import Window
from ecumene.mapping.clipping import read_clip
from ecumene.restoration.contract import FILLED, OBSERVED, Target
from ecumene.workflows import clear_model
from ecumene.workflows.clear import clear_scenes
from ecumene.workflows.clear_scenes import open_clear_input
from ecumene.workflows.clear_wanted import clouded_cells, outlines
from ecumene.workflows.restoration_places import series_of
from ecumene.workflows.restoration_scenes import train_on_scenes
from ecumene.workflows.stacks import open_stack

pytestmark = pytest.mark.slow  # the oldest versions run without them

CLOUD, SMALL = disc(30, 40, 18), disc(70, 8, 5)
DAYS = ("2020-01-11", "2020-01-31", "2020-02-20", "2020-03-21")


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    clouds = {30: CLOUD, 80: SMALL}
    return [write_date(folder, day, clouds.get(day)) for day in (10, 30, 50, 80)]


@pytest.fixture(scope="module")
def model(series, tmp_path_factory):
    place = series_of(open_stack(series), "here")
    return train_on_scenes([place], samples=4, epochs=1, simulated=0)


@pytest.fixture(scope="module")
def products(series, model, tmp_path_factory):
    return clear_scenes(series, tmp_path_factory.mktemp("out"), model=model)


@settings(max_examples=25, deadline=None)
@given(
    cells=st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=4).filter(
        lambda rows: any(map(any, rows))
    ),
    turn=st.sampled_from([0.0, 30.0]),
    cut=st.tuples(st.integers(0, 7), st.integers(0, 7)),
)
def test_outlines_hold_the_pixels_of_their_squares_and_no_others(cells, turn, cut):
    found = np.array(cells)
    height, width = (length * 8 - less for length, less in zip(found.shape, cut, strict=True))
    affine = Affine(10, 0, 600_000, 0, -10, 5_000_000) * Affine.rotation(turn)
    geobox = GeoBox((height, width), affine, "EPSG:32633")
    date = SimpleNamespace(shape=(height, width), stack=SimpleNamespace(geobox=geobox))
    mask, _ = read_clip(outlines(found, date, 8), geobox)
    expected = np.repeat(np.repeat(found, 8, axis=0), 8, axis=1)[:height, :width]
    assert np.array_equal(mask.read(Window(0, 0, height, width)), expected)


def test_squares_are_those_with_a_pixel_that_is_not_clear(series):
    source = open_clear_input(series, None, mask_clouds=True, radar_declaration={})
    found = clouded_cells(source.at(3), 16)
    rows, cols = np.nonzero(SMALL)
    expected = np.zeros((SIZE // 16, SIZE // 16), bool)
    expected[rows // 16, cols // 16] = True
    assert np.array_equal(found, expected)
    assert not clouded_cells(source.at(0), 16).any()


def test_a_clear_date_is_not_mapped(products):
    assert (read(products[0], "state") == OBSERVED).all()
    assert "filled none" in products[0].properties["processing:lineage"]
    assert products[0].properties["ecumene:results"]["dates_used"] == []
    assert np.array_equal(read(products[1], "state")[0] == FILLED, CLOUD)
    assert products[1].properties["ecumene:results"]["dates_used"] == list(DAYS)


def test_what_is_left_out_changes_no_filled_pixel(series, model, products, tmp_path, monkeypatch):
    clips = []
    mapped = clear_model.map_stack
    monkeypatch.setattr(clear_model, "clouded_cells", lambda date: clouded_cells(date, 16))
    monkeypatch.setattr(clear_model, "outlines", lambda cells, date: outlines(cells, date, 16))
    monkeypatch.setattr(clear_model, "map_stack", lambda *a, **k: clips.append(k["clip"]) or mapped(*a, **k))
    product = clear_scenes(series, tmp_path / "part", model=model, date=DAYS[3])[0]
    assert clips[0].area.sum() == 1e2 * 16**2 * clouded_cells_of(SMALL)
    for layer in ("reflectance", "uncertainty", "state"):
        assert np.array_equal(read(product, layer), read(products[3], layer), equal_nan=True)


def clouded_cells_of(cloud):
    return cloud.reshape(SIZE // 16, 16, SIZE // 16, 16).any(axis=(1, 3)).sum()


def test_all_pixels_are_estimated_where_none_is_kept(series, model, tmp_path):
    product = clear_scenes(series, tmp_path / "out", model=model, date=DAYS[0], keep_observed=False)[0]
    assert (read(product, "state") == FILLED).all()


def test_later_dates_are_executed_as_the_first_one(series, monkeypatch, tmp_path):
    seen = []

    def mapped(stack, model, out, *, options, clip):
        seen.append((model, options.backend, options.precision))
        choice = {"exported_in_run": True}
        execution = {"backend": "openvino", "precision": "bf16", "choice": choice}
        return SimpleNamespace(properties={"ecumene:execution": execution})

    monkeypatch.setattr(clear_model, "map_stack", mapped)
    monkeypatch.setattr("ecumene.models.selection.with_graph", lambda model: "with its graph")
    source = open_clear_input(series, None, mask_clouds=True, radar_declaration={})
    given_model = SimpleNamespace(outlier_threshold=None)
    maps = clear_model.SeriesMaps(given_model, keep_observed=False)
    for index in (0, 1):
        maps.map(source, Target(float(source.days[index]), index), source.stack, None, tmp_path)
    assert seen == [(given_model, "auto", "auto"), ("with its graph", "openvino", "bf16")]
