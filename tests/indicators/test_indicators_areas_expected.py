import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import ndtr, softmax

from ecumene.core.errors import ConfigurationError, ModelError, ProductError
from ecumene.indicators.areas_expected import calibrated_areas, difference_areas, expected_areas, probabilities_at
from ecumene.indicators.olofsson import olofsson_report
from ecumene.trust.block_residuals import BlockResiduals

SIDE, BLOCK, CLASSES = 80, 16, 3
MAPS = 200


def smooth(generator, sigma):
    """Standard normal fields `[K, H, W]` with a correlation length of a few pixels."""
    field = gaussian_filter(generator.normal(size=(CLASSES, SIDE, SIDE)), (0, sigma, sigma), mode="wrap")
    return field / field.std()


def draw(generator):
    """Probabilities and truth of a town: honest for each pixel, with errors that neighbours share.

    Adding Gumbel noise to logits and taking the largest gives exactly the softmax; the noise is a smooth Gaussian field
    brought to that distribution.
    """
    logits = 1.5 * smooth(generator, 2.5) + np.array([0.5, 0.0, -1.0])[:, None, None]
    uniform = np.clip(ndtr(smooth(generator, 2.0)), 1e-12, 1 - 1e-12)
    truth = (logits - np.log(-np.log(uniform))).argmax(axis=0)
    return logits, softmax(logits, axis=0), truth


def overconfident(logits):
    """Probabilities of a model that is too sure and likes one class too much."""
    return softmax(2.0 * logits + np.array([0.0, 0.6, 0.0])[:, None, None], axis=0)


def blocks_of(count, generator):
    """Some pixels' indices, block by block, from a grid of blocks."""
    across = SIDE // BLOCK
    chosen = generator.choice(across**2, count, replace=False)
    rows, cols = np.divmod(np.arange(SIDE * SIDE), SIDE)
    number = rows // BLOCK * across + cols // BLOCK
    keep = np.isin(number, chosen)
    return keep, number[keep]


def covered(estimates, truth, total):
    shares = np.bincount(truth.ravel(), minlength=CLASSES) / truth.size * total
    return [entry.low <= share <= entry.high for entry, share in zip(estimates.areas, shares, strict=True)]


def test_intervals_from_calibration_blocks_hold_the_true_areas():
    """Over simulated maps the 90 and 95 % intervals hold the true area as often as they say, honest model or not."""
    generator, naive = np.random.default_rng(1), []
    found = {(kind, level): [] for kind in ("honest", "biased") for level in (0.9, 0.95)}
    for _ in range(MAPS):
        given, new = draw(generator), draw(generator)
        keep, number = blocks_of(10, generator)
        for kind in ("honest", "biased"):
            there, here = (world[1] if kind == "honest" else overconfident(world[0]) for world in (given, new))
            flat = there.reshape(CLASSES, -1).T[keep]
            residuals = BlockResiduals.fit(flat, given[2].ravel()[keep], number, BLOCK**2)
            sums = here.sum(axis=(1, 2))
            for level in (0.9, 0.95):
                found[kind, level].append(covered(calibrated_areas(sums, residuals, level), new[2], SIDE**2))
        spread = np.sqrt((new[1] * (1 - new[1])).sum(axis=(1, 2)))
        shares = np.bincount(new[2].ravel(), minlength=CLASSES)
        naive.append(np.abs(shares - new[1].sum(axis=(1, 2))) <= 1.96 * spread)
    for (kind, level), store in found.items():
        assert np.mean(store) == pytest.approx(level, abs=0.03), (kind, level)
    # Pixels taken as independent: an interval that is far too short, though the probabilities are honest.
    assert np.mean(naive) < 0.5


def test_a_reference_sample_corrects_any_probabilities_and_is_sharper_than_without_them():
    generator, found, other, widths = np.random.default_rng(2), {0.9: [], 0.95: []}, [], []
    for _ in range(MAPS):
        logits, _, truth = draw(generator)
        predicted = overconfident(logits)
        mapped = predicted.argmax(axis=0).ravel()
        areas = np.bincount(mapped, minlength=CLASSES).astype(float)
        drawn = np.concatenate([generator.choice(np.flatnonzero(mapped == h), 60) for h in range(CLASSES)])
        flat, reference = predicted.reshape(CLASSES, -1).T[drawn], truth.ravel()[drawn]
        for level, store in found.items():
            result = difference_areas(predicted.sum(axis=(1, 2)), areas, mapped[drawn], flat, reference, level)
            store.append(covered(result, truth, SIDE**2))
        counts = np.zeros((CLASSES, CLASSES), int)
        np.add.at(counts, (mapped[drawn], reference), 1)
        plain = olofsson_report(counts, areas)
        shares = np.bincount(truth.ravel(), minlength=CLASSES)
        other.append([entry.low <= share <= entry.high for entry, share in zip(plain.areas, shares, strict=True)])
        widths.append([result.areas[k].standard_error / plain.areas[k].standard_error for k in range(CLASSES)])
    for level, store in found.items():
        assert np.mean(store) == pytest.approx(level, abs=0.03), level
    assert np.mean(other) == pytest.approx(0.95, abs=0.03)
    assert np.mean(widths) < 0.95


def test_probabilities_of_0_and_1_give_the_estimator_of_olofsson():
    generator = np.random.default_rng(3)
    stratum, reference = generator.integers(0, 3, 300), generator.integers(0, 3, 300)
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (stratum, reference), 1)
    areas = np.array([500.0, 300.0, 200.0])
    found = difference_areas(areas, areas, stratum, np.eye(3)[stratum], reference)
    expected = olofsson_report(counts, areas)
    for one, two in zip(found.areas, expected.areas, strict=True):
        assert one.value == pytest.approx(two.value)
        assert one.standard_error == pytest.approx(two.standard_error, rel=1e-9)


def test_shares_keep_their_sum_and_survive_json():
    generator = np.random.default_rng(4)
    p = generator.dirichlet(np.ones(3), 200)
    residuals = BlockResiduals.fit(p, generator.integers(0, 3, 200), np.arange(200) // 20, 400.0)
    assert sum(residuals.mean) == pytest.approx(0.0, abs=1e-12)
    assert BlockResiduals.from_config(json.loads(json.dumps(residuals.to_config()))) == residuals
    found = calibrated_areas(np.array([1e5, 2e5, 3e5]), residuals)
    assert sum(entry.value for entry in found.areas) == pytest.approx(6e5)
    assert all(0 <= entry.low <= entry.value <= entry.high <= 6e5 for entry in found.areas)
    assert "10 calibration blocks" in found.warnings[0]
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_stratum_without_reference_is_named():
    found = difference_areas(
        np.array([60.0, 40.0]), np.array([50.0, 50.0]), np.zeros(4, int), np.full((4, 2), 0.5), np.array([0, 1, 0, 1])
    )
    assert "fewer than two reference elements" in found.warnings[0]
    assert found.areas[0].value == pytest.approx(60.0)


def write_probabilities(path, stored, nodata=255):
    import rasterio
    from rasterio.transform import from_origin

    place = {"crs": "EPSG:32633", "transform": from_origin(500000, 5200000, 10, 10)}
    shape = {"count": len(stored), "height": stored.shape[1], "width": stored.shape[2]}
    profile = {"driver": "GTiff", "dtype": "uint8", "nodata": nodata, **shape, **place}
    with rasterio.open(path, "w", **profile) as target:
        target.write(stored)
        target.scales = (0.004,) * len(stored)
    return path


def test_sums_over_a_layer(tmp_path):
    generator = np.random.default_rng(5)
    shares = generator.dirichlet(np.ones(3), (40, 30)).transpose(2, 0, 1)
    stored = np.rint(shares * 250).astype(np.uint8)
    stored[:, :5] = 255
    path = write_probabilities(tmp_path / "p.tif", stored)
    sums = expected_areas(path, 3)
    assert sums.sum() == pytest.approx(35 * 30 * 100, rel=2e-3)  # UTM: 0.08 % at the central meridian
    np.testing.assert_allclose(sums / sums.sum(), shares[:, 5:].mean(axis=(1, 2)), atol=2e-3)
    found = probabilities_at(path, np.array([0, 7, 39]), np.array([3, 2, 29]), 3)
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1:], shares[:, [7, 39], [2, 29]].T, atol=5e-3)
    with pytest.raises(ProductError, match="3 bands, but the map has 4"):
        expected_areas(path, 4)


def test_refusals():
    p, target = np.full((10, 2), 0.5), np.zeros(10, int)
    with pytest.raises(ConfigurationError, match="two calibration blocks"):
        BlockResiduals.fit(p, target, np.zeros(10), 1.0)
    with pytest.raises(ConfigurationError, match="groups"):
        BlockResiduals.fit(p, target, np.zeros(3), 1.0)
    with pytest.raises(ConfigurationError, match="positive"):
        BlockResiduals.fit(p, target, np.arange(10), 0.0)
    residuals = BlockResiduals.fit(p, target, np.arange(10), 1.0)
    with pytest.raises(ConfigurationError, match="2 classes"):
        calibrated_areas(np.ones(3), residuals)
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        calibrated_areas(np.ones(2), residuals, 1.0)
    with pytest.raises(ConfigurationError, match="fit together"):
        difference_areas(np.ones(2), np.ones(3), target, p, target)
    for damage in ({"mean": [0]}, {"n_blocks": 1}, {"deviation": [-1, 0]}, {"block_area_m2": "x"}):
        with pytest.raises(ModelError, match="damaged"):
            BlockResiduals.from_config({**residuals.to_config(), **damage})
