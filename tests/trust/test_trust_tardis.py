import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, ModelError
from ecumene.trust.measures import auroc
from ecumene.trust.outlier import TardisDetector, build_detector
from ecumene.trust.tardis import surrogate_labels

FEATURES = 5


def home(seed, n=500):
    return np.random.default_rng(seed).normal(size=(n, FEATURES))


def away(seed, n=500):
    return home(seed, n) + 12.0 * np.eye(FEATURES)[0]


def mixed(seed, share, n=500):
    """Wild data of which a share is strange."""
    strange = int(share * n)
    return np.concatenate([home(seed, n - strange), away(seed + 1, strange)])


@settings(max_examples=10, deadline=None)
@given(share=st.floats(0.2, 0.95), seed=st.integers(0, 50))
def test_surrogate_labels_find_the_strange_share(share, seed):
    wild = mixed(seed, share)
    found = surrogate_labels(home(seed + 100), wild, clusters=20, seed=seed)
    truth = np.arange(500) >= 500 - int(share * 500)
    assert found.labels[500:][truth].all()
    # A cluster at the rim of the cloud can miss known elements by chance.
    assert found.labels[500:][~truth].mean() < 0.3 if not truth.all() else True
    assert found.known_flagged < 0.02


def test_labels_follow_the_share_of_known_elements():
    """Two piles, by hand: 10 known of 30 in the one, 0 of 20 in the other."""
    known = np.zeros((10, 2)) + 1e-3 * np.random.default_rng(0).normal(size=(10, 2))
    wild = np.r_[known.repeat(2, axis=0), np.full((20, 2), 9.0)]
    lenient = surrogate_labels(known, wild, clusters=2, share=0.1)
    assert lenient.labels.sum() == 20
    assert lenient.labels[-20:].all()
    strict = surrogate_labels(known, wild, clusters=2, share=0.34)
    assert strict.labels.all(), "known elements of an outlier cluster are labelled so too"
    assert strict.known_flagged == 1.0
    third = 1 / 3
    entropy = -(third * np.log(third) + 2 * third * np.log(2 * third)) / 2
    assert lenient.entropy == pytest.approx(entropy, rel=1e-6)


def test_a_few_strange_wild_elements_teach_the_classifier():
    for share in (0.25, 0.5, 1.0):
        detector = TardisDetector.fit(home(0), wild=mixed(1, share), clusters=20)
        assert auroc(detector.score(home(7)), detector.score(away(8))) > 0.999
        assert detector.options["wild_labelled_outlier"] == pytest.approx(share, abs=0.03)
        assert detector.options["surrogate_auroc"] > 0.99
        # Usual wild data stay usual.
        assert np.mean(detector.score(home(9)) > 0.0) < 0.02


def test_tuning_takes_the_purest_clusters():
    known, wild = home(0, 200), mixed(1, 0.5, 200)
    tuned = surrogate_labels(known, wild, tune=True)
    assert tuned.clusters in (40, 80, 120, 160)
    assert tuned.entropy <= surrogate_labels(known, wild, clusters=40).entropy
    assert surrogate_labels(known, wild).clusters == 40


def test_known_and_wild_are_balanced():
    detector = TardisDetector.fit(home(0, 3000), wild=mixed(1, 0.5, 100))
    assert detector.options["clusters"] == 20


@settings(max_examples=10, deadline=None)
@given(scale=st.floats(0.01, 100.0), offset=st.floats(-50.0, 50.0))
def test_scores_do_not_depend_on_the_unit(scale, offset):
    values, wild = home(0, 200), mixed(1, 0.5, 200)
    first = TardisDetector.fit(values, wild=wild, clusters=10)
    second = TardisDetector.fit(values * scale + offset, wild=wild * scale + offset, clusters=10)
    probe = mixed(5, 0.5, 100)
    np.testing.assert_allclose(first.score(probe), second.score(probe * scale + offset), rtol=0.05, atol=0.3)


def test_constant_features_are_harmless():
    values, wild = home(0), mixed(1, 0.5)
    values[:, -1] = wild[:, -1] = 7.0
    detector = TardisDetector.fit(values, wild=wild, clusters=20)
    assert np.isfinite(detector.score(values)).all()
    assert detector.to_arrays()["weight"][-1] == 0.0


def test_fit_is_reproducible_and_survives_storage():
    detectors = [TardisDetector.fit(home(0), wild=mixed(1, 0.5), seed=4) for _ in range(2)]
    for key, value in detectors[0].to_arrays().items():
        np.testing.assert_array_equal(value, detectors[1].to_arrays()[key])
    ready = detectors[0].with_threshold(detectors[0].score(home(3)), 0.05)
    rebuilt = build_detector(json.loads(json.dumps(ready.to_config(), allow_nan=False)), ready.to_arrays())
    np.testing.assert_array_equal(rebuilt.score(away(5)), ready.score(away(5)))
    assert rebuilt.to_config() == ready.to_config()
    rates = np.mean(rebuilt.score(home(11, 4000)) > rebuilt.threshold)
    assert rates < 0.09


def test_maps_and_lists_get_the_same_scores():
    torch = pytest.importorskip("torch")
    detector = TardisDetector.fit(home(0), wild=mixed(1, 0.5))
    values = mixed(2, 0.5, 40).astype(np.float32)
    maps = torch.from_numpy(values.T.reshape(1, FEATURES, 5, 8).copy())
    with torch.inference_mode():
        mapped = detector.score_map(maps)
    np.testing.assert_allclose(mapped.numpy().ravel(), detector.score(values), rtol=1e-4, atol=1e-3)


def test_refusals():
    values = home(0)
    for nothing in (None, np.empty((0, FEATURES))):
        with pytest.raises(ConfigurationError, match="got none; give some with --wild"):
            TardisDetector.fit(values, wild=nothing)
    with pytest.raises(ConfigurationError, match="only 0 strange elements"):
        TardisDetector.fit(values, wild=home(1), clusters=5)
    with pytest.raises(ConfigurationError, match="All known and wild features are equal"):
        TardisDetector.fit(np.ones((50, 3)), wild=np.ones((50, 3)))
    with pytest.raises(ConfigurationError, match="not finite"):
        TardisDetector.fit(values, wild=np.full((50, FEATURES), np.nan))
    with pytest.raises(ConfigurationError, match="same model and layer"):
        TardisDetector.fit(values, wild=away(1)[:, :3])
    with pytest.raises(ConfigurationError, match="2 to 1000 clusters"):
        TardisDetector.fit(values, wild=away(1), clusters=5000)
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(ConfigurationError, match="between 0 and 1"):
            TardisDetector.fit(values, wild=away(1), share=share)


def test_hostile_parts_are_refused():
    detector = TardisDetector.fit(home(0), wild=away(1))
    config, arrays = detector.to_config(), detector.to_arrays()
    for broken in (
        {"scale": np.zeros(FEATURES, np.float32)},
        {"weight": np.full(FEATURES, np.nan, np.float32)},
        {"bias": np.zeros(2, np.float32)},
        {"center": np.zeros(FEATURES + 1, np.float32)},
    ):
        with pytest.raises(ModelError, match="damaged"):
            build_detector(config, {**arrays, **broken})
