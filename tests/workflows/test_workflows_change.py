"""The verb `change` on scenes and maps with known changes."""

import json

import numpy as np
import pytest
from change_files import DECLARED, LEGEND, SHAPE, changed, layer, map_product, optical_pair, radar_pair, write
from PIL import Image

from ecumene.core.errors import ConfigurationError, ContractError, EcumeneError, ProductError, SceneError
from ecumene.viewer.charts import own_charts
from ecumene.viewer.layers import describe_product
from ecumene.workflows.change import ChangeOptions, find_change

TIMES = ["2019-07-01", "2021-07-01"]
RADAR = {"sensor": "sentinel-1", "bands": ["VV"], "unit": "dB", "level": "GRD"}


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """No pictures but those of the module's own product, which is made before."""
    monkeypatch.setattr("ecumene.workflows.change.draw_panels", lambda path, *rest: path.write_bytes(b"png"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return optical_pair(tmp_path_factory.mktemp("optical"))


@pytest.fixture(scope="module")
def by_default(scenes, tmp_path_factory):
    return find_change(*scenes, tmp_path_factory.mktemp("default") / "change", time=TIMES, **DECLARED)


def kappa(found, truth):
    expected = found.mean() * truth.mean() + (1 - found.mean()) * (1 - truth.mean())
    return ((found == truth).mean() - expected) / (1 - expected)


def test_optical_scenes_are_compared_by_irmad_although_their_radiometry_differs(by_default):
    method = by_default.properties["ecumene:method"]
    assert method["parameters"]["method"] == "irmad"
    assert "radiometry" in method["parameters"]["chosen"]
    assert kappa(layer(by_default, "value") == 1, changed()) > 0.9
    results = by_default.properties["ecumene:results"]
    assert results["threshold"]["rule"] == "kmeans"


def test_error_is_the_probability_of_the_other_answer(by_default):
    value, error = layer(by_default, "value"), layer(by_default, "error")
    same, change = layer(by_default, "probability", 1), layer(by_default, "probability", 2)
    np.testing.assert_allclose(same + change, 1.0, atol=1e-4)
    np.testing.assert_allclose(error, np.where(value == 1, same, change), atol=1e-4)


def test_the_product_is_whole(by_default):
    assert set(by_default.layers) == {"value", "error", "probability", "magnitude", "kind", "outlier", "valid"}
    assert by_default.legend.names == ("no change", "change")
    assert by_default.properties["start_datetime"].startswith(TIMES[0])
    assert by_default.properties["end_datetime"].startswith(TIMES[1])
    with Image.open(by_default.folder / "animation.webp") as picture:
        assert picture.n_frames == 2
    assert by_default.quicklook.stat().st_size > 10_000
    described = describe_product(by_default)
    assert described["layers"][0]["name"] == "value"
    assert not (by_default.folder / ".work").exists()


def test_tiles_give_what_the_whole_scene_gives(scenes, by_default, tmp_path, monkeypatch):
    from ecumene.workflows import change, streamed_product

    small = streamed_product.StreamedProduct
    monkeypatch.setattr(change, "StreamedProduct", lambda **given: small(**given, edge=32))
    tiled = find_change(*scenes, tmp_path / "tiled", ChangeOptions(animation=False), time=TIMES, **DECLARED)
    for name in ("value", "probability", "magnitude"):
        np.testing.assert_array_equal(layer(tiled, name), layer(by_default, name))


def test_the_same_call_writes_the_same_bytes(scenes, by_default, tmp_path):
    again = find_change(*scenes, tmp_path / "again", time=TIMES, **DECLARED)
    for name in by_default.layers:
        assert again.path(name).read_bytes() == by_default.path(name).read_bytes()


def test_normalisation_helps_change_vectors(scenes, tmp_path):
    plain = ChangeOptions(method="cva", animation=False)
    fitted = ChangeOptions(method="cva", normalise=True, animation=False)
    found = [find_change(*scenes, tmp_path / str(k), options, **DECLARED) for k, options in enumerate((plain, fitted))]
    gains = found[1].properties["ecumene:results"]["normalisation"]["gain"]
    assert set(gains) == set(DECLARED["bands"])
    assert kappa(layer(found[1], "value") == 1, changed()) >= kappa(layer(found[0], "value") == 1, changed()) - 0.02


def test_radar_is_compared_by_ratios_of_linear_intensities(tmp_path):
    found = find_change(*radar_pair(tmp_path), tmp_path / "out", time=TIMES, **RADAR)
    assert found.properties["ecumene:method"]["parameters"]["method"] == "ratio-variation"
    assert kappa(layer(found, "value") == 1, changed()) > 0.85
    linear = tmp_path / "linear"
    linear.mkdir()
    options = ChangeOptions(method="log-ratio", animation=False)
    told = RADAR | {"unit": "linear power"}
    one = find_change(*radar_pair(linear, False), tmp_path / "one", options, time=TIMES, **told)
    two = find_change(tmp_path / "r1.tif", tmp_path / "r2.tif", tmp_path / "two", options, time=TIMES, **RADAR)
    np.testing.assert_allclose(layer(one, "magnitude"), layer(two, "magnitude"), rtol=1e-3, atol=1e-5)


def test_strange_pixels_are_flagged(scenes, tmp_path):
    import rasterio

    with rasterio.open(scenes[1]) as source:
        image = source.read()
    image[:, 40, 40] = 60_000.0
    after = write(tmp_path / "odd.tif", image)
    found = find_change(scenes[0], after, tmp_path / "out", ChangeOptions(animation=False), **DECLARED)
    outlier = layer(found, "outlier")
    assert outlier[40, 40] == 1
    assert outlier.mean() < 0.1


def test_nodata_is_not_compared(scenes, tmp_path):
    import rasterio

    with rasterio.open(scenes[0]) as source:
        image = source.read()
    image[:, :5] = np.nan
    before = write(tmp_path / "gap.tif", image, nodata=float("nan"))
    found = find_change(before, scenes[1], tmp_path / "out", ChangeOptions(animation=False), **DECLARED)
    assert np.isnan(layer(found, "value")[:5]).all()
    assert (layer(found, "valid")[:5] == 0).all()


def refused(kind, match, *args, **told):
    with pytest.raises(kind, match=match) as caught:
        find_change(*args, **told)
    assert str(caught.value).endswith(".")
    assert isinstance(caught.value, EcumeneError)


def test_bad_pairs_are_refused_with_a_sentence(scenes, tmp_path):
    before, after = scenes
    import rasterio

    with rasterio.open(after) as source:
        image = source.read()
    shifted = write(tmp_path / "shifted.tif", image, shift=(3, 0))
    out = tmp_path / "out"
    refused(ContractError, "different grids.*--align", before, shifted, out, **DECLARED)
    refused(ConfigurationError, "run backwards", before, after, out, time=TIMES[::-1], **DECLARED)
    refused(ConfigurationError, "two dates", before, after, out, time=[TIMES[0]] * 2, **DECLARED)
    refused(ConfigurationError, "no change method", before, after, out, ChangeOptions(method="magic"), **DECLARED)
    refused(ContractError, "needs radar", before, after, out, ChangeOptions(method="log-ratio"), **DECLARED)
    refused(ContractError, "not in both", before, after, out, ChangeOptions(use_bands=["B9"]), **DECLARED)
    refused(ConfigurationError, "has no option", before, after, out, ChangeOptions(method="cva", options={"x": 1}),
            **DECLARED)  # fmt: skip
    with pytest.raises(ConfigurationError, match="Options belong to a method"):
        find_change(before, after, out, ChangeOptions(options={"rounds": 3}), **DECLARED)
    assert not (out / "item.json").exists()


def test_another_grid_can_be_aligned(scenes, tmp_path):
    import rasterio

    with rasterio.open(scenes[1]) as source:
        image = source.read()
    shifted = write(tmp_path / "shifted.tif", image[:, 3:], shift=(3, 0))
    found = find_change(scenes[0], shifted, tmp_path / "out", ChangeOptions(align=True, animation=False), **DECLARED)
    assert kappa((layer(found, "value") == 1)[3:], changed()[3:]) > 0.9


def test_sensors_may_differ_only_for_methods_that_do_not_care(scenes, tmp_path):
    import rasterio

    with rasterio.open(scenes[1]) as source:
        image = source.read()
    place = tmp_path / "other"
    place.mkdir()
    after = write(place / "l5.tif", image)
    (place / "scene.yaml").write_text(
        "sensor: landsat-5\nlevel: DN\nbands: [B1, B2, B3, B4, B5, B7]\nfiles: [l5.tif]\n"
    )
    first = tmp_path / "first"
    first.mkdir()
    with rasterio.open(scenes[0]) as source:
        write(first / "l8.tif", source.read())
    (first / "scene.yaml").write_text(
        "sensor: landsat-8\nlevel: DN\nbands: [B2, B3, B4, B5, B6, B7]\nfiles: [l8.tif]\n"
    )
    with pytest.raises(ContractError, match=r"landsat-8 and landsat-5.*irmad"):
        find_change(first / "scene.yaml", place / "scene.yaml", tmp_path / "no", ChangeOptions(method="cva"))
    for method in ("auto", "cva"):
        single = ChangeOptions(method=method, use_bands=["nir"])
        with pytest.raises(ContractError, match="with one band to compare, which no method brings"):
            find_change(first / "scene.yaml", place / "scene.yaml", tmp_path / "no", single)
    found = find_change(first / "scene.yaml", place / "scene.yaml", tmp_path / "yes", ChangeOptions(animation=False))
    assert "nir" in found.properties["ecumene:method"]["parameters"]["bands"]
    assert kappa(layer(found, "value") == 1, changed()) > 0.9
    assert after.is_file()


def test_a_date_without_a_pixel_is_refused(scenes, tmp_path):
    cloudy = write(tmp_path / "cloud.tif", np.full((6, *SHAPE), np.nan, np.float32), nodata=float("nan"))
    with pytest.raises(SceneError):
        find_change(scenes[0], cloudy, tmp_path / "out", **DECLARED)


def classes(rng, truth, certainty=0.97):
    """Codes and probabilities of a classifier that is right with the probability that it says."""
    count = len(LEGEND)
    wrong = rng.random(truth.shape) > certainty
    index = np.where(wrong, (truth + rng.integers(1, count, truth.shape)) % count, truth)
    chances = np.full((count, *truth.shape), (1 - certainty) / (count - 1))
    np.put_along_axis(chances, index[None], certainty, 0)
    return np.asarray(LEGEND.values)[index], chances


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    rng = np.random.default_rng(2)
    first = (np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE) // 40) % 2
    second = np.where(changed(), 2, first)
    one = map_product(folder / "2018", *classes(rng, first), time="2018-07-01")
    two = map_product(folder / "2022", *classes(rng, second), time="2022-07-01")
    return one, two, first, second


def test_from_to_change_uses_the_probabilities_of_both_maps(maps, tmp_path):
    one, two, *_ = maps
    found = find_change(one, two, tmp_path / "out")
    results = found.properties["ecumene:results"]
    share = changed().mean()
    assert abs((1 - results["share_that_keeps_its_class"]) - share) < 0.03
    expected = results["expected_changed_m2"] / results["total_m2"]
    assert abs(expected - share) < 0.03  # the raw maps differ in far more pixels
    assert (layer(found, "from") == layer(found, "to"))[layer(found, "value") == 0].all()
    kinds = [entry.get("title") for entry in found.item["assets"]["kind"]["bands"][0]["classification:classes"]]
    assert "forest to built-up" in kinds
    assert own_charts(found)[0]["id"] == "from-to"
    assert {"from", "to", "kind", "error", "probability"} <= set(found.layers)
    totals = sum(sum(row.values()) for row in results["from_to_m2"].values())
    assert totals == pytest.approx(results["total_m2"])


def test_probability_of_change_is_calibrated(maps, tmp_path):
    one, two, *_ = maps
    found = find_change(one, two, tmp_path / "out", ChangeOptions(animation=False))
    chance = layer(found, "probability", 2)
    for low, high in ((0.0, 0.2), (0.2, 1.0)):
        here = (chance >= low) & (chance < high)
        if here.sum() > 200:
            assert abs(changed()[here].mean() - chance[here].mean()) < 0.06


def test_maps_without_probabilities_say_that_nothing_is_known_of_the_error(maps, tmp_path):
    _, _, first, second = maps
    codes = np.asarray(LEGEND.values)
    one = map_product(tmp_path / "a", codes[first])
    two = map_product(tmp_path / "b", codes[second])
    found = find_change(one, two, tmp_path / "out")
    np.testing.assert_array_equal(layer(found, "value") == 1, changed())
    assert "error" not in found.layers
    assert "not known" in found.properties["processing:lineage"]


def test_bad_pairs_of_maps_are_refused(maps, scenes, tmp_path):
    one, two, first, _ = maps
    out = tmp_path / "out"
    refused(ConfigurationError, "is a product and", one, scenes[0], out)
    refused(ConfigurationError, "run backwards", two, one, out)
    refused(ConfigurationError, "leave out --method", one, two, out, ChangeOptions(method="cva"))
    refused(ConfigurationError, "between 0 and 1", one, two, out, ChangeOptions(stay=1.5))
    codes = np.asarray(LEGEND.values)[first]
    moved = map_product(tmp_path / "moved", codes, shift=2)
    refused(ContractError, "different grids", one, moved, out)
    assert find_change(one, moved, tmp_path / "aligned", ChangeOptions(align=True, animation=False)).layers
    from ecumene.legends import Legend

    other = map_product(tmp_path / "other", codes, legend=Legend.from_names(["a", "b", "c"]))
    refused(ContractError, "different classes.*ecumene convert", one, other, out)
    numbers = map_product(tmp_path / "numbers", first * 1.0, unit="m")
    refused(ConfigurationError, "of classes, the other of numbers", one, numbers, out)


def test_numbers_are_subtracted_with_their_error_bars(tmp_path):
    rng = np.random.default_rng(0)
    truth = np.where(changed(), 5.0, 0.0)
    bars = np.full(SHAPE, 1.0)
    one = map_product(tmp_path / "a", rng.normal(10.0, 1.0, SHAPE), unit="m", bars=bars)
    two = map_product(tmp_path / "b", rng.normal(10.0 + truth, 1.0, SHAPE), unit="m", bars=bars)
    found = find_change(one, two, tmp_path / "out", ChangeOptions(significance=0.05))
    np.testing.assert_allclose(layer(found, "error"), np.sqrt(2.0), rtol=1e-5)
    direction = layer(found, "change")
    assert (direction[changed()] == 2).mean() > 0.9
    assert abs((direction[~changed()] != 1).mean() - 0.05) < 0.015
    inside = np.abs(layer(found, "value") - truth) <= 1.645 * layer(found, "error")
    assert abs(inside.mean() - 0.9) < 0.02
    feet = map_product(tmp_path / "c", rng.normal(10.0, 1.0, SHAPE), unit="ft", bars=bars)
    refused(ContractError, "one unit", one, feet, tmp_path / "no")


def numbers(folder, values, bars=None, *, names=("height", "share"), unit="m", bar="one standard deviation"):
    """Write a product of several numbers whose layers have names of their own."""
    from affine import Affine
    from odc.geo.geobox import GeoBox

    from ecumene.objectives.prediction import LayerSpec
    from ecumene.workflows.streamed_product import StreamedProduct, write_streamed_product

    nan, shape = float("nan"), values.shape[1:]
    layers = [LayerSpec("prediction", "float32", nan, unit, role="value", band_names=names)]
    arrays = {"prediction": values, "valid": np.ones((1, *shape))}
    if bars is not None:
        layers.append(LayerSpec("spread", "float32", nan, unit, role="uncertainty", band_names=names, description=bar))
        arrays["spread"] = bars
    layers.append(LayerSpec("valid", "uint8", 255, categorical=True, role="valid"))
    folder.mkdir()
    return write_streamed_product(
        folder,
        StreamedProduct(
            name="test", title="test", lineage="Made by a test.", layers=tuple(layers), inputs=(), start=None, end=None,
            geobox=GeoBox(shape, Affine(10, 0, 500_000, 0, -10, 5_200_000), "EPSG:32633"), parameters={},
            tile=lambda window: {name: array[:, *window.slices] for name, array in arrays.items()},
        ),
        draw=lambda path, files: path.write_bytes(b"png"),
    ).folder  # fmt: skip


def test_all_numbers_are_compared_whatever_their_layer_is_called(tmp_path):
    rng = np.random.default_rng(1)
    shape = (2, 24, 30)
    bars = np.stack([np.full(shape[1:], 0.5), np.full(shape[1:], 2.0)])
    first = rng.normal(0.0, bars)
    second = rng.normal(0.0, bars) + np.array([0.0, 20.0])[:, None, None]
    one, two = numbers(tmp_path / "a", first, bars), numbers(tmp_path / "b", second, bars)
    found = find_change(one, two, tmp_path / "out", ChangeOptions(animation=False))
    assert found.layers["value"].band_names == ("height", "share")
    for band, deviation in ((1, 0.5), (2, 2.0)):
        np.testing.assert_allclose(layer(found, "error", band), np.sqrt(2.0) * deviation, rtol=1e-5)
    assert (layer(found, "change", 1) == 1).mean() > 0.9
    assert (layer(found, "change", 2) == 2).mean() > 0.99
    results = found.properties["ecumene:results"]["bands"]
    assert results["share"]["mean_difference"] == pytest.approx(20.0, abs=0.5)
    half = numbers(tmp_path / "c", second, bars, bar="half the width of the 90% interval")
    plain = find_change(one, half, tmp_path / "half", ChangeOptions(animation=False))
    assert "error" not in plain.layers  # half widths cannot be added in squares
    other = numbers(tmp_path / "d", second, names=("height", "depth"))
    refused(ContractError, "the same numbers", one, other, tmp_path / "no")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stay": 0.9}, "--stay means nothing to two scenes"),
        ({"tolerance": 1.0}, "--tolerance means nothing to two scenes"),
    ],
)
def test_options_of_maps_are_refused_for_scenes(scenes, tmp_path, options, said):
    refused(ConfigurationError, said, *scenes, tmp_path / "out", ChangeOptions(**options), **DECLARED)


def test_options_of_scenes_are_refused_for_maps_and_models(maps, scenes, tmp_path):
    one, two, *_ = maps
    out = tmp_path / "out"
    for options, said in (
        ({"normalise": True}, "--normalise means nothing to two maps of classes"),
        ({"options": {"threshold": "otsu"}}, "--option means nothing"),
        ({"tolerance": 0.1}, "--tolerance means nothing to two maps of classes"),
        ({"use_bands": ["B4"]}, "--use means nothing"),
    ):
        refused(ConfigurationError, said, one, two, out, ChangeOptions(**options))
    refused(ConfigurationError, "--sensor is said of scenes; products state it", one, two, out, sensor="landsat-8")
    model = ChangeOptions(method=str(tmp_path), normalise=True)
    refused(ConfigurationError, "--normalise means nothing to a model of two dates", *scenes, out, model, **DECLARED)


def test_a_product_is_not_replaced_unasked(maps, tmp_path):
    one, two, *_ = maps
    out = tmp_path / "out"
    find_change(one, two, out, ChangeOptions(animation=False))
    refused(ProductError, "--overwrite", one, two, out)
    find_change(one, two, out, ChangeOptions(animation=False, overwrite=True))
    assert json.loads((out / "item.json").read_text())["properties"]["ecumene:results"]
