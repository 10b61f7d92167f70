"""Noise of stacks without spare acquisitions, and what the verb does with it."""

import json

import numpy as np
import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.physics.tomography import TomographyOptions, make_geometry, make_grid, simulate_stack
from ecumene.physics.tomography.noise import estimate_noise
from ecumene.physics.tomography.noise_by_fit import noise_by_fit


def moving(acquisitions, seed=0):
    rng = np.random.default_rng(seed)
    geometry = make_geometry(
        rng.uniform(-135, 135, acquisitions), 0.0310666, 7e5, 35.0,
        times_years=np.sort(rng.uniform(0, 3, acquisitions)), motion=("linear",),
    )  # fmt: skip
    return make_grid(geometry, (-40, 110), motion_ranges=[(-25, 25)], oversampling=4)


def pixels(grid, count, share_of_two, noise, seed=1):
    rng = np.random.default_rng(seed)
    first = rng.uniform([-35, -20], [30, 20], (count, 2))
    second = rng.uniform([45, -20], [105, 20], (count, 2))
    x = np.exp(2j * np.pi * rng.random((count, 2)))
    x[rng.random(count) > share_of_two, 1] = 0
    return simulate_stack(grid.geometry, np.stack([first, second], axis=1), x, noise, rng)


@pytest.mark.parametrize(("share", "noise"), [(0.0, 0.05), (0.4, 0.4)])
def test_residuals_of_fits_tell_the_noise_where_no_acquisition_is_to_spare(share, noise):
    grid = moving(18)
    data = pixels(grid, 300, share, noise)
    with pytest.raises(ConfigurationError, match="no room"):
        estimate_noise(grid, data)
    found = noise_by_fit(grid, data)
    assert found.variance.shape == (300,)
    assert found.variance[0] == pytest.approx(noise, abs=4 * found.standard_deviation[0] + 0.02 * noise)
    assert 0 < found.standard_deviation[0] < 0.03 * noise


def test_noise_alone_is_all_noise():
    grid = moving(18)
    rng = np.random.default_rng(3)
    data = (rng.standard_normal((300, 18, 2)) @ [1, 1j]) / np.sqrt(2)
    assert noise_by_fit(grid, data).variance[0] == pytest.approx(1.0, rel=0.05)


def test_too_few_acquisitions_are_refused_with_the_way_out():
    grid = moving(6)
    with pytest.raises(ConfigurationError, match="state the noise level"):
        noise_by_fit(grid, np.ones((4, 6), complex), TomographyOptions(max_scatterers=2))


def test_the_verb_says_where_its_noise_comes_from(tmp_path):
    from test_tomography_workflow import write_stack

    from ecumene.mapping.product import open_product
    from ecumene.workflows.tomography import tomography

    paths, table = write_stack(tmp_path, motion=True)
    product = tomography(
        paths, table, tmp_path / "out", elevation_m=(-60, 100), motion=("linear",), motion_ranges=[(-60, 60)],
        oversampling=4, laz=False,
    )  # fmt: skip
    opened = open_product(product.folder, verify=True)
    stated = opened.properties["ecumene:tomography"]
    assert stated["noise_estimated"]
    assert "residuals" in stated["noise_estimated_from"]
    assert product.noise_variance == pytest.approx(0.05, rel=0.1)
    assets = json.loads((product.folder / "item.json").read_text())["assets"]
    assert {"profile", "quicklook", "points"} <= set(assets)
    assert (product.folder / "quicklook.png").stat().st_size > 5000


def test_fewer_acquisitions_than_unknowns_are_refused_before_any_pixel(tmp_path):
    from test_tomography_workflow import write_stack

    from ecumene.workflows.tomography import tomography

    paths, table = write_stack(tmp_path)
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:4]))
    with pytest.raises(ConfigurationError, match="6 unknowns of 2 scatterers"):
        tomography(paths[:3], table, tmp_path / "out", elevation_m=(-60, 100))
