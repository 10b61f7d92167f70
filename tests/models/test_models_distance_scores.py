"""Outlier scores by a kernel, in torch's executor and beside OpenVINO's graph: the detector's own numbers."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from small_models import INPUTS, make_network

from ecumene.core.errors import ModelError
from ecumene.models.distance_scores import DistanceScores
from ecumene.models.export import export_onnx
from ecumene.models.local_average import local_average, normalise
from ecumene.models.probe import probe_input
from ecumene.trust.gaussian import CombinedDetector, MahalanobisDetector

BANDS = len(INPUTS)
MEAN = np.array([band.mean for band in INPUTS], np.float32)
STD = np.array([band.std for band in INPUTS], np.float32)


def fitted(features, kind=CombinedDetector, **options):
    generator = np.random.default_rng(3)
    mixing = generator.normal(size=(features, features))
    return kind.fit(generator.normal(size=(400, features)) @ mixing + 2.0, generator.integers(0, 3, 400), **options)


def window(height=13, width=18, seed=0):
    generator = np.random.default_rng(seed)
    image = (MEAN[:, None, None] + STD[:, None, None] * generator.normal(size=(2, BANDS, height, width))).astype("f4")
    image[0, :, 3:6, 2:9] = np.nan
    image[1, 1, -1, -1] = np.inf
    return image


def expected_scores(detector, image, parts, radius):
    x, valid = normalise(image, MEAN, STD)
    grown = [array.repeat(factor, axis=2).repeat(factor, axis=3) for array, factor in parts]
    rows = np.concatenate([local_average(x, valid, radius), *grown], axis=1)
    flat = np.moveaxis(rows, 1, -1).reshape(-1, rows.shape[1])
    return detector.score(flat).reshape(image.shape[0], *image.shape[2:])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("radius", [0, 2])
@pytest.mark.parametrize("factor", [None, 2])
def test_the_kernel_gives_the_detectors_scores(factor, radius, last):
    generator = np.random.default_rng(1)
    height, width = 12, 300  # wider than a block of the kernel
    image = window(height, width)
    fine = generator.normal(size=(2, 6, height, width)).astype("f4")
    parts = [(fine, 1)]
    if factor:
        parts.append((generator.normal(size=(2, 5, height // factor, width // factor)).astype("f4"), factor))
    detector = fitted(BANDS + sum(array.shape[1] for array, _ in parts))
    if last:  # as convolutions leave them
        parts = [(np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1), f) for a, f in parts]
    scores = DistanceScores.of(INPUTS, detector, radius)
    assert scores is not None
    np.testing.assert_allclose(
        scores(image, parts), expected_scores(detector, image, parts, radius), rtol=1e-4, atol=1e-5
    )


def test_bits_of_bfloat16_are_read_as_numbers():
    import torch

    image = window(8, 10)
    fine = torch.randn(2, 6, 8, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    coarse = torch.randn(2, 5, 4, 5, generator=torch.Generator().manual_seed(1)).bfloat16()
    scores = DistanceScores.of(INPUTS, fitted(BANDS + 11), 2)
    bits = [(part.view(torch.int16).numpy().view(np.uint16), factor) for part, factor in ((fine, 1), (coarse, 2))]
    wide = [(part.float().numpy(), factor) for part, factor in ((fine, 1), (coarse, 2))]
    assert np.array_equal(scores(image, bits), scores(image, wide))


def test_a_window_s_scores_do_not_depend_on_where_it_ends():
    image = window(20, 24)
    fine = np.random.default_rng(2).normal(size=(2, 6, 20, 24)).astype("f4")
    scores = DistanceScores.of(INPUTS, fitted(BANDS + 6), 2)
    whole = scores(image, [(fine, 1)])
    part = scores(image[..., 4:18, 3:23], [(fine[..., 4:18, 3:23], 1)])
    assert np.array_equal(whole[:, 6:16, 5:21], part[:, 2:12, 2:18])


@pytest.mark.parametrize(
    "parts",
    [
        [((2, 6, 8, 10), 1), ((2, 5, 4, 4), 2)],
        [((2, 6, 8, 10), 1), ((2, 5, 2, 3), 3)],
        [((2, 6, 8, 9), 1), ((2, 5, 4, 5), 2)],
        [((1, 6, 8, 10), 1), ((1, 5, 4, 5), 2)],
        [((2, 5, 8, 10), 1), ((2, 5, 4, 5), 2)],
    ],
)
def test_features_beside_the_grid_are_refused(parts):
    """The kernel reads where it is told to; a graph from a stranger must not tell it to read elsewhere."""
    scores = DistanceScores.of(INPUTS, fitted(BANDS + 11), 2)
    with pytest.raises(ModelError, match="grid of its image"):
        scores(window(8, 10), [(np.zeros(shape, "f4"), factor) for shape, factor in parts])


def test_other_scores_are_left_to_the_graph():
    several = fitted(BANDS + 6, MahalanobisDetector, conditional=True)
    relative = fitted(BANDS + 6, MahalanobisDetector, relative=True)
    assert [DistanceScores.of(INPUTS, detector, 2) for detector in (None, several, relative)] == [None, None, None]
    assert DistanceScores.of(INPUTS, fitted(BANDS + 6, MahalanobisDetector), 2) is not None


@pytest.fixture(scope="module")
def exported():
    bare = make_network("unet", own={"decoder_channels": (16, 8, 8)})
    image, _ = probe_input(bare.spec, batch=2, side=64)
    features = np.nan_to_num(bare.detector_features(image))
    rows = np.moveaxis(features, 1, -1).reshape(-1, features.shape[1])
    detector = CombinedDetector.fit(rows, np.zeros(len(rows), np.int64)).with_threshold(np.linspace(0, 4, 200))
    return export_onnx(bare.with_trust(detector=detector))


def test_openvino_hands_the_features_to_the_kernel(exported):
    pytest.importorskip("openvino")
    image, _ = probe_input(exported.spec, batch=2, side=96, seed=4)
    wanted = exported.executor("torch", "fp32", 1).run(image)
    executor = exported.executor("openvino", "fp32", 1)
    assert executor._factors == (1, 2)
    graph = exported.executor("onnx", "fp32", 1).run(image)  # the same file, as everybody else executes it
    for found in (executor.run(image), graph):
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_executors_side_by_side_give_the_bytes_of_one_alone(exported, backend):
    """Also when their windows have different shapes, for which OpenVINO's wait for each other."""
    if backend == "openvino":
        pytest.importorskip("openvino")
    images = [probe_input(exported.spec, batch=1, side=side, seed=side)[0] for side in (64, 96, 64, 64, 96, 64)]
    alone = exported.executor(backend, "fp32", 1)
    wanted = [alone.run(image) for image in images]
    executors = exported.executor(backend, "fp32", 1).side_by_side(3)
    assert len(executors) == 3
    found = [[] for _ in executors]
    threads = [
        threading.Thread(target=lambda k=k: found[k].extend(executors[k].run(image) for image in images))
        for k in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for results in found:
        assert len(results) == len(wanted)
        for one, other in zip(results, wanted, strict=True):
            assert [part.tobytes() for part in one] == [part.tobytes() for part in other]
