"""Sites at several dates: official files, what is wrong with them, and the samples made of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.samples.contract import Part
from ecumene.samples.datasets.growth_sites import GrowthSites, require_mapped
from ecumene.samples.site_augmentation import BandGamma, ImportanceCrop
from ecumene.workflows.site_data import (
    SiteOptions,
    collect_sites,
    draw_dates,
    growth_legend,
    labelled_sites,
    target_maps,
)

DATES = [(2017, 6), (2018, 6), (2019, 7)]
ROLES = {"a": "train", "b": "train", "c": "validation", "d": "validation", "e": "test", "u": "unlabelled"}
SENSORS = {
    "s1": {"sensor": "sentinel-1", "level": "GRD", "bands": ["VV", "VH"], "scale": 25.0, "offset": -25.0},
    "s2": {"sensor": "sentinel-2", "level": "L2A", "bands": ["B02", "B03", "B04", "B08"], "scale": 1.0},
}


def write_tif(path: Path, values: np.ndarray, nodata: float | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {"driver": "GTiff", "count": len(values), "dtype": values.dtype.name, "nodata": nodata}
    place = rasterio.Affine(10, 0, 500_000, 0, -10, 5_200_000)
    with rasterio.open(
        path, "w", height=values.shape[1], width=values.shape[2], crs="EPSG:32633", transform=place, **form
    ) as file:
        file.write(values)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as published: both sensors in 0..1, buildings above 0."""
    root = tmp_path_factory.mktemp("sites")
    rng = np.random.default_rng(0)
    metadata = {}
    for name, role in ROLES.items():
        rows = []
        for number, (year, month) in enumerate(DATES):
            stem = f"{name}_{year}_{month:02d}.tif"
            write_tif(root / name / "s1" / f"s1_{stem}", rng.random((2, 20, 24), np.float32))
            write_tif(root / name / "s2" / f"s2_{stem}", rng.random((4, 20, 24), np.float32))
            if role != "unlabelled":
                built = np.zeros((1, 20, 24), np.uint8)
                built[:, :, : 6 * (number + 1)] = 7
                built[:, 0, 0] = 255
                write_tif(root / name / "buildings" / f"buildings_{stem}", built, 255)
            entry = {"year": year, "month": month, "s1": True, "s2": True, "buildings": role != "unlabelled"}
            rows.append({**entry, "masked": False})
        rows.append({"year": 2020, "month": 1, "s1": True, "s2": False, "buildings": True, "masked": False})
        metadata[name] = rows
    (root / "metadata.json").write_text(json.dumps(metadata))
    (root / "data_set.json").write_text(json.dumps({"sensors": SENSORS, "sites": ROLES}))
    return root


def test_official_files_become_physical(official):
    sites = GrowthSites.open(official, ("B04", "B08"))
    assert [channel.key for channel in sites.channels] == [
        "sentinel-1/VV",
        "sentinel-1/VH",
        "sentinel-2/B04",
        "sentinel-2/B08",
    ]
    assert [channel.unit for channel in sites.channels] == ["dB", "dB", "1", "1"]
    first = sites.of("train")[0]
    assert first.dates == tuple(DATES)  # a date without Sentinel-2 is none
    image = sites.image(first, 0)
    assert image.shape == (4, 20, 24)
    assert -25.0 <= image[:2].min() < image[:2].max() <= 0.0
    built = sites.built(first, 1)
    assert built[0, 0] == -1
    assert (built[1:, :12] == 1).all()
    assert (built[1:, 12:] == 0).all()
    assert first.days[0] == (np.datetime64("2017-06-15") - np.datetime64("1970-01-01")).astype(int)
    with pytest.raises(LabelError, match="call the site unlabelled"):
        require_mapped(sites.of("unlabelled")[0])


def test_targets_of_pairs_and_series():
    built = np.array([[[0, 1, 0, 1, 0, -1]], [[0, 1, 1, 0, 0, 1]], [[0, 1, 1, 1, 1, 1]]])
    assert target_maps(built)[0, 0].tolist() == [0, 1, 2, 4, 3, -1]
    assert target_maps(built[:2])[0, 0].tolist() == [0, 0, 1, 0, 0, -1]
    assert target_maps(built[:1])[0, 0].tolist() == [0, 1, 0, 1, 0, -1]
    assert np.array_equal(target_maps(built)[1:], built)
    assert len(growth_legend(3)) == 5
    assert len(growth_legend(2)) == 2
    assert len(growth_legend(8)) == 10


def test_parts_windows_and_unlabelled_sites(official):
    sites = GrowthSites.open(official)
    data = collect_sites(sites, SiteOptions(dates=2, samples=2, unlabelled=True), crop=8, stride=4, seed=0)
    train = data[Part.TRAIN]
    # Windows of 16 cover 20 x 24 by two times two; two sites and one without labels, two pairs each.
    assert train.image.shape == (24, 2, 6, 16, 16)
    assert train.mask.shape == (24, 3, 16, 16)
    assert int(train.labelled.any(axis=(1, 2, 3)).sum()) == 16
    assert len(np.unique(train.group)) == 3
    test = data[Part.TEST]
    # Every pixel has its label once: 20 x 24 but for one unknown, at first and last date.
    assert int((test.mask[:, 0] >= 0).sum()) == 20 * 24 - 1
    assert int((test.mask[:, 0] == 1).sum()) == 20 * 12
    assert len(np.unique(data[Part.VALIDATION].group)) == len(np.unique(data[Part.CALIBRATION].group)) == 1
    more = SiteOptions(dates=2, samples=2, unlabelled=True, labelled_share=0.5, least_labelled=0.5)
    mixed = collect_sites(sites, more, crop=8, stride=4, seed=0)[Part.TRAIN]
    # One site of two has labels; its eight windows are repeated beside the sixteen of the others.
    assert (len(mixed), int(mixed.labelled.any(axis=(1, 2, 3)).sum())) == (32, 16)
    again = collect_sites(sites, SiteOptions(dates=2, samples=2, unlabelled=True), crop=8, stride=4, seed=0)
    assert again[Part.TRAIN].digest() == train.digest()


def test_a_larger_share_of_labels_holds_the_smaller_one(official):
    sites = GrowthSites.open(official)
    order = [site.name for site in sites.sites]
    for seed in range(3):
        few, left = labelled_sites(sites.sites, 0.3, seed)
        more, _ = labelled_sites(sites.sites, 0.7, seed)
        assert (len(few), len(left), len(more)) == (2, 4, 4)
        assert {s.name for s in few} < {s.name for s in more}
        assert [s.name for s in left] == [name for name in order if name in {s.name for s in left}]


def test_dates_are_drawn_in_order():
    rng = np.random.default_rng(0)
    drawn = draw_dates(7, 3, 5, rng)
    assert drawn[0] == [0, 3, 6]
    assert len(drawn) == 5
    assert all(row == sorted(set(row)) for row in drawn)
    assert draw_dates(5, 1, 2, rng) == [[0], [4]]
    with pytest.raises(SceneError, match="needs 6"):
        draw_dates(5, 6, 1, rng)


def changed(official, tmp_path, name, change):
    root = tmp_path / "copy"
    shutil.copytree(official, root)
    described = json.loads((root / name).read_text())
    change(described)
    (root / name).write_text(json.dumps(described))
    return root


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("metadata.json", lambda d: d["a"].reverse(), "repeat or run backwards"),
        ("metadata.json", lambda d: d["a"].insert(0, d["a"][0]), "repeat or run backwards"),
        ("metadata.json", lambda d: d.pop("a"), "does not describe the dates"),
        ("metadata.json", lambda d: d["a"][0].update(month=13), "does not describe the dates"),
        ("metadata.json", lambda d: d.update(a=[]), "no date with images of both sensors"),
        ("data_set.json", lambda d: d["sites"].update(a="learn"), "wrong at sites.a"),
        ("data_set.json", lambda d: d.update(sites={}), "names no site"),
        ("data_set.json", lambda d: d["sites"].update({"../a": "train"}), "no name of a folder"),
        ("data_set.json", lambda d: d["sensors"].pop("s1"), "both sensors"),
    ],
)
def test_wrong_descriptions_are_refused(official, tmp_path, name, change, sentence):
    with pytest.raises(SceneError, match=sentence):
        GrowthSites.open(changed(official, tmp_path, name, change))


def test_wrong_files_are_refused(official, tmp_path):
    with pytest.raises(SceneError, match="has no data_set"):
        GrowthSites.open(tmp_path)
    with pytest.raises(ConfigurationError, match="no band B11"):
        GrowthSites.open(official, ("B11",))
    root = changed(official, tmp_path, "data_set.json", lambda d: d["sensors"]["s1"].update(bands=["VV"]))
    sites = GrowthSites.open(root)
    with pytest.raises(SceneError, match="lists 1"):
        sites.image(sites.sites[0], 0)
    (root / "a" / "s1" / "s1_a_2018_06.tif").write_bytes(b"no picture")
    with pytest.raises(SceneError, match="cannot be read as a GeoTIFF"):
        sites.image(sites.sites[0], 1)
    (root / "a" / "s1" / "s1_a_2018_06.tif").unlink()
    with pytest.raises(SceneError, match="is missing"):
        sites.image(sites.sites[0], 1)
    root = tmp_path / "other"
    shutil.copytree(official, root)
    write_tif(root / "a" / "s1" / "s1_a_2017_06.tif", np.zeros((2, 5, 5), np.float32))
    sites = GrowthSites.open(root)
    with pytest.raises(SceneError, match="on one grid"):
        sites.image(sites.sites[0], 0)
    roles = {"a": "train", "c": "validation", "d": "validation"}
    few = GrowthSites.open(changed(official, tmp_path / "x", "data_set.json", lambda d: d.update(sites=roles)))
    with pytest.raises(LabelError, match="no site for test"):
        collect_sites(few, SiteOptions(), 8, 4, seed=0)
    for wrong in ({"dates": 0}, {"samples": 0}, {"labelled_share": 0.0}, {"least_labelled": 1.0}):
        with pytest.raises(ConfigurationError, match="Samples of sites"):
            SiteOptions(**wrong)


def sample(side=32):
    mask = np.zeros((3, side, side), np.int64)
    mask[0, :4, :4] = 1
    image = np.random.default_rng(0).random((2, 3, side, side)).astype(np.float32)
    return {"image": image, "mask": mask, "valid": np.ones((2, side, side), bool), "dates": np.arange(2)}


def test_crops_are_drawn_where_something_changed():
    rng = np.random.default_rng(1)
    crop = ImportanceCrop(8)
    found = [crop(sample(), rng) for _ in range(300)]
    assert {part["image"].shape for part in found} == {(2, 3, 8, 8)}
    assert {part["mask"].shape for part in found} == {(3, 8, 8)}
    held = np.mean([part["mask"][0].any() for part in found])
    plain = np.mean([ImportanceCrop(8, rare=(5,))(sample(), rng)["mask"][0].any() for _ in range(300)])
    assert held > plain + 0.05
    whole = ImportanceCrop(100)(sample(), rng)
    assert np.array_equal(whole["image"], sample()["image"])
    with pytest.raises(ConfigurationError, match="positive size"):
        ImportanceCrop(0)


def test_one_power_for_each_band_and_date():
    given = sample()
    given["image"][0, 1, 0, 0] = np.nan
    found = BandGamma((1, 2))(given, np.random.default_rng(0))["image"]
    assert np.array_equal(found[:, 0], given["image"][:, 0])
    assert np.isnan(found[0, 1, 0, 0])
    powers = np.log(found[:, 1:]) / np.log(given["image"][:, 1:])
    for date in range(2):
        for band in range(2):
            known = powers[date, band][np.isfinite(powers[date, band])]
            assert known.std() < 1e-3
            assert 0.25 <= known.mean() <= 2.0
    assert len({round(float(np.nanmean(powers[d, b])), 3) for d in range(2) for b in range(2)}) == 4
    with pytest.raises(ConfigurationError, match="positive and ascending"):
        BandGamma((0,), low=2.0, high=1.0)
