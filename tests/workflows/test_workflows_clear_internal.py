"""`clear --method internal-learning`: products of networks that were fitted to the series, and what is refused."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from clear_series import disc, errors_of_filled, read, season, write_date, write_radar

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.restoration import internal_learning
from ecumene.restoration.contract import BEYOND, FILLED, OBSERVED
from ecumene.workflows import clear, clear_internal
from ecumene.workflows.clear import clear_scenes
from ecumene.workflows.clear_internal import RestoredDates, blend_weights, parts_of

pytest.importorskip("torch")
pytestmark = pytest.mark.slow  # the oldest versions run without them
CLOUD = disc(30, 40, 14)


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    """Networks of few channels, because the paths are tested and not how well full ones fill."""
    with pytest.MonkeyPatch.context() as patch:
        small = functools.partial(internal_learning.InternalOptions, width=8, levels=2, noise=4)
        patch.setattr(clear, "InternalOptions", small)
        yield


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return [write_date(folder, 10), write_date(folder, 30, CLOUD)]


@pytest.fixture(scope="module")
def product(scenes, small_networks, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "product"
    return clear_scenes(scenes, out, method="internal-learning", date="2020-01-31", steps=60)[0]


def test_clouds_are_filled_and_observed_pixels_are_not_touched(scenes, product, tmp_path):
    truth = season(30)
    error, spread = errors_of_filled(product, truth, CLOUD)
    assert np.sqrt(np.mean(error[3] ** 2)) < 0.5 * truth[3][CLOUD].std()
    assert np.mean(np.abs(error) < 3 * spread[:, CLOUD]) > 0.9
    found = product.properties["ecumene:results"]
    assert found["method"] == "internal-learning"
    assert found["steps"] == 60
    assert found["held_out"]["internal-learning"]["rmse"] < 0.05
    same = clear_scenes(scenes, tmp_path / "same", method="internal-learning", date="2020-01-31", steps=60)[0]
    for layer in ("reflectance", "uncertainty"):
        assert same.layers[layer].path.read_bytes() == product.layers[layer].path.read_bytes()


def test_without_a_clear_pixel_the_answer_is_beyond_repair(tmp_path):
    clouds = np.ones((80, 80), bool)
    scenes = [write_date(tmp_path, day, clouds) for day in (10, 30)]
    product = clear_scenes(scenes, tmp_path / "out", method="internal-learning", date="2020-01-31", steps=2)[0]
    assert (read(product, "state") == BEYOND).all()
    assert product.properties["ecumene:results"]["method"] == "nothing"


def test_where_nothing_is_to_be_filled_no_network_is_fitted(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(clear_internal, "restore", None)  # would fail
    monkeypatch.setattr(clear_internal, "hide_and_restore", None)
    product = clear_scenes(scenes, tmp_path / "out", method="internal-learning", date="2020-01-11")[0]
    assert (read(product, "state") == OBSERVED).all()
    assert "observed under a clear sky" in product.properties["processing:lineage"]


def test_radar_that_is_missing_for_a_date_leaves_what_no_date_shows(tmp_path):
    scenes = [write_date(tmp_path, day, CLOUD) for day in (10, 30)]
    products = clear_scenes(
        scenes, tmp_path / "out", radar=[write_radar(tmp_path, 12)], method="internal-learning", steps=4
    )
    assert (read(products[0], "state")[0][CLOUD] == FILLED).all()
    assert (read(products[1], "state")[0][CLOUD] == BEYOND).all()


def test_a_day_between_dates_is_filled_whole(scenes, tmp_path):
    product = clear_scenes(scenes, tmp_path / "out", method="internal-learning", date="2020-01-21", steps=40)[0]
    assert (read(product, "state") == FILLED).all()
    error = read(product, "reflectance") - season(20)
    assert np.sqrt(np.mean(error[3] ** 2)) < season(20)[3].std()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"keep_observed": False}, "learns from the observed pixels"),
        ({"steps": 0}, "1 or more"),
        ({"method": "linear", "steps": 5}, "--steps is for --method internal-learning"),
    ],
)
def test_options_that_cannot_work_are_refused(scenes, tmp_path, options, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        clear_scenes(scenes, tmp_path / "out", **{"method": "internal-learning", **options})
    assert not (tmp_path / "out").exists()


def test_one_date_without_radar_and_large_scenes_are_refused(scenes, tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="One date alone"):
        clear_scenes(scenes[:1], tmp_path / "out", method="internal-learning")
    monkeypatch.setattr(clear_internal, "MOST_PIXELS", 1000)
    with pytest.raises(ConfigurationError, match="takes days for 80 x 80"):
        clear_scenes(scenes, tmp_path / "out", method="internal-learning")


@pytest.mark.parametrize("shape", [(300, 300), (700, 300), (1000, 513)])
def test_parts_cover_a_scene_and_their_weights_never_vanish(shape):
    total, seen = np.zeros(shape), np.zeros(shape, int)
    for window in parts_of(*shape):
        assert min(window.row, window.col) >= 0
        assert window.row_stop <= shape[0]
        assert window.col_stop <= shape[1]
        total[window.slices] += blend_weights(window, shape)
        seen[window.slices] += 1
    assert (seen >= 1).all()
    assert total.min() > 1e-4
    assert total[seen == 1] == pytest.approx(1.0, abs=1e-6)  # only an overlap is weighted


def test_blended_parts_are_a_mean_and_their_difference_is_in_the_error_bar():
    dates = RestoredDates.empty(1, 1, (4, 6))
    window, other = Window(0, 0, 4, 4), Window(0, 2, 4, 4)
    one, bar = np.full((1, 4, 4), 0.2, np.float32), np.full((1, 4, 4), 0.01, np.float32)
    hole = one + np.float32(0.1)
    hole[:, 0, 0] = np.nan
    calm, half = np.zeros((4, 4), np.float32), np.full((4, 4), 0.5, np.float32)
    dates.add(0, window, one, bar, calm, half)
    dates.add(0, other, hole, bar, calm + 2.0, half)
    mean, deviation, flag = dates.read(0, Window(0, 0, 4, 6), np.arange(24))
    mean, deviation, flag = mean.reshape(4, 6), deviation.reshape(4, 6), flag.reshape(4, 6)
    assert mean[1] == pytest.approx([0.2, 0.2, 0.25, 0.25, 0.3, 0.3], abs=1e-6)
    assert mean[0, 2] == pytest.approx(0.2, abs=1e-6)  # the other part knows nothing there
    assert deviation[1, [0, 2]] == pytest.approx([0.01, np.hypot(0.01, 0.05)], rel=1e-3)
    assert flag[1].tolist() == [False, False, False, False, True, True]
