import json
import os
from pathlib import Path

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.trust.measures import auroc
from ecumene.trust.outlier import (
    DETECTORS,
    CombinedDetector,
    EnergyDetector,
    MahalanobisDetector,
    MaxSoftmaxDetector,
    NeighbourDetector,
    build_detector,
)

FEATURES = 6


def cloud(seed, n=600, shift=0.0):
    """Three classes with correlated features; one feature never changes."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(0, 3, n)
    mixing = np.random.default_rng(99).normal(size=(FEATURES, FEATURES))
    values = generator.normal(size=(n, FEATURES)) @ mixing * 0.5 + 3 * np.eye(3, FEATURES)[classes] + shift
    values[:, -1] = 2.0 + shift
    return values.astype(np.float32), classes


def fitted(name):
    values, classes = cloud(0)
    options = {
        "mahalanobis": {},
        "conditional": {"conditional": True},
        "relative": {"relative": True},
        "combined": {},
        "neighbours": {"bank": 40},
        "neighbours-3": {"bank": 40, "k": 3},
        "energy": {},
        "max-softmax": {},
    }[name]
    kind = {"conditional": "mahalanobis", "relative": "mahalanobis", "neighbours-3": "neighbours"}.get(name, name)
    return DETECTORS[kind].fit(values, classes, seed=0, **options)


NAMES = ["mahalanobis", "conditional", "relative", "combined", "neighbours", "neighbours-3", "energy", "max-softmax"]


@pytest.fixture(params=NAMES)
def detector(request):
    return fitted(request.param)


def test_maps_and_lists_get_the_same_scores(detector):
    torch = pytest.importorskip("torch")
    values = np.concatenate([cloud(1, 40)[0], cloud(2, 40, shift=4.0)[0]])
    scores = detector.score(values)
    assert scores.shape == (80,)
    maps = torch.from_numpy(values.reshape(2, 5, 8, FEATURES)).permute(0, 3, 1, 2).contiguous()
    with torch.inference_mode():
        mapped = detector.score_map(maps)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            again = detector.score_map(maps)
    assert tuple(mapped.shape) == (2, 5, 8)
    np.testing.assert_allclose(mapped.numpy().ravel(), scores, rtol=2e-4, atol=2e-4)
    assert torch.equal(mapped, again)


def test_survives_storage(detector):
    detector = detector.with_threshold(detector.score(cloud(3)[0]), 0.05)
    config = json.loads(json.dumps(detector.to_config(), allow_nan=False))
    arrays = detector.to_arrays()
    assert all(array.dtype == np.float32 for array in arrays.values())
    rebuilt = build_detector(config, arrays)
    values = cloud(4)[0]
    np.testing.assert_array_equal(rebuilt.score(values), detector.score(values))
    assert (rebuilt.threshold, rebuilt.false_alarm_rate) == (detector.threshold, 0.05)
    assert rebuilt.to_config() == detector.to_config()


def test_fit_is_reproducible(detector):
    again = type(detector).fit(*cloud(0), seed=0, **_options(detector))
    for key, value in detector.to_arrays().items():
        np.testing.assert_array_equal(value, again.to_arrays()[key])


def _options(detector):
    options = dict(detector.options)
    if isinstance(detector, NeighbourDetector):
        options["bank"] = 40
    if options.get("relative"):
        options.pop("conditional")
    return options


@pytest.mark.parametrize("name", ["mahalanobis", "conditional", "combined", "neighbours", "neighbours-3"])
def test_strangers_are_told_apart(name):
    detector = fitted(name)
    assert auroc(detector.score(cloud(1)[0]), detector.score(cloud(2, shift=5.0)[0])) > 0.97


def test_conditional_sees_the_empty_middle():
    """A point between the classes is usual for one cloud and strange for three."""
    generator = np.random.default_rng(0)
    classes = generator.integers(0, 2, 800)
    values = 0.3 * generator.normal(size=(800, 2)) + np.where(classes, 5.0, -5.0)[:, None]
    middle = np.zeros((1, 2))
    for name, options in (("mahalanobis", {}), ("mahalanobis", {"conditional": True}), ("neighbours", {"bank": 20})):
        detector = DETECTORS[name].fit(values, classes, seed=0, **options)
        rank = np.mean(detector.score(values) < detector.score(middle))
        assert rank == 1.0 if options else rank < 0.1


def test_mahalanobis_by_hand():
    values, _ = cloud(0)
    values = values[:, :3].astype(np.float64)
    detector = MahalanobisDetector.fit(values)
    probe = cloud(1)[0][:, :3].astype(np.float64)
    centred = probe - values.mean(axis=0)
    wanted = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(np.cov(values.T)), centred) / 3
    np.testing.assert_allclose(detector.score(probe), wanted, rtol=0.05)
    assert detector.score(values).mean() == pytest.approx(1.0, rel=0.02)


def test_combined_is_a_ridge_regularised_mahalanobis_distance():
    values, _ = cloud(0)
    values = values[:, :5].astype(np.float64)
    detector = CombinedDetector.fit(values, ridge=0.3)
    probe = cloud(1, shift=2.0)[0][:, :5].astype(np.float64)
    z = (probe - values.mean(axis=0)) / values.std(axis=0)
    inverse = np.linalg.inv(np.corrcoef(values.T) + 0.09 * np.eye(5))
    np.testing.assert_allclose(detector.score(probe), np.einsum("ni,ij,nj->n", z, inverse, z) / 5, rtol=1e-4)


def test_ridge_forgives_small_steps_off_a_thin_cloud():
    generator = np.random.default_rng(0)
    line = generator.normal(size=(2000, 1)) @ np.ones((1, 4)) + 0.01 * generator.normal(size=(2000, 4))
    step = line + 0.1 * np.array([1, -1, 1, -1])
    for ridge, flagged in ((0.01, True), (0.3, False)):
        detector = CombinedDetector.fit(line[:1000], ridge=ridge)
        detector = detector.with_threshold(detector.score(line[1000:]), 0.02)
        assert (np.mean(detector.score(step) > detector.threshold) > 0.9) == flagged


def test_logit_baselines_by_hand():
    logits = np.array([[0.0, 0.0, 0.0], [1000.0, 0.0, 0.0]])
    energy, softmax = EnergyDetector.fit(logits).score(logits), MaxSoftmaxDetector.fit(logits).score(logits)
    np.testing.assert_allclose(energy, [-np.log(3), -1000.0])
    np.testing.assert_allclose(softmax, [2 / 3, 0.0], atol=1e-12)


def test_threshold_holds_its_false_alarm_rate():
    """In the mean over held-out draws, as conformal prediction promises."""
    generator, rates = np.random.default_rng(0), []
    detector = EnergyDetector.fit(np.zeros((2, 2)))
    for _ in range(200):
        detector = detector.with_threshold(generator.normal(size=60), 0.1)
        rates.append(np.mean(generator.normal(size=500) > detector.threshold))
    assert 0.1 - 1 / 61 - 0.01 < np.mean(rates) <= 0.1 + 0.01
    assert detector.n_held_out == 60


def test_blocks_set_a_threshold_that_new_blocks_keep():
    """Blocks differ in level: the pixels' own quantile fails in a new block more often than the blocks' limit."""
    generator, plain, blocked = np.random.default_rng(1), [], []
    detector = EnergyDetector.fit(np.zeros((2, 2)))
    for _ in range(200):
        level = np.exp(0.4 * generator.normal(size=(9, 1)))
        scores = level * generator.chisquare(8, size=(9, 80))
        home, new = scores[:8].ravel(), scores[8]
        groups = np.repeat(np.arange(8), 80)
        plain.append(np.mean(new > detector.with_threshold(home, 0.05).threshold))
        blocked.append(np.mean(new > detector.with_threshold(home, 0.05, groups).threshold))
    assert np.mean(np.array(plain) > 0.05) > 0.15
    assert np.mean(np.array(blocked) > 0.05) < 0.12
    assert np.mean(blocked) < 0.02


def test_block_limit_ends():
    detector = EnergyDetector.fit(np.zeros((2, 2)))
    scores = np.r_[np.zeros(900), np.full(50, 5.0), np.full(50, 6.0)]
    groups = np.r_[np.zeros(900), np.ones(50), np.full(50, 2)]
    assert detector.with_threshold(scores, 0.2).threshold == 0.0
    assert detector.with_threshold(scores, 0.2, groups).threshold >= 6.0
    assert detector.with_threshold(scores, 0.2, np.zeros(1000)).threshold == 0.0
    # Tiny blocks do not decide beside large ones.
    groups = np.r_[np.zeros(600), np.ones(395), np.full(5, 2)]
    scores = np.r_[np.ones(995), np.full(5, 100.0)]
    assert detector.with_threshold(scores, 0.1, groups).threshold == pytest.approx(1.0)
    # Negative scores (energies) stay finite and ordered.
    negative = -np.random.default_rng(0).random(200)
    limited = detector.with_threshold(negative, 0.1, np.arange(200) // 20).threshold
    assert limited >= detector.with_threshold(negative, 0.1).threshold
    assert np.isfinite(limited)


def test_with_threshold_leaves_the_original_alone():
    detector = fitted("combined")
    detector.with_threshold(np.arange(100.0), 0.05)
    assert detector.threshold is None


def test_refusals():
    values, classes = cloud(0)
    with pytest.raises(ConfigurationError, match="at least 10 training pixels"):
        CombinedDetector.fit(values[:3])
    with pytest.raises(ConfigurationError, match="not finite"):
        CombinedDetector.fit(np.full((50, 3), np.nan))
    with pytest.raises(ConfigurationError, match="needs the classes"):
        MahalanobisDetector.fit(values, conditional=True)
    with pytest.raises(ConfigurationError, match="classes"):
        MahalanobisDetector.fit(values, classes[:5], conditional=True)
    with pytest.raises(ConfigurationError, match="ridge"):
        CombinedDetector.fit(values, ridge=0.0)
    with pytest.raises(ConfigurationError, match="k <= bank"):
        NeighbourDetector.fit(values, k=0)
    detector = CombinedDetector.fit(values)
    with pytest.raises(ConfigurationError, match=r"\[N, 6\]"):
        detector.score(values[:, :4])
    with pytest.raises(ConfigurationError, match="at least 49"):
        detector.with_threshold(np.zeros(20), 0.02)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        detector.with_threshold(np.zeros(20), 0.0)
    with pytest.raises(ConfigurationError, match="group labels"):
        detector.with_threshold(np.zeros(100), 0.1, np.zeros(3))


def test_damaged_bundles_are_refused(detector):
    config, arrays = detector.to_config(), detector.to_arrays()
    with pytest.raises(ModelError, match="does not know"):
        build_detector({**config, "name": "os.system"}, arrays)
    for damage in ({"n_features": "x"}, {"n_features": 0}, {"threshold": "high"}, {"threshold": float("inf")}):
        with pytest.raises(ModelError, match="damaged"):
            build_detector({**config, **damage}, arrays)
    for key, value in arrays.items():
        for broken in ({key: value[..., :1]}, {key: np.full_like(value, np.nan)}, {key: value.astype(np.int64)}):
            with pytest.raises(ModelError, match="damaged"):
                build_detector(config, {**arrays, **broken})
        with pytest.raises(ModelError, match="damaged"):
            build_detector(config, {k: v for k, v in arrays.items() if k != key})
    with pytest.raises(ModelError, match="damaged"):
        build_detector(config, {**arrays, "more": np.zeros(1, np.float32)})


@pytest.mark.parametrize("name", ["conditional", "combined", "neighbours-3", "energy"])
def test_exports_to_onnx(name, tmp_path):
    torch = pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    class Scorer(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, features):
            return self.inner.score_map(features)

    detector, path = fitted(name), tmp_path / "score.onnx"
    batch = torch.export.Dim("batch", min=1, max=64)
    example = torch.zeros(2, FEATURES, 5, 8)
    torch.onnx.export(
        Scorer(detector).eval(),
        (example,),
        path,
        dynamo=True,
        opset_version=18,
        dynamic_shapes=({0: batch},),
        verbose=False,
    )
    values = cloud(1, 120, shift=1.0)[0].reshape(3, 5, 8, FEATURES)
    maps = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: maps})
    np.testing.assert_allclose(got.ravel(), detector.score(values.reshape(-1, FEATURES)), rtol=1e-3, atol=1e-3)


@pytest.mark.data
def test_real_shifts_are_flagged_and_home_is_not():
    """5 x 5 band means, without a network: one clear scene against clouds over it and a scene elsewhere.

    The combined detector must flag the shifts, keep its false alarms in held-out blocks, and tell apart no worse than a
    Gaussian on the pixels' own bands.
    """
    root = os.environ.get("ECUMENE_DATA")
    if not root:
        pytest.skip("ECUMENE_DATA is not set")
    rasterio = pytest.importorskip("rasterio")
    from scipy.ndimage import uniform_filter

    def read(path, average):
        with rasterio.open(Path(root) / path) as source:
            image = source.read().astype(np.float32) / 1e4
        return (uniform_filter(image, (0, 5, 5)) if average else image).reshape(13, -1).T

    folder, height, width = "s2_eopatch_slovenia", 101, 100
    rows, cols = np.mgrid[:height, :width]
    block = (rows // 10 * 100 + cols // 10).ravel()
    inner = ((rows % 10 >= 2) & (rows % 10 < 8) & (cols % 10 >= 2) & (cols % 10 < 8)).ravel()
    paths = {
        "clouds": f"{folder}/S2_L1C_2015-07-31.tif",
        "thick clouds": f"{folder}/S2_L1C_2015-08-20.tif",
        "Spain": "sen1floods11_spain_7370579/Spain_7370579_S2Hand.tif",
    }
    false_alarms = []
    for seed in range(3):
        names = np.random.default_rng(seed).permutation(np.unique(block))
        train = inner & np.isin(block, names[:66])
        held_out = inner & np.isin(block, names[66:88])
        test = inner & np.isin(block, names[88:])
        found = {}
        for average in (True, False):
            home = read(f"{folder}/S2_L1C_2015-07-11.tif", average)
            detector = (CombinedDetector if average else MahalanobisDetector).fit(home[train], seed=0)
            detector = detector.with_threshold(detector.score(home[held_out]), 0.02, block[held_out])
            usual = detector.score(home[test])
            strange = {name: detector.score(read(path, average)) for name, path in paths.items()}
            found[average] = {name: auroc(usual, scores) for name, scores in strange.items()}
            if average:
                false_alarms.append(np.mean(usual > detector.threshold))
                assert all(np.mean(scores > detector.threshold) > 0.95 for scores in strange.values())
        assert all(found[True][name] >= found[False][name] for name in paths)
        assert min(found[True].values()) > 0.999
    assert np.mean(false_alarms) <= 0.05
