"""Data sets of cloudy and clear images: official names, splits, sampling of dates, and what is refused."""

import json

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.samples.contract import Part
from ecumene.samples.datasets import open_data_set
from ecumene.samples.datasets.restoration import S2_BANDS, cloud_mask
from ecumene.samples.datasets.sen12ms_cr_ts import Sampling
from ecumene.samples.hidden_clouds import ClearSeries, hide_under_clouds
from ecumene.samples.restoration_scaling import get_scaling, scaled_statistics
from ecumene.samples.restoration_set import RestorationSet
from ecumene.scenes.contract import Channel
from ecumene.simulate.datasets.files import write_image as write_tif

SIDE = 16
SOIL = np.array([900, 950, 1000, 1200, 1400, 1700, 1900, 2000, 2100, 700, 10, 2300, 1800])
"""Digital numbers of bare soil in the order of the files."""


def triplet(root, season, scene, patch, *, kinds=("s1", "s2", "s2_cloudy"), bands=13):
    for kind in kinds:
        folder = root / f"{season}_{kind}" / f"{kind}_{scene}"
        folder.mkdir(parents=True, exist_ok=True)
        if kind == "s1":
            image = np.full((2, SIDE, SIDE), -12.0, np.float32)
        else:
            image = np.repeat(SOIL[:bands], SIDE * SIDE).reshape(bands, SIDE, SIDE).astype(np.uint16)
            image[7] += np.uint16(patch)
            if kind == "s2_cloudy":
                image[[k for k in range(bands) if k != 10], :8] = 7000
        write_tif(folder / f"{season}_{kind}_{scene}_p{patch}.tif", image)


@pytest.fixture(scope="module")
def cr(tmp_path_factory):
    root = tmp_path_factory.mktemp("cr")
    for season, scene in (("ROIs1158_spring", 1), ("ROIs1158_spring", 106), ("ROIs2017_winter", 22)):
        triplet(root, season, scene, 30)
    triplet(root, "ROIs1158_spring", 1, 4)
    return root


def test_sen12ms_cr_reads_physical_units_by_name(cr):
    data = open_data_set("sen12ms-cr", cr)
    assert list(data.ids)[:2] == ["ROIs1158_spring_1_p4", "ROIs1158_spring_1_p30"]
    assert data.targets == S2_BANDS
    assert data.targets.index("B8A") == 8
    assert [channel.unit for channel in data.channels] == ["1"] * 13 + ["dB"] * 2
    pairs = data.read_pairs([1, 0])
    assert pairs.image.shape == (2, 15, SIDE, SIDE)
    assert pairs.target[0, 8, 0, 0] == pytest.approx(0.21)
    assert pairs.target[0, 7, 0, 0] == pytest.approx(0.2030)
    assert pairs.image[1, 13, 0, 0] == -12.0
    assert pairs.cloudy[:, :8].all()
    assert not pairs.cloudy[:, 15].any()
    packed = pairs.packed()
    assert packed.shape == (2, 27, SIDE, SIDE)
    np.testing.assert_array_equal(packed[:, 13:26], pairs.image[:, :13])


def test_sen12ms_cr_has_the_official_splits(cr):
    data = open_data_set("sen12ms-cr", cr)
    part = dict(zip(data.ids, data.splits()["official"], strict=True))
    assert part == {
        "ROIs1158_spring_1_p30": Part.TRAIN,
        "ROIs1158_spring_1_p4": Part.TRAIN,
        "ROIs1158_spring_106_p30": Part.TEST,
        "ROIs2017_winter_22_p30": Part.VALIDATION,
    }
    assert len(set(data.group)) == 3


def test_the_first_papers_layout_and_list(tmp_path):
    rows = []
    for part, scene in ((1, 101), (2, 132), (3, 106)):
        name = f"ROIs1158_spring_{scene}_0.tif"
        rows.append(f"{part}\ts1\ts2_cloudFree\ts2_cloudy\t{name}")
        for kind in ("s1", "s2_cloudFree", "s2_cloudy"):
            (tmp_path / kind).mkdir(exist_ok=True)
            image = np.full((2, 8, 8), -9.0, np.float32) if kind == "s1" else np.full((13, 8, 8), 900, np.uint16)
            write_tif(tmp_path / kind / name, image)
    (tmp_path / "datasetfilelist.csv").write_text("\n".join(rows) + "\n")
    data = open_data_set("sen12ms-cr", tmp_path, inputs="s2")
    assert len(data.channels) == 13
    listed = dict(zip(data.ids, data.splits()["file-list"], strict=True))
    assert listed["ROIs1158_spring_132_p0"] == Part.VALIDATION
    assert listed["ROIs1158_spring_106_p0"] == Part.TEST


def test_sen12ms_cr_refuses_with_a_sentence(tmp_path, cr):
    root = tmp_path / "half"
    triplet(root, "ROIs1158_spring", 1, 30)
    triplet(root, "ROIs1158_spring", 1, 31, kinds=("s1", "s2"))
    with pytest.raises(SceneError, match=r"1 of 2 patches have no s2_cloudy file.*_p31"):
        open_data_set("sen12ms-cr", root)
    optical = tmp_path / "optical"
    triplet(optical, "ROIs1158_spring", 1, 30, kinds=("s2", "s2_cloudy"))
    with pytest.raises(SceneError, match="inputs=s2"):
        open_data_set("sen12ms-cr", optical)
    assert len(open_data_set("sen12ms-cr", optical, inputs="s2")) == 1
    wrong = tmp_path / "wrong"
    triplet(wrong, "ROIs1158_spring", 1, 30, bands=12)
    with pytest.raises(SceneError, match="12 x 16 x 16"):
        open_data_set("sen12ms-cr", wrong).read_pairs([0])
    empty = tmp_path / "empty"
    empty.mkdir()
    write_tif(empty / "some.tif", np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(SceneError, match="named like"):
        open_data_set("sen12ms-cr", empty)
    with pytest.raises(ConfigurationError, match="no option 'bands'"):
        open_data_set("sen12ms-cr", cr, bands="rgb")
    with pytest.raises(ConfigurationError, match="one of s1"):
        open_data_set("sen12ms-cr", cr, inputs="s3")
    with pytest.raises(LabelError, match="no classes"):
        open_data_set("sen12ms-cr", cr).read([0])


def series(root, collection, roi, patch, dates=5, *, kinds=("S1", "S2"), covers=(1.0, 0.5, 0.0, 0.5, 0.0)):
    for kind in kinds:
        for number in range(dates):
            folder = root / collection / str(roi) / kind / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            day = np.datetime64("2018-01-03") + 12 * number
            name = f"{kind.lower()}_{collection}_{roi}_ImgNo_{number}_{day}_patch_{patch}.tif"
            if kind == "S1":
                image = np.full((2, SIDE, SIDE), -10.0 - number, np.float32)
            else:
                image = np.repeat(SOIL + number, SIDE * SIDE).reshape(13, SIDE, SIDE).astype(np.uint16)
                image[[k for k in range(13) if k != 10], : int(covers[number] * SIDE)] = 7000
            write_tif(folder / name, image)


@pytest.fixture(scope="module")
def ts(tmp_path_factory):
    root = tmp_path_factory.mktemp("ts")
    for collection, roi in (("ROIs1158", 106), ("ROIs1868", 36), ("ROIs1970", 65)):
        series(root, collection, roi, 0)
    return root


def test_sen12ms_cr_ts_takes_the_clearest_date_as_target(ts):
    data = open_data_set("sen12ms-cr-ts", ts)
    assert data.temporal
    assert list(data.splits()["official"]) == [Part.TEST, Part.TRAIN, Part.VALIDATION]
    assert data.coverage(0).argmin() == 2
    pairs = data.read_pairs([0])
    # Date 2 is the target; dates 0, 1 and 3 are the first others.
    assert pairs.image.shape == (1, 3, 15, SIDE, SIDE)
    assert pairs.target[0, 0, 0, 0] == pytest.approx((900 + 2) / 10000)
    assert pairs.image[0, :, 13, 0, 0].tolist() == [-10.0, -11.0, -13.0]
    day = np.datetime64("2018-01-03").astype(int)
    assert pairs.dates.tolist() == [[day, day + 12, day + 36]]
    assert pairs.cloudy[0, :8].all()
    assert not pairs.cloudy[0, 15].any()


def test_sampling_follows_the_published_rule():
    share = np.array([0.9, 0.4, 0.0, 0.2, 0.6, 0.0])
    assert Sampling(3).choose(share) == ([0, 1, 3], 2)
    assert Sampling(3, exclude_target=False).choose(share) == ([0, 1, 2], 2)
    assert Sampling(2, least=0.3, most=0.7).choose(share) == ([1, 4], 2)
    # Too few in the range: the first dates but the target.
    assert Sampling(3, least=0.5, most=0.7).choose(share) == ([0, 1, 3], 2)
    with pytest.raises(LabelError, match="use fewer"):
        Sampling(6).choose(share)


def test_stored_cloud_shares_are_used_and_checked(tmp_path):
    series(tmp_path, "ROIs1158", 106, 0)
    table = tmp_path / "coverage.json"
    table.write_text(json.dumps({"ROIs1158_106_p0": [0.0, 0.1, 0.2, 0.3, 0.4]}))
    assert open_data_set("sen12ms-cr-ts", tmp_path).coverage(0)[0] == 0.0
    table.write_text(json.dumps({"ROIs1158_106_p0": [0.0, 0.1]}))
    with pytest.raises(LabelError, match="2 dates"):
        open_data_set("sen12ms-cr-ts", tmp_path).coverage(0)
    table.write_text(json.dumps({"ROIs1158_106_p0": []}))
    with pytest.raises(LabelError, match="not a table"):
        open_data_set("sen12ms-cr-ts", tmp_path)
    table.write_text("[1, 2")
    with pytest.raises(LabelError, match="not a table"):
        open_data_set("sen12ms-cr-ts", tmp_path)


def test_sen12ms_cr_ts_refuses_with_a_sentence(tmp_path, ts):
    half = tmp_path / "half"
    series(half, "ROIs1158", 106, 0)
    series(half, "ROIs1158", 106, 1, dates=3)
    with pytest.raises(SceneError, match="s1 files are missing, such as image 3 of ROIs1158/106, patch 1"):
        open_data_set("sen12ms-cr-ts", half)
    optical = tmp_path / "optical"
    series(optical, "ROIs1158", 106, 0, kinds=("S2",))
    with pytest.raises(SceneError, match="inputs=s2"):
        open_data_set("sen12ms-cr-ts", optical)
    assert open_data_set("sen12ms-cr-ts", optical, inputs="s2").read_pairs([0]).image.shape[2] == 13
    for options, sentence in (({"dates": 1}, "2 to 29"), ({"min_cov": 0.6, "max_cov": 0.5}, "min_cov <= max_cov")):
        with pytest.raises(ConfigurationError, match=sentence):
            open_data_set("sen12ms-cr-ts", ts, **options)


def test_mask_is_that_of_clouds_and_missing_data():
    image = np.repeat(SOIL / 1e4, SIDE * SIDE).reshape(13, SIDE, SIDE).astype(np.float32)
    assert not cloud_mask(image).any()
    image[:, 2, 3] = np.nan
    assert cloud_mask(image)[2, 3]


def test_scalings_are_the_published_ones():
    optical = Channel("sentinel-2", "L1C", "B02", "1", 0.49)
    radar = [Channel("sentinel-1", "GRD", band, "dB") for band in ("VV", "VH")]
    found = scaled_statistics("resnet", [optical, *radar])

    def scaled(value, place):
        return (value - found["mean"][place]) / found["std"][place]

    assert scaled(10_000 / 1e4, 0) == pytest.approx(10_000 / 2_000)
    assert [scaled(-25.0, 1), scaled(0.0, 1), scaled(-32.5, 2), scaled(0.0, 2)] == [0.0, 2.0, 0.0, 2.0]
    symmetric = get_scaling("symmetric")
    assert [(v - symmetric.optical[0]) / symmetric.optical[1] for v in (0.0, 1.0)] == [-1.0, 1.0]
    with pytest.raises(ConfigurationError, match="neither reflectance nor backscatter"):
        scaled_statistics("resnet", [Channel("x", "y", "heat", "K")])


def test_sets_are_taken_and_joined(cr):
    data = open_data_set("sen12ms-cr", cr)
    whole = data.read_pairs([0, 1, 2])
    joined = RestorationSet.concatenate([whole.take([2]), whole.take([0, 1])])
    np.testing.assert_array_equal(joined.image[1], whole.image[0])
    assert joined.digest() != whole.digest()
    with pytest.raises(LabelError, match="cannot be joined"):
        RestorationSet.concatenate([whole, open_data_set("sen12ms-cr", cr, inputs="s2").read_pairs([0])])


def place(name, dates, clear=True):
    channels = (Channel("sentinel-2", "L1C", "B02", "1", 0.49), Channel("sentinel-2", "L1C", "B03", "1", 0.56))
    image = np.arange(dates, dtype=np.float32)[:, None, None, None] + np.zeros((dates, 2, 24, 20), np.float32)
    seen = np.ones((dates, 24, 20), bool)
    if not clear:
        seen[1:] = False
    return ClearSeries(name, image, seen, 17_000.0 + 10 * np.arange(dates), channels, 45.0)


def left_part(shape, share, seed):
    mask = np.zeros(shape, bool)
    mask[:, : round(share * shape[1])] = True
    return mask


def test_hidden_pixels_become_the_target_and_are_nowhere_in_the_image():
    made = hide_under_clouds([place("a", 5), place("b", 1), place("c", 3, clear=False)], left_part, number=12, side=16)
    assert made.image.shape == (12, 4, 2, 16, 16)
    shown, wanted = np.isfinite(made.image[:, 0]).all(axis=1), np.isfinite(made.target).all(axis=1)
    np.testing.assert_array_equal(shown, ~wanted)
    np.testing.assert_array_equal(made.cloudy, wanted)
    assert set(made.group) == {0}
    # The value of this place is the number of its date.
    for sample in range(12):
        values = [np.nanmax(frame) if np.isfinite(frame).any() else np.nan for frame in made.image[sample]]
        number = float(np.nanmax(made.target[sample]))
        assert number not in values[1:]
        days = made.dates[sample] - made.dates[sample, 0]
        known = [k for k in range(4) if np.isfinite(values[k])]
        assert all(days[k] == 10 * (values[k] - number) for k in known)


def test_places_without_a_second_clear_date_teach_nothing():
    with pytest.raises(LabelError, match="two dates"):
        hide_under_clouds([place("a", 1), place("c", 3, clear=False)], left_part, number=2)


def test_options_are_checked_and_change_what_a_checkpoint_knows_its_data_by(cr, tmp_path):
    series(tmp_path, "ROIs1158", 106, 0)
    for name, folder in (("sen12ms-cr", cr), ("sen12ms-cr-ts", tmp_path)):
        for crop in (0, "128", True, 2.5):
            with pytest.raises(ConfigurationError, match="is a side in pixels"):
                open_data_set(name, folder, crop=crop)
        plain, cut = (open_data_set(name, folder, **options) for options in ({}, {"crop": 8}))
        assert plain.variant != cut.variant
        assert (plain.crop, cut.crop) == (None, 8)
    with pytest.raises(ConfigurationError, match="exclude_target of sen12ms-cr-ts is true or false"):
        open_data_set("sen12ms-cr-ts", tmp_path, exclude_target="no")
    two, three = (open_data_set("sen12ms-cr-ts", tmp_path, dates=dates) for dates in (2, 3))
    assert two.variant != three.variant
