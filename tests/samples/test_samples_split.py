import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from scipy.spatial import cKDTree
from shapely.geometry import box

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.samples.contract import Part
from ecumene.samples.grids import pixel_size_m
from ecumene.samples.labels import LabelRaster
from ecumene.samples.raster_labels import connected_features
from ecumene.samples.split import choose_block_size, fold_blocks, split_blocks, split_given

PARTS = (Part.TRAIN, Part.VALIDATION, Part.CALIBRATION, Part.TEST)


def make_labels(classes, *, geobox=None, window=None):
    classes = np.asarray(classes, np.int16)
    geobox = geobox or GeoBox(classes.shape, from_origin(500_000, 5_000_000, 10, 20), "EPSG:32633")
    n = int(classes.max()) + 1
    ids, counts = connected_features(classes, n)
    legend = Legend.from_names([f"c{i}" for i in range(n)])
    return LabelRaster(window or Window(0, 0, *classes.shape), classes, ids, legend, geobox, counts)


def noise_labels(seed, shape=(60, 50), n=3, share=0.5):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, n, (shape[0] // 5 + 1, shape[1] // 5 + 1)).repeat(5, 0).repeat(5, 1)
    classes = classes[: shape[0], : shape[1]].copy()
    classes[rng.random(shape) > share] = -1
    return make_labels(classes)


def smallest_distance(split, height, width):
    """Metres between the nearest pixels of different parts, by brute force over all pairs."""
    best = np.inf
    trees = {}
    for part in PARTS:
        rows, cols = np.nonzero(split.parts == part)
        if rows.size:
            trees[part] = cKDTree(np.stack([rows * height, cols * width], axis=1))
    for a in trees:
        for b in trees:
            if a < b:
                best = min(best, trees[b].query(trees[a].data)[0].min())
    return best


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    buffer_m=st.sampled_from([0.0, 15.0, 40.0, 73.0]),
    block=st.sampled_from([60.0, 130.0]),
    group=st.sampled_from(["block", "feature"]),
)
def test_parts_are_disjoint_and_apart(seed, buffer_m, block, group):
    labels = noise_labels(seed, share=0.4)
    split = split_blocks(labels, block_size_m=block, buffer_m=buffer_m, seed=seed, group=group)
    height, width = pixel_size_m(labels.geobox)
    assert (split.parts[labels.classes < 0] == Part.NONE).all()
    assert smallest_distance(split, height, width) >= buffer_m * (1 - 1e-9)
    # One unit belongs to one part, and nothing is lost without a buffer.
    kept = split.parts > 0
    units, parts = split.block_id[kept], split.parts[kept]
    assert len(np.unique(units)) == len(np.unique(np.stack([units, parts]), axis=1)[0])
    assert split.counts.sum() == (labels.classes >= 0).sum()
    if buffer_m == 0:
        assert kept.sum() == (labels.classes >= 0).sum()
    assert (split.block_id[~kept] == -1).all()


def test_every_class_in_every_part_and_shares_near_the_wanted():
    labels = noise_labels(3, (100, 100), n=4, share=0.9)
    split = split_blocks(labels, block_size_m=150.0, seed=1)
    assert all(not names for names in split.missing.values())
    shares = split.counts[1:].sum(axis=1) / split.counts.sum()
    np.testing.assert_allclose(shares, [0.5, 0.15, 0.15, 0.2], atol=0.05)


def test_same_seed_same_split_other_seed_other_split():
    labels = noise_labels(5)
    first, again, other = (split_blocks(labels, block_size_m=100, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.parts, again.parts)
    assert (first.parts != other.parts).any()


def test_four_polygons_of_a_class_go_to_four_parts():
    classes = np.full((100, 100), -1)
    for number in range(4):
        classes[5 + 25 * number : 9 + 25 * number, 10:14] = 0
        classes[5 + 25 * number : 12 + 25 * number, 60 : 64 + 3 * number] = 1
    split = split_blocks(make_labels(classes), group="feature", buffer_m=30)
    assert (split.counts[1:] > 0).all()
    assert split.counts[0].sum() == 0


def test_missing_classes_are_reported_and_training_comes_first():
    classes = np.zeros((40, 40), int)
    classes[:3, :3] = 1  # one block only
    split = split_blocks(make_labels(classes), block_size_m=100, seed=0)
    assert split.missing[Part.TRAIN] == ()
    assert [split.missing[part] for part in PARTS[1:]] == [("c1",)] * 3
    assert split.summary()["missing"] == {p.name.lower(): ["c1"] for p in PARTS[1:]}


def test_block_size_is_chosen_between_limits():
    labels = noise_labels(0, (128, 128), share=1.0)
    size = choose_block_size(labels)
    assert 8 * 20 * 0.99 <= size <= 128 * 20 / 4 * 1.01
    assert choose_block_size(labels, buffer_m=100.0) >= 400
    assert split_blocks(labels).block_size_m == size


def test_zero_fraction_leaves_the_part_empty():
    split = split_blocks(noise_labels(1), block_size_m=100, fractions=(0.8, 0, 0, 0.2))
    assert not split.mask(Part.VALIDATION, Part.CALIBRATION).any()
    assert Part.VALIDATION not in split.missing


def test_folds_test_each_pixel_once():
    labels = noise_labels(2, share=0.8)
    splits = fold_blocks(labels, 5, block_size_m=120)
    tested = sum((split.parts == Part.TEST).astype(int) for split in splits)
    np.testing.assert_array_equal(tested, labels.classes >= 0)
    for split in splits:
        assert (split.counts[1:].sum(axis=1) > 0).all()
    with pytest.raises(ConfigurationError, match="at least 4"):
        fold_blocks(labels, 3)


def test_given_parts(tmp_path):
    classes = np.zeros((20, 20), int)
    classes[:, 10:] = 1
    labels = make_labels(classes)
    affine = labels.geobox.affine

    def rows(start, stop):
        return box(affine.c, affine.f + affine.e * stop, affine.c + 200, affine.f + affine.e * start)

    frame = gpd.GeoDataFrame(
        {"part": ["train", "val", "Test", None]},
        geometry=[rows(0, 10), rows(9, 14), rows(14, 18), rows(18, 20)],
        crs=32633,
    )
    frame.to_crs(4326).to_file(tmp_path / "parts.gpkg")
    split = split_given(labels, tmp_path / "parts.gpkg", "part")
    column = split.parts[:, 5].tolist()
    assert column == [1] * 9 + [0] + [2] * 4 + [4] * 4 + [0] * 2
    assert split.missing[Part.CALIBRATION] == ("c0", "c1")
    frame.assign(part="alle").to_file(tmp_path / "bad.gpkg")
    with pytest.raises(LabelError, match="alle"):
        split_given(labels, tmp_path / "bad.gpkg", "part")


def test_to_vector_covers_the_parts():
    labels = noise_labels(4)
    split = split_blocks(labels, block_size_m=150, buffer_m=20)
    frame = split.to_vector()
    area = frame[frame.part == "train"].area.sum() / (10 * 20)
    assert round(area) == (split.parts == Part.TRAIN).sum()
    assert set(frame.part) == {"train", "validation", "calibration", "test"}


def test_pixel_size_is_true_ground_distance():
    mercator = GeoBox((100, 100), from_origin(1_500_000, 8_400_000, 10, 10), "EPSG:3857")  # 60 degrees north
    height, width = pixel_size_m(mercator)
    assert (height, width) == (pytest.approx(5.0, rel=0.01), pytest.approx(5.0, rel=0.01))
    degrees = GeoBox((10, 10), from_origin(0, 0.005, 1e-3, 1e-3), "EPSG:4326")
    assert pixel_size_m(degrees) == (pytest.approx(110.574, rel=1e-4), pytest.approx(111.320, rel=1e-4))


def test_impossible_splits_are_sentences():
    labels = noise_labels(0)
    with pytest.raises(ConfigurationError, match="fractions"):
        split_blocks(labels, fractions=(0, 0.5, 0.2, 0.3))
    with pytest.raises(ConfigurationError, match="buffer"):
        split_blocks(labels, buffer_m=-1)
    with pytest.raises(LabelError, match="fewer than the 4 parts"):
        split_blocks(labels, block_size_m=1e5)
    with pytest.raises(ConfigurationError, match="'block' or 'feature'"):
        split_blocks(labels, group="tile")
