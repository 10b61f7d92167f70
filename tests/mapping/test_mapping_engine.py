"""The engine's promises: constants, crops, order, workers, restarts, batches, nodata, odd shapes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import rasterio
from mapping_fakes import FakeDetector, blur, grid, make_model, make_regression, make_stack, raster_bytes, with_pixels

from ecumene.core.errors import ConfigurationError, ContractError, ModelError, ProductError, SceneError
from ecumene.core.window import Window
from ecumene.mapping import MapOptions, map_stack, open_product
from ecumene.mapping.plan import make_plan
from ecumene.mapping.postprocess import ClassPostprocessor, GenericPostprocessor, build_postprocessor
from ecumene.mapping.reading import WindowReader
from ecumene.mapping.seams import TileAssembly

OPTIONS = {"window": 48, "overlap": 8, "tile": 100, "batch_size": 2, "quicklook": False, "probability": True}


def options(**changes):
    return MapOptions(**{**OPTIONS, **changes})


def read(product, layer):
    with rasterio.open(product.path(layer)) as source:
        return source.read()


def test_map_has_all_layers_and_they_are_right_where_one_window_counts(tmp_path):
    stack, model = make_stack(132, 92), make_model()
    product = map_stack(stack, model, tmp_path / "p", options=options(window=160, overlap=8))
    output, score = model.executor("torch", "auto", 1).run(stack.pixels[0][None])
    prediction = model.objective.predict(output)
    np.testing.assert_array_equal(read(product, "value"), np.asarray(prediction.value))
    stored = read(product, "uncertainty").astype(float)
    np.testing.assert_allclose(stored * 0.004, np.asarray(prediction.layers["uncertainty"])[0], atol=0.0021)
    np.testing.assert_array_equal(read(product, "outlier")[0], score[0] > 0.75)
    assert read(product, "valid").all()
    assert list(product.layers)[:4] == ["value", "uncertainty", "outlier", "valid"]


def test_constant_field_blends_to_itself():
    stack, model = make_stack(150, 170), make_model(constant=True)
    specs = tuple(model.objective.layer_specs())
    from ecumene.mapping.layers import OUTLIER, VALID

    specs = (*specs, OUTLIER, VALID)
    keywords = {"layers": tuple(s.name for s in specs), "backend": "fake", "precision": "fp32", "threads": 1}
    plan = make_plan(stack, model, options(tile=1000), **keywords)
    post = build_postprocessor(model, specs)
    expected = np.asarray(model.objective.moments(model.executor("f", "auto", 1).run(stack.pixels[0][None])[0]))[0]
    seams = []
    original = post.seam
    post.seam = lambda moments, *rest: (seams.append(moments), original(moments, *rest))
    tile = next(iter(plan.tiles()))
    assembly = TileAssembly(plan, tile, post)
    reader = WindowReader(plan, stack, False, None)
    for windows in plan.batches(tile):
        batch = reader.read(tile, windows)
        output, score = model.executor("f", "auto", 1).run(batch.image)
        for k, (i, j) in enumerate(windows):
            assembly.add(i, j, batch.needed[k], output[k], score[k])
    assembly.close_interior()
    assert len(seams) > 10
    for moments in seams:
        np.testing.assert_allclose(moments, np.broadcast_to(expected[:, :1, :1], moments.shape), atol=1e-6)
    assert all(np.ptp(band) == 0 for layer in assembly.layers.values() for band in layer)
    assert assembly.layers["valid"].all()


def test_seams_are_the_weighted_mean_of_both_windows(tmp_path):
    """Against a direct two-dimensional computation with all weights written out."""
    stack, model = make_stack(90, 88), make_model()
    product = map_stack(stack, model, tmp_path / "p", options=options(tile=64))
    size, overlap, stride = 48, 8, 40
    total, weight = np.zeros((4, 90, 88)), np.zeros((90, 88))
    rise = 0.5 * (1 - np.cos(np.pi * (np.arange(overlap) + 0.5) / overlap))
    for row in range(0, 82, stride):
        for col in range(0, 80, stride):
            block = stack.read(Window(row, col, min(size, 90 - row), min(size, 88 - col)))
            height, width = block.image.shape[-2:]
            image = np.pad(block.image[0], [(0, 0), (0, -height % 4), (0, -width % 4)], mode="reflect")
            output, _ = model.executor("f", "auto", 1).run(image[None])
            moments = np.asarray(model.objective.moments(output))[0, :, :height, :width]
            y, x = np.ones(height), np.ones(width)
            if row:
                y[:overlap] = rise
            if row + size < 90:
                y[-overlap:] = rise[::-1]
            if col:
                x[:overlap] = rise
            if col + size < 88:
                x[-overlap:] = rise[::-1]
            total[:, row : row + height, col : col + width] += moments * np.outer(y, x)
            weight[row : row + height, col : col + width] += np.outer(y, x)
    np.testing.assert_allclose(weight, 1.0, atol=1e-12)
    stored = read(product, "probability") * 0.004
    np.testing.assert_allclose(stored, total, atol=0.0021)


def test_crop_aligned_to_the_stride_maps_equal_away_from_the_border(tmp_path):
    stack, model = make_stack(240, 260), make_model()
    whole = map_stack(stack, model, tmp_path / "whole", options=options())
    crop = with_pixels(stack, stack.pixels[..., 80:, 40:])
    crop = type(crop)(crop.pixels, stack.geobox[80:, 40:], crop.times)
    part = map_stack(crop, model, tmp_path / "part", options=options(tile=137))
    inner = 8 + 4  # first seam of the crop has only one window; then the window's context
    for layer in whole.layers:
        left, right = read(whole, layer)[:, 80 + inner :, 40 + inner :], read(part, layer)[:, inner:, inner:]
        np.testing.assert_array_equal(left, right, err_msg=layer)


def test_rasters_do_not_depend_on_order_or_workers(tmp_path):
    stack, model = make_stack(210, 250), make_model()
    reference = raster_bytes(map_stack(stack, model, tmp_path / "a", options=options()).folder)
    assert set(reference) == {f"{name}.tif" for name in ("value", "uncertainty", "probability", "outlier", "valid")}

    def shuffled(seed):
        return lambda tiles: [tiles[k] for k in np.random.default_rng(seed).permutation(len(tiles))]

    for number, (order, workers) in enumerate([(None, 2), (shuffled(1), 1), (shuffled(2), 3), (lambda t: t[::-1], 2)]):
        out = tmp_path / f"b{number}"
        product = map_stack(stack, model, out, options=options(workers=workers), order=order)
        assert raster_bytes(product.folder) == reference


def test_batch_size_changes_classes_only_where_two_are_alike(tmp_path):
    stack, model = make_stack(200, 220), make_model()
    products = [map_stack(stack, model, tmp_path / f"{b}", options=options(batch_size=b)) for b in (1, 4, 16)]
    ranked = np.sort(read(products[0], "probability").astype(float), axis=0)
    close = (ranked[-1] - ranked[-2]) * 0.004 < 1e-3 + 0.004  # stored in steps of 0.004
    for other in products[1:]:
        differs = (read(products[0], "value") != read(other, "value"))[0]
        assert not np.any(differs & ~close)


class CountingProgress:
    def __init__(self, stop_after=None):
        self.calls, self.stop_after = [], stop_after

    def __call__(self, done, total, what):
        self.calls.append((done, total, what))
        if self.stop_after is not None and what == "tiles" and done >= self.stop_after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(tmp_path, stop_after):
    stack, model = make_stack(190, 230), make_model()
    reference = raster_bytes(map_stack(stack, model, tmp_path / "a", options=options()).folder)
    with pytest.raises(KeyboardInterrupt):
        map_stack(stack, model, tmp_path / "b", options=options(), progress=CountingProgress(stop_after))
    assert not (tmp_path / "b" / "item.json").exists()
    assert not list((tmp_path / "b").glob("*.tif"))
    again = CountingProgress()
    executed = len(model.calls)
    product = map_stack(stack, model, tmp_path / "b", options=options(), progress=again)
    assert again.calls[0][0] >= stop_after
    assert raster_bytes(product.folder) == reference
    assert len(model.calls) > executed
    executed = len(model.calls)
    assert map_stack(stack, model, tmp_path / "b", options=options()).item == product.item
    assert len(model.calls) == executed  # a finished product is not computed again


def test_a_damaged_tile_is_computed_again(tmp_path):
    stack, model = make_stack(190, 230), make_model()
    reference = raster_bytes(map_stack(stack, model, tmp_path / "a", options=options()).folder)
    with pytest.raises(KeyboardInterrupt):
        map_stack(stack, model, tmp_path / "b", options=options(), progress=CountingProgress(4))
    victim = tmp_path / "b" / ".work" / "tiles" / "r00000c00001-value.tif"
    victim.write_bytes(victim.read_bytes()[:-10] + b"0123456789")
    assert raster_bytes(map_stack(stack, model, tmp_path / "b", options=options()).folder) == reference


def test_another_plan_is_refused_and_overwritten_on_request(tmp_path):
    stack, model = make_stack(90, 90), make_model()
    map_stack(stack, model, tmp_path / "p", options=options())
    with pytest.raises(ProductError, match=r"another plan.*overlap.*overwrite"):
        map_stack(stack, model, tmp_path / "p", options=options(overlap=12))
    with pytest.raises(ProductError, match="model_checksum"):
        map_stack(stack, make_model(seed=9), tmp_path / "p", options=options())
    product = map_stack(stack, model, tmp_path / "p", options=options(overlap=12, overwrite=True))
    assert product.properties["ecumene:execution"]["overlap"] == 12
    fresh = map_stack(stack, model, tmp_path / "q", options=options(overlap=12))
    assert raster_bytes(product.folder) == raster_bytes(fresh.folder)


def test_two_runs_in_one_folder_are_kept_apart(tmp_path):
    stack, model = make_stack(90, 90), make_model()
    seen = []

    def intrude(done, total, what):
        if not seen:
            seen.append(1)
            with pytest.raises(ProductError, match="Another run"):
                map_stack(stack, model, tmp_path / "p", options=options())
            seen.append(2)

    map_stack(stack, model, tmp_path / "p", options=options(), progress=intrude)
    assert seen == [1, 2]


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (30, 300), (300, 17), (48, 48), (49, 47)])
def test_any_shape_maps(tmp_path, shape):
    stack, model = make_stack(*shape), make_model()
    product = map_stack(stack, model, tmp_path / "p", options=options())
    assert read(product, "value").shape == (1, *shape)
    assert read(product, "valid").all()
    assert product.geobox == stack.geobox


def test_default_options_map_a_scene_smaller_than_a_window(tmp_path):
    product = map_stack(make_stack(23, 57), make_model(stride=32, margin=16), tmp_path / "p")
    assert read(product, "valid").all()
    assert (tmp_path / "p" / "quicklook.png").stat().st_size > 5000


def test_invalid_pixels_are_nodata_in_every_layer(tmp_path):
    stack = make_stack(120, 140)
    stack.pixels[0, 1, 30:60, 20:90] = np.nan
    stack.pixels[0, :, :, 110:] = np.nan
    stack.pixels[0, 2, 0, 0] = np.inf
    model = make_model()
    product = map_stack(stack, model, tmp_path / "p", options=options())
    bad = ~np.isfinite(stack.pixels[0]).all(axis=0)
    np.testing.assert_array_equal(read(product, "valid")[0], ~bad)
    for name in ("value", "uncertainty", "outlier", "probability"):
        np.testing.assert_array_equal(read(product, name) == 255, np.broadcast_to(bad, read(product, name).shape), name)


def test_windows_without_data_are_not_executed(tmp_path):
    stack, model = make_stack(400, 48), make_model()
    stack.pixels[0, :, 100:] = np.nan
    product = map_stack(stack, model, tmp_path / "p", options=options(batch_size=1, tile=80))
    windows = sum(shape[0] for shape in model.calls)
    assert windows <= 3
    assert read(product, "valid").sum() == 100 * 48


def test_a_scene_without_any_data_is_refused_and_leaves_nothing(tmp_path):
    stack = make_stack(60, 60)
    stack.pixels[:] = np.nan
    with pytest.raises(SceneError, match="nothing to map"):
        map_stack(stack, make_model(), tmp_path / "p", options=options())
    assert not (tmp_path / "p").exists()
    stack.pixels[:] = 0.5
    assert read(map_stack(stack, make_model(), tmp_path / "p", options=options()), "valid").all()


def test_a_read_error_reaches_the_user_and_nothing_has_a_final_name(tmp_path):
    stack = make_stack(200, 60, broken_from_row=120)
    with pytest.raises(SceneError, match=r"scene\.tif is damaged"):
        map_stack(stack, make_model(), tmp_path / "p", options=options())
    assert [path.name for path in (tmp_path / "p").iterdir()] == [".work"]
    healthy = make_stack(200, 60)
    product = map_stack(healthy, make_model(), tmp_path / "p", options=options())
    fresh = map_stack(healthy, make_model(), tmp_path / "q", options=options())
    assert raster_bytes(product.folder) == raster_bytes(fresh.folder)


def test_geographic_grid(tmp_path):
    stack = make_stack(80, 100, geobox=grid(80, 100, "EPSG:4326", 1e-4, (15.0, 46.0)))
    product = map_stack(stack, make_model(), tmp_path / "p", options=options(polygons=True))
    assert product.geobox == stack.geobox
    west, south, east, north = product.item["bbox"]
    assert (west, north) == (15.0, 46.0)
    assert (east, south) == pytest.approx((15.01, 45.992))


def test_temporal_model_sees_all_dates(tmp_path):
    stack, model = make_stack(40, 50, frames=3), make_model(temporal=True, stride=1, margin=0)
    stack.pixels[1, :, :10] = np.nan  # clouded at one date: still mapped
    stack.pixels[:, :, 30:] = np.nan  # never seen: not mapped
    product = map_stack(stack, model, tmp_path / "p", options=options(window=20, overlap=0))
    assert {shape[1:3] for shape in model.calls} == {(3, 3)}
    np.testing.assert_array_equal(read(product, "valid")[0][:, 0], np.arange(40) < 30)
    assert product.properties["start_datetime"] == "2024-06-01T10:00:00Z"
    assert product.properties["end_datetime"] == "2024-06-21T10:00:00Z"
    assert product.properties["datetime"] is None


def test_a_series_is_refused_by_a_single_image_model(tmp_path):
    with pytest.raises(ContractError, match="2 dates"):
        map_stack(make_stack(40, 40, frames=2), make_model(), tmp_path / "p", options=options())


def test_regression_blends_mean_and_second_moment(tmp_path):
    stack, model = make_stack(100, 100), make_regression()
    product = map_stack(stack, model, tmp_path / "p", options=options(window=52, overlap=16))
    value, spread = read(product, "value")[0], read(product, "uncertainty")[0]
    assert np.isfinite(value).all()
    assert (spread >= 0).all()
    output, _ = model.executor("f", "auto", 1).run(stack.pixels[0][None])
    prediction = model.objective.predict(output)
    inner = np.s_[4:30, 4:30]  # one window, away from its edge
    np.testing.assert_allclose(value[inner], np.asarray(prediction.layers["value"])[0, 0][inner], rtol=1e-5, atol=1e-5)


def test_model_without_detector_has_no_outlier_layer(tmp_path):
    for number, detector in enumerate((None, FakeDetector(threshold=None))):
        model = make_model(detector=detector)
        product = map_stack(make_stack(40, 40), model, tmp_path / f"{number}", options=options())
        assert "outlier" not in product.layers


def test_layers_can_be_chosen(tmp_path):
    stack, model = make_stack(40, 40), make_model()
    product = map_stack(stack, model, tmp_path / "p", options=options(layers=("value",), probability=False))
    assert list(product.layers) == ["value", "valid"]
    with pytest.raises(ConfigurationError, match="no layer 'height'"):
        map_stack(stack, model, tmp_path / "q", options=options(layers=("height",)))
    assert not (tmp_path / "q").exists()


class WrongShape:
    backend, precision = "fake", "fp32"

    def run(self, image, dates=None):
        return np.zeros((1, 2, 3, 3), np.float32), np.zeros((1, 3, 3), np.float32)


class NotFinite:
    backend, precision = "fake", "fp32"

    def run(self, image, dates=None):
        shape = (image.shape[0], 4, *image.shape[-2:])
        return np.full(shape, np.nan, np.float32), np.zeros((shape[0], *shape[2:]), np.float32)


@pytest.mark.parametrize(("executor", "words"), [(WrongShape, "does not fit its own"), (NotFinite, "not finite")])
def test_a_model_that_misbehaves_is_named(tmp_path, executor, words):
    model = make_model()
    model.executor = lambda *arguments: executor()
    with pytest.raises(ModelError, match=words):
        map_stack(make_stack(50, 50), model, tmp_path / "p", options=options())


class Sets:
    """Adds a layer the generic way: which classes have more than a tenth."""

    residuals = None

    def extra_layer_specs(self, objective):
        from ecumene.objectives.prediction import LayerSpec

        return (LayerSpec(name="likely", dtype="uint32", nodata=0, role="set", statistics=False),)

    def extra_layers(self, prediction):
        bits = (np.asarray(prediction.layers["probability"]) > 0.1) * (1 << np.arange(4))[None, :, None, None]
        return {"likely": bits.sum(axis=1, keepdims=True)}


def test_calibration_layers_are_written(tmp_path):
    stack, model = make_stack(100, 60), make_model(calibration=Sets())
    stack.pixels[0, 0, 5, 5] = np.nan
    product = map_stack(stack, model, tmp_path / "p", options=options())
    likely, stored = read(product, "likely")[0], read(product, "probability")
    probability = stored * 0.004
    clear = (np.abs(probability - 0.1) > 0.003).all(axis=0) & (stored[0] != 255)
    expected = ((probability > 0.1) * (1 << np.arange(4))[:, None, None]).sum(axis=0)
    np.testing.assert_array_equal(likely[clear], expected[clear])
    assert likely[5, 5] == 0


@pytest.mark.parametrize("method", ["lac", "aps"])
@pytest.mark.parametrize("per_class", [False, True])
def test_conformal_sets_are_those_of_the_calibration(tmp_path, method, per_class):
    from ecumene.trust.calibration import Calibration
    from ecumene.trust.conformal import ConformalSets

    generator = np.random.default_rng(5)
    chances = generator.dirichlet(np.ones(4), 4000)
    truth = np.array([generator.choice(4, p=row) for row in chances])
    sets = ConformalSets.fit(chances, truth, coverage=0.85, method=method, per_class=per_class)
    stack, model = make_stack(92, 92), make_model(calibration=Calibration(sets=sets))
    stack.pixels[0, 0, :4] = np.nan
    product = map_stack(stack, model, tmp_path / "p", options=options(window=96))
    output, _ = model.executor("f", "auto", 1).run(stack.pixels)
    expected = sets.encode(np.asarray(model.objective.moments(output)))[0]
    stored = read(product, "prediction_set")[0]
    assert (stored[:4] == 0).all()
    assert (stored[4:] != expected[4:]).mean() < 1e-3  # a probability within 1e-6 of the threshold
    assert np.array_equal((stored >> (read(product, "value")[0] - 1)) & 1, read(product, "valid")[0])


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_one_pass_kernel_agrees_with_the_objective(classes):
    from ecumene.mapping.layers import OUTLIER, VALID
    from ecumene.mapping.postprocess import empty_layers

    model = make_model(classes=classes)
    specs = (*model.objective.layer_specs(), OUTLIER, VALID)
    fast = build_postprocessor(model, specs)
    generic = GenericPostprocessor(model.objective, None, specs, 0.75)
    assert isinstance(fast, ClassPostprocessor)
    generator = np.random.default_rng(classes)
    output = generator.normal(0, 4, (classes, 203, 177)).astype(np.float32)
    output[:, :20] *= 30  # saturated
    output[:, 20:22] = 0  # all alike
    score, needed = generator.random((203, 177)).astype(np.float32), generator.random((203, 177)) > 0.2
    both = []
    for post in (fast, generic):
        layers = empty_layers(specs, needed.shape)
        post.core(output, score, needed, layers)
        both.append(layers)
    for name in ("value", "outlier", "valid"):
        np.testing.assert_array_equal(both[0][name], both[1][name])
    for name in ("uncertainty", "probability"):
        steps = np.abs(both[0][name].astype(int) - both[1][name].astype(int))
        assert steps.max() <= 1  # a rounding boundary
        assert (steps > 0).mean() < 1e-3
    np.testing.assert_allclose(fast.moments(output), generic.moments(output), atol=1e-6)
    moved = empty_layers(specs, (101, 92))
    fast.core(output[:, 50:151, 31:123], score[50:151, 31:123], needed[50:151, 31:123], moved)
    for name, layer in moved.items():  # the same pixel elsewhere in a window gives the same bytes
        np.testing.assert_array_equal(layer, both[0][name][:, 50:151, 31:123])


def test_an_objective_that_disagrees_with_the_kernel_is_believed():
    from ecumene.mapping.layers import OUTLIER, VALID

    model = make_model()
    specs = (*model.objective.layer_specs(), OUTLIER, VALID)
    honest = model.objective.moments
    model.objective.moments = lambda output: honest(output * 2)
    assert type(build_postprocessor(model, specs)) is GenericPostprocessor


def test_blur_of_the_fake_model_has_context():
    image = np.zeros((1, 20, 20), np.float32)
    image[0, 10, 10] = 81
    assert blur(image, 4)[0, 6, 6] == pytest.approx(1.0)
    assert blur(image, 4)[0, 5, 10] == 0


def test_open_product_after_mapping_equals(tmp_path):
    product = map_stack(make_stack(60, 60), make_model(), tmp_path / "p", options=options())
    assert open_product(tmp_path / "p", verify=True) == product


def test_executors_really_run_side_by_side(tmp_path):
    """Each waits inside of its first run until the other one is inside of its own."""
    stack, model = make_stack(210, 250), make_model()
    meeting, build, met = threading.Barrier(2, timeout=20), model.executor, []

    class Meeting:
        def __init__(self, executor):
            self.executor, self.first = executor, True
            self.backend, self.precision = executor.backend, executor.precision

        def run(self, image, dates=None):
            if self.first:
                self.first = False
                met.append(meeting.wait())
            return self.executor.run(image, dates)

    model.__class__ = type("MeetingModel", (type(model),), {"executor": lambda self, *a: Meeting(build(*a))})
    map_stack(stack, model, tmp_path / "p", options=options(workers=2))
    assert sorted(met) == [0, 1]


def test_a_model_may_be_given_one_date_first_while_the_stack_stays_in_order_of_time():
    stack, model = make_stack(48, 48, frames=3), make_model(temporal=True)
    keywords = {"layers": ("value",), "backend": "fake", "precision": "fp32", "threads": 1}
    batches = {}
    for first in (None, 2):
        plan = make_plan(stack, model, options(first_date=first), **keywords)
        tile = next(iter(plan.tiles()))
        batches[first] = WindowReader(plan, stack, True, None).read(tile, plan.batches(tile)[0])
        assert plan.frames == tuple(str(time) for time in stack.times)
        assert ("first_date" in plan.text()) == (first is not None)
    np.testing.assert_array_equal(batches[2].image, batches[None].image[:, [2, 0, 1]])
    np.testing.assert_array_equal(batches[2].dates, batches[None].dates[:, [2, 0, 1]])
    plan = make_plan(stack, model, options(first_date=3), **keywords)
    with pytest.raises(ConfigurationError, match="no date 3"):
        WindowReader(plan, stack, True, None)
