"""Changed or not: the loss of overlap, and the decision by a threshold."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ecumene.core.errors import ConfigurationError  # noqa: E402
from ecumene.legends import Legend  # noqa: E402
from ecumene.objectives import ChangeSegmentation, build_objective  # noqa: E402

LEGEND = Legend.from_names(["changed", "unchanged"], name="change")


def objective(**changes):
    return ChangeSegmentation(**{"legend": LEGEND, "positive": "changed", **changes})


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
    assert float(objective().loss(sure, target, torch.ones(1, 1, 4, dtype=torch.bool))) == pytest.approx(-1.0, abs=1e-5)


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
    names = ("overall_accuracy", "change_f1", "change_precision", "change_recall")
    assert found == pytest.approx(dict.fromkeys(names, 0.5))
    assert objective().monitor == ("change_f1", "max")


@pytest.mark.parametrize(("counts", "name"), [((5, 90), "changed"), ((90, 5), "unchanged"), ((7, 7), "unchanged")])
def test_the_rarer_class_is_the_change_unless_it_is_said(counts, name):
    assert ChangeSegmentation(LEGEND).settled(counts).positive == name
    assert objective().settled(counts).positive == "changed"


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_the_threshold_decides(library):
    probability = np.array([[[0.3, 0.5, 0.6, 0.65, 0.7]], [[0.7, 0.5, 0.4, 0.35, 0.3]]], np.float32)[None]
    moments = torch.from_numpy(probability) if library == "torch" else probability
    strict = objective(threshold=0.66)
    prediction = strict.from_moments(moments)
    assert np.asarray(prediction.value).tolist() == [[[2, 2, 2, 2, 1]]]
    assert np.asarray(prediction.layers["value"]).shape == (1, 1, 1, 5)
    assert np.asarray(objective().from_moments(moments).value).tolist() == [[[2, 1, 1, 1, 1]]]
    np.testing.assert_allclose(np.asarray(prediction.layers["probability"]), probability)
    assert not strict.by_argmax
    assert objective().by_argmax


def test_configuration_survives_json():
    one = objective(threshold=0.66, factor=1.0)
    again = build_objective(one.to_config())
    assert isinstance(again, ChangeSegmentation)
    assert again.to_config() == one.to_config()
    assert (again.positive, again.threshold, again.factor) == ("changed", 0.66, 1.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"legend": Legend.from_names(["a", "b", "c"]), "positive": None}, "have 3 classes; join them to two"),
        ({"positive": "burnt"}, "No class is called 'burnt'"),
        ({"threshold": 1.0}, r"in \(0, 1\)"),
        ({"factor": 0.0}, "factor positive"),
    ],
)
def test_wrong_arguments_are_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        objective(**arguments)


def test_a_change_that_nobody_has_named_is_refused():
    with pytest.raises(ConfigurationError, match="Nobody has said which class"):
        ChangeSegmentation(LEGEND).loss(*batch())
