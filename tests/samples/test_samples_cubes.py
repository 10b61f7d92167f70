"""Hyperspectral cubes in their official files, which the tests write themselves, and the real label maps."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.legends import Legend
from ecumene.samples.contract import Part
from ecumene.samples.datasets import open_data_set
from ecumene.samples.datasets.cubes import HyperspectralCube, IndianPines, PaviaUniversity
from ecumene.scenes.contract import Channel

ROWS, COLS = 12, 9


def pavia(folder, *, cube_key="paviaU", truth_key="paviaU_gt", seed=0, version="5"):
    rng = np.random.default_rng(seed)
    cube = rng.integers(0, 8000, (ROWS, COLS, 103)).astype(np.uint16)
    truth = rng.integers(0, 10, (ROWS, COLS)).astype(np.uint8)
    savemat(folder / "PaviaU.mat", {cube_key: cube}, format=version)
    savemat(folder / "PaviaU_gt.mat", {truth_key: truth})
    return cube, truth


def fixed_maps(folder, truth, seed=1):
    """A training map that also holds pixels outside of the ground truth, as the real one does."""
    rng = np.random.default_rng(seed)
    train = np.where(rng.random(truth.shape) < 0.3, np.where(truth > 0, truth, 3), 0).astype(np.uint8)
    test = np.where(train == 0, truth, 0).astype(np.uint8)
    savemat(folder / "TRpaviaU.mat", {"TRpaviaU": train.astype(float)})
    savemat(folder / "TSpaviaU.mat", {"TSpaviaU": test.astype(float)})
    return train, test


def test_pixels_have_the_stored_spectrum_and_their_label(tmp_path):
    cube, truth = pavia(tmp_path)
    data = open_data_set("pavia-university", tmp_path)
    row, col = np.nonzero(truth)
    samples = data.read(np.arange(len(data)))
    assert samples.image.shape == (len(row), 103, 1, 1)
    assert samples.image.dtype == np.float32
    assert np.array_equal(samples.image[:, :, 0, 0], cube[row, col])
    assert np.array_equal(samples.label, truth[row, col].astype(int) - 1)
    assert data.legend.names[4] == "Painted metal sheets"
    assert (len(data.channels), data.channels[0].unit, data.channels[0].center_wavelength_um) == (103, "DN", None)
    assert data.ids[0] == f"r{row[0]}c{col[0]}"
    assert data.splits() == {}
    assert np.array_equal(data.truth(), truth.astype(int) - 1)
    assert np.array_equal(data.image(), np.moveaxis(cube, -1, 0))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 15), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_patches_continue_the_image_by_reflection(patch, rows, cols, seed):
    rng = np.random.default_rng(seed)
    cube = rng.random((rows, cols, 2)).astype(np.float32)
    labels = rng.integers(-1, 3, (rows, cols))
    labels[0, 0] = 0
    channels = tuple(Channel("rosis", "DN", name, "DN") for name in ("B001", "B002"))
    legend = Legend.from_names(["a", "b", "c"])
    data = HyperspectralCube.from_arrays(cube, labels, channels, legend, patch=patch)
    before, after = patch // 2, (patch - 1) // 2
    padded = np.pad(cube, ((before, after), (before, after), (0, 0)), mode="reflect")
    row, col = np.nonzero(labels >= 0)
    image = data.read(np.arange(len(data))).image
    for number, (r, c) in enumerate(zip(row, col, strict=True)):
        assert np.array_equal(np.moveaxis(image[number], 0, -1), padded[r : r + patch, c : c + patch])


def test_places_are_squares_of_pixels(tmp_path):
    _, truth = pavia(tmp_path)
    data = PaviaUniversity.open(tmp_path, block=4)
    row, col = np.nonzero(truth)
    same = data.group[:, None] == data.group
    assert np.array_equal(same, (row[:, None] // 4 == row // 4) & (col[:, None] // 4 == col // 4))


def test_the_two_test_sets_of_the_fixed_split(tmp_path):
    _, truth = pavia(tmp_path)
    train, test = fixed_maps(tmp_path, truth)
    fixed = PaviaUniversity.open(tmp_path, labels="fixed")
    part = fixed.splits()["fixed"]
    assert ((part == Part.TRAIN).sum(), (part == Part.TEST).sum()) == ((train > 0).sum(), (test > 0).sum())
    places = list(fixed.ids)
    assert len(set(places)) == len(places)
    both = PaviaUniversity.open(tmp_path, labels="fixed-overlapping")
    part = both.splits()["fixed-overlapping"]
    assert ((part == Part.TRAIN).sum(), (part == Part.TEST).sum()) == ((train > 0).sum(), (truth > 0).sum())
    learned = {name for name, item in zip(both.ids, part, strict=True) if item == Part.TRAIN}
    tested = {name for name, item in zip(both.ids, part, strict=True) if item == Part.TEST}
    assert len(learned & tested) == ((train > 0) & (truth > 0)).sum() > 0


def test_salinas_knows_the_wavelengths_that_are_left(tmp_path):
    savemat(tmp_path / "Salinas_corrected.mat", {"salinas_corrected": np.ones((3, 4, 204), np.int16)})
    savemat(tmp_path / "Salinas_gt.mat", {"salinas_gt": np.full((3, 4), 16, np.uint8)})
    data = open_data_set("salinas", tmp_path)
    names = [channel.band for channel in data.channels]
    assert len(names) == 204
    assert {"B107", "B113", "B223"} <= set(names)
    assert not {"B108", "B112", "B154", "B167", "B224"} & set(names)
    assert data.channels[0].center_wavelength_um == pytest.approx(0.366, abs=1e-3)
    assert data.legend.names[-1] == "Vinyard_vertical_trellis"


def test_envi_and_geotiff_cubes_with_their_wavelengths(tmp_path):
    import rasterio

    cube, _ = pavia(tmp_path)
    expected = PaviaUniversity.open(tmp_path).read([0, 1, 2]).image
    (tmp_path / "PaviaU.mat").unlink()
    profile = {"width": COLS, "height": ROWS, "count": 103, "dtype": "uint16"}
    with rasterio.open(tmp_path / "PaviaU.dat", "w", driver="ENVI", **profile) as target:
        target.write(np.moveaxis(cube, -1, 0))
    header = tmp_path / "PaviaU.hdr"
    waves = ", ".join(str(430 + 4 * band) for band in range(103))
    header.write_text(header.read_text() + f"wavelength units = Nanometers\nwavelength = {{{waves}}}\n")
    data = PaviaUniversity.open(tmp_path)
    assert np.array_equal(data.read([0, 1, 2]).image, expected)
    assert data.channels[1].center_wavelength_um == pytest.approx(0.434)
    header.unlink()
    (tmp_path / "PaviaU.dat").unlink()
    with rasterio.open(tmp_path / "PaviaU.tif", "w", driver="GTiff", **profile) as target:
        target.write(np.moveaxis(cube, -1, 0))
    assert np.array_equal(PaviaUniversity.open(tmp_path).read([0, 1, 2]).image, expected)


def test_mat_files_of_version_7_3(tmp_path):
    h5py = pytest.importorskip("h5py")
    cube, _ = pavia(tmp_path)
    expected = PaviaUniversity.open(tmp_path).read([0, 5]).image
    with h5py.File(tmp_path / "PaviaU.mat", "w", userblock_size=512) as file:
        file["paviaU"] = cube.T
    with (tmp_path / "PaviaU.mat").open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116))
    assert np.array_equal(PaviaUniversity.open(tmp_path).read([0, 5]).image, expected)


def test_a_missing_variable_lists_those_that_are_there(tmp_path):
    pavia(tmp_path, cube_key="ori_data")
    with pytest.raises(SceneError, match=r"no variable 'paviaU', but ori_data \(12 x 9 x 103\); name the right one"):
        PaviaUniversity.open(tmp_path)
    assert len(PaviaUniversity.open(tmp_path, cube_key="ori_data"))


def _cut(path):
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("spoil", "error", "sentence"),
    [
        (lambda d: (d / "PaviaU.mat").unlink(), SceneError, r"no cube of Pavia.*put PaviaU.mat"),
        (lambda d: (d / "PaviaU_gt.mat").unlink(), SceneError, r"no label map of Pavia.*PaviaU_gt.mat"),
        (lambda d: _cut(d / "PaviaU.mat"), SceneError, r"no whole MAT file.*download it again"),
        (lambda d: (d / "PaviaU.mat").write_text("<html>"), SceneError, r"no whole MAT file"),
        (lambda d: savemat(d / "PaviaU.mat", {"paviaU": np.ones((3, 3, 102))}), SceneError, r"3 x 3 x 102.*103 bands"),
        (lambda d: savemat(d / "PaviaU_gt.mat", {"paviaU_gt": np.ones((3, 3))}), SceneError, r"shape 3 x 3.*12 x 9"),
        (
            lambda d: savemat(d / "PaviaU_gt.mat", {"paviaU_gt": np.full((ROWS, COLS), 10)}),
            LabelError,
            r"label 10.*classes 1 to 9",
        ),
        (
            lambda d: savemat(d / "PaviaU_gt.mat", {"paviaU_gt": np.full((ROWS, COLS), 1.5)}),
            LabelError,
            r"label 1\.5",
        ),
        (lambda d: savemat(d / "PaviaU_gt.mat", {"paviaU_gt": np.zeros((ROWS, COLS))}), LabelError, r"no labelled"),
    ],
)  # fmt: skip
def test_bad_files_get_a_sentence(tmp_path, spoil, error, sentence):
    pavia(tmp_path)
    spoil(tmp_path)
    with pytest.raises(error, match=sentence):
        PaviaUniversity.open(tmp_path).read([0])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"labels": "half"}, "'all' or 'fixed' or 'fixed-overlapping', not 'half'"),
        ({"bands": 3}, "no option 'bands'; it takes labels, patch"),
        ({"patch": "wide"}, "number of pixels, not 'wide'"),
        ({"patch": 0}, "from 1 on"),
    ],
)
def test_bad_options_get_a_sentence(tmp_path, options, sentence):
    pavia(tmp_path)
    with pytest.raises(ConfigurationError, match=sentence):
        PaviaUniversity.open(tmp_path, **options)


@pytest.fixture
def real():
    root = os.environ.get("ECUMENE_DATA")
    if not root:
        pytest.skip("ECUMENE_DATA is not set: the real label maps are not here")
    return Path(root)


def test_the_real_fixed_split_of_pavia_has_the_published_counts(real, tmp_path):
    for name in ("TRpaviaU.mat", "TSpaviaU.mat", "PaviaU_gt.mat"):
        (tmp_path / name).symlink_to(real / "hsi_pavia_university" / name)
    savemat(tmp_path / "PaviaU.mat", {"paviaU": np.zeros((610, 340, 103), np.uint8)}, do_compression=True)
    data = PaviaUniversity.open(tmp_path, labels="fixed")
    part = data.splits()["fixed"]
    assert np.bincount(data.label[part == Part.TRAIN]).tolist() == [548, 540, 392, 524, 265, 532, 375, 514, 231]
    assert (part == Part.TEST).sum() == 40_002
    both = PaviaUniversity.open(tmp_path, labels="fixed-overlapping")
    assert (both.splits()["fixed-overlapping"] == Part.TEST).sum() == 42_776


def test_the_real_fixed_maps_of_indian_pines_agree_with_the_official_order(real, tmp_path):
    for name in ("IndianTR123_temp123.tif", "IndianTE123_temp123.tif", "Indian_pines_gt.mat"):
        (tmp_path / name).symlink_to(real / "hsi_indian_pines_partial" / name)
    cube = np.zeros((145, 145, 200), np.uint8)
    savemat(tmp_path / "Indian_pines_corrected.mat", {"indian_pines_corrected": cube}, do_compression=True)
    official = IndianPines.open(tmp_path)
    fixed = IndianPines.open(tmp_path, labels="fixed")
    assert (len(official), len(fixed)) == (10_249, 10_366)
    assert (fixed.splits()["fixed"] == Part.TRAIN).sum() == 695
    one, other = official.truth(), fixed.truth()
    known = (one >= 0) & (other >= 0)
    # The maps come from two versions of the ground truth, which differ at few pixels.
    assert known.sum() > 9_900
    assert (one == other)[known].mean() > 0.999
