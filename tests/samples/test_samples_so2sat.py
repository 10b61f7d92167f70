"""So2Sat LCZ42 from files in its official layout."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from so2sat_files import write_so2sat, write_version_2

from ecumene.core.errors import ConfigurationError, LabelError, SceneError
from ecumene.samples.contract import Part
from ecumene.samples.datasets import list_data_sets, open_data_set
from ecumene.samples.datasets.so2sat_lcz42 import SENTINEL_1, SENTINEL_2, So2SatLcz42

h5py = pytest.importorskip("h5py", reason="h5py is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version_2(tmp_path_factory.mktemp("so2sat"), geo=True)


@pytest.fixture(scope="module")
def data(folder: Path) -> So2SatLcz42:
    return So2SatLcz42.open(folder)


def _stored(folder: Path, key: str) -> np.ndarray:
    parts = []
    for name in ("training", "validation", "testing"):
        with h5py.File(folder / f"{name}.h5") as file:
            parts.append(file[key][:])
    return np.concatenate(parts)


def test_what_is_known_without_pixels(data: So2SatLcz42) -> None:
    assert len(data) == len(data.ids) == len(data.label) == 44
    assert data.patch_size == 32
    assert data.legend.values == tuple(range(1, 18))
    assert data.legend.classes[0].colour == "#8c0000"
    assert data.legend.classes[16].colour == "#6a6aff"
    assert [channel.key for channel in data.channels] == [f"sentinel-2/{band}" for band in SENTINEL_2]
    assert {(channel.level, channel.unit) for channel in data.channels} == {("L1C", "1")}
    assert data.ids[0] == "training/0"
    assert data.ids[-1] == "testing/9"
    assert data.ids[24:26] == ["validation/0", "validation/1"]


def test_the_official_split_follows_the_files(data: So2SatLcz42) -> None:
    parts = data.splits()["official"]
    assert parts.dtype == np.int8
    assert parts.tolist() == [Part.TRAIN] * 24 + [Part.VALIDATION] * 10 + [Part.TEST] * 10


def test_places_come_from_the_coordinates_of_version_4(data: So2SatLcz42) -> None:
    # Patches are 700 m apart, so that 14 or 15 of them lie in a cell of 10 km.
    assert data.group[0] == data.group[13] != data.group[20]
    assert not set(data.group[:24]) & set(data.group[24:])


def test_without_coordinates_each_patch_is_a_place(tmp_path: Path) -> None:
    data = So2SatLcz42.open(write_version_2(tmp_path))
    assert len(set(data.group)) == len(data)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(indices=st.lists(st.integers(0, 43), max_size=12))
def test_any_rows_in_any_order_are_the_stored_ones(data: So2SatLcz42, folder: Path, indices: list[int]) -> None:
    read = data.read(indices)
    stored = np.moveaxis(_stored(folder, "sen2")[indices], -1, 1).astype(np.float32)
    np.testing.assert_array_equal(read.image, stored)
    np.testing.assert_array_equal(read.label, _stored(folder, "label")[indices].argmax(axis=1))
    assert read.channels == data.channels


def test_compressed_files_give_the_same(tmp_path: Path) -> None:
    plain = So2SatLcz42.open(write_version_2(tmp_path / "plain", 5))
    chunked = So2SatLcz42.open(write_version_2(tmp_path / "chunked", 5, chunked=True))
    order = np.random.default_rng(0).permutation(44)
    np.testing.assert_array_equal(plain.read(order).image, chunked.read(order).image)


def test_bands_of_both_sensors_by_name(folder: Path) -> None:
    data = open_data_set("so2sat-lcz42", folder, bands=["B04", "VV-filtered", "B02"], level="L2A")
    stored1, stored2 = _stored(folder, "sen1"), _stored(folder, "sen2")
    image = data.read([30, 2]).image
    np.testing.assert_array_equal(image[:, 0], stored2[[30, 2], ..., 2].astype(np.float32))
    np.testing.assert_array_equal(image[:, 1], stored1[[30, 2], ..., 5].astype(np.float32))
    np.testing.assert_array_equal(image[:, 2], stored2[[30, 2], ..., 0].astype(np.float32))
    assert [channel.level for channel in data.channels] == ["L2A", "SLC", "L2A"]
    assert [channel.unit for channel in data.channels] == ["1", "linear power", "1"]
    units = [channel.unit for channel in open_data_set("so2sat-lcz42", folder, bands=SENTINEL_1).channels]
    assert units == ["linear amplitude"] * 4 + ["linear power"] * 2 + ["linear covariance"] * 2
    assert len(SENTINEL_1) == 8


def test_a_file_may_say_its_level(tmp_path: Path) -> None:
    assert So2SatLcz42.open(write_version_2(tmp_path, level="L2A")).channels[0].level == "L2A"


def test_threads_read_side_by_side(tmp_path: Path) -> None:
    for chunked in (False, True):
        data = So2SatLcz42.open(write_version_2(tmp_path / str(chunked), 1, chunked=chunked))
        alone = data.read(range(44)).image
        orders = [np.random.default_rng(seed).permutation(44) for seed in range(24)]
        with ThreadPoolExecutor(8) as pool:
            for order, found in zip(orders, pool.map(data.read, orders), strict=True):
                np.testing.assert_array_equal(found.image, alone[order])


def test_the_three_splits_of_version_3(tmp_path: Path) -> None:
    for number, name in enumerate(("random", "block", "culture_10")):
        write_so2sat(tmp_path / name / "training.h5", np.arange(17), number)
        write_so2sat(tmp_path / name / "testing.h5", np.arange(5), number + 10)
    with pytest.raises(ConfigurationError, match="holds the splits random, block, culture_10"):
        So2SatLcz42.open(tmp_path)
    block = So2SatLcz42.open(tmp_path, variant="block")
    assert list(block.splits()) == ["block"]
    assert block.splits()["block"].tolist() == [Part.TRAIN] * 17 + [Part.TEST] * 5
    assert list(So2SatLcz42.open(tmp_path / "culture_10").splits()) == ["culture_10"]


def test_version_1_has_no_test_part(tmp_path: Path) -> None:
    write_version_2(tmp_path)
    (tmp_path / "testing.h5").unlink()
    assert set(So2SatLcz42.open(tmp_path).splits()["official"]) == {Part.TRAIN, Part.VALIDATION}


def test_a_file_cut_short(tmp_path: Path) -> None:
    write_version_2(tmp_path)
    whole = (tmp_path / "training.h5").read_bytes()
    (tmp_path / "training.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError, match=r"training\.h5 is cut short or is no HDF5 file .*download it again"):
        So2SatLcz42.open(tmp_path)


def test_a_file_that_shrinks_while_open(tmp_path: Path) -> None:
    data = So2SatLcz42.open(write_version_2(tmp_path))
    with (tmp_path / "testing.h5").open("r+b") as file:
        file.truncate(4000)
    with pytest.raises(SceneError, match="ends before its patch 9"):
        data.read([43])


def test_another_layout_is_named(tmp_path: Path) -> None:
    write_version_2(tmp_path)
    with h5py.File(tmp_path / "validation.h5", "w") as file:
        file["images"] = np.zeros((3, 4))
        file["labels"] = np.zeros(3)
    with pytest.raises(SceneError, match="no data set 'label'; it holds images, labels"):
        So2SatLcz42.open(tmp_path)


def test_wrong_shape_is_named(tmp_path: Path) -> None:
    write_version_2(tmp_path)
    with h5py.File(tmp_path / "validation.h5", "a") as file:
        del file["sen2"]
        file["sen2"] = np.zeros((10, 32, 32, 13))
    with pytest.raises(SceneError, match=r"sen2 has the shape \(10, 32, 32, 13\), but should have \(10, 32, 32, 10\)"):
        So2SatLcz42.open(tmp_path)


@pytest.mark.parametrize("row", [np.zeros(17), np.r_[1, 1, np.zeros(15)], np.r_[0.5, 0.5, np.zeros(15)]])
def test_a_label_outside_of_the_classes(tmp_path: Path, row: np.ndarray) -> None:
    write_version_2(tmp_path)
    with h5py.File(tmp_path / "testing.h5", "a") as file:
        file["label"][4] = row
    with pytest.raises(LabelError, match="1 labels outside of the 17 classes, the first at patch 4"):
        So2SatLcz42.open(tmp_path)


def test_coordinates_of_another_version(tmp_path: Path) -> None:
    write_version_2(tmp_path, geo=True)
    with h5py.File(tmp_path / "testing_geo.h5", "w") as file:
        file["coord"], file["epsg"] = np.zeros((3, 6)), np.zeros((3, 1))
    with pytest.raises(SceneError, match="locates 3 patches, but there are 10"):
        So2SatLcz42.open(tmp_path)


def test_missing_files_and_wrong_options(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(SceneError, match=r"has not both training\.h5 and validation\.h5 .*it holds readme\.txt"):
        So2SatLcz42.open(tmp_path)
    with pytest.raises(SceneError, match="is not a folder"):
        So2SatLcz42.open(tmp_path / "nowhere")
    write_version_2(tmp_path)
    with pytest.raises(ConfigurationError, match="no band 'B01'"):
        So2SatLcz42.open(tmp_path, bands=["B01"])
    with pytest.raises(ConfigurationError, match="no variant 'v9'"):
        So2SatLcz42.open(tmp_path, variant="v9")
    with pytest.raises(ConfigurationError, match="L1C or L2A"):
        So2SatLcz42.open(tmp_path, level="L3")
    with pytest.raises(ConfigurationError, match="no option 'colour'"):
        So2SatLcz42.open(tmp_path, colour=1)


def test_it_is_listed() -> None:
    assert "so2sat-lcz42" in {info.name for info in list_data_sets()}
