"""Built-up ground of a year from its composite, and since when it is built-up: a forest on a simulated growing town."""

import geopandas
import numpy as np
import pytest
from change_files import layer

import ecumene.systems as systems
from ecumene import map_scenes, train_model
from ecumene.core.errors import ConfigurationError, ContractError, ModelError
from ecumene.models.bundle import Model
from ecumene.models.row_features import RowFeatures
from ecumene.samples.contract import Part
from ecumene.simulate import observe_sentinel2, simulate_city, write_labels, write_sentinel2
from ecumene.systems import get_system
from ecumene.training.fit_trees import best_forest, fit_forest
from ecumene.workflows.series import SeriesOptions, follow_series
from ecumene.workflows.series_maps import scenes_of_maps

YEARS = (2018, 2019, 2020)
MONTHS = (6, 8)
BUILT = ("low-rise residential", "high-rise and commercial", "industrial")


@pytest.fixture(scope="module")
def city():
    return simulate_city(5, (96, 96), years=(YEARS[0], YEARS[-1]))


@pytest.fixture(scope="module")
def scenes(city, tmp_path_factory):
    """Two summer dates a year, one of them partly under clouds."""
    folder = tmp_path_factory.mktemp("scenes")
    found = {}
    for year in YEARS:
        for month in MONTHS:
            cover = 0.3 if month == 8 else 0.0
            seen = observe_sentinel2(city, f"{year}-{month:02d}-12", cloud_cover=cover, seed=year + month)
            found[year, month] = write_sentinel2(seen, folder / f"{year}-{month:02d}.tif")
    return found


def of_year(scenes, year):
    return [path for (when, _), path in scenes.items() if when == year]


@pytest.fixture(scope="module")
def labels(city, tmp_path_factory):
    """Polygons of built-up and other ground."""
    path = write_labels(city, tmp_path_factory.mktemp("labels") / "labels.gpkg", 25, 105, year=2019)
    drawn = geopandas.read_file(path)
    drawn["class"] = np.where(drawn["class"].isin(BUILT), "built-up", "other")
    drawn.to_file(path)
    return path


@pytest.fixture(scope="module")
def model(scenes, labels, tmp_path_factory):
    out = tmp_path_factory.mktemp("annual") / "model"
    system = get_system("rf-annual-builtup")
    fewer = system.model_copy(update={"training": {"n_trees": 30, "runs": 3}})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(systems, "list_systems", lambda: (fewer,))
        return train_model(of_year(scenes, 2019), labels, out, system="rf-annual-builtup", split_by="feature", seed=3)


def test_rows_are_the_years_median_and_its_indices(model):
    arguments = model.spec.architecture["arguments"]
    assert arguments["features"] == {"yearly_median": True, "indices": ["NDVI", "NDBI", "NDWI"]}
    assert model.trees.n_features == len(model.spec.inputs) + 3
    image = np.random.default_rng(0).uniform(0.02, 0.5, (1, 3, len(model.spec.inputs), 4, 5)).astype(np.float32)
    image[0, 2, 3, 0, 0] = np.nan  # a date that lacks a band does not count at this pixel
    output = model.raw_output(image)
    shuffled = model.raw_output(image[:, [2, 0, 1]])
    np.testing.assert_array_equal(output, shuffled)
    alone = np.median(image[:, :2, :, :1, :1], axis=1)[:, None]
    np.testing.assert_array_equal(output[..., :1, :1], model.raw_output(alone))


def test_the_best_run_is_kept_and_the_test_part_chose_nothing(model):
    said = model.spec.training
    runs = said["history"]["validation_accuracy_of_runs"]
    assert len(runs) == 3
    assert said["accuracy"]["pixels"] > 0
    rng = np.random.default_rng(1)
    rows, truth = rng.normal(size=(90, 4)).astype(np.float32), rng.integers(0, 2, 90)
    held = (rng.normal(size=(40, 4)).astype(np.float32), rng.integers(0, 2, 40))
    kept, found = best_forest(rows, truth, held, 2, 7, runs=3, n_trees=5, n_jobs=1)
    assert len(set(found)) > 1
    same = fit_forest(rows, truth, n_classes=2, seed=7 + int(np.argmax(found)), n_trees=5, n_jobs=1)
    assert all(np.array_equal(kept[name], same[name]) for name in same)
    with pytest.raises(ConfigurationError, match="One forest at least"):
        best_forest(rows, truth, held, 2, 7, runs=0)


def test_the_bundle_maps_a_year_of_any_number_of_dates(city, scenes, model, tmp_path):
    again = Model.load(model.save(tmp_path / "copy") or tmp_path / "copy")
    truth = city.built_up(2020)
    for dates in (2, 1):
        product = map_scenes(again, of_year(scenes, 2020)[:dates], tmp_path / f"map{dates}")
        found = layer(product, "value")
        built = found == model.objective.legend.values[model.objective.legend.names.index("built-up")]
        assert (built == truth)[np.isfinite(found)].mean() > 0.85


def test_series_maps_each_year_and_finds_when_it_was_built(city, scenes, model, tmp_path):
    model.save(tmp_path / "model")
    options = SeriesOptions(model=tmp_path / "model", built_up=["built-up"], animation=False, keep_maps=True)
    found = follow_series(list(scenes.values()), tmp_path / "growth", options)
    folders = sorted(path.name for path in (tmp_path / "growth" / "maps").iterdir())
    assert folders == [f"{year}-07-01" for year in YEARS]
    told = (tmp_path / "growth" / "maps" / "2018-07-01" / "item.json").read_text()
    assert all(f"2018-{month:02d}-12" in told for month in MONTHS)
    year = layer(found, "value")
    always, never = city.built_up(YEARS[0]), ~city.built_up(YEARS[-1])
    assert (year == YEARS[0])[always].mean() > 0.65
    assert (year[never] == 0).mean() > 0.85


def test_scenes_are_put_together_by_year_or_taken_one_by_one():
    class Scene:
        def __init__(self, text):
            self.time = np.datetime64(text)

    sources = [Scene("2018-05-12T10:00"), Scene("2018-07-12T10:00"), Scene("2019-05-12T10:00")]
    yearly = scenes_of_maps(["a", "b", "c"], sources, yearly=True)
    assert [(str(day), [path for path, _ in part]) for day, part in yearly.items()] == [
        ("2018-07-01", ["a", "b"]), ("2019-07-01", ["c"])
    ]  # fmt: skip
    assert [str(day) for day in scenes_of_maps(["a", "b", "c"], sources, yearly=False)] == [
        "2018-05-12", "2018-07-12", "2019-05-12"
    ]  # fmt: skip


def test_other_scenes_are_refused_with_a_sentence(scenes, labels, model, tmp_path):
    mixed = [scenes[2018, 6], scenes[2019, 6]]
    with pytest.raises(ContractError, match="one calendar year, but these are of 2018 to 2019"):
        map_scenes(model, mixed, tmp_path / "map")
    with pytest.raises(ContractError, match="one calendar year"):
        train_model(mixed, labels, tmp_path / "m", system="rf-annual-builtup")
    with pytest.raises(ContractError, match="The index NDBI needs a swir16 and a nir band"):
        train_model(
            of_year(scenes, 2019), labels, tmp_path / "m", system="rf-annual-builtup",
            use_bands=["B02", "B03", "B04", "B08"],
        )  # fmt: skip


def test_damaged_features_are_refused(model):
    assert RowFeatures.from_config({}).to_config() == {}
    both = RowFeatures(True, ("NDVI",))
    assert RowFeatures.from_config(both.to_config()) == both
    with pytest.raises(ConfigurationError, match="no index 'EVIL'"):
        RowFeatures(indices=("EVIL",))

    for damage in ({"indices": ["EVIL"]}, {"colour": 1}, {"yearly_median": "yes"}, []):
        described = {"name": "rf-annual-builtup", "arguments": {"features": damage}}
        with pytest.raises(ModelError, match="row features are damaged"):
            RowFeatures.of(model.spec.model_copy(update={"architecture": described}))


def test_every_part_of_the_split_is_there(model):
    pixels = model.spec.training["split"]["pixels"]
    assert all(pixels[part.name.lower()] > 0 for part in Part if part is not Part.NONE)
