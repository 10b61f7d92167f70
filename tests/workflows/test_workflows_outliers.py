"""Detectors fitted on what a model makes of patches and scenes; the shift report."""

import json
from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.objectives import Segmentation
from ecumene.samples.patch_set import PatchSet
from ecumene.scenes.contract import Block, Channel
from ecumene.trust.feature_choice import FeatureChoice
from ecumene.trust.outlier import DETECTORS, EnergyDetector
from ecumene.workflows.feature_vectors import feature_vectors
from ecumene.workflows.outliers import compare_layers, false_alarms, fit_detector, fit_tardis, linear_head
from ecumene.workflows.shift import BAND_QUANTILES, shift_report, training_quantiles

pytestmark = pytest.mark.slow  # together more than ten seconds; the oldest versions run without them

BANDS = ("B02", "B03", "B04", "B08")
CHANNELS = tuple(Channel("sentinel-2", "L2A", band, "1", None, 10.0) for band in BANDS)
MEAN, STD = np.array([0.1, 0.15, 0.2, 0.3]), np.array([0.03, 0.03, 0.04, 0.05])
LEGEND = Legend.from_names(["water", "forest", "built"])


class FakeStack:
    """An image in memory behind the contract of a stack."""

    def __init__(self, image, when="2021-06-15", channels=CHANNELS, north_up=True):
        self.image, self.channels, self.sources = image, channels, ()
        self.times = (None if when is None else np.datetime64(when),)
        step = -10.0 if north_up else 10.0
        self.geobox = GeoBox(image.shape[1:], Affine(10.0, 0.0, 5e5, 0.0, step, 5e6), "EPSG:32633")

    def read(self, window):
        out = np.full((len(self.channels), window.height, window.width), np.nan, np.float32)
        rows = slice(window.row, min(window.row_stop, self.image.shape[1]))
        cols = slice(window.col, min(window.col + window.width, self.image.shape[2]))
        part = self.image[:, rows, cols]
        out[:, : part.shape[1], : part.shape[2]] = part
        return Block(out[None], np.isfinite(out).all(axis=0)[None], np.zeros(1, np.int32))

    def select(self, keys):
        places = [[channel.key for channel in self.channels].index(key) for key in keys]
        chosen = FakeStack(self.image[places], channels=tuple(self.channels[i] for i in places))
        chosen.times, chosen.geobox = self.times, self.geobox
        return chosen


def scene(seed, side=96, shift=0.0, **entries):
    values = MEAN[:, None, None] + STD[:, None, None] * np.random.default_rng(seed).normal(size=(4, side, side))
    return FakeStack((values + shift).astype(np.float32), **entries)


def patches(seed, count=24, side=16):
    generator = np.random.default_rng(seed)
    image = MEAN[:, None, None] + STD[:, None, None] * generator.normal(size=(count, 4, side, side))
    shape = (count, side, side)
    group = np.broadcast_to(np.arange(count)[:, None, None] // 3, shape).astype(np.int32)
    mask = generator.integers(-1, 3, shape)
    return PatchSet(
        image.astype(np.float32), mask, np.ones(shape, bool), np.zeros((count, 1), np.int64), group, CHANNELS
    )


@pytest.fixture(scope="module")
def model():
    torch = pytest.importorskip("torch")
    from ecumene.networks import build_network

    arguments = {"in_channels": 4, "n_outputs": 3}
    torch.manual_seed(0)
    network = build_network("unet-small", **arguments).eval()
    inputs = tuple(
        InputBand(
            sensor="sentinel-2", level="L2A", band=band, unit="1", ground_sampling_m=10.0, mean=mean, std=std,
            minimum=mean - 3 * std, maximum=mean + 3 * std,
        )
        for band, mean, std in zip(BANDS, MEAN, STD, strict=True)
    )  # fmt: skip
    spec = ModelSpec(
        name="test", created="2026-01-01T00:00:00+00:00", kind="network",
        architecture={"name": "unet-small", "arguments": arguments}, objective=Segmentation(LEGEND).to_config(),
        inputs=inputs, temporal=False, resolution_m=10.0, stride=8, margin=16,
        training={
            "scenes": [{"id": "a", "time": "2020-06-20T10:00:00Z"}],
            BAND_QUANTILES: training_quantiles(patches(0)),
        },
    )  # fmt: skip
    return Model(spec=spec, weights={key: value.numpy() for key, value in network.state_dict().items()})


def test_vectors_of_patches_and_scenes(model):
    data = patches(0)
    found = feature_vectors(model, data)
    assert len(found) == (data.mask >= 0).sum()
    assert set(found.group) == set(range(8))
    few = feature_vectors(model, [scene(1), scene(2)], FeatureChoice(("down.1",)), limit=500)
    assert few.values.shape == (500, 48)
    assert len(np.unique(few.group)) == 2
    again = feature_vectors(model, [scene(1), scene(2)], FeatureChoice(("down.1",)), limit=500)
    np.testing.assert_array_equal(few.values, again.values)


def test_tardis_on_a_chosen_layer_flags_the_wild_shift(model):
    fitted, found = fit_tardis(model, patches(0), [scene(1, shift=0.3)], held_out=patches(2), layer="down.0")
    assert found.layer == "down.0"
    assert found.wild_flagged > 0.95
    assert fitted.detector.choice.parts == ("down.0",)
    assert fitted.spec.outlier["name"] == "tardis"
    image = scene(5, 64, shift=0.3).image[None]
    usual = scene(6, 64).image[None]
    run = fitted.executor(device="cpu").run
    assert np.mean(run(image)[1] > fitted.detector.threshold) > 0.9
    assert np.mean(run(usual)[1] > fitted.detector.threshold) < 0.1


def test_tardis_compares_layers_and_divides_its_reference(model):
    _, found = fit_tardis(model, patches(0), scene(1, shift=0.3), seed=3)
    assert {trial.layer for trial in found.trials} == {"down.0", "down.1", "down.2", "down.3", "up.0", "up.1", "up.2"}
    best = max(trial.auroc for trial in found.trials)
    assert found.trials[0].auroc >= best - 0.005
    assert found.trials[0].layer == found.layer


def test_layers_that_are_equally_good_go_by_order():
    rng = np.random.default_rng(0)
    usual, strange, fresh = (rng.normal(size=(300, 3)).astype(np.float32) for _ in range(3))
    known = dict.fromkeys(("unsteady", "fine", "coarse"), usual)
    wild = dict.fromkeys(known, strange + 9.0)
    # On the first layer, half of the held-out usual pixels look as the wild ones do.
    half = np.where(rng.random((300, 1)) < 0.5, fresh, fresh + 9.0).astype(np.float32)
    fits, trials = compare_layers(known, wild, {"unsteady": half, "fine": fresh, "coarse": fresh})
    assert [trial.layer for trial in trials] == ["fine", "unsteady", "coarse"]
    assert trials[1].auroc < 0.8
    assert set(fits) == {"unsteady", "fine", "coarse"}


def test_tardis_without_anything_strange(model):
    with pytest.raises(ConfigurationError, match="too few to learn from"):
        fit_tardis(model, patches(0), scene(9), layer="down.0", clusters=3)
    with pytest.raises(ConfigurationError, match="No scene was given"):
        fit_tardis(model, patches(0), [])
    with pytest.raises(ConfigurationError, match="nothing to learn outliers from"):
        fit_tardis(model, patches(0), FakeStack(np.full((4, 64, 64), np.nan, np.float32)))
    with pytest.raises(ConfigurationError, match="has no layer 'nowhere'"):
        fit_tardis(model, patches(0), scene(1), layer="nowhere")
    with pytest.raises(ContractError, match="which the scenes do not have"):
        fit_tardis(model, patches(0), scene(1).select(["sentinel-2/B02"]))


@pytest.mark.parametrize("name", sorted(set(DETECTORS) - {"tardis"}))
def test_every_detector_is_fitted_by_name(model, name):
    detector = fit_detector(model, name, patches(0), patches(2), false_alarm_rate=0.05)
    trusted = model.with_trust(detector=detector)
    score = trusted.executor(device="cpu").run(scene(3, 32).image[None])[1]
    assert np.isfinite(score).all()
    vectors = feature_vectors(model, patches(4), detector.choice)
    result = false_alarms(detector, detector.score(vectors.values), vectors.group)
    assert result["realised"] < 0.08
    assert result["worst_block"] >= result["mean_block"]
    assert len(result["blocks"]) == 8


def test_linear_head(model):
    layer, weight, bias = linear_head(model)
    assert layer == "up.2"
    hidden = feature_vectors(model, patches(0), FeatureChoice((layer,))).values
    logits = feature_vectors(model, patches(0), FeatureChoice(("logits",))).values
    np.testing.assert_allclose(hidden @ weight.T + bias, logits, rtol=1e-3, atol=1e-4)


def test_refusals_by_name(model):
    with pytest.raises(ConfigurationError, match="no outlier detector 'magic'"):
        fit_detector(model, "magic", patches(0), patches(1))
    with pytest.raises(ConfigurationError, match="no outlier detector 'tardis'"):
        fit_detector(model, "tardis", patches(0), patches(1))
    headless = replace(model, weights={k: v for k, v in model.weights.items() if not k.startswith("head")})
    with pytest.raises(ConfigurationError, match="no pixel-wise linear head"):
        linear_head(headless)
    with pytest.raises(ConfigurationError, match="with a threshold"):
        false_alarms(EnergyDetector.fit(np.zeros((5, 2))), np.zeros(5), np.zeros(5))


def test_shift_report_names_band_place_and_season(model):
    trusted = model.with_trust(detector=fit_detector(model, "combined", patches(0), patches(2)))
    other = scene(7, side=150, when="2022-01-10")
    other.image[3, :60, 100:] += 0.8
    report = shift_report(trusted, other)
    names = {block.name: block for block in report.blocks}
    assert len(names) == 9
    assert names["north-east"].flagged_share > 0.9
    assert names["north-east"].band == "sentinel-2/B08"
    assert names["south-west"].flagged_share < 0.05
    assert report.bands["sentinel-2/B08"].mean_difference == pytest.approx(0.8 * 60 * 50 / 150**2 / 0.05, rel=0.1)
    assert abs(report.bands["sentinel-2/B02"].mean_difference) < 0.05
    assert report.season.unseen_months == (1,)
    assert report.season.days_off == 162
    assert "B08 is 2.1 training standard deviations higher" in report.sentence
    assert "north-east" in report.sentence
    assert "not seen in training: dates in January (162 days of the year from the nearest one)" in report.sentence
    json.dumps(report.to_dict(), allow_nan=False)


def test_shift_report_of_a_scene_like_the_training(model, tmp_path):
    report = shift_report(model, scene(8, side=70, when="2021-06-01"))
    assert [block.name for block in report.blocks] == ["all"]
    assert report.flagged_share is None
    assert all(abs(shift.mean_difference) < 0.1 for shift in report.bands.values())
    assert all(shift.stability_index < 0.05 for shift in report.bands.values())
    assert report.sentence == "No band differs by 0.5 training standard deviations."
    assert json.loads(report.write(tmp_path / "shift.json").read_text())["pixels"] == 4900


def test_shift_report_knows_where_north_is(model):
    other = scene(7, side=90, north_up=False, when=None)
    other.image[0, :30, :30] += 1.0
    report = shift_report(model, other)
    assert max(report.blocks, key=lambda block: block.mean_difference).name == "south-west"
    assert "dates are missing" in report.sentence


def test_shift_report_refusals(model):
    with pytest.raises(ConfigurationError, match="No pixel of the scene is valid"):
        shift_report(model, FakeStack(np.full((4, 80, 80), np.nan, np.float32)))
    damaged = model.with_training(**{BAND_QUANTILES: {"sentinel-2/B02": [3.0, 1.0]}})
    with pytest.raises(ConfigurationError, match="quantiles are damaged"):
        shift_report(damaged, scene(0))
    without = model.with_training(**{BAND_QUANTILES: None, "scenes": "none"})
    report = shift_report(without, scene(0))
    assert report.bands["sentinel-2/B02"].wasserstein is None
    assert report.season.days_off is None
