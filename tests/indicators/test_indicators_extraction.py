import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from shapely.geometry import MultiPoint, Point, box

from ecumene.core.errors import LabelError, ProductError
from ecumene.indicators.extraction import extract_at
from ecumene.legends import Legend, LegendClass

X0, Y0 = 500_000.0, 5_000_000.0
LEGEND = Legend(
    classes=tuple(LegendClass(value=v, name=n, colour="#000000") for v, n in ((10, "water"), (3, "wood"), (7, "town")))
)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.choice(np.array([10, 3, 7], np.uint8), (1100, 1200))
    codes[0, 0], codes[5, 5] = 10, 255
    with rasterio.open(
        tmp_path / "m.tif", "w", driver="GTiff", height=1100, width=1200, count=1, dtype="uint8", crs="EPSG:32633",
        transform=from_origin(X0, Y0, 10, 10), nodata=255,
    ) as dataset:  # fmt: skip
        dataset.write(codes, 1)
    np.save(tmp_path / "codes.npy", codes)
    return tmp_path


def at(row, col):
    return Point(X0 + 10 * col + 5, Y0 - 10 * row - 5)


def save(folder, classes, geometries, crs=32633, **columns):
    frame = gpd.GeoDataFrame({"class": classes, **columns}, geometry=geometries, crs=32633).to_crs(crs)
    frame.to_file(folder / "r.gpkg")
    return folder / "r.gpkg"


@pytest.mark.parametrize("crs", [32633, 4326, 3035])
def test_points_in_any_crs(folder, crs):
    codes = np.load(folder / "codes.npy")
    rng = np.random.default_rng(1)
    rows, cols = rng.integers(10, 1100, 300), rng.integers(10, 1200, 300)
    truth = rng.choice(["water", "wood", "town"], 300)
    path = save(folder, truth, [at(r, c) for r, c in zip(rows, cols, strict=True)], crs)
    pairs = extract_at(path, "class", folder / "m.tif", LEGEND)
    assert len(pairs) == 300
    np.testing.assert_array_equal(pairs.row, rows)
    np.testing.assert_array_equal(pairs.col, cols)
    np.testing.assert_array_equal([LEGEND.names[i] for i in pairs.reference], truth)
    np.testing.assert_array_equal([LEGEND.values[i] for i in pairs.mapped], codes[rows, cols])
    assert pairs.confusion().sum() == 300
    np.testing.assert_array_equal(pairs.counts_by_map_class(), pairs.confusion().T)


def test_what_cannot_be_used_is_counted(folder):
    geometries = [at(0, 0), at(5, 5), at(-1, 3), Point(X0 + 9e6, Y0), at(7, 7), at(8, 8), at(9, 9)]
    path = save(folder, ["water", "wood", "wood", "wood", None, "  ", "10"], geometries)
    pairs = extract_at(path, "class", folder / "m.tif", LEGEND)
    assert (len(pairs), pairs.nodata, pairs.outside, pairs.skipped) == (2, 1, 2, 2)
    assert pairs.feature.tolist() == [0, 6]
    assert pairs.reference.tolist() == [0, 0]  # the code 10 typed as text is water


def test_polygons_across_tiles(folder):
    codes = np.load(folder / "codes.npy")
    big = box(X0 + 10_150, Y0 - 10_300, X0 + 10_350, Y0 - 10_150)  # rows 1015..1029, columns 1015..1034
    tiny = box(X0 + 1, Y0 - 2, X0 + 2, Y0 - 1)
    path = save(folder, ["town", "wood", "water"], [big, tiny, MultiPoint([at(50, 50), at(60, 60)])])
    pairs = extract_at(path, "class", folder / "m.tif", LEGEND)
    assert pairs.without_pixels == 1
    assert (pairs.feature == 0).sum() == 15 * 20
    assert (pairs.feature == 2).sum() == 2
    here = pairs.feature == 0
    assert (pairs.row[here].min(), pairs.row[here].max()) == (1015, 1029)
    np.testing.assert_array_equal([LEGEND.values[i] for i in pairs.mapped], codes[pairs.row, pairs.col])


def test_groups(folder):
    places = [at(10, c) for c in range(4)]
    path = save(folder, ["wood"] * 4, places, block=[5.0, 5.0, 8.0, None])
    pairs = extract_at(path, "class", folder / "m.tif", LEGEND, group_field="block")
    assert len(set(pairs.group.tolist())) == 3
    assert pairs.group[0] == pairs.group[1]
    alone = extract_at(path, "class", folder / "m.tif", LEGEND, group_field="absent")
    assert alone.group.tolist() == [0, 1, 2, 3]


def test_errors_are_sentences(folder):
    path = save(folder, ["wood", "desert"], [at(1, 1), at(2, 2)])
    with pytest.raises(LabelError, match=r"not in the legend: 'desert'; it has: 10 water, 3 wood, 7 town"):
        extract_at(path, "class", folder / "m.tif", LEGEND)
    with pytest.raises(LabelError, match="no field 'klasse'"):
        extract_at(path, "klasse", folder / "m.tif", LEGEND)
    path = save(folder, ["wood"], [Point(X0 - 5000, Y0)])
    with pytest.raises(LabelError, match="meets the map"):
        extract_at(path, "class", folder / "m.tif", LEGEND)
    path = save(folder, ["wood"], [at(5, 5)])
    with pytest.raises(LabelError, match="classified pixel"):
        extract_at(path, "class", folder / "m.tif", LEGEND)
    path = save(folder, ["wood"] * 200, [at(20, c) for c in range(200)])
    with pytest.raises(ProductError, match="not in its legend: 7, 10"):
        extract_at(path, "class", folder / "m.tif", Legend(classes=LEGEND.classes[1:2]))
    with pytest.raises(ProductError, match="does not exist"):
        extract_at(path, "class", folder / "no.tif", LEGEND)
