import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError
from ecumene.core.window import Window
from ecumene.samples.samplers import class_balanced_windows, grid_windows, random_windows

scenes = st.builds(Window, st.just(0), st.just(0), st.integers(1, 90), st.integers(1, 90))


def inside(window, scene):
    rows = (window.row >= 0 and window.row_stop <= scene.height) or (window.row == 0 and scene.height < window.height)
    cols = (window.col >= 0 and window.col_stop <= scene.width) or (window.col == 0 and scene.width < window.width)
    return rows and cols


@settings(max_examples=150, deadline=None)
@given(scene=scenes, data=st.data(), size=st.integers(1, 40))
def test_grid_covers_any_region_and_stays_in_the_scene(scene, data, size):
    row, col = data.draw(st.integers(0, scene.height - 1)), data.draw(st.integers(0, scene.width - 1))
    region = Window(
        row, col, data.draw(st.integers(1, scene.height - row)), data.draw(st.integers(1, scene.width - col))
    )
    windows = grid_windows(region, scene, size, data.draw(st.integers(1, size)))
    covered = np.zeros((scene.height + size, scene.width + size), bool)
    for window in windows:
        assert inside(window, scene)
        covered[window.slices] = True
    assert covered[region.slices].all()
    assert len(set(windows)) == len(windows)


@settings(max_examples=60, deadline=None)
@given(scene=scenes, size=st.integers(1, 120), seed=st.integers(0, 99))
def test_random_windows_stay_inside(scene, size, seed):
    for window in random_windows(scene, scene, size, 20, np.random.default_rng(seed)):
        assert inside(window, scene)


def test_thin_region_is_reached_everywhere():
    scene, thin = Window(0, 0, 500, 500), Window(250, 0, 1, 500)
    windows = random_windows(thin, scene, 32, 2000, np.random.default_rng(0))
    covered = np.zeros((500, 500), bool)
    for window in windows:
        covered[window.slices] = True
    assert covered[250].all()
    assert len(grid_windows(thin, scene, 32)) == 16


def test_class_balanced_draw_is_balanced():
    classes = np.zeros((100, 100), np.int16)
    classes[40:43, 50:52] = 1
    classes[0, :] = -1
    held, scene = Window(20, 30, 100, 100), Window(0, 0, 300, 300)
    windows = class_balanced_windows(classes, held, scene, 8, 1000, np.random.default_rng(1))
    rare = Window(60, 80, 3, 2)
    share = np.mean([window.intersect(rare) is not None for window in windows])
    assert 0.45 < share < 0.6
    labelled = Window(21, 30, 99, 100)
    assert all(window.intersect(labelled) is not None for window in windows)


def test_seed_fixes_windows_and_nonsense_is_refused():
    scene = Window(0, 0, 50, 60)
    one, two = (random_windows(scene, scene, 9, 5, np.random.default_rng(3)) for _ in range(2))
    assert one == two
    assert grid_windows(Window(70, 70, 5, 5), scene, 8) == []
    with pytest.raises(ConfigurationError):
        grid_windows(scene, scene, 8, 9)
