"""Labelled patches and masks from scenes and polygons, read again by the loader and by training."""

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from typer.testing import CliRunner

from ecumene.core.errors import ConfigurationError, ContractError, LabelError, ProductError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.legends.library import get_legend
from ecumene.samples.datasets import open_data_set
from ecumene.samples.datasets.eurosat import FILE_BANDS
from ecumene.samples.datasets.eurosat_writing import stored_numbers
from ecumene.samples.labels import LabelRaster, read_labels
from ecumene.samples.patch_choice import choose_patches
from ecumene.workflows.patches import choose_crosswalk, make_patches, parse_shares, spelled
from ecumene.workflows.stacks import open_stack

SIDE, WEST, NORTH = 320, 500_000.0, 5_300_000.0
SAFE_ORDER = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")


@pytest.fixture
def town(tmp_path):
    """A scene of 320 x 320 pixels, bands in the agency's order, and Urban Atlas polygons with a river through it."""
    rng = np.random.default_rng(0)
    array = rng.integers(200, 4000, (13, SIDE, SIDE)).astype(np.uint16)
    array[:, :8, :8] = 0
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", count=13, height=SIDE, width=SIDE, dtype="uint16",
        crs="EPSG:32632", transform=from_origin(WEST, NORTH, 10, 10),
    ) as file:  # fmt: skip
        file.write(array)

    def box(col, row, width, height):
        return shapely.box(WEST + 10 * col, NORTH - 10 * (row + height), WEST + 10 * (col + width), NORTH - 10 * row)

    river = box(150, 0, 12, SIDE)
    parts = [
        (box(0, 0, 320, 192).difference(river), "23000", "Pastures"),
        (box(0, 192, 320, 128).difference(river), "11100", "Continuous urban fabric (S.L. : > 80%)"),
        (river, "50000", "Water"),
    ]
    frame = geopandas.GeoDataFrame(
        {"code": [code for _, code, _ in parts], "class": [name for _, _, name in parts]},
        geometry=[shape for shape, _, _ in parts],
        crs="EPSG:32632",
    )
    frame.to_file(tmp_path / "polygons.gpkg")
    (tmp_path / "crosswalk.yaml").write_text(crosswalk('"23000": Pasture, "11100": Residential, "50000": River'))
    return tmp_path


def crosswalk(classes):
    return f"target_legend: eurosat\nclasses: {{{classes}}}\n"


DECLARED = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0, "nodata": 0.0, "bands": SAFE_ORDER}


def make(town, out="patches", **options):
    given = {
        "label_field": "code",
        "crosswalk": choose_crosswalk(str(town / "crosswalk.yaml"), None),
        **DECLARED,
        **options,
    }
    return make_patches(town / "scene.tif", town / "polygons.gpkg", town / out, **given)


def test_patches_are_read_again_with_the_scene_s_numbers_and_place(town):
    made = make(town, shares={"River": 0.15}, colours=True)
    # Five columns and rows of 64: three rows of pasture and two of town; the river is in the third column.
    assert made.counts["River"] == 5
    assert (made.counts["Pasture"], made.counts["Residential"]) == (11, 8)
    assert made.left_out == 1  # the upper left patch has pixels without data
    data = open_data_set("eurosat", made.folder / "EuroSAT_MS")
    assert data.legend.names == ("Pasture", "Residential", "River")
    assert np.bincount(data.label).tolist() == [11, 8, 5]
    with rasterio.open(town / "scene.tif") as file:
        scene = file.read()
    with rasterio.open(made.folder / "EuroSAT_MS" / "Pasture" / "Pasture_1.tif") as file:
        assert file.crs.to_epsg() == 32632
        assert (file.transform.c, file.transform.f) == (WEST + 640, NORTH)
        numbers = file.read()
    for position, band in enumerate(FILE_BANDS):  # B8A moved to the end, no number changed
        np.testing.assert_array_equal(numbers[position], scene[SAFE_ORDER.index(band), :64, 64:128])
    index = list(data.ids).index("Pasture_1")
    np.testing.assert_allclose(data.read([index]).image[0, -1], scene[8, :64, 64:128] * 1e-4, rtol=1e-6)
    colours = open_data_set("eurosat", made.folder / "EuroSAT_RGB", places=made.folder / "EuroSAT_MS")
    assert list(colours.ids) == list(data.ids)
    np.testing.assert_array_equal(colours.group, data.group)


def test_masks_are_labels_for_training(town):
    made = make(town, masks=True)
    (mask,) = made.masks
    stack = open_stack(town / "scene.tif", **DECLARED)
    again = read_labels(mask, None, stack.geobox)
    assert again.legend.names == ("Pasture", "Residential", "River")
    assert again.pixels_per_class == (192 * 308, 128 * 308, 320 * 12)
    with rasterio.open(mask) as file:
        assert file.nodata == 255
        assert set(np.unique(file.read(1))) == {5, 7, 8}


def test_codes_and_remarks_mean_a_published_class(town):
    atlas = get_legend("urban_atlas")
    meant = spelled(["11100", "Continuous urban fabric (S.L. : > 80%)", "Water", "50000", "moon"], atlas)
    fabric = "Continuous urban fabric"
    assert list(meant.values()) == [fabric, fabric, "Water", "Water"]
    made = make(town, crosswalk=None, legend="urban_atlas", label_field="class")
    assert {name for name, count in made.counts.items() if count} == {fabric, "Pastures"}
    # The class names of another legend are kept beside the patches, as names of folders.
    assert open_data_set("eurosat", made.folder / "EuroSAT_MS").legend.names == ("Continuous-urban-fabric", "Pastures")


def test_the_command_line(town):
    from ecumene.cli.main import app

    run = CliRunner().invoke(
        app,
        ["patches", str(town / "scene.tif"), "--labels", str(town / "polygons.gpkg"), "--label-field", "code",
         "--crosswalk", str(town / "crosswalk.yaml"), "--out", str(town / "out"), "--min-share", "River=0.15",
         "--patch", "32", "--sensor", "sentinel-2", "--level", "L1C", "--scale", "0.0001", "--offset", "0",
         "--nodata", "0", "--bands", ",".join(SAFE_ORDER), "--masks"],
        catch_exceptions=False,
    )  # fmt: skip
    assert run.exit_code == 0
    assert "Residential" in run.output
    assert (town / "out" / "masks" / "1.tif").is_file()
    assert (town / "out" / "patches.json").is_file()


def test_refuses_with_a_sentence_and_leaves_nothing(town):
    cases = (
        (ContractError, "lacks B10", {"bands": [*SAFE_ORDER[:10], "B11", "B12"]}),
        (ContractError, "Sentinel-2 L1C only", {"level": "L2A", "bands": [n for n in SAFE_ORDER if n != "B10"]}),
        (LabelError, "hold '50000', for which there is no class", {"crosswalk": '"23000": Pasture, "11100": null'}),
        (LabelError, "leaves no labelled pixel", {"crosswalk": '"23000": null, "11100": null, "50000": null'}),
        (LabelError, "hold '11100', '23000', '50000'", {"crosswalk": None, "legend": "lcz"}),
        (LabelError, "No patch shows one class", {"size": 319}),
        (LabelError, "'Highways' is not in the legend", {"shares": {"Highways": 0.1}}),
        (ConfigurationError, "least share of River", {"shares": {"River": 1.5}}),
        (ConfigurationError, "positive numbers", {"step": 0, "size": 0}),
    )
    for kind, sentence, options in cases:
        if "bands" in options:
            with rasterio.open(town / "scene.tif") as file:
                profile, array = file.profile, file.read()
            profile["count"] = len(options["bands"])
            with rasterio.open(town / "few.tif", "w", **profile) as file:
                file.write(array[: len(options["bands"])])
        scene = town / ("few.tif" if "bands" in options else "scene.tif")
        given = {"label_field": "code", "crosswalk": choose_crosswalk(str(town / "crosswalk.yaml"), None), **DECLARED}
        if isinstance(options.get("crosswalk"), str):
            (town / "own.yaml").write_text(crosswalk(options["crosswalk"]))
            options["crosswalk"] = choose_crosswalk(str(town / "own.yaml"), None)
        given |= options
        with pytest.raises(kind, match=sentence):
            make_patches(scene, town / "polygons.gpkg", town / "none", **given)
        assert not (town / "none").exists()
    assert [path.name for path in town.iterdir() if path.name.startswith(".")] == []
    (town / "full").mkdir()
    (town / "full" / "file").write_text("mine")
    with pytest.raises(ProductError, match="exists already"):
        make(town, "full")


def test_the_published_crosswalk_leaves_out_what_it_splits(town):
    """Water of Urban Atlas is River or SeaLake: names alone cannot tell."""
    made = make(town, crosswalk=choose_crosswalk("urban_atlas", None), label_field="class")
    assert {name for name, count in made.counts.items() if count} == {"Pasture", "Residential"}
    assert len(made.notes) == 1
    assert made.notes[0].startswith("Water is more than one class of eurosat")
    with pytest.raises(ConfigurationError, match="no crosswalk from lcz to eurosat"):
        choose_crosswalk("lcz", None)


def test_least_shares_are_written_as_class_and_number():
    assert parse_shares(["River=0.2", "Highway = 0.1"]) == {"River": 0.2, "Highway": 0.1}
    with pytest.raises(ConfigurationError, match=r"CLASS=0\.1"):
        parse_shares(["River"])


def test_numbers_of_reflectance():
    values = np.array([np.nan, -0.02, 0.0, 0.00004, 0.1234, 9.0], np.float32)
    assert stored_numbers(values).tolist() == [0, 1, 1, 1, 1234, 65535]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(1, 7), st.integers(1, 7), st.integers(0, 9), st.integers(0, 9),
    st.floats(0.2, 1.0),
)  # fmt: skip
def test_chosen_patches_are_those_that_counting_finds(seed, size, step, row, col, share):
    rng = np.random.default_rng(seed)
    classes = np.kron(rng.integers(-1, 3, (4, 5)), np.ones((5, 4), int)).astype(np.int16)
    legend = Legend.from_names(["a", "b", "c"])
    grid = GeoBox((60, 60), from_origin(0, 0, 10, 10), "EPSG:32633")
    labels = LabelRaster(Window(row, col, *classes.shape), classes, classes.astype(np.int32), legend, grid)
    got = {(p.row, p.col): (p.index, p.share) for p in choose_patches(labels, size, step, {"a": share})}
    least = np.array([share, 0.9, 0.9])
    want = {}
    for r in range(0, 60, step):
        for c in range(0, 60, step):
            if r < row or c < col or r + size > row + classes.shape[0] or c + size > col + classes.shape[1]:
                continue
            cut = classes[r - row : r - row + size, c - col : c - col + size]
            shown = np.array([(cut == k).mean() for k in range(3)])
            if (shown >= least - 1e-9).any():
                index = int(np.where(shown >= least - 1e-9, shown / least, 0).argmax())
                want[r, c] = (index, shown[index])
    assert got == want
