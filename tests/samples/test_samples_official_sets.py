"""Published sets of images in their official layouts: what is read, and what is refused."""

import json
import os
import shutil
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image
from rasterio.transform import from_origin

from ecumene.core.errors import ConfigurationError, EcumeneError, LabelError, SceneError
from ecumene.legends.library import get_legend
from ecumene.samples.contract import Part
from ecumene.samples.datasets import list_data_sets, open_data_set
from ecumene.samples.datasets.eurosat import BAND_SETS, FILE_BANDS
from ecumene.samples.datasets.sen12ms_labels import IGBP, igbp_shares, simplify
from ecumene.samples.datasets.tiff import read_header, read_tiff
from ecumene.samples.datasets.ucm_multilabel import LABELS

DATA = os.environ.get("ECUMENE_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="ECUMENE_DATA does not name the folder of the real data sets")
CLASSES = get_legend("eurosat").names


def write_tif(path, array, *, corner=(600_000.0, 5_000_000.0), epsg=32635, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": array.shape[0],
        "height": array.shape[1],
        "width": array.shape[2],
        "dtype": array.dtype,
        "crs": f"EPSG:{epsg}",
        "transform": from_origin(*corner, 10, 10),
        **options,
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(array)


def write_jpeg(path, array, quality=95):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.transpose(1, 2, 0)).save(path, quality=quality)


@pytest.fixture
def eurosat(tmp_path):
    """Two images a class; band i of class k holds 1000 + 100 i + k throughout, the second image is 40 km further."""
    for k, name in enumerate(CLASSES):
        for number in (1, 10):
            values = (1000 + 100 * np.arange(13) + k)[:, None, None]
            array = np.broadcast_to(values, (13, 64, 64)).astype(np.uint16)
            corner = (600_000.0 + 40_000 * (number == 10), 5_000_000.0)
            write_tif(tmp_path / "EuroSAT_MS" / name / f"{name}_{number}.tif", array, corner=corner)
    return tmp_path / "EuroSAT_MS"


def zipped(folder, path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent).as_posix())
    return path


def test_every_listed_set_says_what_it_is():
    names = [info.name for info in list_data_sets()]
    assert {"eurosat", "sen12ms", "ucm-multilabel", "rsscn7", "image-folders"} <= set(names)
    assert all(info.layout and info.title for info in list_data_sets())


# -- TIFF -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    array=npst.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int16, np.float32]),
        st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 100),
    ),
    interleave=st.sampled_from(["pixel", "band"]),
    compress=st.sampled_from([None, "deflate", "lzw"]),
    big=st.booleans(),
)
def test_tiff_pixels_are_what_gdal_reads(array, interleave, compress, big):
    options = {"interleave": interleave, **({"compress": compress} if compress else {})}
    if big:
        options["ENDIANNESS"] = "BIG"
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=len(array), height=array.shape[1], width=array.shape[2], dtype=array.dtype,
            crs="EPSG:32633", transform=from_origin(500_000, 4_000_000, 10, 20), **options,
        ) as file:  # fmt: skip
            file.write(array)
        data = bytes(memory.getbuffer())
    got = read_tiff(data, "x.tif")
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)
    header = read_header(data, "x.tif")
    assert header.shape == array.shape
    assert (header.epsg, header.corner, header.pixel) == (32633, (500_000, 4_000_000), (10, 20))
    assert header.plain == (compress is None)


# -- EuroSAT ----------------------------------------------------------------------------------------------------------


def test_bands_are_taken_by_name_because_b8a_is_last(eurosat):
    stored = dict(zip(FILE_BANDS, 1000 + 100 * np.arange(13), strict=True))
    for asked in (*BAND_SETS, ["B8A", "B09"], "B10"):
        data = open_data_set("eurosat", eurosat, bands=asked)
        names = [channel.band for channel in data.channels]
        got = data.read([0, len(data) - 1]).image
        assert got.shape == (2, len(names), 64, 64)
        np.testing.assert_allclose(got[0, :, 3, 3], [stored[name] * 1e-4 for name in names], rtol=1e-6)
        np.testing.assert_allclose(got[1, :, 3, 3], [(stored[name] + 9) * 1e-4 for name in names], rtol=1e-6)
        assert {channel.unit for channel in data.channels} == {"1"}
    assert open_data_set("eurosat", eurosat).channels[-1].center_wavelength_um == 0.8647


def test_folder_archive_and_folder_with_the_archive_are_the_same(eurosat, tmp_path):
    plain = open_data_set("eurosat", eurosat)
    archive = (
        zipped(eurosat, tmp_path / "downloads" / "EuroSAT_MS.zip") if (tmp_path / "downloads").mkdir() is None else 0
    )
    assert list(plain.ids[:3]) == ["AnnualCrop_1", "AnnualCrop_10", "Forest_1"]
    assert plain.label.tolist() == np.repeat(np.arange(10), 2).tolist()
    for place in (archive, archive.parent, eurosat.parent / "EuroSAT_MS"):
        other = open_data_set("eurosat", place)
        assert other.ids == plain.ids
        np.testing.assert_array_equal(other.group, plain.group)
        np.testing.assert_array_equal(other.read(range(20)).image, plain.read(range(20)).image)


def test_reading_from_several_threads_gives_the_same(eurosat, tmp_path):
    data = open_data_set("eurosat", zipped(eurosat, tmp_path / "EuroSAT_MS.zip"))
    want = data.read(range(20)).image
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda i: data.read([i % 20]).image[0], range(80)))
    for index, image in enumerate(got):
        np.testing.assert_array_equal(image, want[index % 20])


def test_places_decide_groups_and_the_spatial_split(eurosat):
    data = open_data_set("eurosat", eurosat)
    assert len(np.unique(data.group)) == 2
    second = np.array([item.endswith("_10") for item in data.ids])
    assert len(np.unique(data.group[second])) == 1
    parts = data.splits()["spatial"]
    assert [int((parts == part).sum()) for part in (Part.TRAIN, Part.VALIDATION, Part.TEST)] == [12, 4, 4]
    # What is tested on lies east of what is learned from.
    assert set(parts[~second]) <= {Part.TRAIN}
    assert set(parts[second]) >= {Part.TEST, Part.VALIDATION}


def test_listed_splits_are_read(eurosat):
    (eurosat / "eurosat-train.txt").write_text("AnnualCrop_1.jpg\nRiver_10.jpg\n")
    (eurosat / "eurosat-test.txt").write_text("Forest_1.jpg\n")
    parts = open_data_set("eurosat", eurosat).splits()["listed"]
    assert [int((parts == part).sum()) for part in (Part.NONE, Part.TRAIN, Part.TEST)] == [17, 2, 1]


def test_colours_become_reflectance(tmp_path):
    """The publisher maps digital numbers 0..2750 to 1..255; going back errs by half a step."""
    truth = np.array([0, 300, 1375, 2750])
    eight_bit = np.rint(1 + truth / 2750 * 254).astype(np.uint8)
    for name in CLASSES[:4]:
        value = eight_bit[CLASSES.index(name)]
        write_jpeg(tmp_path / name / f"{name}_1.jpg", np.full((3, 64, 64), value, np.uint8))
    data = open_data_set("eurosat", tmp_path, classes=CLASSES[:4])
    assert [channel.band for channel in data.channels] == ["B04", "B03", "B02"]
    got = data.read(range(4)).image.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(got, truth * 1e-4, atol=0.5 / 254 * 0.275 + 1e-6)
    assert len(np.unique(data.group)) == 4
    assert data.splits() == {}


def test_a_pixel_of_zeros_has_no_data(eurosat):
    path = eurosat / "River" / "River_1.tif"
    with rasterio.open(path) as file:
        array = file.read()
    array[:, :2] = 0
    array[9] = 0  # a dark cirrus band is a measurement
    write_tif(path, array)
    data = open_data_set("eurosat", eurosat)
    image = data.read([data.ids.index("River_1")]).image[0]
    assert np.isnan(image[:, :2]).all()
    assert np.isfinite(image[:, 2:]).all()


def test_chosen_classes_keep_their_order(eurosat):
    data = open_data_set("eurosat", eurosat, classes=["River", "Forest"])
    assert data.legend.names == ("Forest", "River")
    assert list(data.ids) == ["Forest_1", "Forest_10", "River_1", "River_10"]


@needs_data
def test_real_patches(tmp_path):
    for path in (Path(DATA) / "eurosat_ms_samples").iterdir():
        name = path.stem.split("_")[0]
        (tmp_path / path.suffix[1:] / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / path.suffix[1:] / name / path.name).symlink_to(path)
    classes = ["AnnualCrop", "Pasture", "SeaLake"]
    measured = open_data_set("eurosat", tmp_path / "tif", bands="rgb", classes=classes)
    coloured = open_data_set("eurosat", tmp_path / "jpg", classes=classes, places=tmp_path / "tif")
    assert len(np.unique(measured.group)) == 3
    np.testing.assert_array_equal(measured.group, coloured.group)
    for index in (0, 1):  # land; water is darker than the JPEG's step
        a, b = measured.read([index]).image, coloured.read([index]).image
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97
        assert np.abs(a - b).mean() < 0.006
    cirrus = open_data_set("eurosat", tmp_path / "tif", bands="B10", classes=classes).read([0]).image
    assert 0.0005 < np.nanmean(cirrus) < 0.005


def cut(path, share=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def test_eurosat_refuses_with_a_sentence(eurosat, tmp_path):
    archive = zipped(eurosat, tmp_path / "EuroSAT_MS.zip")
    cut(archive)
    with pytest.raises(SceneError, match="cut short; download it again"):
        open_data_set("eurosat", archive)
    with pytest.raises(SceneError, match="does not exist"):
        open_data_set("eurosat", tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="no bands 'B13'"):
        open_data_set("eurosat", eurosat, bands="B13")
    with pytest.raises(ConfigurationError, match="once each"):
        open_data_set("eurosat", eurosat, bands=["B02", "B02"])
    with pytest.raises(ConfigurationError, match="no option 'colour'"):
        open_data_set("eurosat", eurosat, colour=1)
    with pytest.raises(SceneError, match="choose the other product"):
        open_data_set("eurosat", eurosat, product="rgb")
    with pytest.raises(LabelError, match="'Desert' is not in the legend"):
        open_data_set("eurosat", eurosat, classes=["Desert"])


def test_half_a_file_is_refused_when_read(eurosat):
    cut(eurosat / "Forest" / "Forest_1.tif")
    data = open_data_set("eurosat", eurosat)
    with pytest.raises(SceneError, match=r"Forest_1\.tif is cut short"):
        data.read([2])


def test_wrong_band_count_is_refused(eurosat):
    write_tif(eurosat / "Forest" / "Forest_1.tif", np.ones((4, 64, 64), np.uint16))
    with pytest.raises(SceneError, match="has 4 bands, but the 13-band files"):
        open_data_set("eurosat", eurosat).read([2])
    write_tif(eurosat / "AnnualCrop" / "AnnualCrop_1.tif", np.ones((3, 64, 64), np.uint16))
    with pytest.raises(SceneError, match="has 3 bands, but the 13-band files"):
        open_data_set("eurosat", eurosat)


def test_unknown_and_empty_classes_are_refused(eurosat):
    shutil.rmtree(eurosat / "River")
    with pytest.raises(LabelError, match="no images of River"):
        open_data_set("eurosat", eurosat)
    (eurosat / "River").mkdir()
    with pytest.raises(LabelError, match="class folder River of EuroSAT is empty"):
        open_data_set("eurosat", eurosat)
    write_tif(eurosat / "Desert" / "Desert_1.tif", np.ones((13, 64, 64), np.uint16))
    with pytest.raises(LabelError, match="folder 'Desert', which is none of its classes"):
        open_data_set("eurosat", eurosat)


# -- folders of pictures ----------------------------------------------------------------------------------------------


@needs_data
def test_real_rsscn7():
    data = open_data_set("rsscn7", Path(DATA) / "rsscn7_subset")
    assert data.legend.names == ("Grass", "Field", "Industry", "RiverLake", "Forest", "Resident", "Parking")
    assert np.bincount(data.label).tolist() == [80] * 7
    assert data.patch_size == 256
    image = data.read([0, 559]).image
    assert image.shape == (2, 3, 256, 256)
    assert 20 < image.mean() < 220
    assert data.channels[0].unit == "DN"


def test_image_folders_take_any_classes(tmp_path):
    for index, name in enumerate(("beach", "airport")):
        for number in (2, 10):
            write_jpeg(tmp_path / "set" / name / f"{name}_{number}.jpg", np.full((3, 32, 32), 40 * index + 9, np.uint8))
    data = open_data_set("image-folders", tmp_path / "set")
    assert data.legend.names == ("airport", "beach")
    assert list(data.ids) == ["airport_2", "airport_10", "beach_2", "beach_10"]
    np.testing.assert_allclose(data.read([1, 2]).image[:, 0, 0, 0], [49, 9], atol=2)
    write_jpeg(tmp_path / "set" / "beach" / "beach_11.jpg", np.zeros((3, 16, 16), np.uint8))
    with pytest.raises(SceneError, match="bring all to one size"):
        open_data_set("image-folders", tmp_path / "set").read([4])
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "set" / "beach" / "beach_11.jpg")
    with pytest.raises(SceneError, match="has 1 bands"):
        open_data_set("image-folders", tmp_path / "set").read([4])
    (tmp_path / "set" / "beach" / "beach_11.jpg").write_bytes(b"\xff\xd8 half a picture")
    with pytest.raises(SceneError, match="damaged or cut short"):
        open_data_set("image-folders", tmp_path / "set").read([4])
    (tmp_path / "set" / "city").mkdir()
    with pytest.raises(LabelError, match="class folder city of image-folders is empty"):
        open_data_set("image-folders", tmp_path / "set")


# -- UC Merced --------------------------------------------------------------------------------------------------------


@pytest.fixture
def merced(tmp_path):
    rows = ["image," + ",".join(LABELS)]
    for index, name in enumerate(("agricultural00", "agricultural01", "beach00")):
        folder = tmp_path / "UCMerced_LandUse" / "Images" / name[:-2]
        folder.mkdir(parents=True, exist_ok=True)
        side = (256, 256, 253)[index]
        Image.fromarray(np.full((side, 256, 3), 10 * index, np.uint8)).save(folder / f"{name}.tif")
        rows.append(f"{name}," + ",".join("1" if (k + index) % 3 == 0 else "0" for k in range(17)))
    (tmp_path / "LandUse_Multilabeled.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_merced_joins_images_and_labels(merced):
    data = open_data_set("ucm-multilabel", merced)
    assert list(data.ids) == ["agricultural00", "agricultural01", "beach00"]
    assert data.label.shape == (3, 17)
    assert data.label[1].tolist() == [1 if (k + 1) % 3 == 0 else 0 for k in range(17)]
    image = data.read([0, 2]).image
    assert np.isnan(image[1, :, 253:]).all()  # the official image is smaller
    assert np.isfinite(image[1, :, :253]).all()
    tabs = (merced / "LandUse_Multilabeled.csv").read_text().replace(",", "\t").replace("image", "IMAGE\\LABEL")
    table = merced / "elsewhere.txt"
    table.write_text(tabs)
    np.testing.assert_array_equal(open_data_set("ucm-multilabel", merced, labels=table).label, data.label)


def test_merced_refuses_with_a_sentence(merced):
    table = merced / "LandUse_Multilabeled.csv"
    text = table.read_text()
    for changed, sentence in (
        (text.replace("airplane", "spaceship"), "label 'spaceship', which is none of the 17"),
        (text.replace(",water", ""), "no column for water"),
        (text.replace("agricultural01,0", "agricultural01,2"), "something else than 0 and 1"),
        (text.replace("beach00", "beach07"), "no row for the image beach00"),
        (text + "beach01," + ",".join("0" * 17) + "\n", "1 of the 4 images"),
        ("", "are empty"),
    ):
        table.write_text(changed)
        with pytest.raises(EcumeneError, match=sentence):
            open_data_set("ucm-multilabel", merced)
    table.unlink()
    with pytest.raises(LabelError, match=r"no LandUse_Multilabeled\.csv"):
        open_data_set("ucm-multilabel", merced)


@needs_data
def test_published_annotations():
    from ecumene.samples.datasets.ucm_multilabel import read_label_table

    path = Path(DATA) / "ucm_multilabel_annotations" / "LandUse_Multilabeled.csv"
    table = read_label_table(path.read_bytes(), path.name)
    counts = np.array(list(table.values())).sum(axis=0)
    assert len(table) == 2100
    assert counts.tolist() == [
        100, 718, 691, 886, 115, 105, 100, 103, 975, 102, 1300, 294, 100, 102, 100, 1009, 203,
    ]  # fmt: skip


# -- SEN12MS ----------------------------------------------------------------------------------------------------------

COVER = {30: {1: 0.5, 12: 0.3, 14: 0.2}, 31: {17: 0.95, 13: 0.05}, 32: {8: 0.1, 9: 0.1, 16: 0.8}}


def cover_image(shares):
    codes = np.zeros(256 * 256, np.uint8)
    ends = np.rint(np.cumsum(list(shares.values())) * codes.size).astype(int)
    for code, start, end in zip(shares, (0, *ends), ends, strict=False):
        codes[start:end] = code
    layers = np.zeros((4, 256, 256), np.uint8)
    layers[0] = codes.reshape(256, 256)
    return layers


@pytest.fixture
def sen12ms(tmp_path):
    for scene in (1, 146):
        for number, shares in COVER.items():
            for season in ("ROIs1158_spring", "ROIs1868_summer"):
                stem = f"{season}_{{}}_{scene}_p{number}.tif"
                optical = np.broadcast_to((1000 + 100 * np.arange(13))[:, None, None], (13, 256, 256))
                radar = np.stack([np.full((256, 256), -10.0), np.full((256, 256), -30.0)]).astype(np.float32)
                write_tif(tmp_path / season / f"s2_{scene}" / stem.format("s2"), optical.astype(np.uint16))
                write_tif(tmp_path / season / f"s1_{scene}" / stem.format("s1"), radar)
                write_tif(tmp_path / season / f"lc_{scene}" / stem.format("lc"), cover_image(shares))
        if scene == 1:
            continue
    return tmp_path


def test_sen12ms_inputs(sen12ms):
    for inputs, bands in (
        ("s2", ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"]),
        ("rgb", ["B02", "B03", "B04"]),
        ("s1", ["VV", "VH"]),
        ("s1+rgb", ["B02", "B03", "B04", "VV", "VH"]),
        ("s1+s2", ["B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12", "VV", "VH"]),
    ):
        data = open_data_set("sen12ms", sen12ms, inputs=inputs)
        assert [channel.band for channel in data.channels] == bands
        got = data.read([1]).image[0, :, 5, 5]
        order = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
        stored = {name: 0.1 + 0.01 * place for place, name in enumerate(order)} | {"VV": -10.0, "VH": -25.0}
        np.testing.assert_allclose(got, [stored[name] for name in bands], rtol=1e-6)
    assert len(data) == 12
    assert len(np.unique(data.group)) == 4


def test_sen12ms_labels_from_land_cover(sen12ms):
    single = open_data_set("sen12ms", sen12ms)
    # Croplands and their mosaic together (0.5) tie with forest (0.5): the first wins.
    assert [single.legend.names[k] for k in single.label[:3]] == ["forest", "water", "barren"]
    several = open_data_set("sen12ms", sen12ms, kind="multi")
    names = [{several.legend.names[k] for k in np.flatnonzero(row)} for row in several.label[:3]]
    assert names == [{"forest", "croplands"}, {"water"}, {"savanna", "barren"}]
    full = open_data_set("sen12ms", sen12ms, kind="multi", scheme="igbp", threshold=0.25)
    assert np.flatnonzero(full.label[0]).tolist() == [0, 11]


def test_sen12ms_shares_from_a_table_and_never_from_a_pickle(sen12ms):
    plain = open_data_set("sen12ms", sen12ms, kind="multi")
    rows = {name.replace("_p", "_p"): plain.shares[i].tolist() for i, name in enumerate(plain.ids)}
    official = {f"{'_'.join(k.split('_')[:2])}_s2_{'_'.join(k.split('_')[2:])}.tif": v for k, v in rows.items()}
    table = sen12ms / "IGBP_probability_labels.json"
    table.write_text(json.dumps(official))
    for lc in sen12ms.rglob("*_lc_*.tif"):
        lc.unlink()
    np.testing.assert_array_equal(open_data_set("sen12ms", sen12ms, kind="multi").label, plain.label)
    table.unlink()
    csv = sen12ms / "shares.csv"
    csv.write_text("\n".join(f"{k}," + ",".join(map(repr, v)) for k, v in official.items()))
    np.testing.assert_array_equal(open_data_set("sen12ms", sen12ms, kind="multi", labels=csv).label, plain.label)
    pickle = sen12ms / "IGBP_probability_labels.pkl"
    pickle.write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(LabelError, match="pickle, which could run code"):
        open_data_set("sen12ms", sen12ms, labels=pickle)
    csv.write_text("ROIs1158_spring_s2_1_p30.tif,0.5,0.5\n")
    with pytest.raises(LabelError, match="has not 17 shares"):
        open_data_set("sen12ms", sen12ms, labels=csv)
    with pytest.raises(SceneError, match="12 of 12 patches have no lc file"):
        open_data_set("sen12ms", sen12ms)


def test_sen12ms_official_lists(sen12ms):
    ids = [f"ROIs1158_spring_s2_{scene}_p{number}.tif" for scene in (1, 146) for number in COVER]
    (sen12ms / "train_list.txt").write_text("\n".join(ids[:4]))
    (sen12ms / "val_list.txt").write_text(ids[3])
    (sen12ms / "test_list.txt").write_text("\n".join(ids[4:]))
    (sen12ms / "SEN12MS_holdOutScenes.txt").write_text("ROIs1868_summer/s1_146\n")
    data = open_data_set("sen12ms", sen12ms)
    official = data.splits()["official"]
    assert [int((official == part).sum()) for part in (0, Part.TRAIN, Part.VALIDATION, Part.TEST)] == [6, 3, 1, 2]
    held = data.splits()["held-out"]
    assert {data.ids[i] for i in np.flatnonzero(held == Part.TEST)} == {f"ROIs1868_summer_146_p{n}" for n in COVER}


def test_sen12ms_leaves_the_broken_patch_out(sen12ms):
    for kind in ("s1", "s2", "lc"):
        folder = sen12ms / "ROIs1868_summer" / f"{kind}_146"
        (folder / f"ROIs1868_summer_{kind}_146_p202.tif").symlink_to(folder / f"ROIs1868_summer_{kind}_146_p30.tif")
    assert "ROIs1868_summer_146_p202" not in open_data_set("sen12ms", sen12ms).ids


def test_sen12ms_refuses_with_a_sentence(sen12ms):
    with pytest.raises(ConfigurationError, match="inputs of sen12ms is one of"):
        open_data_set("sen12ms", sen12ms, inputs="s3")
    with pytest.raises(ConfigurationError, match="and no other"):
        open_data_set("sen12ms", sen12ms, bands="B02")
    with pytest.raises(ConfigurationError, match="threshold"):
        open_data_set("sen12ms", sen12ms, threshold=0)
    path = sen12ms / "ROIs1158_spring" / "s2_1" / "ROIs1158_spring_s2_1_p30.tif"
    write_tif(path, np.ones((12, 256, 256), np.uint16))
    with pytest.raises(SceneError, match="has 12 x 256 x 256"):
        open_data_set("sen12ms", sen12ms).read([0])
    cover = cover_image({1: 1.0})
    cover[0, 0, 0] = 40
    write_tif(sen12ms / "ROIs1158_spring" / "lc_1" / "ROIs1158_spring_lc_1_p30.tif", cover)
    with pytest.raises(LabelError, match="holds 40, which is no IGBP class"):
        open_data_set("sen12ms", sen12ms)
    (sen12ms / "ROIs1868_summer" / "s1_1" / "ROIs1868_summer_s1_1_p30.tif").unlink()
    with pytest.raises(SceneError, match=r"1 of 12 patches have no s1 file, such as ROIs1868_summer_s1_1_p30\.tif"):
        open_data_set("sen12ms", sen12ms, inputs="s1")


@settings(max_examples=50, deadline=None)
@given(npst.arrays(np.uint8, (1, 6, 6), elements=st.sampled_from([0, *range(1, 18), 255])))
def test_shares_of_the_simplified_scheme_sum_to_the_same(codes):
    shares = igbp_shares(codes, "patch")
    known = bool(((codes >= 1) & (codes <= IGBP)).any())
    assert shares.sum() == pytest.approx(float(known))
    assert simplify(shares[None]).sum() == pytest.approx(float(known))
