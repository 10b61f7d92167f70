import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ContractError
from ecumene.samples.augmentation import (
    BandDropout,
    Compose,
    DateDropout,
    OpticalJitter,
    RandomD4,
    SarJitter,
    augmentation_for,
    d4_array,
    d4_boxes,
    d4_inverse,
    d4_sample,
)
from ecumene.scenes.contract import Channel


def make_sample(shape=(3, 8, 8), seed=0, nan=True):
    rng = np.random.default_rng(seed)
    image = rng.uniform(0.05, 0.4, shape).astype(np.float32)
    if nan:
        image[..., 2, 3] = np.nan
    frames = shape[:-3]
    return {
        "image": image,
        "mask": rng.integers(-1, 4, shape[-2:]),
        "valid": np.isfinite(image).all(axis=-3),
        "dates": np.arange(frames[0] if frames else 1),
    }


@settings(max_examples=40, deadline=None)
@given(a=st.integers(0, 7), b=st.integers(0, 7), h=st.integers(1, 6), w=st.integers(1, 6))
def test_d4_is_a_group(a, b, h, w):
    array = np.arange(2 * h * w).reshape(2, h, w)
    both = d4_array(d4_array(array, a), b)
    matches = [c for c in range(8) if np.array_equal(d4_array(array, c), both)]
    assert matches  # closed
    np.testing.assert_array_equal(d4_array(d4_array(array, a), d4_inverse(a)), array)
    if h == w > 1:
        assert len(matches) == 1
        assert len({d4_array(array, c).tobytes() for c in range(8)}) == 8


@pytest.mark.parametrize("element", range(8))
def test_d4_moves_everything_together(element):
    sample = make_sample((4, 3, 6, 6))
    row, col = 1, 4
    sample["image"][:, :, row, col] = 9.0
    sample["mask"][:] = -1
    sample["mask"][row, col] = 3
    sample["valid"][:] = False
    sample["valid"][:, row, col] = True
    sample["bbox_xyxy"] = np.array([[col, row, col + 1, row + 1]], np.float32)
    out = d4_sample(sample, element)
    where = np.argwhere(out["mask"] == 3)
    assert len(where) == 1
    new_row, new_col = where[0]
    assert (out["image"][:, :, new_row, new_col] == 9).all()
    assert out["valid"][:, new_row, new_col].all()
    assert out["valid"].sum() == 4
    assert out["bbox_xyxy"].tolist() == [[new_col, new_row, new_col + 1, new_row + 1]]


@settings(max_examples=40, deadline=None)
@given(element=st.integers(0, 7), h=st.integers(3, 9), w=st.integers(3, 9), data=st.data())
def test_d4_boxes_follow_the_pixels(element, h, w, data):
    x0, y0 = data.draw(st.integers(0, w - 2)), data.draw(st.integers(0, h - 2))
    x1, y1 = data.draw(st.integers(x0 + 1, w)), data.draw(st.integers(y0 + 1, h))
    image = np.zeros((h, w), bool)
    image[y0:y1, x0:x1] = True
    boxes = d4_boxes(np.array([[x0, y0, x1, y1]], np.float32), element, h, w)
    rows, cols = np.nonzero(d4_array(image, element))
    assert boxes[0].tolist() == [cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]


def test_random_d4_keeps_the_shape_of_rectangles_and_reaches_all_elements():
    sample = make_sample((1, 4, 6), nan=False)
    shapes = {RandomD4()(sample, np.random.default_rng(s))["image"].shape for s in range(30)}
    assert shapes == {(1, 4, 6)}
    square = make_sample((1, 5, 5), nan=False)
    assert len({RandomD4()(square, np.random.default_rng(s))["image"].tobytes() for s in range(100)}) == 8


@pytest.mark.parametrize("shape", [(3, 8, 8), (5, 3, 8, 8)])
def test_radiometry_keeps_nan_input_and_untouched_channels(shape):
    sample = make_sample(shape)
    before = sample["image"].copy()
    steps = Compose((OpticalJitter((0, 2), (0.49, 0.84)), SarJitter((1,), ("linear power",))))
    out = steps(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(sample["image"], before)
    np.testing.assert_array_equal(np.isnan(out["image"]), np.isnan(before))
    assert out["image"].dtype == np.float32
    only = OpticalJitter((0, 2))(sample, np.random.default_rng(0))["image"]
    np.testing.assert_array_equal(only[..., 1, :, :], before[..., 1, :, :])
    again = steps(sample, np.random.default_rng(0))["image"]
    np.testing.assert_array_equal(out["image"], again)


def test_optical_jitter_is_affine_and_haze_falls_with_wavelength():
    sample = make_sample((2, 8, 8), nan=False)
    path, gain = [], []
    for seed in range(400):
        out = OpticalJitter((0, 1), (0.49, 1.61), gain=0.05, band_gain=0.02, haze=0.02)(
            sample, np.random.default_rng(seed)
        )["image"]
        fit = [np.polyfit(sample["image"][c].ravel(), out[c].ravel(), 1) for c in range(2)]
        residual = [out[c] - np.polyval(fit[c], sample["image"][c]) for c in range(2)]
        assert np.abs(residual).max() < 1e-5
        gain.append([fit[0][0], fit[1][0]])
        path.append([fit[0][1], fit[1][1]])
    path, gain = np.array(path), np.log(gain)
    assert (path > -1e-5).all()
    assert (path[:, 0] <= 0.0201).all()
    assert (path[:, 1] <= path[:, 0] + 1e-5).all()
    assert gain.std(axis=0) == pytest.approx(np.hypot(0.05, 0.02), rel=0.15)


def test_speckle_has_the_stated_looks_and_mean():
    image = np.full((1, 400, 400), 0.1, np.float32)
    sample = {"image": image, "valid": np.ones((400, 400), bool)}
    out = SarJitter((0,), ("linear power",), looks=10, calibration_db=0.0)(sample, np.random.default_rng(0))["image"]
    assert out.mean() == pytest.approx(0.1, rel=0.01)
    assert out.mean() ** 2 / out.var() == pytest.approx(10, rel=0.05)


def test_decibels_and_linear_power_agree():
    rng = np.random.default_rng(1)
    linear = rng.gamma(4, 0.02, (2, 32, 32)).astype(np.float32)
    sample = {"image": linear, "valid": np.ones((32, 32), bool)}
    decibels = {"image": (10 * np.log10(linear)).astype(np.float32), "valid": sample["valid"]}
    a = SarJitter((0, 1), ("linear power",) * 2)(sample, np.random.default_rng(5))["image"]
    b = SarJitter((0, 1), ("dB",) * 2)(decibels, np.random.default_rng(5))["image"]
    np.testing.assert_allclose(10 * np.log10(a), b, atol=1e-4)
    with pytest.raises(ContractError, match="unit"):
        SarJitter((0,), ("1",))


def test_calibration_offset_is_common_to_a_channel():
    sample = {"image": np.full((1, 64, 64), -10.0, np.float32), "valid": np.ones((64, 64), bool)}
    means = [
        SarJitter((0,), ("dB",), looks=1e6, calibration_db=0.5)(sample, np.random.default_rng(s))["image"].mean() + 10
        for s in range(300)
    ]
    assert np.std(means) == pytest.approx(0.5, rel=0.15)


def test_dropouts_leave_something():
    sample = make_sample((4, 3, 5, 5), nan=False)
    sample["valid"][:3] = False
    for seed in range(30):
        rng = np.random.default_rng(seed)
        bands = BandDropout(0.95)(sample, rng)["image"]
        dropped = np.isnan(bands).all(axis=(0, 2, 3))
        assert not dropped.all()
        assert not np.isnan(bands[:, ~dropped]).any()
        dates = DateDropout(1.0)(sample, rng)
        assert np.isfinite(dates["image"][3]).all()  # the only date with valid pixels
        assert np.isnan(dates["image"][:3]).all()
        assert dates["valid"].sum() == 25
    single = make_sample((3, 5, 5))
    assert DateDropout(1.0)(single, np.random.default_rng(0)) is single


def test_choice_by_unit():
    channels = [
        Channel("sentinel-2", "L2A", "B02", "1", 0.49),
        Channel("sentinel-1", "GRD", "VV", "dB"),
        Channel("dem", "DEM", "elevation", "m"),
        Channel("index", "L2A", "ndvi", "1"),
    ]
    steps = augmentation_for(channels, temporal=True).steps
    assert [type(step) for step in steps] == [RandomD4, OpticalJitter, SarJitter, DateDropout]
    sample = make_sample((2, 4, 6, 6))
    out = augmentation_for(channels, spatial=False)(sample, np.random.default_rng(0))["image"]
    np.testing.assert_array_equal(out[:, 2:], sample["image"][:, 2:])
    assert not np.array_equal(out[:, 0], sample["image"][:, 0], equal_nan=True)
