"""Collections from end to end: what is written, what is kept, what meets at borders, what is refused."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
from catalogue_data import (
    NORTH,
    WEST,
    grid,
    land,
    make_model,
    stac_catalogue,
    write_aoi,
    write_list,
    write_scene,
)
from end_to_end import refused, run_cli
from pystac import Collection
from rio_cogeo.cogeo import cog_validate

from ecumene.catalogue import work
from ecumene.catalogue.claims import take_claim
from ecumene.catalogue.composites import TileStack
from ecumene.catalogue.plan import read_settings
from ecumene.catalogue.store import FolderStore
from ecumene.core.errors import ConfigurationError, ProductError, SceneError
from ecumene.core.window import Window
from ecumene.mapping import MapOptions, map_stack, open_product
from ecumene.mapping.cog import validate_cog
from ecumene.mapping.stac_models import validate_item
from ecumene.scenes.composites import best_pixel_composite, geomedian_composite, median_composite
from ecumene.scenes.opening import describe_scenes
from ecumene.scenes.stack import align_scenes
from ecumene.workflows.map_collection import map_collection, plan_collection

OPTIONS = MapOptions(probability=True, threads=1, quicklook=False, backend="torch", precision="fp32")
GRID = "EPSG:32633:1280"


def rasters(store):
    """The bytes of every raster of a collection."""
    found = {str(path.relative_to(store)): path.read_bytes() for path in sorted(Path(store).glob("tiles/*/*.tif"))}
    assert found
    return found


def read(path, window=None):
    with rasterio.open(path) as dataset:
        return dataset.read(window=window)


@pytest.fixture(scope="module")
def three_dates(tmp_path_factory):
    """Three dates of one place, the second with gaps."""
    folder = tmp_path_factory.mktemp("dates")
    place = grid(192, 192)
    gaps = land(place, 8)
    gaps[:, 40:90, 30:120] = 0
    write_scene(folder / "a.tif", place, 0)
    write_scene(folder / "b.tif", place, 8, values=gaps)
    write_scene(folder / "c.tif", place, 20)
    return folder


@pytest.fixture(scope="module")
def collection(three_dates, mlp, tmp_path_factory):
    """A collection of medians, made once."""
    out = tmp_path_factory.mktemp("collection") / "store"
    aoi = write_aoi(three_dates / "aoi.geojson", grid(150, 150, 20, 20), "EPSG:4326")
    result = map_collection(
        mlp,
        out,
        scenes=[three_dates / f"{k}.tif" for k in "abc"],
        aoi=aoi,
        period="2024-06",
        grid=GRID,
        options=OPTIONS,
    )
    return result, out


def test_a_collection_is_whole(collection, three_dates):
    result, out = collection
    assert not result.failures
    assert result.summary.count("mapped") == len(result.plan.units) == 6
    assert set(result.plan.scenes_per_tile.values()) == {3}
    assert result.plan.pixels == 6 * 128 * 128
    assert 0 < result.plan.bytes_to_read < 4 * sum(path.stat().st_size for path in three_dates.glob("*.tif"))
    found = Collection.from_file(str(out / "collection.json"))
    found.validate()
    items = list(found.get_items())
    assert len(items) == 6
    assert {item.collection_id for item in items} == {found.id}
    for unit in result.plan.units:
        product = open_product(out / "tiles" / unit.id, verify=True)
        validate_item(product.item)
        assert product.geobox == unit.tile.geobox
        assert (product.properties["start_datetime"], product.properties["end_datetime"]) == (
            "2024-06-01T10:00:00Z",
            "2024-06-21T10:00:00Z",
        )
        assert all(cog_validate(layer.path, quiet=True)[0] for layer in product.layers.values())
        assert not (product.folder / ".work").exists()
    index = geopandas.read_parquet(out / "items.parquet")
    assert sorted(index["id"]) == sorted(unit.id for unit in result.plan.units)
    assert index.crs.to_epsg() == 4326
    hrefs = [assets["value"]["href"] for assets in index["assets"]]
    assert all((out / href).is_file() for href in hrefs)
    assert not any((out / ".work" / "claims").iterdir())


def test_a_mosaic_is_the_median_map_inside_of_the_area(collection, three_dates, mlp, tmp_path):
    _, out = collection
    stack = TileStack(align_scenes(describe_scenes([three_dates / f"{k}.tif" for k in "abc"])), "median")
    single = map_stack(stack, mlp, tmp_path / "one", options=OPTIONS)
    with rasterio.open(out / "value.vrt") as mosaic:
        assert mosaic.colormap(1)[1][3] == 255
        assert (mosaic.crs.to_epsg(), mosaic.res, mosaic.nodata) == (32633, (10.0, 10.0), 255)
        window = rasterio.windows.from_bounds(WEST, NORTH - 1920, WEST + 1920, NORTH, mosaic.transform)
        placed = mosaic.read(1, window=window, boundless=True, fill_value=255)
    expected = read(single.path("value"))[0]
    inside = placed != 255
    assert abs(inside.sum() - 150 * 150) < 400
    assert inside[25:165, 25:165].all()
    np.testing.assert_array_equal(placed[inside], expected[inside])


def test_the_folder_of_a_collection_may_be_moved(collection, tmp_path):
    _, out = collection
    shutil.copytree(out, tmp_path / "moved")
    for name in ("value", "probability", "uncertainty", "valid"):
        np.testing.assert_array_equal(read(tmp_path / "moved" / f"{name}.vrt"), read(out / f"{name}.vrt"))
    assert str(out) not in (tmp_path / "moved" / "value.vrt").read_text()


def test_finished_tiles_are_kept_and_lost_ones_made_again(collection, three_dates, mlp, tmp_path):
    result, out = collection
    store = tmp_path / "store"
    shutil.copytree(out, store)
    before = rasters(store)
    lost = result.plan.units[1].id
    shutil.rmtree(store / "tiles" / lost)
    source = {"scenes": [three_dates / f"{k}.tif" for k in "abc"], "aoi": three_dates / "aoi.geojson", "grid": GRID}
    again = map_collection(mlp, store, period="2024-06", options=OPTIONS, **source)
    assert {o.unit for o in again.summary.outcomes.values() if o.state == "mapped"} == {lost}
    assert rasters(store) == before
    with pytest.raises(ProductError, match=r"another plan \(it differs in: period\)"):
        map_collection(mlp, store, period="2024", options=OPTIONS, **source)
    with pytest.raises(ProductError, match="differs in: composite"):
        map_collection(mlp, store, period="2024-06", composite="medoid", options=OPTIONS, **source)
    write_scene(tmp_path / "d.tif", grid(192, 192), 25)
    source["scenes"] = [*source["scenes"], tmp_path / "d.tif"]
    with pytest.raises(ProductError, match="other scenes or settings"):
        map_collection(mlp, store, period="2024-06", options=OPTIONS, **source)
    new = map_collection(mlp, store, period="2024-06", options=OPTIONS.model_copy(update={"overwrite": True}), **source)
    assert new.summary.count("mapped") == 6
    assert rasters(store) != before


def test_a_run_that_dies_anywhere_in_a_tile_ends_with_the_same_bytes(three_dates, mlp, tmp_path, monkeypatch):
    """A kill between the steps of a tile: after mapping, after describing, before and after the rename."""
    out = tmp_path / "whole"
    aoi = write_aoi(tmp_path / "aoi.gpkg", grid(20, 20, 100, 100))
    source = {"scenes": [three_dates / f"{k}.tif" for k in "abc"], "grid": GRID, "aoi": aoi}
    map_collection(mlp, out, period="2024-06", options=OPTIONS, **source)

    class Killed(BaseException):
        pass

    for step, (owner, name) in enumerate(
        [(work, "map_stack"), (work, "write_json"), (work.Claim, "is_held"), (FolderStore, "publish")]
    ):
        original = getattr(owner, name)
        for after in (False, True):

            def dying(*args, _original=original, _after=after, **keywords):
                if _after:
                    _original(*args, **keywords)
                raise Killed

            store = tmp_path / f"s{step}{after}"
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, dying)
                patch.setattr(work.Claim, "release", lambda self: None)
                with pytest.raises(Killed):
                    map_collection(mlp, store, period="2024-06", options=OPTIONS, **source)
            for claim in (store / ".work" / "claims").iterdir():  # the killed process is gone
                claim.write_text(claim.read_text().replace('"pid": ', '"pid": 9999999'))
            result = map_collection(mlp, store, period="2024-06", options=OPTIONS, **source)
            assert not result.failures
            assert rasters(store) == rasters(out)
            assert not any((store / ".work" / "claims").iterdir())


def test_two_runs_on_one_store_share_the_work(collection, three_dates, mlp, tmp_path):
    _, out = collection
    source = {"scenes": [three_dates / f"{k}.tif" for k in "abc"], "aoi": three_dates / "aoi.geojson", "grid": GRID}
    results, barrier = [], threading.Barrier(2)

    def run():
        barrier.wait()
        results.append(map_collection(mlp, tmp_path / "store", period="2024-06", options=OPTIONS, **source))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 2
    assert sum(result.summary.count("mapped") for result in results) == 6
    assert not any(result.failures for result in results)
    assert rasters(tmp_path / "store") == rasters(out)


def test_a_tile_is_shared_by_as_many_executors_as_a_single_map(three_dates, mlp, tmp_path, monkeypatch):
    from ecumene.mapping import engine

    run, seen = engine.run_tiles, []
    monkeypatch.setattr(engine, "run_tiles", lambda *a: (seen.append([id(one) for one in a[2]]), run(*a)))
    for module in ("ecumene.mapping.plan", "ecumene.workflows.map_collection"):
        monkeypatch.setattr(f"{module}.available_threads", lambda: 2)
    monkeypatch.setattr("ecumene.mapping.plan.has_gpu", lambda: False)
    aoi = write_aoi(tmp_path / "aoi.gpkg", grid(20, 20, 100, 100))
    source = {"scenes": [three_dates / "a.tif"], "grid": GRID, "aoi": aoi}
    small = OPTIONS.model_copy(update={"window": (64, 64), "batch_size": 1})
    one, both = tmp_path / "one", tmp_path / "both"
    map_collection(mlp, one, options=small, **source)
    assert {len(executors) for executors in seen} == {1}
    seen.clear()
    result = map_collection(mlp, both, options=small.model_copy(update={"threads": None}), **source)
    assert result.plan.settings.threads == 1
    assert {len(set(executors)) for executors in seen} == {2}
    assert rasters(one) == rasters(both)


def test_tiles_meet_without_a_seam(tmp_path):
    """A mosaic of tiles is the single map: equal where the context suffices, within one stored level elsewhere."""
    place = grid(320, 320)
    write_scene(tmp_path / "s.tif", place)
    model = make_model("unet-small")
    single = map_stack(align_scenes(describe_scenes([tmp_path / "s.tif"])), model, tmp_path / "one", options=OPTIONS)
    result = map_collection(
        model,
        tmp_path / "store",
        scenes=[tmp_path / "s.tif"],
        composite="none",
        grid="EPSG:32633:1600",
        options=OPTIONS,
    )
    assert len(result.plan.tiles) >= 4
    assert result.plan.settings.margin == 2 * model.spec.margin
    inner = np.s_[:, 56:-56, 56:-56]  # beyond the scene's border a single map mirrors, a tile has no data
    bounds = (WEST, NORTH - 3200, WEST + 3200, NORTH)
    layers = {}
    for name in ("value", "probability"):
        with rasterio.open(tmp_path / "store" / f"{name}-2024-06-01.vrt") as mosaic:
            window = rasterio.windows.from_bounds(*bounds, mosaic.transform)
            layers[name] = mosaic.read(window=window)[inner].astype(int)
    probability = read(single.path("probability"))[inner].astype(int)
    value = read(single.path("value"))[inner].astype(int)
    assert len(np.unique(value)) == 4
    assert np.abs(layers["probability"] - probability).max() <= 1
    assert (layers["probability"] != probability).mean() < 1e-3
    assert (layers["value"] != value).mean() < 1e-4


def test_every_day_by_itself_and_least_cloudy(three_dates, mlp, tmp_path):
    catalogue = stac_catalogue(
        three_dates, [(three_dates / f"{k}.tif", grid(192, 192), d) for k, d in zip("abc", (0, 8, 20), strict=True)]
    )
    days = map_collection(
        mlp, tmp_path / "days", stac=catalogue, composite="none", grid="EPSG:32633:3200", options=OPTIONS
    )
    ids = {unit.id.partition("_")[2] for unit in days.plan.units}
    assert ids == {"2024-06-01", "2024-06-09", "2024-06-21"}
    assert (tmp_path / "days" / "value-2024-06-09.vrt").is_file()
    plan = plan_collection(mlp, stac=three_dates, composite="least-cloudy", grid="EPSG:32633:3200", options=OPTIONS)
    assert plan.units[0].shares == {"2024-06-01": 1.0, "2024-06-09": 0.95, "2024-06-21": 0.7}
    clear = map_collection(
        mlp, tmp_path / "clear", stac=catalogue, composite="least-cloudy", grid="EPSG:32633:3200", options=OPTIONS
    )
    assert not clear.failures
    name = next(iter(clear.plan.units)).id
    np.testing.assert_array_equal(
        read(tmp_path / "clear" / "tiles" / name / "value.tif"),
        read(tmp_path / "days" / "tiles" / f"{name}_2024-06-01" / "value.tif"),
    )


def test_composites_do_not_depend_on_windows_or_strips(three_dates, monkeypatch):
    base = align_scenes(describe_scenes([three_dates / f"{k}.tif" for k in "abc"]))
    image = base.read(Window(0, 0, 192, 192)).image
    makers = {
        "median": median_composite,
        "geomedian": geomedian_composite,
        "medoid": best_pixel_composite,
        "least-cloudy": lambda x: best_pixel_composite(x, "clearest", clear_fractions=np.array([0.1, 0.9, 0.5])),
    }
    monkeypatch.setattr("ecumene.catalogue.composites._STRIP_BYTES", 1)
    for kind, maker in makers.items():
        stack = TileStack(base, kind, (0.1, 0.9, 0.5))
        assert len(stack.times) == 1
        part = stack.read(Window(33, 17, 97, 101))
        np.testing.assert_array_equal(part.image[0], maker(image).image[:, 33:130, 17:118])
        assert part.valid.all()


def test_a_tile_without_data_has_a_product_that_says_so(mlp, tmp_path):
    place = grid(256, 128)
    values = land(place)
    values[:, :128] = 0
    write_scene(tmp_path / "s.tif", place, values=values)
    result = map_collection(mlp, tmp_path / "store", scenes=[tmp_path / "s.tif"], grid=GRID, options=OPTIONS)
    empty = [outcome.unit for outcome in result.summary.outcomes.values() if outcome.state == "empty"]
    assert empty
    assert result.summary.count("mapped") >= 1
    product = open_product(tmp_path / "store" / "tiles" / empty[0], verify=True)
    validate_item(product.item)
    assert product.properties["ecumene:empty"] is True
    validate_cog(product.path("valid"))
    assert (read(product.path("valid")) == 0).all()
    assert product.path("valid").stat().st_size < 4096
    with rasterio.open(tmp_path / "store" / "valid.vrt") as mosaic:
        assert 0 < mosaic.read(1).mean() < 1
    again = map_collection(mlp, tmp_path / "store", scenes=[tmp_path / "s.tif"], grid=GRID, options=OPTIONS)
    assert again.summary.count("kept") == len(result.plan.units)


def test_a_scene_that_vanishes_costs_its_tiles_only(mlp_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("ecumene.catalogue.running.ATTEMPTS", 1)
    for k in range(2):
        write_scene(tmp_path / f"s{k}.tif", grid(128, 128, 0, 256 * k))
    scenes = write_list(tmp_path / "list.txt", ["s0.tif", "s1.tif"])
    original = work.map_stack

    def vanishing(*args, **keywords):
        (tmp_path / "s1.tif").rename(tmp_path / "gone.tif") if (tmp_path / "s1.tif").exists() else None
        return original(*args, **keywords)

    arguments = ("map", mlp_folder, "--scenes", scenes, "--grid", "EPSG:32633:2560", "--out", tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(work, "map_stack", vanishing)
        outcome = run_cli(*arguments, "--backend", "torch")
    assert outcome.code == 9
    assert "s1.tif" in outcome.err
    assert "tiles could not be mapped" in outcome.err
    assert (tmp_path / "store" / "collection.json").is_file()
    (tmp_path / "gone.tif").rename(tmp_path / "s1.tif")
    outcome = run_cli(*arguments)  # what was left to the machine is what the store began with
    assert outcome.code == 0, outcome.err
    assert FolderStore(tmp_path / "store").claims.names() == []


def test_bad_input_is_refused_with_a_sentence(mlp_folder, land_scene, tmp_path):
    scenes = write_list(tmp_path / "list.txt", [land_scene])
    far = write_aoi(tmp_path / "far.geojson", grid(50, 50, 5000, 5000), "EPSG:4326")
    (tmp_path / "empty.txt").write_text("# nothing\n")
    out = ("--out", tmp_path / "store")
    start = ("map", mlp_folder)
    for arguments, code, saying in [
        ((*start, "--scenes", scenes, "--period", "2024-08/2024-06", *out), 2, "ends before it begins"),
        ((*start, "--scenes", scenes, "--period", "2020", *out), 3, "None of 1 scenes is from 2020"),
        ((*start, "--scenes", scenes, "--aoi", far, *out), 3, "lies outside of all 1 scenes"),
        ((*start, "--scenes", tmp_path / "empty.txt", *out), 2, "list of scenes is empty"),
        ((*start, "--scenes", tmp_path / "none.txt", *out), 2, "cannot be read"),
        ((*start, "--scenes", scenes, "--composite", "mean", *out), 2, "composite 'mean' is unknown"),
        ((*start, "--scenes", scenes, "--grid", "h3", *out), 2, "grid 'h3' is unknown"),
        ((*start, "--scenes", scenes, "--stac", tmp_path, *out), 2, "either by --stac"),
        ((*start, "--scenes", scenes, "--clip", far, *out), 2, "--aoi"),
        ((*start, "--stac", tmp_path / "nowhere", *out), 3, "no catalogue"),
        ((*start, "--stac", tmp_path, *out), 3, "holds no catalog.json"),
        ((*start, "--scenes", scenes, "--cluster", "cloud", *out), 2, "cluster 'cloud' is unknown"),
        ((*start, land_scene, "--aoi", far, *out), 2, "--aoi is for many scenes"),
        ((*start, land_scene, "--out", "s3://bucket/prefix"), 2, "written to a folder"),
        ((*start, *out), 2, "No scene was given"),
    ]:
        refused(*arguments, code=code, saying=saying, folder=tmp_path)


def test_catalogues_that_do_not_hold_what_they_say(mlp, tmp_path):
    write_scene(tmp_path / "a.tif", grid(64, 64))
    catalogue = stac_catalogue(tmp_path, [(tmp_path / "a.tif", grid(64, 64), 0)])
    with pytest.raises(SceneError, match=r"No Item of .* fits"):
        plan_collection(mlp, stac=catalogue, period="2020", options=OPTIONS)
    with pytest.raises(ConfigurationError, match="says scale itself"):
        plan_collection(mlp, stac=catalogue, declaration={"scale": 1.0}, options=OPTIONS)
    (tmp_path / "a.tif").unlink()
    with pytest.raises(SceneError, match=r"a\.tif"):
        plan_collection(mlp, stac=catalogue, options=OPTIONS)


def test_undated_scenes_and_claims_of_others(mlp, tmp_path):
    write_scene(tmp_path / "a.tif", grid(64, 64), time=None)
    with pytest.raises(ConfigurationError, match="has no date"):
        plan_collection(mlp, scenes=[tmp_path / "a.tif"], period="2024", options=OPTIONS)
    result = map_collection(
        mlp, tmp_path / "store", scenes=[tmp_path / "a.tif"], grid=GRID, composite="none", options=OPTIONS
    )
    assert not result.failures
    unit = result.plan.units[0]
    store = FolderStore(tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "tiles" / unit.id)
    claim = take_claim(store.claims, unit.id)
    model = work.SharedModel(mlp)
    assert work.map_unit(unit, result.plan.settings, store, model).state == "busy"
    claim.release()
    assert work.map_unit(unit, result.plan.settings, store, model).state == "mapped"


def test_the_settings_of_a_store_are_read_back(collection):
    result, out = collection
    text = (out / ".work" / "plan.json").read_text()
    assert json.loads(text)["composite"] == "median"
    assert text == result.plan.settings.text()
    assert read_settings(text, "store") == result.plan.settings
    for damaged in ("{}", "no json", text.replace('"version": 1', '"version": "new"')):
        with pytest.raises(ProductError, match="does not hold a plan"):
            read_settings(damaged, "store")
