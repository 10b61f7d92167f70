from dataclasses import dataclass, replace

import numpy as np
import pytest
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.samples.contract import Part
from ecumene.samples.labels import LabelRaster, read_part
from ecumene.samples.patches import PatchSet, channel_statistics, collect_patches, collect_pixels
from ecumene.samples.raster_labels import connected_features
from ecumene.samples.split import split_blocks
from ecumene.samples.targets import TargetRaster
from ecumene.scenes.contract import Block, Channel, Stack

GRID = GeoBox((70, 90), from_origin(500_000, 5_000_000, 10, 10), "EPSG:32633")
PARTS = (Part.TRAIN, Part.VALIDATION, Part.CALIBRATION, Part.TEST)


@dataclass
class ArrayStack:
    """Scenes in memory; counts the pixels that are read."""

    image: np.ndarray
    times: tuple
    geobox: GeoBox = GRID
    sources: tuple = ()
    pixels_read: int = 0

    @property
    def channels(self):
        return tuple(Channel("sentinel-2", "L2A", f"B{i:02d}", "1", 0.4 + 0.1 * i) for i in range(self.image.shape[1]))

    def read(self, window):
        self.pixels_read += window.height * window.width
        whole = Window(0, 0, *self.image.shape[-2:])
        flat = self.image.reshape(-1, *self.image.shape[-2:])
        cut = np.stack([read_part(layer, whole, window, np.nan) for layer in flat])
        image = cut.reshape(*self.image.shape[:2], window.height, window.width)
        days = [0 if t is None else int(t.astype("datetime64[D]").astype(int)) for t in self.times]
        return Block(image, np.isfinite(image).all(axis=1), np.array(days, np.int32))

    def read_intact(self, window):
        raise NotImplementedError

    def select(self, channels):
        raise NotImplementedError


def make_stack(n_times=1, n_channels=2, seed=0):
    image = np.random.default_rng(seed).random((n_times, n_channels, 70, 90)).astype(np.float32)
    times = tuple(np.datetime64("2020-01-01") + 10 * i for i in range(n_times))
    return ArrayStack(image, times)


def make_labels():
    classes = np.full((40, 60), -1, np.int16)
    rng = np.random.default_rng(1)
    for number in range(24):
        row, col = rng.integers(0, 34), rng.integers(0, 54)
        classes[row : row + 6, col : col + 6] = number % 3
    ids, counts = connected_features(classes, 3)
    held = Window(20, 25, 40, 60)
    return LabelRaster(held, classes, ids, Legend.from_names("abc"), GRID, counts)


@pytest.fixture
def setting():
    labels = make_labels()
    return labels, split_blocks(labels, block_size_m=100, buffer_m=20, seed=0)


def test_the_fake_is_a_stack():
    assert isinstance(make_stack(), Stack)


@pytest.mark.parametrize("n_times", [1, 3])
def test_patches_hold_each_label_once_and_no_other(setting, n_times):
    labels, split = setting
    stack = make_stack(n_times)
    for part in PARTS:
        patches = collect_patches(stack, labels, split, part, patch_size=16)
        frames = (n_times,) if n_times > 1 else ()
        assert patches.image.shape == (len(patches), *frames, 2, 16, 16)
        assert (patches.image.dtype, patches.mask.dtype, patches.dates.dtype) == (np.float32, np.int64, np.int64)
        assert patches.dates.shape == (len(patches), n_times)
        seen = np.zeros((70, 90), int)
        for number, window in enumerate(patches.windows):
            mask = patches.mask[number]
            seen[window.slices] += mask >= 0
            labelled = mask >= 0
            assert (split.read(window)[labelled] == part).all()
            np.testing.assert_array_equal(mask[labelled], labels.read(window)[labelled])
            np.testing.assert_array_equal(
                patches.image[number], stack.image[(slice(None), slice(None), *window.slices)].squeeze()
            )
            np.testing.assert_array_equal(patches.group[number] >= 0, mask >= 0)
        expected = np.zeros((70, 90), int)
        expected[20:60, 25:85] = split.parts == part
        np.testing.assert_array_equal(seen, expected)


def test_blank_context_hides_other_parts(setting):
    labels, split = setting
    patches = collect_patches(make_stack(), labels, split, Part.TEST, patch_size=24, context="blank")
    for number, window in enumerate(patches.windows):
        other = (split.read(window) > 0) & (split.read(window) != Part.TEST)
        assert np.isnan(patches.image[number][:, other]).all()
        assert np.isfinite(patches.image[number][:, ~other]).all()
        assert not patches.valid[number][other].any()


@pytest.mark.parametrize("n_times", [1, 2])
def test_pixels_are_those_of_the_part(setting, n_times):
    labels, split = setting
    stack = make_stack(n_times)
    stack.image[:, 0, 30, 40] = np.nan  # partly valid: stays
    stack.image[..., 45, 60] = np.nan  # nothing there: left out
    pixels = collect_pixels(stack, labels, split, (Part.TRAIN, Part.TEST))
    rows, cols = np.nonzero(split.mask(Part.TRAIN, Part.TEST))
    spectra = stack.image[:, :, rows + 20, cols + 25]  # [T, C, N]
    seen = np.isfinite(spectra).any(axis=(0, 1))
    expected = np.moveaxis(spectra[..., seen], -1, 0).reshape(seen.sum(), -1)
    got = pixels.image.reshape(len(pixels), -1)
    order_a, order_b = np.lexsort(np.nan_to_num(expected).T), np.lexsort(np.nan_to_num(got).T)
    np.testing.assert_array_equal(got[order_b], expected[order_a])
    np.testing.assert_array_equal(pixels.mask[order_b, 0, 0], labels.classes[rows, cols][seen][order_a])
    assert pixels.valid.shape == ((len(pixels), n_times, 1, 1) if n_times > 1 else (len(pixels), 1, 1))


def test_limit_per_class_and_seed(setting):
    labels, split = setting
    stack = make_stack()
    pixels = collect_pixels(stack, labels, split, Part.TRAIN, limit_per_class=7, seed=1)
    assert pixels.class_counts(3).tolist() == [7, 7, 7]
    again = collect_pixels(stack, labels, split, Part.TRAIN, limit_per_class=7, seed=1)
    other = collect_pixels(stack, labels, split, Part.TRAIN, limit_per_class=7, seed=2)
    np.testing.assert_array_equal(pixels.image, again.image)
    assert not np.array_equal(pixels.image, other.image)


def test_only_windows_with_labels_are_read(setting):
    labels, _ = setting
    lonely = replace(labels, classes=np.where(labels.feature_id == 0, labels.classes, -1).astype(np.int16))
    two = lonely.classes.copy()
    two[-1, -1] = 1
    lonely = replace(lonely, classes=two)
    split = split_blocks(lonely, block_size_m=20, fractions=(0.5, 0, 0, 0.5))
    stack = make_stack()
    patches = collect_patches(stack, lonely, split, (Part.TRAIN, Part.TEST), patch_size=8)
    assert stack.pixels_read == len(patches) * 64 < 70 * 90 / 3


def test_max_patches_prefers_rare_classes(setting):
    labels, _ = setting
    classes = np.zeros((40, 60), np.int16)
    classes[20:22, 30:32] = 1
    labels = replace(labels, classes=classes, feature_id=classes.astype(np.int32), legend=Legend.from_names("ab"))
    split = split_blocks(labels, block_size_m=50, fractions=(0.9, 0, 0, 0.1))
    part = Part.TRAIN
    rare = [
        collect_patches(make_stack(), labels, split, part, patch_size=4, max_patches=20, seed=s).class_counts(2)[1] > 0
        for s in range(20)
    ]
    # One window in about 150 has the class: uniform drawing would catch it in 13 % of the tries.
    assert np.mean(rare) > 0.6


def test_all_cloudy_scene_gives_an_empty_set(setting):
    labels, split = setting
    stack = make_stack(2)
    stack.image[:] = np.nan
    pixels = collect_pixels(stack, labels, split, Part.TRAIN)
    patches = collect_patches(stack, labels, split, Part.TRAIN, patch_size=8)
    assert (len(pixels), len(patches)) == (0, 0)
    assert pixels.image.shape == (0, 2, 2, 1, 1)
    assert pixels.class_counts(3).tolist() == [0, 0, 0]
    joined = PatchSet.concatenate([pixels, collect_pixels(make_stack(2), labels, split, Part.TRAIN)])
    assert joined.class_counts(3).sum() == split.mask(Part.TRAIN).sum()


def test_scene_smaller_than_a_patch():
    grid = GeoBox((10, 12), from_origin(500_000, 5_000_000, 10, 10), "EPSG:32633")
    classes = np.zeros((10, 12), np.int16)
    classes[:, 6:] = 1
    ids, counts = connected_features(classes, 2)
    labels = LabelRaster(Window(0, 0, 10, 12), classes, ids, Legend.from_names("ab"), grid, counts)
    split = split_blocks(labels, block_size_m=20)
    stack = ArrayStack(np.ones((1, 1, 10, 12), np.float32), (None,), grid)
    patches = collect_patches(stack, labels, split, Part.TRAIN, patch_size=16)
    assert patches.image.shape == (1, 1, 16, 16)
    assert np.isfinite(patches.image).sum() == 120
    assert patches.dates.tolist() == [[0]]
    assert (patches.mask[0, 10:] == -1).all()


def test_numeric_targets(setting):
    labels, _ = setting
    values = np.where(labels.classes >= 0, np.arange(2400).reshape(40, 60), np.nan).astype(np.float32)
    targets = TargetRaster(labels.window, values, labels.feature_id, GRID)
    split = split_blocks(targets.strata(), block_size_m=100)
    pixels = collect_pixels(make_stack(), targets, split, Part.TRAIN)
    assert pixels.mask.dtype == np.float32
    np.testing.assert_array_equal(np.sort(pixels.mask[:, 0, 0]), np.sort(values[split.mask(Part.TRAIN)]))
    patches = collect_patches(make_stack(), targets, split, Part.TRAIN, patch_size=16)
    doubled = collect_patches(make_stack(), targets, split, Part.TRAIN, patch_size=16, stride=8)
    assert np.isfinite(doubled.mask).sum() > 2 * np.isfinite(patches.mask).sum()
    assert np.isfinite(patches.mask).sum() == split.mask(Part.TRAIN).sum()
    with pytest.raises(LabelError, match="no classes"):
        pixels.class_counts(2)


def test_samples_views_and_concatenation(setting):
    labels, split = setting
    patches = collect_patches(make_stack(2), labels, split, Part.TRAIN, patch_size=16)
    sample = patches[0]
    assert set(sample) == {"image", "mask", "valid", "dates"}
    assert sample["dates"].tolist() == [18262, 18272]
    both = PatchSet.concatenate([patches, patches.take([0])])
    assert len(both) == len(patches) + 1
    assert both.group[-1].max() > patches.group.max()
    assert (both.n_channels, both.n_dates, both.temporal) == (2, 2, True)
    single = collect_patches(make_stack(1), labels, split, Part.TRAIN, patch_size=16)
    with pytest.raises(LabelError, match="cannot be joined"):
        PatchSet.concatenate([patches, single])


def test_statistics_ignore_nan(setting):
    labels, split = setting
    stack = make_stack(2)
    stack.image[0, 1] = np.nan
    pixels = collect_pixels(stack, labels, split, Part.TRAIN)
    got = channel_statistics(pixels)
    for channel in range(2):
        values = pixels.image[:, :, channel].astype(np.float64)
        assert got.mean[channel] == pytest.approx(np.nanmean(values), rel=1e-12)
        assert got.std[channel] == pytest.approx(np.nanstd(values), rel=1e-12)
        assert (got.min[channel], got.max[channel]) == (np.nanmin(values), np.nanmax(values))
        assert got.min[channel] <= got.low[channel] < got.high[channel] <= got.max[channel]
    assert got.count.tolist() == [2 * len(pixels), len(pixels)]


def test_other_grid_is_refused(setting):
    labels, split = setting
    stack = make_stack()
    stack.geobox = GeoBox((70, 90), from_origin(500_010, 5_000_000, 10, 10), "EPSG:32633")
    with pytest.raises(ConfigurationError, match="different grids"):
        collect_pixels(stack, labels, split, Part.TRAIN)
    with pytest.raises(ConfigurationError, match="one or more of the parts"):
        collect_pixels(make_stack(), labels, split, Part.NONE)
