import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import Geod
from rasterio.transform import from_origin
from shapely.geometry import Polygon

from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.core.window import Window
from ecumene.indicators.areas import class_areas, pixel_areas
from ecumene.legends import Legend, LegendClass

GEOD = Geod(ellps="WGS84")


def dense_box(left, bottom, right, top, n=200):
    t = np.linspace(0, 1, n)
    x = np.concatenate([left + (right - left) * t, np.full(n, right), right - (right - left) * t, np.full(n, left)])
    y = np.concatenate([np.full(n, bottom), bottom + (top - bottom) * t, np.full(n, top), top - (top - bottom) * t])
    return x, y


@pytest.mark.parametrize("top", [0.3, 45.0, 60.2, 89.5, -33.0])
def test_geographic_pixels_against_geodesic_polygons(top):
    geobox = GeoBox((2, 3), from_origin(10, top, 0.5, 0.25), "EPSG:4326")
    areas = pixel_areas(geobox)
    assert areas.shape == (2, 1)
    for row in range(2):
        x, y = dense_box(10, top - 0.25 * (row + 1), 10.5, top - 0.25 * row, 2000)
        expected = abs(GEOD.polygon_area_perimeter(x, y)[0])
        assert areas[row, 0] == pytest.approx(expected, rel=1e-6)


def test_whole_earth():
    geobox = GeoBox((180, 360), from_origin(-180, 90, 1, 1), "EPSG:4326")
    total = class_areas(np.ones((180, 360), np.uint8), geobox=geobox).areas_m2[0]
    assert total == pytest.approx(510_065_621_724_000, rel=1e-9)  # WGS84 ellipsoid


@pytest.mark.parametrize(
    ("crs", "left", "top", "size"),
    [(32633, 500_000, 5_000_000, 10), (32633, 800_000, 5_000_000, 10), (3857, 1_500_000, 8_400_000, 100),
     (3035, 4_321_000, 3_210_000, 30), (6933, 1_000_000, 5_000_000, 100), (2263, 980_000, 200_000, 50)],
)  # fmt: skip
def test_projected_pixels_against_geodesic_polygons(crs, left, top, size):
    from pyproj import Transformer

    geobox = GeoBox((100, 150), from_origin(left, top, size, size), f"EPSG:{crs}")
    areas = pixel_areas(geobox)
    x, y = dense_box(left, top - 100 * size, left + 150 * size, top, 400)
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    expected = abs(GEOD.polygon_area_perimeter(lon, lat)[0])
    assert areas.sum() == pytest.approx(expected, rel=2e-6)
    part = pixel_areas(geobox, Window(10, 20, 30, 40))
    np.testing.assert_allclose(part, areas[10:40, 20:60], rtol=1e-6)


def test_utm_scale_is_taken_into_account():
    centre = GeoBox((1, 1), from_origin(500_000, 5_000_000, 10, 10), "EPSG:32633")
    assert pixel_areas(centre)[0, 0] == pytest.approx(100 / 0.9996**2, rel=1e-6)


def write_map(path, codes, **options):
    with rasterio.open(
        path, "w", driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1, dtype=codes.dtype,
        crs="EPSG:6933", transform=from_origin(0, 5e6, 10, 10), **options,
    ) as dataset:  # fmt: skip
        dataset.write(codes, 1)


def test_class_areas_of_a_file_in_tiles(tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.choice(np.array([1, 7, 255], np.uint8), (1500, 1100))
    write_map(tmp_path / "m.tif", codes, nodata=255)
    legend = Legend(
        classes=tuple(LegendClass(value=v, name=n, colour="#000000") for v, n in ((7, "a"), (3, "b"), (1, "c")))
    )
    areas = class_areas(tmp_path / "m.tif", legend)
    assert areas.codes == (1, 7)
    np.testing.assert_array_equal(areas.pixels, [(codes == 1).sum(), (codes == 7).sum()])
    np.testing.assert_allclose(areas.areas_m2, areas.pixels * 100, rtol=1e-6)
    assert areas.nodata_pixels == (codes == 255).sum()
    np.testing.assert_allclose(areas.for_legend(legend), [areas.areas_m2[1], 0, areas.areas_m2[0]])
    assert (areas["a"], areas["b"]) == (areas.areas_m2[1], 0.0)
    with pytest.raises(LabelError):
        areas["z"]
    assert areas.to_frame()["share"].sum() == pytest.approx(1)
    assert list(areas.to_frame()["name"]) == ["c", "a"]
    with pytest.raises(ConfigurationError, match="not in its legend: 7"):
        class_areas(tmp_path / "m.tif", Legend.from_names(["a"]))
    assert class_areas(tmp_path / "m.tif", nodata=7).codes == (1,)


def test_area_errors(tmp_path):
    with pytest.raises(ProductError, match="does not exist"):
        class_areas(tmp_path / "no.tif")
    (tmp_path / "x.tif").write_bytes(b"not a tiff")
    with pytest.raises(ProductError, match="cannot be read"):
        class_areas(tmp_path / "x.tif")
    write_map(tmp_path / "f.tif", np.ones((3, 3), np.float32))
    with pytest.raises(ProductError, match="float32"):
        class_areas(tmp_path / "f.tif")
    with pytest.raises(ConfigurationError, match="same shape"):
        class_areas(np.ones((3, 3), np.uint8))
    turned = GeoBox((2, 2), rasterio.Affine.rotation(10) * rasterio.Affine.scale(0.1, -0.1), "EPSG:4326")
    with pytest.raises(ConfigurationError, match="rotated"):
        pixel_areas(turned)


def test_rotated_projected_grid_keeps_its_area():
    turned = GeoBox(
        (20, 20),
        rasterio.Affine.translation(5e5, 5e6) * rasterio.Affine.rotation(30) * rasterio.Affine.scale(10, -10),
        "EPSG:32633",
    )
    assert Polygon([(0, 0), (200, 0), (200, 200), (0, 200)]).area == pytest.approx(
        pixel_areas(turned).sum() * 0.9996**2, rel=1e-5
    )
