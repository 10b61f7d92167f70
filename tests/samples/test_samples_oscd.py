"""OSCD in its layouts, the parts of its cities, and windows drawn from them; all on files made here."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.core.window import Window
from ecumene.samples.contract import Part
from ecumene.samples.crops import CropSamples, Region, cut, region_patches
from ecumene.samples.datasets import open_data_set
from ecumene.samples.datasets.oscd import BANDS, TEST_CITIES, TRAIN_CITIES, Oscd
from ecumene.samples.datasets.pairs import open_pair_set, pair_set_class
from ecumene.samples.region_split import split_regions
from ecumene.scenes.complete import CompleteStack, complete_block
from ecumene.scenes.contract import Block, Channel

ROWS, COLS = 24, 30
STEP = {"B01": 6, "B09": 6, "B10": 6, "B02": 1, "B03": 1, "B04": 1, "B08": 1}


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    place = from_origin(2.3, 48.8, 1e-4, 1e-4)
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1, dtype=values.dtype,
        crs="EPSG:4326", transform=place,
    ) as file:  # fmt: skip
        file.write(values, 1)


def city(images, labels, name, *, official=False, rectified=False):
    """Write a city whose band b has the value 1000 date + 10 b, changed in its upper left corner."""
    for date in (1, 2):
        folder = images / name / (f"imgs_{date}_rect" if rectified else f"imgs_{date}")
        for number, band in enumerate(BANDS):
            step = 1 if rectified else STEP.get(band, 2)
            values = np.full((ROWS // step, COLS // step), 1000 * date + 10 * number, np.uint16)
            write(folder / (f"S2A_X_{band}.tif" if official and not rectified else f"{band}.tif"), values)
    (images / name / "dates.txt").write_text("date_1: 20160102\ndate_2: 20170203\n")
    mask = np.ones((ROWS, COLS), np.uint8)
    mask[:6, :10] = 2
    write(labels / name / "cm" / f"{name}-cm.tif" if official else labels / name / "cm.tif", mask)


@pytest.fixture(scope="module")
def compact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oscd")
    for name in ("paris", "rennes", "dubai"):
        city(folder, folder, name)
    return folder


@pytest.mark.parametrize("rectified", [True, False])
def test_the_official_folders_are_read(tmp_path, rectified):
    images, labels = (tmp_path / f"Onera Satellite Change Detection dataset - {part}" for part in ("Images", "Labels"))
    city(images, labels, "bercy", official=True, rectified=rectified)
    data = open_pair_set("oscd", tmp_path)
    assert data.names == ("bercy",)
    pair = data.read("bercy")
    assert pair.image.shape == (2, 13, ROWS, COLS)
    assert pair.image.dtype == np.float32
    np.testing.assert_allclose(pair.image[:, 2].mean(axis=(1, 2)), [0.102, 0.202], rtol=1e-6)
    assert pair.dates.astype("datetime64[D]").astype(str).tolist() == ["2016-01-02", "2017-02-03"]
    assert (pair.mask[:6, :10] == 1).all()
    assert int(pair.mask.sum()) == 60
    assert [channel.band for channel in data.channels] == list(BANDS)
    assert data.legend.names == ("unchanged", "changed")
    assert data.official == {"bercy": Part.TRAIN}


def test_bands_and_dates_of_another_size_are_put_on_the_grid_of_the_map(compact, tmp_path):
    city(tmp_path, tmp_path, "saclay_e")
    for band in ("B02", "B03"):
        write(tmp_path / "saclay_e" / "imgs_2" / f"{band}.tif", np.full((ROWS - 1, COLS - 2), 2010, np.uint16))
    pair = Oscd.open(tmp_path, bands=["B03", "B02"]).read("saclay_e")
    assert pair.image.shape == (2, 2, ROWS, COLS)
    np.testing.assert_allclose(pair.image[1], 0.201)


def test_a_pixel_without_data_on_one_date_has_none_on_both(tmp_path):
    city(tmp_path, tmp_path, "pisa")
    for band in ("B02", "B03", "B04"):
        values = np.full((ROWS, COLS), 900, np.uint16)
        values[3, 4] = 0
        values[5, 5] = 0 if band == "B02" else 900
        write(tmp_path / "pisa" / "imgs_2" / f"{band}.tif", values)
    image = Oscd.open(tmp_path, bands="rgb").read("pisa").image
    assert np.isnan(image[:, :, 3, 4]).all()
    assert np.isfinite(image[:, :, 5, 5]).all()
    assert np.isnan(image).sum() == 6


def test_the_official_split_and_what_is_known_of_the_set(compact):
    data = Oscd.open(compact)
    assert data.official == {"dubai": Part.TEST, "paris": Part.TRAIN, "rennes": Part.TRAIN}
    assert len(set(TRAIN_CITIES) | set(TEST_CITIES)) == Oscd.info.size == 24
    assert pair_set_class("oscd") is Oscd


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda c: (c / "imgs_2" / "B05.tif").unlink(), "no file of the band B05 in imgs_2"),
        (lambda c: (c / "imgs_2" / "B05.tif").write_bytes(b"II*\0nothing"), "damaged or no GeoTIFF"),
        (lambda c: (c / "dates.txt").write_text("date_1: 20160102"), "does not say its two dates"),
        (lambda c: (c / "dates.txt").write_text("date_1: 20160102\ndate_2: 20160102"), "repeat or run backwards"),
        (lambda c: (c / "dates.txt").write_text("date_1: 20170102\ndate_2: 20160102"), "repeat or run backwards"),
        (lambda c: write(c / "cm.tif", np.full((ROWS, COLS), 7, np.uint8)), "other values than 1"),
        (lambda c: (c / "imgs_2").rename(c / "images"), "no images of date 2"),
    ],
)
def test_damaged_cities_are_refused_with_a_sentence(tmp_path, spoil, sentence):
    city(tmp_path, tmp_path, "nantes")
    spoil(tmp_path / "nantes")
    with pytest.raises((SceneError, LabelError), match=sentence):
        Oscd.open(tmp_path).read("nantes")


def test_wrong_folders_and_options_are_refused_with_a_sentence(compact, tmp_path):
    for folder, options, sentence in (
        (tmp_path, {}, "no city of OSCD"),
        (tmp_path / "nowhere", {}, "is no folder"),
        (compact, {"bands": "B99"}, "not B99|not 'B99'"),
        (compact, {"bands": ["B02", "B02"]}, "has the bands"),
        (compact, {"colour": 1}, "not colour"),
    ):
        with pytest.raises((SceneError, ConfigurationError), match=sentence):
            Oscd.open(folder, **options)
    with pytest.raises(ConfigurationError, match="no city 'london' here"):
        Oscd.open(compact).read("london")
    with pytest.raises(ConfigurationError, match="did you mean oscd"):
        open_pair_set("oscf", compact)
    with pytest.raises(ConfigurationError, match="eurosat does not hold places on two dates"):
        open_pair_set("eurosat", compact)
    with pytest.raises(ConfigurationError, match="oscd holds places at several dates"):
        open_data_set("oscd", compact)


def test_parts_share_out_the_labels_and_whole_cities_test(compact):
    data = Oscd.open(compact, bands="rgb")
    pairs = [data.read(name) for name in data.names]
    parts = split_regions(pairs, ["dubai"], block=6, seed=3)
    assert [region.name for region in parts[Part.TEST]] == ["dubai"]
    assert (parts[Part.TEST][0].mask == pairs[0].mask).all()
    groups = {}
    for part in (Part.TRAIN, Part.VALIDATION, Part.CALIBRATION):
        assert [region.name for region in parts[part]] == ["paris", "rennes"]
        seen = np.concatenate([region.mask[region.mask >= 0] for region in parts[part]])
        assert {0, 1} <= set(seen.tolist())
        groups[part] = set(np.concatenate([region.group[region.mask >= 0] for region in parts[part]]).tolist())
    assert not groups[Part.TRAIN] & groups[Part.VALIDATION]
    assert not groups[Part.TRAIN] & groups[Part.CALIBRATION]
    counted = sum((parts[part][0].mask >= 0).astype(int) for part in groups)
    assert (counted == 1).all()
    again = split_regions(pairs, ["dubai"], block=6, seed=3)
    assert all((a.mask == b.mask).all() for a, b in zip(parts[Part.TRAIN], again[Part.TRAIN], strict=True))


def test_parts_that_cannot_be_made_are_refused_with_a_sentence(compact):
    data = Oscd.open(compact, bands="rgb")
    pairs = [data.read("paris")]
    with pytest.raises(ConfigurationError, match="no place 'rome'"):
        split_regions(pairs, ["rome"])
    with pytest.raises(LabelError, match="none is left to learn from"):
        split_regions(pairs, ["paris"])
    with pytest.raises(LabelError, match="make 1 blocks, fewer than the 3 parts"):
        split_regions(pairs, [], block=500)


def region(rows=40, cols=50, changed=(slice(0, 8), slice(0, 8))):
    mask = np.zeros((rows, cols), np.int64)
    mask[changed] = 1
    image = np.arange(2 * 3 * rows * cols, dtype=np.float32).reshape(2, 3, rows, cols)
    return Region("here", image, mask, np.array([0, 400]), np.where(mask >= 0, 5, -1).astype(np.int32))


CHANNELS = tuple(Channel("sentinel-2", "L1C", band, "1") for band in ("B02", "B03", "B04"))


def test_importance_crops_show_the_rare_class_more_often():
    """With candidates of 20, a window with many changed pixels is nearly always taken where one was drawn."""
    shares = {}
    for candidates in (1, 20):
        samples = CropSamples((region(),), CHANNELS, 8, per_region=1, candidates=candidates)
        drawn = [samples.draw(0, np.random.default_rng(seed))["mask"].any() for seed in range(400)]
        shares[candidates] = np.mean(drawn)
    even = 8 * 8 / (33 * 43)  # upper left corners that touch the corner of 8 x 8
    assert shares[1] == pytest.approx(even, abs=0.03)
    assert shares[20] > 2.5 * shares[1]


def test_draws_depend_on_their_generator_only_and_visit_regions_in_turn():
    samples = CropSamples((region(), region(20, 20)), CHANNELS, 16, per_region=3)
    assert len(samples) == 6
    first, second = (samples.draw(1, np.random.default_rng([7, 0, 1])) for _ in range(2))
    np.testing.assert_array_equal(first["image"], second["image"])
    assert first["image"].max() < 2 * 3 * 400  # of the second region
    assert samples.class_counts(2).tolist() == [40 * 50 + 20 * 20 - 128, 128]
    assert samples.digest() == CropSamples((region(), region(20, 20)), CHANNELS, 16, per_region=3).digest()
    assert samples.digest() != CropSamples((region(), region(20, 20)), CHANNELS, 16, per_region=2).digest()


def test_a_region_smaller_than_a_window_is_surrounded_by_nothing():
    sample = CropSamples((region(10, 12),), CHANNELS, 16).draw(0, np.random.default_rng(0))
    assert sample["image"].shape == (2, 3, 16, 16)
    assert np.isnan(sample["image"][..., 10:, :]).all()
    assert (sample["mask"][:, 12:] == -1).all()
    assert sample["valid"].sum() == 2 * 10 * 12


def test_windows_may_begin_outside():
    sample = cut(region(), -3, 45, 8)
    assert np.isnan(sample["image"][..., :3, :]).all()
    np.testing.assert_array_equal(sample["image"][..., 3:, :5], region().image[..., :5, 45:])
    assert (sample["mask"][:, 5:] == -1).all()


@pytest.mark.parametrize("margin", [0, 4])
def test_patches_hold_every_label_once(margin):
    one = region()
    patches = region_patches([one, one], CHANNELS, 16, margin)
    assert patches.image.shape[1:] == (2, 3, 16 + 2 * margin, 16 + 2 * margin)
    assert patches.class_counts(2).tolist() == [2 * (2000 - 64), 2 * 64]
    assert set(patches.group[patches.mask >= 0].tolist()) == {5}
    assert len(region_patches([], CHANNELS, 16)) == 0


def test_statistics_are_those_of_labelled_pixels():
    one = region()
    one.mask[:, 10:] = -1
    one.image[0, 1, 0, 0] = np.nan
    found = CropSamples((one,), CHANNELS, 8).statistics()
    values = one.image[:, 1, :, :10]
    assert found.mean[1] == pytest.approx(np.nanmean(values.astype(float)))
    assert found.std[1] == pytest.approx(np.nanstd(values.astype(float)))
    assert found.count.tolist() == [800, 799, 800]


def test_wrong_crops_are_refused_with_a_sentence():
    with pytest.raises(ConfigurationError, match="positive size"):
        CropSamples((region(),), CHANNELS, 8, candidates=0)
    blank = region()
    blank.mask[:] = -1
    with pytest.raises(LabelError, match="No labelled pixel is left"):
        CropSamples((blank,), CHANNELS, 8)


class OneBlock:
    """As much of a stack as is read here."""

    geobox, channels, sources = "grid", CHANNELS, ()
    times = (np.datetime64("2020-01-01"), np.datetime64("2021-01-01"))

    def read(self, window):
        image = np.ones((2, 3, window.height, window.width), np.float32)
        image[0, :, 0, 0] = np.nan
        image[1, 1, 1, 1] = np.nan
        return Block(image, np.isfinite(image).all(axis=1), np.array([0, 366], np.int32))

    def read_intact(self, window):
        return self.read(window), (window,)

    def select(self, channels):
        return self


def test_a_pair_has_a_pixel_on_both_dates_or_on_none():
    stack = CompleteStack(OneBlock()).select(["sentinel-2/B02"])
    for block in (stack.read(Window(0, 0, 3, 4)), stack.read_intact(Window(0, 0, 3, 4))[0]):
        assert (~block.valid).sum() == 4
        assert np.isnan(block.image[:, :, [0, 1], [0, 1]]).all()
        assert np.isfinite(block.image[:, :, 2]).all()
    assert (stack.geobox, stack.channels, stack.times) == ("grid", CHANNELS, OneBlock.times)
    whole = Block(np.ones((2, 1, 2, 2), np.float32), np.ones((2, 2, 2), bool), np.zeros(2, np.int32))
    assert complete_block(whole) is whole
