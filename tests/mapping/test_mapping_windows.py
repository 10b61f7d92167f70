"""Windows, weights and plans: properties that hold for every size."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping_fakes import grid, make_model, make_stack

from ecumene.core.errors import ConfigurationError
from ecumene.mapping.blending import blend_columns, blend_rows, ramp
from ecumene.mapping.options import MapOptions
from ecumene.mapping.plan import Plan, choose_window, make_plan, share_cores
from ecumene.mapping.reading import pad_to, reflect_index
from ecumene.mapping.windows import Axis, choose_size


@st.composite
def axes(draw):
    multiple = draw(st.sampled_from([1, 4, 32]))
    size = multiple * draw(st.integers(1, 40))
    overlap = draw(st.integers(0, size // 2))
    return Axis(draw(st.integers(1, 3000)), size, overlap, multiple)


@given(axes())
def test_cells_tile_the_axis_and_every_window_sees_its_cell_and_seams(axis):
    position = 0
    for index in range(axis.count):
        start, stop = axis.cell(index)
        assert start == position == axis.start(index)
        assert stop > start
        assert stop + axis.overhang(index) <= axis.stop(index)
        assert axis.stop(index) - axis.start(index) <= axis.extent(index) <= axis.size
        assert axis.extent(index) % axis.multiple == 0
        if index:
            assert axis.stop(index - 1) == start + axis.overlap
            assert axis.stop(index) - start >= axis.overlap
        position = stop
    assert position == axis.length


@given(st.integers(1, 400))
def test_weights_are_a_partition_of_unity(length):
    weights = ramp(length)
    assert np.all(weights > 0)
    assert np.all(weights < 1)
    assert np.all(np.diff(weights) > 0) or length == 1
    np.testing.assert_allclose(weights + weights[::-1], 1.0, atol=1e-6)


@given(st.floats(-1e3, 1e3, width=32), st.integers(1, 40))
def test_a_constant_blends_to_itself_exactly(value, length):
    strip = np.full((2, 5, length), value, dtype=np.float32)
    np.testing.assert_array_equal(blend_columns(strip, strip), strip)
    np.testing.assert_array_equal(blend_rows(strip.swapaxes(1, 2), strip.swapaxes(1, 2)), strip.swapaxes(1, 2))


@given(st.integers(1, 20), st.integers(1, 8), st.integers(0, 2**31))
def test_blended_probabilities_stay_probabilities(length, channels, seed):
    raw = np.random.default_rng(seed).random((2, channels, 3, length)).astype(np.float32) + 0.01
    raw /= raw.sum(axis=1, keepdims=True)
    blended = blend_columns(raw[0], raw[1])
    assert np.all(blended >= 0)
    np.testing.assert_allclose(blended.sum(axis=0), 1.0, atol=1e-6)
    low, high = np.minimum(raw[0], raw[1]), np.maximum(raw[0], raw[1])
    assert np.all((blended >= low - 1e-6) & (blended <= high + 1e-6))


@given(st.integers(1, 30), st.integers(1, 90))
def test_reflection_agrees_with_numpy(length, extra):
    values = np.arange(length)
    expected = np.pad(values, (0, extra), mode="reflect" if length > 1 else "edge")
    np.testing.assert_array_equal(values[reflect_index(length, length + extra)], expected)


def test_padding_does_not_touch_what_fits():
    image = np.random.default_rng(0).random((2, 8, 8)).astype(np.float32)
    assert pad_to(image, 8, 8) is image
    np.testing.assert_array_equal(pad_to(image, 12, 8)[:, :8], image)


@given(st.integers(1, 20000), st.sampled_from([0, 16, 32, 64]), st.sampled_from([1, 16, 32]))
def test_chosen_sizes_are_usable(length, overlap, multiple):
    axis = Axis(length, choose_size(length, overlap, multiple, 1024), overlap, multiple)
    assert axis.size <= 1152
    assert axis.executed >= length


@pytest.mark.parametrize("edge", [3000, 5490, 7771, 10980])
@pytest.mark.parametrize(("margin", "ceiling"), [(8, 1.07), (16, 1.07)])
def test_overlap_costs_at_most_seven_percent_on_large_scenes(edge, margin, ceiling):
    spec = make_model(stride=32, margin=margin).spec
    (height, width), overlap = choose_window(spec, (edge, edge), MapOptions(), 1)
    executed = Axis(edge, height, overlap, 32).executed * Axis(edge, width, overlap, 32).executed
    assert overlap == 2 * margin
    assert executed / edge**2 <= ceiling


def test_per_pixel_models_have_no_overlap_and_no_extra_pixels():
    spec = make_model(stride=1, margin=0).spec
    window, overlap = choose_window(spec, (1000, 1234), MapOptions(), 1)
    assert overlap == 0
    assert Axis(1000, window[0], 0, 1).executed == 1000


def test_a_long_series_gets_small_windows():
    spec = make_model(channels=13, stride=1, margin=0, temporal=True).spec
    window, _ = choose_window(spec, (10980, 10980), MapOptions(), 60)
    assert window[0] * window[1] * 13 * 60 * 4 <= 64 << 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window": (30, 30)}, "multiple of 4"),
        ({"window": (32, 32), "overlap": 20}, "at most half"),
    ],
)
def test_windows_that_do_not_fit_are_refused(options, words):
    with pytest.raises(ConfigurationError, match=words):
        choose_window(make_model().spec, (100, 100), MapOptions(**options), 1)


@pytest.mark.parametrize("wrong", [{"overlap": -1}, {"compress": "lzw"}, {"window": 0}, {"windwo": 3}])
def test_wrong_options_are_one_sentence(wrong):
    with pytest.raises(ConfigurationError, match="map option"):
        MapOptions.of(**wrong)


def plan_for(height, width, window=64, overlap=8, tile=150, batch=3):
    stack = make_stack(8, 8, geobox=grid(height, width))
    options = MapOptions(window=window, overlap=overlap, tile=tile, batch_size=batch)
    layers = ("value", "valid")
    return make_plan(stack, make_model(), options, layers=layers, backend="fake", precision="fp32", threads=1)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(64, 300), st.integers(1, 5))
def test_tiles_and_batches_cover_every_pixel_and_window_once(height, width, tile, batch):
    plan = plan_for(height, width, tile=tile, batch=batch)
    seen = np.zeros((height, width), dtype=np.int32)
    windows = []
    for item in plan.tiles():
        seen[item.window.slices] += 1
        for chunk in plan.batches(item):
            assert 1 <= len(chunk) <= batch
            assert len({(plan.rows.extent(i), plan.cols.extent(j)) for i, j in chunk}) == 1
            windows += chunk
    assert np.all(seen == 1)
    assert len(windows) == len(set(windows)) == plan.rows.count * plan.cols.count


def test_small_windows_go_block_by_block():
    plan = plan_for(1088, 1088, window=64, overlap=0, tile=1152, batch=1)
    tile = next(plan.tiles())
    blocks = [(i * 64 // 512, j * 64 // 512) for ((i, j),) in plan.batches(tile)]
    assert len(blocks) == 17 * 17
    assert sum(first != second for first, second in itertools.pairwise(blocks)) == 3 * 3 - 1


@pytest.mark.parametrize("channels", [4, 13])
def test_a_u_net_on_a_sentinel_2_tile_executes_at_most_seven_percent_more(channels):
    from ecumene.networks import build_network

    network = build_network("unet", in_channels=channels, n_outputs=10)
    spec = make_model(channels=channels, stride=network.stride, margin=network.margin).spec
    (height, width), overlap = choose_window(spec, (10980, 10980), MapOptions(), 1)
    assert overlap == 2 * network.margin
    assert overlap % network.stride == 0  # all windows pool alike
    assert Axis(10980, height, overlap, 32).executed * Axis(10980, width, overlap, 32).executed <= 1.07 * 10980**2


def test_plan_is_deterministic_and_survives_json():
    first, second = plan_for(333, 211), plan_for(333, 211)
    assert first.text() == second.text()
    assert Plan.model_validate_json(first.text()) == first
    assert "/" not in "".join(record.id for record in first.inputs)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 700), st.integers(1, 700), st.integers(64, 300))
def test_windows_of_a_tile_have_one_shape_and_shapes_come_once(height, width, tile):
    """A compiled graph serves one shape; the engine may then drop it for good."""
    plan = plan_for(height, width, tile=tile)
    shapes = []
    for item in plan.by_shape(plan.tiles()):
        found = {(plan.rows.extent(i), plan.cols.extent(j)) for chunk in plan.batches(item) for i, j in chunk}
        assert len(found) == 1 or max(plan.tile_windows) == 1 or 1 in plan.tile_windows
        shapes += sorted(found)
    if min(plan.tile_windows) > 1:
        assert len([key for key, _ in itertools.groupby(shapes)]) == len(set(shapes)) <= 4
    assert sorted(plan.by_shape(plan.tiles())) == list(plan.tiles())


@pytest.mark.parametrize(
    ("cores", "batches", "options", "shared"),
    [
        (2, 100, {}, (2, 1)),
        (2, 1, {}, (1, 2)),
        (16, 100, {}, (4, 4)),
        (1, 100, {}, (1, 1)),
        (8, 100, {"threads": 2}, (1, 2)),
        (8, 100, {"workers": 3}, (3, 2)),
        (8, 100, {"workers": 3, "threads": 1}, (3, 1)),
        (8, 100, {"workers": 6, "threads": 1}, (6, 1)),
        (8, 2, {"workers": 6, "threads": 1}, (2, 1)),
        (8, 100, {"backend": "compiled"}, (1, 8)),
    ],
)
def test_cores_are_shared_among_executors(monkeypatch, cores, batches, options, shared):
    monkeypatch.setattr("ecumene.mapping.plan.available_threads", lambda: cores)
    monkeypatch.setattr("ecumene.mapping.plan.has_gpu", lambda: False)
    assert share_cores(MapOptions(**options), batches) == shared


@pytest.mark.parametrize(
    ("chosen", "settled", "executors"),
    [("auto", None, 1), ("torch", None, 1), ("openvino", None, 2), ("auto", "trees", 2), ("auto", "openvino", 2)],
)
def test_a_gpu_matters_only_to_what_computes_on_it(monkeypatch, chosen, settled, executors):
    monkeypatch.setattr("ecumene.mapping.plan.available_threads", lambda: 2)
    monkeypatch.setattr("ecumene.mapping.plan.has_gpu", lambda: True)
    assert share_cores(MapOptions(backend=chosen), 100, settled)[0] == executors
