"""Trees as arrays: equal to their libraries, and harmless whatever the arrays say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ModelError
from ecumene.models.boosting import ensemble_from_text
from ecumene.models.forest import ensemble_from_sklearn
from ecumene.models.tree_kernel import TreeWalker
from ecumene.models.trees import TreeEnsemble, floor_float32
from ecumene.objectives import PixelRegression
from ecumene.training.fit_trees import fit_boosting, fit_forest


def cloud(n, missing, seed=0, classes=4, features=6):
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, features))
    y = generator.integers(0, classes, n)
    x = (centres[y] + generator.standard_normal((n, features))).astype(np.float32)
    if missing:
        x[generator.random(x.shape) < 0.15] = np.nan
    return x, y


@pytest.mark.parametrize("missing", [False, True])
def test_forest_gives_the_probabilities_of_sklearn(missing):
    from sklearn.ensemble import RandomForestClassifier

    x, y = cloud(800, missing)
    forest = RandomForestClassifier(30, random_state=0).fit(x, y)
    new = np.concatenate([cloud(3000, True, seed=1)[0], cloud(3001, False, seed=2)[0]])
    walked = TreeWalker(ensemble_from_sklearn(forest, 4), threads=2)(new)
    assert np.abs(walked - forest.predict_proba(new)).max() < 1e-6


def test_values_exactly_on_a_threshold_turn_the_same_way():
    from sklearn.ensemble import RandomForestClassifier

    generator = np.random.default_rng(0)
    x = generator.integers(0, 5, (500, 3)).astype(np.float32) / np.float32(3)
    y = generator.integers(0, 3, 500)
    forest = RandomForestClassifier(20, random_state=1).fit(x, y)
    ensemble = ensemble_from_sklearn(forest, 3)
    on = np.unique(ensemble.threshold[ensemble.feature >= 0])
    rows = np.stack(np.meshgrid(on[:40], on[:40], on[:3]), -1).reshape(-1, 3).astype(np.float32)
    rows = np.concatenate([rows, np.nextafter(rows, np.float32(9)), np.nextafter(rows, np.float32(-9))])
    assert np.abs(TreeWalker(ensemble)(rows) - forest.predict_proba(rows)).max() < 1e-6


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=50))
def test_rounded_thresholds_decide_like_doubles(thresholds):
    exact = np.array(thresholds)
    rounded = floor_float32(exact)
    largest = np.finfo(np.float32).max
    x = np.clip(exact, -largest, largest).astype(np.float32)
    for probe in (x, np.nextafter(x, np.float32(-largest)), np.nextafter(x, np.float32(largest))):
        keep = np.abs(probe) < largest
        assert np.array_equal((probe <= rounded)[keep], (probe.astype(np.float64) <= exact)[keep])


def test_classes_unseen_in_training_have_probability_zero():
    x, y = cloud(300, False, classes=3)
    arrays = fit_forest(x, y * 2, n_classes=6, n_trees=5, n_jobs=1)
    out = TreeWalker(TreeEnsemble.from_arrays(arrays))(x)
    assert out.shape == (300, 6)
    assert not out[:, [1, 3, 5]].any()
    assert np.abs(out.sum(axis=1) - 1).max() < 1e-6


@pytest.mark.parametrize("missing", [False, True])
def test_boosting_gives_the_raw_scores_of_lightgbm(missing):
    lightgbm = pytest.importorskip("lightgbm")
    x, y = cloud(1500, missing)
    text = fit_boosting(x, y, n_classes=4, n_trees=15, n_jobs=1)
    new = cloud(2000, True, seed=5)[0]
    expected = lightgbm.Booster(model_str=text).predict(new, raw_score=True)
    assert np.abs(TreeWalker(ensemble_from_text(text, 4), 2)(new) - expected).max() < 1e-5


@pytest.mark.parametrize("fit", [fit_forest, fit_boosting])
def test_same_seed_same_trees_other_seed_other_trees(fit):
    x, y = cloud(400, False)
    assert str(fit(x, y, n_classes=4, n_trees=5, seed=3, n_jobs=1)) == str(
        fit(x, y, n_classes=4, n_trees=5, seed=3, n_jobs=2)
    )
    if fit is fit_forest:
        first, second = (fit(x, y, n_classes=4, n_trees=5, seed=s, n_jobs=1)["threshold"] for s in (3, 4))
        assert not np.array_equal(first, second)


def test_rows_do_not_depend_on_their_neighbours_or_on_threads():
    x, y = cloud(500, False)
    ensemble = TreeEnsemble.from_arrays(fit_forest(x, y, n_classes=4, n_trees=10, n_jobs=1))
    new = cloud(20_000, False, seed=3)[0]
    whole = TreeWalker(ensemble, 3)(new)
    assert np.array_equal(whole, TreeWalker(ensemble, 1)(new))
    assert np.array_equal(whole[7:13], TreeWalker(ensemble)(new[7:13]))
    new[0, 0] = np.nan
    assert np.array_equal(whole[1:], TreeWalker(ensemble)(new)[1:])


@pytest.mark.parametrize("kind", ["forest", "boosting"])
def test_regression_gives_mean_and_honest_spread(tree_model, kind):
    fit = fit_forest if kind == "forest" else fit_boosting
    generator = np.random.default_rng(0)
    x = generator.uniform(0, 1, (3000, 4)).astype(np.float32)
    noise = np.where(x[:, 1] > 0.5, 4.0, 0.5)
    y = 300.0 + 20 * x[:, 0] + noise * generator.standard_normal(3000)
    fitted = fit(x, y, n_trees=40, seed=0, n_jobs=1)
    objective = PixelRegression(["t"], "K", target_mean=float(y.mean()), target_std=float(y.std()))
    template = tree_model(kind, regression=True)
    spec = template.spec.model_copy(update={"objective": objective.to_config()})
    model = type(template)(
        spec=spec, weights={} if kind == "boosting" else fitted, booster=fitted if kind == "boosting" else None
    )
    new = generator.uniform(0.05, 0.95, (900, 4)).astype(np.float32)
    image = new.T.reshape(1, 4, 30, 30)
    output, _ = model.executor().run(image)
    prediction = objective.predict(output)
    truth = (300.0 + 20 * new[:, 0]).reshape(30, 30)
    assert np.abs(prediction.value[0, 0] - truth).mean() < 1.5
    quiet = (new[:, 1] < 0.4).reshape(30, 30)
    loud = (new[:, 1] > 0.6).reshape(30, 30)
    deviation = prediction.total[0, 0]
    # A forest of random splits does not resolve the signal fully: what is left counts as spread, rightly.
    assert 0.3 < np.median(deviation[quiet]) < (1.6 if kind == "boosting" else 3.0)
    assert 3.0 < np.median(deviation[loud]) < 5.5


def test_forest_regression_is_the_law_of_total_variance():
    from sklearn.ensemble import RandomForestRegressor

    generator = np.random.default_rng(1)
    x = generator.uniform(0, 1, (500, 3)).astype(np.float32)
    y = 5000.0 + x[:, 0] + 0.1 * generator.standard_normal(500)
    forest = RandomForestRegressor(20, min_samples_leaf=5, random_state=0).fit(x, y)
    ensemble = ensemble_from_sklearn(forest)
    mean, second = TreeWalker(ensemble)(x).T
    means = np.stack([tree.predict(x) for tree in forest.estimators_])
    inside = np.stack([tree.tree_.impurity[tree.apply(x)] for tree in forest.estimators_])
    assert np.abs(mean - forest.predict(x)).max() < 1e-5
    variance = second - (mean - ensemble.bias[0]) ** 2
    assert np.abs(variance - (inside.mean(axis=0) + means.var(axis=0))).max() < 1e-5


def test_damaged_arrays_are_refused():
    x, y = cloud(200, False)
    good = fit_forest(x, y, n_classes=4, n_trees=3, n_jobs=1)
    TreeEnsemble.from_arrays(good)
    inner = int(np.flatnonzero(good["feature"] >= 0)[1])
    leaf = int(np.flatnonzero(good["feature"] < 0)[0])

    def refused(match, **changes):
        arrays = {name: array.copy() for name, array in good.items()}
        for name, (index, value) in changes.items():
            arrays[name][index] = value
        with pytest.raises(ModelError, match=match):
            TreeEnsemble.from_arrays(arrays)

    refused("leads back", right=(inner, inner))  # a cycle
    refused("leads back", right=(inner, 0))  # back to the root
    refused("leads back", right=(inner, -5))
    refused("leads back", right=(inner, 2**31 - 1))
    refused("leads back", right=(0, good["offsets"][1]))  # into the next tree
    refused("feature that the model", feature=(inner, 99))
    refused("feature that the model", feature=(inner, -7))
    refused("leaf of a tree has no value", right=(leaf, len(good["values"])))
    refused("leaf of a tree has no value", right=(leaf, -1))
    refused("output that the model", columns=(0, 2))
    refused("one after another", offsets=(1, 0))
    refused("one after another", offsets=(-1, 10**9))
    refused("not finite", threshold=(0, np.nan))
    with pytest.raises(ModelError, match="lacks 'right'"):
        TreeEnsemble.from_arrays({k: v for k, v in good.items() if k != "right"})
    with pytest.raises(ModelError, match="int64"):
        TreeEnsemble.from_arrays({**good, "feature": good["feature"].astype(np.int64)})
    with pytest.raises(ModelError, match="different lengths"):
        TreeEnsemble.from_arrays({**good, "threshold": good["threshold"][:-1]})


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_whatever_passes_validation_can_be_walked(seed):
    generator = np.random.default_rng(seed)
    x, y = cloud(60, False, seed=1)
    arrays = {name: array.copy() for name, array in fit_forest(x, y, n_classes=4, n_trees=2, n_jobs=1).items()}
    for _ in range(3):
        name = generator.choice(["feature", "right", "columns", "offsets", "n_features"])
        arrays[name][generator.integers(len(arrays[name]))] = generator.integers(-3, 80)
    try:
        ensemble = TreeEnsemble.from_arrays(arrays)
    except ModelError:
        return
    out = TreeWalker(ensemble)(np.zeros((20, ensemble.n_features), np.float32))
    assert np.isfinite(out).all()


def test_hostile_booster_texts_are_refused():
    x, y = cloud(400, False)
    text = fit_boosting(x, y, n_classes=4, n_trees=2, n_jobs=1)
    ensemble_from_text(text, 4)
    lines = text.splitlines()

    def changed(field, replace):
        position = next(i for i, line in enumerate(lines) if line.startswith(field + "="))
        return "\n".join(
            [*lines[:position], f"{field}={replace(lines[position].split('=')[1])}", *lines[position + 1 :]]
        )

    def first(value):
        return lambda old: " ".join([value, *old.split()[1:]])

    for broken in (
        changed("left_child", first("0")),  # a cycle
        changed("right_child", first("9999")),
        changed("right_child", first("-9999")),
        changed("split_feature", first("77")),
        changed("num_leaves", lambda old: "1000000"),
        changed("num_leaves", lambda old: "x"),
        changed("leaf_value", lambda old: "nan " + " ".join(old.split()[1:])),
        changed("num_cat", lambda old: "1"),
        changed("decision_type", first("1")),
        changed("threshold", lambda old: "a b c"),
        text.replace("end of trees", ""),
        "\x80\x04pickle",
        "",
    ):
        with pytest.raises(ModelError):
            ensemble_from_text(broken, 4)
    with pytest.raises(ModelError, match="has 4 outputs"):
        ensemble_from_text(text, 5)
