"""Whatever is wrong with what a user gives: one sentence, an exit code, and nothing half-written."""

from __future__ import annotations

import json
import resource
import shutil
from contextlib import contextmanager

import geopandas
import numpy as np
import pandas
import pytest
import rasterio
import yaml
from end_to_end import (
    SEED,
    assert_sentence,
    copy_scene,
    declare,
    done,
    raster_bytes,
    read,
    refused,
    rewrite,
    run_cli,
    snapshot,
    start_cli,
    weights_of,
)
from shapely.affinity import translate
from shapely.geometry import Point, box

from ecumene import train_model
from ecumene.models.contract import SCHEMA_VERSION

CONFIGURATION, SCENE, CONTRACT, LABEL, MODEL, PRODUCT = 2, 3, 4, 5, 6, 7
QUICK = ("--system", "random-forest", "--split", "feature", "--seed", SEED)


@contextmanager
def file_size_limit(size):
    """Files cannot grow beyond `size` bytes, which fails like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def every_verb(scene, town, forest, out):
    """The three verbs that read scenes."""
    return [
        ("info", scene),
        ("train", scene, "--labels", town.labels, "--out", out / "m", *QUICK),
        ("map", forest, scene, "--out", out / "p"),
    ]


def refused_by_every_verb(scene, town, forest, out, code, saying):
    for command in every_verb(scene, town, forest, out):
        refused(*command, code=code, saying=saying, folder=out)


# -- scenes ----------------------------------------------------------------------------------------


def test_no_such_scene(town, forest, tmp_path):
    refused_by_every_verb(tmp_path / "none.tif", town, forest, tmp_path, SCENE, r"no file or folder .*none\.tif")


def test_truncated_tiff(town, scene, forest, tmp_path):
    broken = copy_scene(scene, tmp_path)
    broken.write_bytes(broken.read_bytes()[:60_000])
    refused_by_every_verb(broken, town, forest, tmp_path, SCENE, r"sentinel2_2023-07-06\.tif .*(truncated|incomplete)")


def test_scene_without_crs_until_it_is_declared(town, scene, forest, product, tmp_path):
    bare = rewrite(copy_scene(scene, tmp_path), lambda numbers: numbers, crs=None)
    mask = bare.with_name(f"{bare.stem}_SCL.tif")
    rewrite(mask, lambda numbers: numbers, crs=None)
    refused_by_every_verb(bare, town, forest, tmp_path, SCENE, "coordinate reference system.*--crs")
    done("map", forest, bare, "--crs", "EPSG:32633", "--out", tmp_path / "p")
    assert raster_bytes(tmp_path / "p")["value.tif"] == raster_bytes(product)["value.tif"]


def test_missing_band(town, scene, forest, tmp_path):
    names = yaml.safe_load(scene.with_name(f"{scene.stem}.scene.yaml").read_text())["bands"]
    fewer = rewrite(copy_scene(scene, tmp_path), lambda numbers: numbers[:-1], names=names[:-1])
    declare(fewer, bands=names[:-1])
    refused(
        "map", forest, fewer, "--out", tmp_path / "p", code=CONTRACT, saying="needs sentinel-2/B12", folder=tmp_path
    )
    refused("info", fewer, "-b", "B12", code=CONTRACT, saying="B12", folder=tmp_path)


def test_bands_in_another_order_just_work(scene, forest, product, tmp_path):
    names = yaml.safe_load(scene.with_name(f"{scene.stem}.scene.yaml").read_text())["bands"]
    turned = rewrite(copy_scene(scene, tmp_path), lambda numbers: numbers[::-1], names=names[::-1])
    declare(turned, bands=None)
    done("map", forest, turned, "--out", tmp_path / "p")
    assert raster_bytes(tmp_path / "p") == raster_bytes(product)


@pytest.mark.parametrize(
    ("keys", "saying"),
    [
        (("sensor",), "says which sensor.*--sensor"),
        (("level",), "says its product level.*--level"),
        (("scale", "offset"), "(scale|offset)"),
    ],
)
def test_sensor_level_and_scale_must_be_said(town, scene, forest, tmp_path, keys, saying):
    silent = declare(copy_scene(scene, tmp_path), **dict.fromkeys(keys))
    if "scale" in keys:
        with rasterio.open(silent, "r+") as dataset:
            dataset.scales, dataset.offsets = (1.0,) * dataset.count, (0.0,) * dataset.count
    refused_by_every_verb(silent, town, forest, tmp_path, CONFIGURATION, saying)


def test_options_say_what_files_do_not(scene, forest, product, tmp_path):
    silent = copy_scene(scene, tmp_path)
    silent.with_name(f"{silent.stem}.scene.yaml").unlink()
    said = ("--sensor", "sentinel-2", "--level", "L2A", "--scale", "1e-4", "--offset", "-0.1", "--nodata", "0")
    done("map", forest, silent, *said, "--time", "2023-07-06T09:30:00Z", "--out", tmp_path / "p")
    assert raster_bytes(tmp_path / "p") == raster_bytes(product)


def test_digital_numbers_are_no_reflectance(town, scene, forest, tmp_path):
    for command in every_verb(scene, town, forest, tmp_path):
        refused(*command, "--unit", "DN", code=CONFIGURATION, saying="in the unit '1', not 'DN'", folder=tmp_path)


def test_digital_numbers_of_landsat_do_not_fit_a_model_of_reflectance(forest, tmp_path):
    """A sensor that ships bare digital numbers as a level of its own is refused by sensor, band and unit."""
    path = tmp_path / "landsat.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=32, width=32, dtype="uint8", crs="EPSG:32633",
        transform=rasterio.transform.from_origin(500000, 5000000, 30, 30),
    ) as dataset:  # fmt: skip
        dataset.write(np.full((1, 32, 32), 80, np.uint8))
    said = ("--sensor", "landsat-5", "--level", "DN", "--bands", "B3", "--time", "1988-07-01")
    shown = done("info", path, *said).out
    assert "DN" in shown
    refused("map", forest, path, *said, "--out", tmp_path / "p", code=CONTRACT, saying="needs", folder=tmp_path)


def test_wrong_level(scene, forest, tmp_path):
    other = declare(copy_scene(scene, tmp_path), level="L1C")
    saying = r"of level L1C, but the model was trained on L2A"
    refused("map", forest, other, "--out", tmp_path / "p", code=CONTRACT, saying=saying, folder=tmp_path)
    refused(
        "map", forest, scene, "--level", "L9", "--out", tmp_path / "p",
        code=CONFIGURATION, saying="no level 'L9'; it has: L1C, L2A", folder=tmp_path,
    )  # fmt: skip


def test_two_levels_in_one_series(town, forest, tmp_path):
    other = declare(copy_scene(town.sentinel2[0], tmp_path), level="L1C")
    refused(
        "train", other, town.sentinel2[1], "--labels", town.labels, "--out", tmp_path / "m", *QUICK,
        code=CONTRACT, saying=r"different levels \(L1C and L2A\)", folder=tmp_path,
    )  # fmt: skip


def test_two_processing_baselines_in_one_series_need_their_offsets(town, tmp_path):
    """With its own offset each date is physical; where one does not say its offset, nothing is assumed."""
    first, second = (copy_scene(path, tmp_path) for path in town.sentinel2)
    old = rewrite(first, lambda numbers: np.maximum(numbers.astype(np.int32) - 1000, 1).astype(np.uint16))
    declare(old, offset=0.0)
    options = {"system": "random-forest", "split_by": "feature", "seed": SEED, "use_bands": ["B8A", "B11"]}
    mixed = train_model([old, second], town.labels, tmp_path / "mixed", **options)
    same = train_model(town.sentinel2, town.labels, tmp_path / "same", **options)
    for one, two in zip(mixed.spec.inputs, same.spec.inputs, strict=True):
        assert one.mean == pytest.approx(two.mean, abs=1e-5)
    declare(old, offset=None, scale=None)
    with rasterio.open(old, "r+") as dataset:
        dataset.scales, dataset.offsets = (1.0,) * dataset.count, (0.0,) * dataset.count
    refused(
        "train", old, second, "--labels", town.labels, "--out", tmp_path / "m", *QUICK,
        code=CONFIGURATION, saying=r"offset.*baseline", folder=tmp_path,
    )  # fmt: skip


def test_a_series_without_dates(town, tmp_path):
    first, second = (declare(copy_scene(path, tmp_path), time=None) for path in town.sentinel2)
    for path in (first, second):
        rewrite(path, lambda numbers: numbers)  # drops the tag that holds the date
    refused(
        "train", first, second, "--labels", town.labels, "--out", tmp_path / "m", *QUICK,
        code=SCENE, saying="has no date.*--time", folder=tmp_path,
    )  # fmt: skip


def test_all_nodata_scene(town, scene, forest, tmp_path):
    empty = rewrite(copy_scene(scene, tmp_path), np.zeros_like)
    outcome = run_cli("map", forest, empty, "--out", tmp_path / "p")
    assert_sentence(outcome, SCENE, "nothing to map")
    assert set(snapshot(tmp_path / "p")) <= {".work", ".work/lock"}
    refused(
        "train", empty, "--labels", town.labels, "--out", tmp_path / "m", *QUICK,
        code=LABEL, saying="No labelled pixel with valid data", folder=tmp_path,
    )  # fmt: skip
    assert "0.0%" in done("info", empty).out


@pytest.mark.parametrize("nodata", [float("nan"), -9999.0])
def test_nan_and_negative_nodata(scene, forest, product, tmp_path, nodata):
    hole = np.s_[:, 20:40, 10:30]

    def physical(numbers):
        values = numbers.astype(np.float32) * np.float32(1e-4) + np.float32(-0.1)
        values[hole] = nodata
        return values

    floats = rewrite(copy_scene(scene, tmp_path), physical, nodata=nodata)
    with rasterio.open(floats, "r+") as dataset:
        dataset.scales, dataset.offsets = (1.0,) * dataset.count, (0.0,) * dataset.count
    declare(floats, scale=1.0, offset=0.0, nodata=None)
    done("map", forest, floats, "--out", tmp_path / "p")
    valid, value = read(tmp_path / "p" / "valid.tif"), read(tmp_path / "p" / "value.tif")
    outside = np.ones(valid.shape, bool)
    outside[hole[1:]] = False
    assert (valid[~outside] == 0).all()
    assert (valid[outside] == 1).all()
    assert (value[outside] == read(product / "value.tif")[outside]).mean() > 0.999
    # Declared on the command line it is the same.
    declare(floats, nodata=None)
    with rasterio.open(floats, "r+") as dataset:
        dataset.nodata = 12345.0
    done("map", forest, floats, "--nodata", nodata, "--out", tmp_path / "q")
    np.testing.assert_array_equal(read(tmp_path / "q" / "valid.tif"), valid)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (1, 80)])
def test_scene_smaller_than_a_window_and_not_square(scene, unet, forest, tmp_path, size):
    small = rewrite(copy_scene(scene, tmp_path), lambda numbers: numbers[:, : size[0], : size[1]])
    for name, model in (("a", unet), ("b", forest)):
        done("map", model, small, "--out", tmp_path / name)
        assert read(tmp_path / name / "value.tif").shape == size
        assert (read(tmp_path / name / "valid.tif") == 1).all()


def test_another_ground_sampling(scene, forest, tmp_path):
    coarse = copy_scene(scene, tmp_path)
    with rasterio.open(coarse, "r+") as dataset:
        dataset.transform = rasterio.transform.from_origin(500000, 5000000, 20, 20)
    refused(
        "map", forest, coarse, "--out", tmp_path / "p",
        code=CONTRACT, saying="ground sampling of 20 m, but the model was trained at 10 m", folder=tmp_path,
    )  # fmt: skip


def test_hostile_vrt(town, scene, forest, tmp_path):
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    secret = copy_scene(scene, outside)
    inside.mkdir()
    vrt = inside / "scene.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="80" rasterYSize="96"><SRS>EPSG:32633</SRS>'
        "<GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform>"
        '<VRTRasterBand dataType="UInt16" band="1"><Description>B04</Description><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{secret}</SourceFilename><SourceBand>4</SourceBand>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    said = ("--sensor", "sentinel-2", "--level", "L2A", "--scale", "1e-4", "--offset", "-0.1")
    for command in every_verb(vrt, town, forest, tmp_path):
        refused(*command, *said, code=SCENE, saying="outside of the allowed roots", folder=tmp_path)


def test_hostile_scene_yaml(town, scene, forest, tmp_path):
    copy_scene(scene, tmp_path / "outside", "secret")
    inside = tmp_path / "inside"
    inside.mkdir()
    declared = {"sensor": "sentinel-2", "level": "L2A", "files": ["../outside/secret.tif"], "scale": 1e-4, "offset": 0}
    (inside / "scene.yaml").write_text(yaml.safe_dump(declared))
    for path in (inside, inside / "scene.yaml"):
        refused_by_every_verb(path, town, forest, tmp_path, SCENE, "outside of the allowed roots")
    (inside / "scene.yaml").write_text("sensor: [unclosed")
    refused_by_every_verb(inside / "scene.yaml", town, forest, tmp_path, CONFIGURATION, "not valid YAML")
    (inside / "scene.yaml").write_text("sensr: sentinel-2")
    refused_by_every_verb(inside / "scene.yaml", town, forest, tmp_path, CONFIGURATION, "did you mean 'sensor'")


# -- labels ----------------------------------------------------------------------------------------


def train_refused(scene, labels, tmp_path, saying, code=LABEL, *more):
    refused(
        "train", scene, "--labels", labels, "--out", tmp_path / "m", *QUICK, *more,
        code=code, saying=saying, folder=tmp_path,
    )  # fmt: skip


def write_labels(frame, path):
    frame.to_file(path)
    return path


def test_labels_in_another_crs_just_work(town, scene, forest, tmp_path):
    moved = geopandas.read_file(town.labels).to_crs(4326)
    labels = write_labels(moved, tmp_path / "degrees.geojson")
    done("train", scene, "--labels", labels, "--out", tmp_path / "m", *QUICK)
    assert weights_of(tmp_path / "m") == weights_of(forest)


def test_labels_elsewhere(town, scene, tmp_path):
    frame = geopandas.read_file(town.labels)
    frame.geometry = frame.geometry.translate(xoff=50_000)
    train_refused(
        scene,
        write_labels(frame, tmp_path / "far.gpkg"),
        tmp_path,
        "None of the 63 features of far.gpkg meets the scene",
    )


def test_labels_that_touch_by_one_pixel(town, scene, tmp_path):
    """A polygon that holds a single pixel's centre labels that pixel; nothing else in it is an error."""
    with rasterio.open(scene) as dataset:
        left, bottom, right, top = dataset.bounds
    corners = [
        box(left - 200, top - 9, left + 9, top + 200),
        box(right - 9, bottom - 200, right + 200, bottom + 9),
    ]
    frame = geopandas.read_file(town.labels)
    touching = geopandas.GeoDataFrame({"class": ["water", "forest"]}, geometry=corners, crs=frame.crs)
    both = write_labels(pandas.concat([frame, touching]), tmp_path / "more.gpkg")
    done("train", scene, "--labels", both, "--out", tmp_path / "more", *QUICK)
    # Two single pixels alone are a class each, but cannot be split into parts.
    train_refused(
        scene, write_labels(touching, tmp_path / "touch.gpkg"), tmp_path, "2 features, fewer than the 4 parts"
    )


def test_labels_of_one_class(town, scene, tmp_path):
    frame = geopandas.read_file(town.labels)
    frame = frame[frame["class"] == "water"]
    train_refused(scene, write_labels(frame, tmp_path / "one.gpkg"), tmp_path, "only the class 'water'")


def test_labels_that_cannot_be_read(town, scene, tmp_path):
    train_refused(scene, tmp_path / "none.gpkg", tmp_path, r"none\.gpkg")
    (tmp_path / "text.gpkg").write_text("no geopackage")
    train_refused(scene, tmp_path / "text.gpkg", tmp_path, r"text\.gpkg")
    train_refused(
        scene, town.labels, tmp_path, "no field 'klasse'; the fields are: class", LABEL, "--label-field", "klasse"
    )
    frame = geopandas.read_file(town.labels).set_crs(None, allow_override=True)
    write_labels(frame, tmp_path / "x.gpkg")
    train_refused(scene, tmp_path / "x.gpkg", tmp_path, "state no coordinate reference system")


def test_labels_too_few_for_a_split(town, scene, tmp_path):
    frame = geopandas.read_file(town.labels).groupby("class").head(1).iloc[:2]
    outcome = run_cli(
        "train", scene, "--labels", write_labels(frame, tmp_path / "two.gpkg"), "--out", tmp_path / "m", *QUICK
    )
    assert_sentence(outcome, LABEL, "2 features, fewer than the 4 parts")
    assert not (tmp_path / "m").exists()


def test_unknown_class_in_the_reference(town, product, tmp_path):
    frame = geopandas.read_file(town.reference)
    frame.loc[3, "class"] = "lava"
    reference = write_labels(frame, tmp_path / "points.gpkg")
    refused(
        "assess", product, "--reference", reference, "--out", tmp_path / "a.json",
        code=LABEL, saying="lava", folder=tmp_path,
    )  # fmt: skip


def test_reference_elsewhere_or_unreadable(town, product, tmp_path):
    frame = geopandas.read_file(town.reference)
    far = geopandas.GeoDataFrame({"class": frame["class"]}, geometry=[Point(7, 50)] * len(frame), crs=4326)
    out = ("--out", tmp_path / "a.json")
    refused(
        "assess", product, "--reference", write_labels(far, tmp_path / "far.gpkg"), *out,
        code=LABEL, saying="None of the 200 features of far.gpkg .* meets the map", folder=tmp_path,
    )  # fmt: skip
    refused("assess", product, "--reference", tmp_path / "none.gpkg", *out, code=LABEL, saying="none", folder=tmp_path)
    refused(
        "assess",
        tmp_path,
        "--reference",
        town.reference,
        *out,
        code=PRODUCT,
        saying="item.json|product",
        folder=tmp_path,
    )
    refused(
        "assess", product, "--reference", town.reference, "--confidence", 95, *out,
        code=CONFIGURATION, saying="confidence|0 and 1|between", folder=tmp_path,
    )  # fmt: skip


# -- models ----------------------------------------------------------------------------------------


def map_refused(model, scene, tmp_path, saying, code=MODEL, *more):
    refused("map", model, scene, "--out", tmp_path / "p", *more, code=code, saying=saying, folder=tmp_path)


@pytest.fixture
def stolen(forest, tmp_path):
    """A copy of the forest to tamper with."""
    return shutil.copytree(forest, tmp_path / "model")


def test_tampered_model(stolen, scene, tmp_path):
    weights = stolen / "forest.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    map_refused(stolen, scene, tmp_path, "forest.safetensors")


def test_pickle_inside_a_model(stolen, scene, tmp_path):
    import pickle

    for name in ("weights.pkl", "weights.pt", "extra.py"):
        (stolen / name).write_bytes(pickle.dumps({"a": 1}))
        map_refused(stolen, scene, tmp_path, name.replace(".", r"\."))
        (stolen / name).unlink()
    (stolen / "forest.safetensors").write_bytes(pickle.dumps({"a": 1}))
    map_refused(stolen, scene, tmp_path, "forest.safetensors")


def test_newer_model(stolen, scene, tmp_path):
    text = (stolen / "model.json").read_text()
    item = json.loads(text)

    def raise_version(value):
        if isinstance(value, dict):
            return {k: 99 if k == "schema_version" else raise_version(v) for k, v in value.items()}
        return [raise_version(v) for v in value] if isinstance(value, list) else value

    newer = raise_version(item)
    assert newer != item
    assert SCHEMA_VERSION < 99
    (stolen / "model.json").write_text(json.dumps(newer))
    map_refused(stolen, scene, tmp_path, "schema version 99.*update ecumene")


def test_no_model(scene, tmp_path):
    map_refused(tmp_path / "none", scene, tmp_path, "none")
    map_refused(tmp_path, scene, tmp_path, "model.json")


def test_onnx_that_is_not_there(unet, forest, scene, tmp_path):
    map_refused(unet, scene, tmp_path, "no model.onnx", MODEL, "--backend", "onnx")
    map_refused(forest, scene, tmp_path, "backend", CONFIGURATION, "--backend", "caffe")


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "saying"),
    [
        (("--system", "unet-smal"), "did you mean unet-small"),
        (("--use-bands", "B99"), "no band 'B99'"),
        (("--split", "pixel"), "'block' or 'feature'"),
        (("--sensor", "sentinel-9"), "sentinel-9"),
        (("--time", "yesterday"), "no time"),
        (("--scale", "0"), "scale is wrong"),
        (("--coverage", "1.5"), "coverage is a share between 0 and 1"),
        (("--buffer", "-5"), "buffer .* must be 0 m or more"),
        (("--block-size", "0"), "must be more than 0 m"),
        (("--epochs", "0"), "option epochs is wrong"),
        (("--max-minutes", "-1"), "option max_time_s is wrong"),
    ],
)
def test_wrong_options_of_train(town, scene, tmp_path, option, saying):
    system = "mlp-pixel" if option[0] in {"--epochs", "--max-minutes"} else "random-forest"
    options = ["--system", system, *option] if option[0] != "--system" else list(option)
    outcome = run_cli("train", scene, "--labels", town.labels, "--out", tmp_path / "m", *options)
    assert outcome.code in (CONFIGURATION, CONTRACT, LABEL), outcome
    assert_sentence(outcome, outcome.code, saying)
    assert snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    ("option", "saying"),
    [
        (("--precision", "fp8"), "precision"),
        (("--workers", "0"), "workers"),
        (("--minimum-mapping-unit", "-1"), "minimum_mapping_unit"),
        (("--clip", "none.gpkg"), "none.gpkg"),
    ],
)
def test_wrong_options_of_map(scene, forest, tmp_path, option, saying):
    map_refused(forest, scene, tmp_path, saying, CONFIGURATION, *option)


def test_a_clip_elsewhere(town, scene, forest, tmp_path):
    frame = geopandas.read_file(town.labels).iloc[:3]
    frame.geometry = [translate(geometry, 1e5) for geometry in frame.geometry]
    clip = write_labels(frame, tmp_path / "far.gpkg")
    map_refused(forest, scene, tmp_path, "clip|far", CONFIGURATION, "--clip", clip)


# -- output ----------------------------------------------------------------------------------------


def test_output_that_cannot_be_written(town, scene, forest, product, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for target in (tmp_path / "file", tmp_path / "file" / "below"):
        refused("map", forest, scene, "--out", target, code=PRODUCT, saying="cannot be written", folder=tmp_path)
        refused("demo", "--out", target, code=PRODUCT, saying="cannot be written", folder=tmp_path)
    refused(
        "train", scene, "--labels", town.labels, "--out", tmp_path / "file" / "m", *QUICK,
        code=PRODUCT, saying="cannot be written", folder=tmp_path,
    )  # fmt: skip
    refused(
        "train", scene, "--labels", town.labels, "--out", tmp_path / "file", *QUICK,
        code=MODEL, saying="file", folder=tmp_path,
    )  # fmt: skip
    refused(
        "assess", product, "--reference", town.reference, "--out", tmp_path / "file" / "a.json",
        code=PRODUCT, saying="cannot be written", folder=tmp_path,
    )  # fmt: skip


def test_a_folder_with_other_files_is_not_replaced_by_a_model(town, scene, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("years of work")
    train_refused(scene, town.labels, tmp_path, "other files", MODEL)


def test_full_disk_while_a_model_is_written(town, scene, tmp_path):
    with file_size_limit(20_000):
        outcome = run_cli("train", scene, "--labels", town.labels, "--out", tmp_path / "m", *QUICK)
    assert_sentence(outcome, outcome.code, "cannot be written")
    assert outcome.code in (MODEL, PRODUCT)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_full_disk_while_a_map_is_written(scene, forest, product, tmp_path):
    """In a process of its own, as a user would meet it; with room again the same command goes on."""
    command = ("map", forest, scene, "--out", tmp_path / "p", "--polygons")
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))  # noqa: E731
    child = start_cli(*command, preexec_fn=limit)
    out, err = child.communicate(timeout=240)
    assert child.returncode == PRODUCT, err
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert lines[0].startswith("ecumene: ")
    assert not out.strip()
    assert not (tmp_path / "p" / "item.json").exists()
    assert not list(tmp_path.rglob(".part-*"))
    done(*command)
    assert raster_bytes(tmp_path / "p") == raster_bytes(product)
