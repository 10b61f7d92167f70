"""Reading images when they are needed, with a cache of limited size; augmentation of a batch at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_scenes import SIDE, TinyScenes, write_images

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.samples.augmentation import Compose, OpticalJitter, RandomD4, SarJitter
from ecumene.samples.batch_augmentation import augment_batch
from ecumene.samples.contract import Sample
from ecumene.samples.datasets import any_data_set_class, data_set_class, list_data_sets
from ecumene.samples.datasets.loading import ImageCache, LazyScenes, checksum_of
from ecumene.samples.scene_set import SceneSamples, SceneSet

IMAGE_BYTES = 4 * 3 * SIDE * SIDE


@pytest.fixture
def data(tmp_path):
    return TinyScenes.open(write_images(tmp_path / "data", 30))


def test_a_lazy_set_gives_what_the_data_set_gives(data):
    lazy = LazyScenes(data, [5, 3, 20], cache_bytes=2 * IMAGE_BYTES)
    assert isinstance(lazy, SceneSamples)
    for _ in range(3):
        found, wanted = lazy.read([2, 0, 1]), data.read([20, 5, 3])
        np.testing.assert_array_equal(found.image, wanted.image)
        np.testing.assert_array_equal(found.label, wanted.label)
    np.testing.assert_array_equal(lazy.take([1]).read([0]).image, data.read([3]).image)
    assert lazy.class_counts(3).sum() == 3
    assert lazy.image_shape == (3, SIDE, SIDE)


@pytest.mark.parametrize(("room", "again"), [(0, 30), (10, 20), (100, 0)])
def test_the_cache_keeps_what_fits_and_no_more(data, room, again):
    lazy = LazyScenes(data, cache_bytes=room * IMAGE_BYTES)
    lazy.read(np.arange(30))
    before = data.reads
    lazy.read(np.arange(30)[::-1])
    assert data.reads - before == again


def test_threads_see_whole_images(data):
    lazy = LazyScenes(data, cache_bytes=15 * IMAGE_BYTES)
    wanted = data.read(np.arange(30)).image
    orders = [np.random.default_rng(seed).permutation(30) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        for order, found in zip(orders, pool.map(lazy.read, orders), strict=True):
            np.testing.assert_array_equal(found.image, wanted[order])
    assert lazy.cache.capacity == 15


def test_subsets_share_a_cache(data):
    cache = ImageCache(30, (3, SIDE, SIDE))
    LazyScenes(data, np.arange(10), cache=cache).read(np.arange(10))
    before = data.reads
    LazyScenes(data, np.arange(5, 15), cache=cache).read(np.arange(10))
    assert data.reads - before == 5


def test_images_of_another_shape_than_stated_are_refused(data):
    data.patch_size = 32
    with pytest.raises(LabelError, match="but states"):
        LazyScenes(data).read([0])


def test_the_checksum_is_of_the_files_and_not_of_their_place(data, tmp_path):
    same = TinyScenes.open(write_images(tmp_path / "elsewhere", 30))
    assert checksum_of(same) == checksum_of(data)
    (same.folder / "extra.txt").write_text("x")
    assert checksum_of(same) != checksum_of(data)
    assert LazyScenes(data, [1, 2]).digest() != LazyScenes(data, [2, 1]).digest()


def test_the_list_of_data_sets_can_be_read_and_unknown_ones_are_a_sentence():
    for info in list_data_sets():
        assert any_data_set_class(info.name).info is info
        assert info.title
        assert info.layout
    with pytest.raises(ConfigurationError, match="ecumene datasets"):
        data_set_class("imagenet")


def test_numbers_have_no_classes_to_count():
    numbers = SceneSet(np.zeros((2, 1, 2, 2), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int32))
    with pytest.raises(LabelError, match="Numeric"):
        numbers.class_counts(2)


@pytest.mark.parametrize("shape", [(8, 8), (6, 9)])
@pytest.mark.parametrize(
    "steps",
    [
        (RandomD4(),),
        (OpticalJitter((0, 2), (0.49, 0.84)),),
        (RandomD4(), OpticalJitter((0, 1, 2), (0.49, None, 2.2))),
        (RandomD4(), SarJitter((1,), ("dB",))),
        (),
    ],
)
def test_a_batch_is_augmented_as_its_samples_are(shape, steps):
    generator = np.random.default_rng(0)
    images = generator.random((16, 3, *shape)).astype(np.float32)
    images[:, :, 0, 0] = np.nan
    kept = images.copy()
    one = Compose(steps)
    found = augment_batch(images, one, [np.random.default_rng([1, i]) for i in range(16)])
    for number, image in enumerate(images):
        sample = Sample(image=image, valid=np.isfinite(image).all(axis=0))
        wanted = one(sample, np.random.default_rng([1, number]))["image"]
        np.testing.assert_allclose(found[number], wanted, rtol=1e-5)
    np.testing.assert_array_equal(images, kept)
    assert np.isnan(found).sum() == 16 * 3
