"""Training of members: what each method trains, and what is left of it after a kill."""

from __future__ import annotations

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.networks import build_network
from ecumene.objectives import Members, PixelRegression
from ecumene.samples.contract import Part
from ecumene.samples.patches import PatchSet
from ecumene.systems import get_system
from ecumene.training.fit_network import balanced_objective, fit_network
from ecumene.training.options import TrainingOptions
from ecumene.workflows.training_data import TrainingData
from ecumene.workflows.uncertainty import (
    Uncertainty,
    check_uncertainty,
    fit_members,
    parse_uncertainty,
    with_dropout,
)

torch = pytest.importorskip("torch")

QUICK = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-3, "precision": "32", "accelerator": "cpu"}
MLP = {"in_channels": 3, "n_outputs": 3}


class Killed(Exception):
    pass


def members(folder, patches, objective, inputs, text, *, kill_after=None, seen=None, arguments=None):
    data = TrainingData({Part.TRAIN: patches(), Part.VALIDATION: patches(8, seed=1)})
    epochs = []

    def progress(done, total, what):
        epochs.append(done)
        if kill_after is not None and len(epochs) == kill_after:
            raise Killed

    def train(seed, place, given):
        if seen is not None:
            seen.append((seed, place.name))
        return fit_network(
            "mlp", given, objective, data[Part.TRAIN], data[Part.VALIDATION], inputs,
            options=TrainingOptions(**QUICK, seed=seed), folder=place, progress=progress,
        )  # fmt: skip

    fitted = fit_members(
        parse_uncertainty(text), get_system("mlp-pixel"), arguments or MLP, objective, inputs, data, train,
        seed=3, folder=folder,
    )  # fmt: skip
    return fitted, epochs


def network_of(fitted):
    network = build_network(fitted.architecture["name"], pretrained=False, **fitted.architecture["arguments"])
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in fitted.weights.items()})
    return network.eval()


@pytest.mark.parametrize(("text", "number"), [("single", 1), ("ensemble:2", 2), ("mc-dropout:3", 3), ("laplace:4", 4)])
def test_every_method_gives_a_network_with_its_members(tmp_path, patches, objective, inputs, text, number):
    fitted, _ = members(tmp_path, patches, objective, inputs, text)
    assert fitted.objective.members == number
    with torch.inference_mode():
        output = network_of(fitted)(torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert output.shape[1] == fitted.objective.n_outputs == 3 * number
    prediction = fitted.objective.predict(output.numpy())
    if number > 1:
        assert (prediction.epistemic > 0).any()


def test_an_ensemble_goes_on_at_the_member_that_was_interrupted(tmp_path, patches, objective, inputs):
    seen = []
    whole, _ = members(tmp_path / "whole", patches, objective, inputs, "ensemble:3", seen=seen)
    assert len({seed for seed, _ in seen}) == len({name for _, name in seen}) == 3
    with pytest.raises(Killed):
        members(tmp_path / "killed", patches, objective, inputs, "ensemble:3", kill_after=3)
    resumed, epochs = members(tmp_path / "killed", patches, objective, inputs, "ensemble:3")
    assert len(epochs) <= 3 * 2 - 2  # the first member's epochs are not done again
    assert resumed.weights.keys() == whole.weights.keys()
    for name, array in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], array)


def test_members_of_an_ensemble_differ_and_the_first_is_the_single_network(tmp_path, patches, objective, inputs):
    single, _ = members(tmp_path / "one", patches, objective, inputs, "single")
    ensemble, _ = members(tmp_path / "two", patches, objective, inputs, "ensemble:2")
    for name, array in single.weights.items():
        np.testing.assert_array_equal(ensemble.weights[f"bases.0.{name}"], array)
    assert not np.array_equal(ensemble.weights["bases.0.head.weight"], ensemble.weights["bases.1.head.weight"])


def mimo(folder, patches, objective, inputs, numbers=False, epochs=3, kill_after=None, **options):
    train, validation = patches(8, side=32), patches(2, side=32, seed=1)
    if numbers:
        train, validation = (
            PatchSet(p.image, np.where(p.mask >= 0, p.image[:, 2], np.nan).astype(np.float32), p.valid, p.dates,
                     p.group, p.channels) for p in (train, validation)
        )  # fmt: skip

    def progress(done, total, what):
        if done == kill_after:
            raise Killed

    mixture = Members(objective, 2)
    arguments = {"in_channels": 3, "n_outputs": mixture.n_outputs, "members": 2, "width": 2, "repetition": 0.25}
    return fit_network(
        "mimo-unet", arguments, mixture, train, validation, inputs, folder=folder, progress=progress,
        options=TrainingOptions(**{**QUICK, "epochs": epochs, "batch_size": 4, **options}),
    )  # fmt: skip


def test_mimo_learns_classes_and_goes_on_after_a_kill(tmp_path, patches, objective, inputs):
    whole = mimo(tmp_path / "a", patches, objective, inputs, class_balance="inverse-sqrt")
    assert whole.history[-1]["train_loss"] < whole.history[0]["train_loss"]
    assert int(whole.state["step"]) > 0
    assert (whole.state["recent_losses"] > 0).any()
    with pytest.raises(Killed):
        mimo(tmp_path / "b", patches, objective, inputs, class_balance="inverse-sqrt", kill_after=1)
    again = mimo(tmp_path / "b", patches, objective, inputs, class_balance="inverse-sqrt")
    assert all(np.array_equal(whole.state[name], again.state[name]) for name in whole.state)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace"])
def test_mimo_learns_numbers(tmp_path, patches, inputs, likelihood):
    number = PixelRegression(("h",), target_mean=(0.1,), target_std=(0.1,), likelihood=likelihood)
    fitted = mimo(tmp_path, patches, number, inputs, numbers=True, epochs=4)
    assert min(row["rmse"] for row in fitted.history[1:]) < fitted.history[0]["rmse"]


def test_class_weights_reach_the_members(patches, objective):
    options = TrainingOptions(class_balance="inverse")
    weighted = balanced_objective(Members(objective, 2), patches(), options)
    assert isinstance(weighted, Members)
    assert weighted.base.class_weights == balanced_objective(objective, patches(), options).class_weights


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("single", Uncertainty()),
        ("ensemble", Uncertainty("ensemble", 4)),
        ("ensemble:2", Uncertainty("ensemble", 2)),
        ("laplace", Uncertainty("laplace", 16)),
        ("augmentation:8", Uncertainty("augmentation", 8)),
    ],
)
def test_the_option_is_read(text, wanted):
    assert parse_uncertainty(text) == wanted


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bayes", "there are: single, ensemble"),
        ("ensemble:1", "2 to 16 members"),
        ("ensemble:", "2 to 16 members"),
        ("ensemble:four", "2 to 16 members"),
        ("ensemble:1000", "2 to 16 members"),
        ("augmentation:9", "2 to 8 members"),
        ("single:2", "1 to 1 members"),
    ],
)
def test_a_wrong_option_is_refused_with_a_sentence(text, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        parse_uncertainty(text)


@pytest.mark.parametrize(
    ("system", "method", "sentence"),
    [
        ("random-forest", "ensemble", "needs a network"),
        ("mimo-unet", "ensemble", "members of its own"),
        ("mlp-pixel", "augmentation", "no orientation"),
    ],
)
def test_what_a_system_cannot_do_is_refused_with_a_sentence(system, method, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        check_uncertainty(parse_uncertainty(method), get_system(system))


def test_dropout_is_switched_on_only_where_it_is_sampled():
    sampled = parse_uncertainty("mc-dropout")
    assert with_dropout(parse_uncertainty("laplace"), "unet", {}) == {}
    assert with_dropout(sampled, "unet", {}) == {"dropout": 0.1}
    assert with_dropout(sampled, "unet", {"dropout": 0.3}) == {"dropout": 0.3}
    assert with_dropout(sampled, "ltae", {}) == {}  # it has dropout by default
