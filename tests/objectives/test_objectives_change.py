"""Changed or not: the loss of overlap, and the decision by a threshold, alone and of members."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.legends import Legend  # noqa: E402
from ecumene.objectives import JaccardSegmentation, Members, Segmentation, build_objective  # noqa: E402

LEGEND = Legend.from_names(["changed", "unchanged"], name="change")


def objective(**changes):
    return JaccardSegmentation(**{"legend": LEGEND, "positive": "changed", **changes})


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    output = torch.randn(2, 2, 5, 6, generator=generator)
    target = torch.randint(-1, 2, (2, 5, 6), generator=generator)
    valid = torch.rand(2, 5, 6, generator=generator) > 0.2
    return output, target, valid


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_loss_is_the_published_formula_over_usable_pixels(factor):
    output, target, valid = batch()
    usable = (valid & (target >= 0)).numpy()
    p = output.softmax(dim=1)[:, 0].numpy()[usable].astype(float)
    t = (target.numpy()[usable] == 0).astype(float)
    wanted = 1 - factor * (p * t).sum() / ((p**2).sum() + (t**2).sum() - (p * t).sum() + 1e-6)
    assert float(objective(factor=factor).loss(output, target, valid)) == pytest.approx(wanted, abs=1e-6)


def test_a_perfect_answer_has_the_smallest_loss():
    target = torch.tensor([[[0, 0, 1, 1]]])
    logit = torch.where(target[:, None] == 0, 20.0, -20.0)
    sure = torch.cat([logit, -logit], dim=1)
    loss = objective(factor=2.0).loss(sure, target, torch.ones(1, 1, 4, dtype=torch.bool))
    assert float(loss) == pytest.approx(-1.0, abs=1e-5)


def test_rightly_unchanged_pixels_do_not_count():
    output, target, valid = batch(1)
    more = torch.zeros(2, 2, 50, 6)
    more[:, 0], more[:, 1] = -40.0, 40.0
    long = (torch.cat([output, more], 2), torch.cat([target, torch.ones(2, 50, 6, dtype=torch.long)], 1))
    whole = torch.cat([valid, torch.ones(2, 50, 6, dtype=torch.bool)], 1)
    torch.testing.assert_close(objective().loss(*long, whole), objective().loss(output, target, valid))


def test_nothing_to_learn_keeps_the_graph():
    output, target, valid = batch()
    output.requires_grad_()
    loss = objective().loss(output, torch.full_like(target, -1), valid)
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert not output.grad.any()


def test_metrics_are_those_of_the_change():
    output = torch.tensor([[[[3.0, 3.0, -3.0, -3.0, 3.0]], [[0.0] * 5]]])
    target = torch.tensor([[[0, 1, 0, 1, -1]]])
    metrics = objective().metrics()
    objective().update_metrics(metrics, output, target, torch.ones(1, 1, 5, dtype=torch.bool))
    found = {name: float(value) for name, value in metrics.compute().items()}
    assert {name: found[name] for name in ("overall_accuracy", "macro_f1", "positive_f1")} == pytest.approx(
        {"overall_accuracy": 0.5, "macro_f1": 0.5, "positive_f1": 0.5}
    )
    assert objective().monitor == ("positive_f1", "max")
    # A strict threshold calls nothing: the F1 of the change is 0 although half of the pixels are right.
    metrics.reset()
    strict = objective(threshold=0.99)
    strict.update_metrics(metrics, output, target, torch.ones(1, 1, 5, dtype=torch.bool))
    assert float(metrics.compute()["positive_f1"]) == 0.0
    assert float(metrics.compute()["overall_accuracy"]) == 0.5


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("kind", [JaccardSegmentation, Segmentation])
def test_the_threshold_decides(kind, library):
    probability = np.array([[[0.3, 0.5, 0.6, 0.65, 0.7]], [[0.7, 0.5, 0.4, 0.35, 0.3]]], np.float32)[None]
    moments = torch.from_numpy(probability) if library == "torch" else probability
    usual = kind(LEGEND, positive="changed")
    strict = usual.looking_for("changed", 0.66)
    prediction = strict.from_moments(moments)
    assert np.asarray(prediction.value).tolist() == [[[2, 2, 2, 2, 1]]]
    assert np.asarray(prediction.layers["value"]).shape == (1, 1, 1, 5)
    assert np.asarray(usual.from_moments(moments).value).tolist() == [[[2, 1, 1, 1, 1]]]
    np.testing.assert_allclose(np.asarray(prediction.layers["probability"]), probability)
    assert (strict.by_argmax, usual.by_argmax) == (False, True)
    assert strict.layer_specs()[0].description == "changed where its probability is above 0.66"


def test_members_decide_their_mean_by_the_same_threshold():
    chance = np.array([[0.9, 0.2, 0.4], [0.5, 0.1, 0.3]])  # of change, two members, three pixels
    logits = np.log(np.stack([chance, 1 - chance], axis=1)).reshape(1, 4, 1, 3).astype(np.float32)
    found = [
        np.asarray(Members(objective(), 2).looking_for("changed", limit).predict(logits).value)[0, 0].tolist()
        for limit in (0.5, 0.3, 0.1)
    ]
    assert found == [[1, 2, 2], [1, 2, 1], [1, 1, 1]]
    mixture = build_objective(Members(objective(), 2).looking_for("changed", 0.3).to_config())
    assert (mixture.by_argmax, mixture.positive_index) == (False, 0)
    assert mixture.decide(np.array([[0.35], [0.65]])[None]).tolist() == [[0]]


def test_configuration_survives_json():
    one = objective(threshold=0.66, factor=1.0)
    again = build_objective(one.to_config())
    assert isinstance(again, JaccardSegmentation)
    assert again.to_config() == one.to_config()
    assert (again.positive, again.threshold, again.factor) == ("changed", 0.66, 1.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"legend": Legend.from_names(["a", "b", "c"]), "positive": "a"}, "decides between two classes, but .* has 3"),
        ({"positive": "burnt"}, "No class is called 'burnt'"),
        ({"threshold": 1.0}, r"in \(0, 1\)"),
        ({"factor": 0.0}, "factor of the loss must be positive"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        objective(**arguments)
