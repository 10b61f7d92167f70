import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.transform import from_origin
from shapely.geometry import LineString, Point, Polygon, box

from ecumene.core.errors import LabelError, SceneError
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.samples.labels import read_labels, require_trainable
from ecumene.samples.targets import read_targets

X0, Y0 = 500_000.0, 5_000_000.0
GRID = GeoBox((60, 80), from_origin(X0, Y0, 10, 10), "EPSG:32633")


def pixel_box(row, col, height, width):
    return box(X0 + 10 * col, Y0 - 10 * (row + height), X0 + 10 * (col + width), Y0 - 10 * row)


def frame(classes, geometries, **columns):
    return gpd.GeoDataFrame({"class": classes, **columns}, geometry=geometries, crs="EPSG:32633")


@pytest.fixture
def two():
    return frame(["water", "forest"], [pixel_box(5, 7, 4, 6), pixel_box(20, 30, 10, 3)])


@pytest.mark.parametrize("suffix", ["gpkg", "geojson", "shp", "parquet", "fgb"])
def test_formats_give_the_same_labels(two, tmp_path, suffix):
    path = tmp_path / f"labels.{suffix}"
    two.to_parquet(path) if suffix == "parquet" else two.to_file(path)
    labels = read_labels(path, "class", GRID)
    assert labels.legend.names == ("forest", "water")
    assert labels.window == Window(5, 7, 25, 26)
    assert labels.pixels_per_class == (30, 24)
    assert labels.features_per_class == (1, 1)
    assert (labels.classes[:4, :6] == 1).all()
    assert np.unique(labels.feature_id[:4, :6]).size == 1  # FlatGeobuf changes the order of rows
    assert (labels.classes == -1).sum() == 25 * 26 - 54


def test_point_labels_its_pixel(tmp_path):
    frame(["a", "b"], [Point(X0 + 25, Y0 - 35), Point(X0 + 799.9, Y0 - 599.9)]).to_file(tmp_path / "p.gpkg")
    labels = read_labels(tmp_path / "p.gpkg", "class", GRID)
    full = labels.read(Window(0, 0, 60, 80))
    assert (full[3, 2], full[59, 79], (full >= 0).sum()) == (0, 1, 2)


@pytest.mark.parametrize("crs", [4326, 3857, 3035, 32632])
def test_other_crs_gives_equal_labels(tmp_path, crs):
    rng = np.random.default_rng(crs)
    shapes = [
        Polygon([(X0 + x, Y0 - y), (X0 + x + w, Y0 - y - 13.3), (X0 + x + 0.37 * w, Y0 - y - h)])
        for x, y, w, h in rng.uniform([10, 10, 60, 60], [500, 400, 250, 190], (6, 4))
    ]
    labels = frame(list("abcabc"), shapes)
    labels.to_file(tmp_path / "own.gpkg")
    labels.to_crs(crs).to_file(tmp_path / "other.gpkg")
    own, other = (read_labels(tmp_path / f"{name}.gpkg", "class", GRID) for name in ("own", "other"))
    # Not a single pixel moves: reprojection back is exact to far less than the distance to a pixel centre.
    assert own.window == other.window
    np.testing.assert_array_equal(own.classes, other.classes)


def test_long_edges_are_densified(tmp_path):
    # A parallel is no straight line in UTM: over 4 degrees it sags by kilometres.
    geobox = GeoBox((1000, 3000), from_origin(350_000, 5_100_000, 100, 100), "EPSG:32633")
    gpd.GeoDataFrame({"class": ["a"]}, geometry=[box(13, 45.5, 17, 46)], crs=4326).to_file(tmp_path / "l.gpkg")
    full = read_labels(tmp_path / "l.gpkg", "class", geobox).read(Window(0, 0, 1000, 3000)) == 0
    x, y = np.meshgrid(350_050 + 100 * np.arange(3000), 5_099_950 - 100 * np.arange(1000))
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    truth = (lon > 13) & (lon < 17) & (lat > 45.5) & (lat < 46)
    assert (full != truth).sum() <= 2


def test_overlap_of_classes_is_unlabelled_and_counted(tmp_path):
    frame(["a", "b", "b"], [pixel_box(0, 0, 4, 4), pixel_box(2, 2, 4, 4), pixel_box(3, 3, 4, 4)]).to_file(
        tmp_path / "o.gpkg"
    )
    labels = read_labels(tmp_path / "o.gpkg", "class", GRID)
    assert labels.conflicts == 4
    assert labels.pixels_per_class == (12, 16 - 4 + 16 - 9)
    assert (labels.classes[2:4, 2:4] == -1).all()
    assert (labels.feature_id[2:4, 2:4] == -1).all()


def test_invalid_null_empty_and_outside_features(tmp_path):
    bow_tie = Polygon([(X0, Y0), (X0 + 100, Y0 - 100), (X0 + 100, Y0), (X0, Y0 - 100)])
    far = box(X0 + 1e5, Y0, X0 + 1e5 + 50, Y0 + 50)
    tiny = box(X0 + 401, Y0 - 402, X0 + 402, Y0 - 401)
    labels = frame(
        ["a", None, "b", "b", "", "b"], [bow_tie, pixel_box(0, 0, 2, 2), far, pixel_box(30, 30, 2, 2), far, tiny]
    )
    labels.to_file(tmp_path / "i.gpkg")
    read = read_labels(tmp_path / "i.gpkg", "class", GRID)
    assert (read.skipped, read.outside, read.without_pixels) == (1, 2, 1)  # '' is far away and counts as outside
    assert read.pixels_per_class[1] == 4
    assert 40 <= read.pixels_per_class[0] <= 60  # both triangles of the bow tie
    assert read_labels(tmp_path / "i.gpkg", "class", GRID, all_touched=True).without_pixels == 0


def test_blank_text_has_no_class(tmp_path):
    frame(["a", " "], [pixel_box(0, 0, 2, 2), pixel_box(5, 5, 2, 2)]).to_file(tmp_path / "b.gpkg")
    labels = read_labels(tmp_path / "b.gpkg", "class", GRID)
    assert (labels.legend.names, labels.skipped) == (("a",), 1)


def test_integer_classes_sort_as_numbers_and_keep_codes(tmp_path):
    frame([10, 2, 200], [pixel_box(0, 0, 1, 1), pixel_box(2, 0, 1, 1), pixel_box(4, 0, 1, 1)]).to_file(
        tmp_path / "n.gpkg"
    )
    labels = read_labels(tmp_path / "n.gpkg", "class", GRID)
    assert labels.legend.names == ("2", "10", "200")
    assert labels.legend.values == (2, 10, 200)
    assert labels.classes[:, 0].tolist() == [1, -1, 0, -1, 2]


def test_large_integer_codes_are_numbered(tmp_path):
    frame([11100, 21000], [pixel_box(0, 0, 1, 1), pixel_box(2, 0, 1, 1)]).to_file(tmp_path / "n.gpkg")
    legend = read_labels(tmp_path / "n.gpkg", "class", GRID).legend
    assert (legend.names, legend.values) == (("11100", "21000"), (1, 2))


def test_given_legend_sets_order_and_refuses_others(two, tmp_path):
    two.to_file(tmp_path / "l.gpkg")
    legend = Legend.from_names(["water", "rock", "forest"])
    labels = read_labels(tmp_path / "l.gpkg", "class", GRID, legend=legend)
    assert labels.pixels_per_class == (24, 0, 30)
    with pytest.raises(LabelError, match=r"'forest'.*1 water"):
        read_labels(tmp_path / "l.gpkg", "class", GRID, legend=Legend.from_names(["water"]))
    kept = read_labels(tmp_path / "l.gpkg", "class", GRID, ignore=("forest",))
    assert kept.legend.names == ("water",)


def test_labels_touching_by_one_pixel_work(tmp_path):
    corner = box(X0 - 500, Y0 - 9, X0 + 9, Y0 + 500)
    frame(["a"], [corner]).to_file(tmp_path / "c.gpkg")
    labels = read_labels(tmp_path / "c.gpkg", "class", GRID)
    assert (labels.window, labels.classes.tolist()) == (Window(0, 0, 1, 1), [[0]])
    with pytest.raises(LabelError, match="at least two classes"):
        require_trainable(labels)


def test_edge_that_contains_no_pixel_centre_says_so(tmp_path):
    frame(["a"], [box(X0 - 500, Y0 - 4, X0 + 4, Y0 + 500)]).to_file(tmp_path / "c.gpkg")
    with pytest.raises(LabelError, match="all_touched"):
        read_labels(tmp_path / "c.gpkg", "class", GRID)
    assert read_labels(tmp_path / "c.gpkg", "class", GRID, all_touched=True).pixels_per_class == (1,)


def test_user_errors_are_sentences(two, tmp_path):
    two.to_file(tmp_path / "l.gpkg")
    with pytest.raises(LabelError, match="no field 'kind'; the fields are: class"):
        read_labels(tmp_path / "l.gpkg", "kind", GRID)
    with pytest.raises(LabelError, match="does not exist"):
        read_labels(tmp_path / "no.gpkg", "class", GRID)
    with pytest.raises(LabelError, match="which field"):
        read_labels(tmp_path / "l.gpkg", None, GRID)
    with pytest.raises(LabelError, match="no layer 'x'; it has: l"):
        read_labels(tmp_path / "l.gpkg", "class", GRID, layer="x")
    (tmp_path / "broken.gpkg").write_bytes(b"SQLite format 3\0 rubbish")
    with pytest.raises(LabelError, match="cannot be read"):
        read_labels(tmp_path / "broken.gpkg", "class", GRID)
    two.set_crs(None, allow_override=True).to_file(tmp_path / "nocrs.shp")
    with pytest.raises(LabelError, match="no coordinate reference system"):
        read_labels(tmp_path / "nocrs.shp", "class", GRID)
    two.translate(1e5, 0).to_frame("geometry").assign(**{"class": "a"}).to_file(tmp_path / "far.gpkg")
    with pytest.raises(LabelError, match=r"None of the 2 features of far\.gpkg meets the scene"):
        read_labels(tmp_path / "far.gpkg", "class", GRID)
    two.assign(**{"class": [0.5, 1.0]}).to_file(tmp_path / "half.gpkg")
    with pytest.raises(LabelError, match="fractions"):
        read_labels(tmp_path / "half.gpkg", "class", GRID)
    pd.DataFrame({"class": ["a"]}).to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(LabelError, match="GeoParquet"):
        read_labels(tmp_path / "plain.parquet", "class", GRID)
    with pytest.raises(SceneError, match="no coordinate reference system"):
        read_labels(tmp_path / "l.gpkg", "class", GeoBox((5, 5), from_origin(0, 5, 1, 1), None))


def test_virtual_vector_file_is_refused(two, tmp_path):
    two.to_file(tmp_path / "l.gpkg")
    text = f"<OGRVRTDataSource><OGRVRTLayer name='l'><SrcDataSource>{tmp_path}/l.gpkg</SrcDataSource></OGRVRTLayer>"
    (tmp_path / "v.json").write_text(text + "</OGRVRTDataSource>")
    with pytest.raises(LabelError, match="virtual file"):
        read_labels(tmp_path / "v.json", "class", GRID)


def test_several_layers_need_a_choice(two, tmp_path):
    two.to_file(tmp_path / "l.gpkg", layer="one")
    two.to_file(tmp_path / "l.gpkg", layer="two")
    with pytest.raises(LabelError, match="several layers"):
        read_labels(tmp_path / "l.gpkg", "class", GRID)
    assert read_labels(tmp_path / "l.gpkg", "class", GRID, layer="two").pixels_per_class == (30, 24)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_labels_of_dates_do_not_depend_on_the_time_zone(tmp_path, monkeypatch, zone):
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    same = pixel_box(4, 4, 3, 3)
    frame(
        ["crop", "bare", "crop"], [same, same, pixel_box(10, 4, 2, 2)], when=["2020-05-01", "2020-09-01", "2020-05-01"]
    ).to_file(tmp_path / "d.geojson")
    labels = read_labels(tmp_path / "d.geojson", "class", GRID, time_field="when")
    monkeypatch.delenv("TZ")
    time.tzset()
    assert labels.dates == (18383, 18506)
    assert labels.conflicts == 9
    assert labels.at(np.datetime64("2020-05-01")).pixels_per_class == (0, 13)
    assert labels.at(18506).pixels_per_class == (9, 0)
    with pytest.raises(LabelError, match="2020-05-01, 2020-09-01"):
        labels.at(np.datetime64("2021-01-01"))


def write_raster(path, array, transform, crs="EPSG:32633", **options):
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=array.shape[0],
        width=array.shape[1],
        count=1,
        dtype=array.dtype,
        crs=crs,
        transform=transform,
        **options,
    ) as dataset:
        dataset.write(array, 1)


def test_raster_labels_on_a_coarser_shifted_grid(tmp_path):
    codes = np.array([[7, 7, 0], [9, 7, 0]], np.uint8)
    write_raster(tmp_path / "r.tif", codes, from_origin(X0 + 100, Y0 - 100, 20, 20), nodata=0)
    labels = read_labels(tmp_path / "r.tif", None, GRID)
    assert labels.window == Window(10, 10, 4, 4)
    assert labels.classes.tolist() == [[0] * 4] * 2 + [[1, 1, 0, 0]] * 2
    assert labels.legend.values == (7, 9)
    assert labels.features_per_class == (1, 1)


def test_raster_without_nodata_does_not_invent_zeros(tmp_path):
    codes = np.array([[0, 1], [1, 0]], np.uint8)
    write_raster(tmp_path / "r.tif", codes, from_origin(X0 + 100, Y0 - 100, 10, 10))
    labels = read_labels(tmp_path / "r.tif", None, GRID)
    assert labels.pixels_per_class == (2, 2)
    assert read_labels(tmp_path / "r.tif", None, GRID, ignore=(0,)).pixels_per_class == (2,)


def test_raster_category_names_from_sidecar(tmp_path):
    write_raster(tmp_path / "r.tif", np.array([[1, 2]], np.uint8), from_origin(X0, Y0, 10, 10))
    (tmp_path / "r.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category></Category><Category>wood</Category>"
        "<Category>lake</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    labels = read_labels(tmp_path / "r.tif", None, GRID)
    assert (labels.legend.names, labels.legend.values) == (("wood", "lake"), (1, 2))


def test_raster_label_errors(tmp_path):
    place = from_origin(X0, Y0, 10, 10)
    write_raster(tmp_path / "f.tif", np.ones((2, 2), np.float32), place)
    with pytest.raises(LabelError, match="float32"):
        read_labels(tmp_path / "f.tif", None, GRID)
    write_raster(tmp_path / "n.tif", np.ones((2, 2), np.uint8), place, crs=None)
    with pytest.raises(LabelError, match="no coordinate reference system"):
        read_labels(tmp_path / "n.tif", None, GRID)
    write_raster(tmp_path / "o.tif", np.ones((2, 2), np.uint8), from_origin(X0 + 1e5, Y0, 10, 10))
    with pytest.raises(LabelError, match="no labelled pixel"):
        read_labels(tmp_path / "o.tif", None, GRID)
    whole = np.random.default_rng(0).integers(0, 9, (256, 256)).astype(np.uint8)
    write_raster(tmp_path / "w.tif", whole, place)
    data = (tmp_path / "w.tif").read_bytes()
    (tmp_path / "t.tif").write_bytes(data[: len(data) // 4])
    with pytest.raises(LabelError, match=r"truncated|cannot be read"):
        read_labels(tmp_path / "t.tif", None, GRID)
    (tmp_path / "v.vrt").write_text(f"<VRTDataset rasterXSize='2' rasterYSize='2'>{tmp_path}/f.tif</VRTDataset>")
    with pytest.raises(LabelError, match="GeoTIFF"):
        read_labels(tmp_path / "v.vrt", None, GRID)


def test_numeric_targets_from_polygons(tmp_path):
    heights = frame(["a"] * 3, [pixel_box(0, 0, 4, 4), pixel_box(2, 2, 4, 4), pixel_box(10, 10, 2, 2)])
    heights.assign(height=[12.5, 3.0, 7.0]).to_file(tmp_path / "h.gpkg")
    targets = read_targets(tmp_path / "h.gpkg", "height", GRID)
    assert targets.values[0, 0] == 12.5
    assert np.isnan(targets.values[2:4, 2:4]).all()
    assert np.isfinite(targets.values).sum() == 12 + 12 + 4
    assert targets.strata(3).pixels_per_class == (12, 16)
    with pytest.raises(LabelError, match="not numeric"):
        read_targets(tmp_path / "h.gpkg", "class", GRID)


def test_numeric_targets_average_a_finer_raster_with_its_scale(tmp_path):
    fine = np.arange(16, dtype=np.int16).reshape(4, 4)
    fine[3, 3] = -99
    path = tmp_path / "t.tif"
    write_raster(path, fine, from_origin(X0 + 50, Y0 - 50, 5, 5), nodata=-99)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.5,), (1.0,)
    targets = read_targets(path, None, GRID)
    assert targets.window == Window(5, 5, 2, 2)
    np.testing.assert_allclose(targets.values, [[2.25, 3.25], [6.25, 0.5 * (10 + 11 + 14) / 3 + 1]], rtol=1e-6)


def test_lines_are_burned_too(tmp_path):
    frame(["road"], [LineString([(X0 + 5, Y0 - 5), (X0 + 95, Y0 - 5)])]).to_file(tmp_path / "r.gpkg")
    assert read_labels(tmp_path / "r.gpkg", "class", GRID).pixels_per_class == (10,)
