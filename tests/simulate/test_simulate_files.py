"""The files of the simulated town."""

import numpy as np
import pytest
import rasterio
import yaml
from rasterio import features

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.scenes.declaration import read_declaration
from ecumene.sensors import get_sensor
from ecumene.simulate import (
    LEGEND,
    draw_polygons,
    observe_sentinel1,
    observe_sentinel2,
    simulate_city,
    write_demo,
    write_labels,
    write_reference_points,
    write_sentinel1,
    write_sentinel2,
)


@pytest.fixture(scope="module")
def city():
    return simulate_city(3, (128, 128))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return write_demo(tmp_path_factory.mktemp("demo"), 3, shape=(128, 128), n_polygons_per_class=6, n_reference=80)


@pytest.mark.parametrize(("baseline", "offset"), [("05.09", -0.1), ("04.00", -0.1), ("02.08", 0.0)])
def test_digital_numbers_give_reflectance_back(city, tmp_path, baseline, offset):
    observation = observe_sentinel2(city, "2023-07-06", level="L2A", cloud_cover=0.1, seed=2)
    path = write_sentinel2(observation, tmp_path / "scene.tif", baseline=baseline)
    declared = read_declaration(tmp_path / "scene.scene.yaml")
    with rasterio.open(path) as source:
        assert source.dtypes[0] == "uint16"
        assert source.nodata == 0
        assert source.descriptions == observation.bands
        assert source.offsets[0] == declared.offset == offset
        assert source.crs.to_epsg() == 32633
        numbers = source.read()
        assert source.tags()["PROCESSING_BASELINE"] == baseline
    assert numbers.min() >= 1
    values = numbers * declared.scale + declared.offset
    kept = observation.image > offset + 1e-4  # below, the number would be nodata
    assert np.abs(values - observation.image)[kept].max() <= 0.5e-4 + 1e-7
    assert declared.bands == observation.bands == get_sensor(declared.sensor).level(declared.level).bands


def test_masks_are_declared_and_right(city, tmp_path):
    for level, kind in (("L2A", "scl"), ("L1C", "binary")):
        observation = observe_sentinel2(city, "2023-07-06", level=level, cloud_cover=0.3, seed=2)
        path = write_sentinel2(observation, tmp_path / f"{level}.tif")
        declared = read_declaration(path.with_name(f"{level}.scene.yaml"))
        assert declared.mask.kind == kind
        with rasterio.open(tmp_path / declared.mask.file) as source:
            mask = source.read(1)
        bad = np.isin(mask, (3, 8, 9)) if kind == "scl" else np.isin(mask, declared.mask.bad_values)
        assert np.array_equal(bad, observation.mask > 0)
        if kind == "scl":
            water = city.fractions(2023)[-1] == 1
            assert (mask[water & ~bad] == 6).mean() > 0.9


def test_radar_is_written_in_decibels(city, tmp_path):
    observation = observe_sentinel1(city, "2023-07-06")
    path = write_sentinel1(observation, tmp_path / "radar.tif")
    declared = read_declaration(tmp_path / "radar.scene.yaml")
    assert (declared.unit, declared.level, declared.bands) == ("dB", "GRD", ("VV", "VH"))
    with rasterio.open(path) as source:
        assert source.dtypes == ("float32", "float32")
        assert np.isnan(source.nodata)
        assert np.array_equal(source.read(), observation.image)


def test_times_follow_the_sun(demo):
    declared = yaml.safe_load((demo.sentinel2[0].parent / f"{demo.sentinel2[0].stem}.scene.yaml").read_text())
    assert declared["time"] == "2023-04-22T09:30:00Z"  # 10:30 solar time at 15 degrees east


def test_polygons_lie_inside_their_class(city):
    drawn = draw_polygons(city, 8, seed=1, year=2023)
    assert {name for name, _ in drawn} == set(LEGEND.names)
    truth = city.land_cover(2023)
    codes = dict(zip(LEGEND.names, LEGEND.values, strict=True))
    for name, polygon in drawn:
        inside = features.rasterize([polygon], truth.shape, transform=city.geobox.transform).astype(bool)
        touched = features.rasterize([polygon], truth.shape, transform=city.geobox.transform, all_touched=True)
        assert polygon.is_valid
        assert (truth[inside] == codes[name]).all()
        assert (truth[touched.astype(bool)] == codes[name]).mean() > 0.95
        assert 250 <= polygon.area <= 90 * 90 * 3.2
    for position, (name, polygon) in enumerate(drawn):
        assert not any(name == other and polygon.intersects(shape) for other, shape in drawn[position + 1 :])


def test_labels_depend_on_the_seed_and_only_on_it(city, tmp_path):
    first, again, other = (draw_polygons(city, 3, seed) for seed in (1, 1, 2))
    assert [shape.wkt for _, shape in first] == [shape.wkt for _, shape in again]
    assert [shape.wkt for _, shape in first] != [shape.wkt for _, shape in other]


def test_reference_points_carry_the_truth(city, tmp_path):
    import geopandas

    frame = geopandas.read_file(write_reference_points(city, tmp_path / "points.gpkg", 200, seed=1, year=2023))
    assert len(frame) == 200
    assert frame.crs.to_epsg() == 32633
    codes = dict(zip(LEGEND.names, LEGEND.values, strict=True))
    box = city.geobox.boundingbox
    columns, rows = (frame.geometry.x.to_numpy() - box.left) / 10, (box.top - frame.geometry.y.to_numpy()) / 10
    truth = city.land_cover(2023)[np.floor(rows).astype(int), np.floor(columns).astype(int)]
    assert [codes[name] for name in frame["class"]] == truth.tolist()
    assert not frame.geometry.duplicated().any()


def test_the_demonstration_is_whole(demo):
    import geopandas

    files = [*demo.sentinel2, demo.cloudy, demo.sentinel1, demo.labels, demo.reference, *demo.truth.values()]
    assert all(path.is_file() for path in files)
    assert not list(demo.labels.parent.rglob(".part-*"))
    assert set(geopandas.read_file(demo.labels)["class"]) <= set(LEGEND.names)
    with rasterio.open(demo.truth["land_cover"]) as source:
        assert np.array_equal(source.read(1), demo.city.land_cover(demo.year))
        assert source.colormap(1)[1][:3] == (0x2F, 0x6F, 0xB5)
    with rasterio.open(demo.truth["year_built"]) as source:
        assert source.read(1).max() <= demo.year


def test_scenes_open_as_their_declaration_says(demo):
    from ecumene.scenes.opening import describe_scene
    from ecumene.scenes.reading import read_bands

    source = describe_scene(demo.cloudy)
    assert (source.sensor, source.level, source.unit) == ("sentinel-2", "L2A", "1")
    assert source.mask is not None
    again = observe_sentinel2(demo.city, "2023-08-25", cloud_cover=0.25, seed=3)
    values = read_bands(source, ("B8A", "B02"), source.geobox)
    assert np.abs(values - np.stack([again.band("B8A"), again.band("B02")])).max() < 1e-4
    radar = describe_scene(demo.sentinel1)
    assert (radar.sensor, radar.unit, radar.band_names) == ("sentinel-1", "dB", ("VV", "VH"))


def test_errors_are_sentences(city, tmp_path):
    optical, radar = observe_sentinel2(city, "2023-07-06"), observe_sentinel1(city, "2023-07-06")
    with pytest.raises(ConfigurationError, match="own writer"):
        write_sentinel2(radar, tmp_path / "a.tif")
    with pytest.raises(ConfigurationError, match="own writer"):
        write_sentinel1(optical, tmp_path / "a.tif")
    with pytest.raises(ConfigurationError, match="baseline"):
        write_sentinel2(optical, tmp_path / "a.tif", baseline="new")
    with pytest.raises(ConfigurationError, match="positive"):
        write_labels(city, tmp_path / "a.gpkg", 0, 1)
    with pytest.raises(ConfigurationError, match="reference points"):
        write_reference_points(city, tmp_path / "a.gpkg", 10**7, 1)
    assert not list(tmp_path.iterdir())


def test_a_town_too_small_for_labels_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("ecumene.simulate.labels.PURE", 2.0)
    with pytest.raises(LabelError, match="Fewer than two classes"):
        write_labels(simulate_city(1, (32, 32)), tmp_path / "a.gpkg", 2, 1)
