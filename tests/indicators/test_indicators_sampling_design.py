import geopandas as gpd
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.indicators.extraction import extract_at
from ecumene.indicators.olofsson import olofsson_report
from ecumene.indicators.sampling_design import allocate, draw_design, sample_size
from ecumene.legends import Legend

LEGEND = Legend.from_names(["water", "wood", "town"])


def write_map(path, codes):
    with rasterio.open(
        path, "w", driver="GTiff", height=codes.shape[0], width=codes.shape[1], count=1, dtype="uint8",
        crs="EPSG:6933", transform=from_origin(0, 5e6, 10, 10), nodata=255,
    ) as dataset:  # fmt: skip
        dataset.write(codes, 1)


def make_codes(shape=(1200, 1300), seed=0):
    codes = np.random.default_rng(seed).choice(np.array([1, 2], np.uint8), shape, p=[0.3, 0.7])
    codes[:20, :20] = 3
    codes[500:520] = 255
    return codes


def test_sample_size_of_the_paper():
    # Olofsson et al. (2014), section 5.1.1: U = .7 .6 .9 .95, S(O) = 0.01 gives 641 points.
    assert sample_size([0.020, 0.015, 0.320, 0.645], [0.70, 0.60, 0.90, 0.95], 0.01) == 641
    assert sample_size([1, 1], 0.5, 0.05) == 100
    assert sample_size([1, 1], 0.5, 0.05, pixels=100) == 50
    with pytest.raises(ConfigurationError):
        sample_size([1, 1], 1.2, 0.05)


def test_allocation_of_the_paper():
    # Table 5 there: 75 for each change class, the rest in proportion: 165 and 325 of 640.
    points = allocate(640, [0.020, 0.015, 0.320, 0.645], minimum=75)
    assert points[:2].tolist() == [75, 75]
    assert points.sum() == 640
    assert abs(points[2] - 165) <= 4


@settings(max_examples=200, deadline=None)
@given(
    weights=st.lists(st.integers(0, 1000), min_size=1, max_size=8).filter(any),
    total=st.integers(1, 2000),
    minimum=st.integers(0, 100),
    data=st.data(),
)
def test_allocation_properties(weights, total, minimum, data):
    available = data.draw(st.lists(st.integers(1, 500), min_size=len(weights), max_size=len(weights)))
    points = allocate(total, weights, minimum, available)
    share, limit = np.array(weights), np.array(available)
    assert (points[share == 0] == 0).all()
    assert (points <= limit).all()
    assert (points[share > 0] >= np.minimum(minimum, limit)[share > 0]).all()
    needed = np.minimum(minimum, limit)[share > 0].sum()
    assert points.sum() == min(max(total, needed), limit[share > 0].sum())


def test_design_draws_distinct_pixels_of_each_stratum(tmp_path):
    codes = make_codes()
    write_map(tmp_path / "m.tif", codes)
    design = draw_design(tmp_path / "m.tif", LEGEND, total=300, minimum=50, seed=4)
    assert design.allocation[3] == 50
    assert sum(design.allocation.values()) == 300 == len(design.points)
    cols = ((design.points.geometry.x - 5) / 10).round().astype(int)
    rows = ((5e6 - 5 - design.points.geometry.y) / 10).round().astype(int)
    np.testing.assert_array_equal(codes[rows, cols], design.points["stratum"])
    assert len(set(zip(rows, cols, strict=True))) == 300
    assert (np.diff(design.points["stratum"]) != 0).mean() > 0.3  # not sorted by stratum
    assert design.points["inclusion_probability"][design.points["stratum"] == 3].iloc[0] == pytest.approx(50 / 400)
    again = draw_design(tmp_path / "m.tif", LEGEND, total=300, minimum=50, seed=4)
    assert design.points.geometry.equals(again.points.geometry)
    other = draw_design(tmp_path / "m.tif", LEGEND, total=300, minimum=50, seed=5)
    assert not design.points.geometry.equals(other.points.geometry)


def test_draw_is_uniform_within_a_stratum(tmp_path):
    codes = np.full((64, 64), 2, np.uint8)
    write_map(tmp_path / "m.tif", codes)
    hits = np.zeros((64, 64))
    for seed in range(60):
        points = draw_design(tmp_path / "m.tif", LEGEND, total=200, minimum=0, seed=seed).points
        rows, cols = ((5e6 - points.geometry.y) // 10).astype(int), (points.geometry.x // 10).astype(int)
        hits[rows, cols] += 1
    quarters = hits.reshape(2, 32, 2, 32).sum(axis=(1, 3)).ravel()
    expected = 60 * 200 / 4
    assert (np.abs(quarters - expected) < 5 * np.sqrt(expected)).all()


def test_written_design_comes_back_through_extraction_to_olofsson(tmp_path):
    codes = make_codes()
    write_map(tmp_path / "m.tif", codes)
    design = draw_design(tmp_path / "m.tif", LEGEND, total=400, seed=1)
    path = design.write(tmp_path / "deep" / "points.gpkg")
    frame = gpd.read_file(path)
    assert set(frame.columns) == {
        "id", "stratum", "stratum_name", "weight", "inclusion_probability", "reference", "geometry",
    }  # fmt: skip
    assert frame["reference"].isna().all()
    assert frame.drop_duplicates("stratum")["weight"].sum() == pytest.approx(1)
    truth = frame["stratum_name"].to_numpy(dtype=object)
    truth[:40] = "wood"
    frame.assign(reference=truth).to_crs(4326).to_file(tmp_path / "done.gpkg")
    pairs = extract_at(tmp_path / "done.gpkg", "reference", tmp_path / "m.tif", LEGEND)
    assert len(pairs) == 400
    report = olofsson_report(pairs.counts_by_map_class(), design.areas.for_legend(LEGEND), LEGEND.names)
    np.testing.assert_array_equal(report.counts.sum(axis=1), [design.allocation[c] for c in (1, 2, 3)])
    assert report.users[1].value == 1.0
    assert report.overall.value < 1.0
    assert not list((tmp_path / "deep").glob(".part-*"))


def test_size_from_target_and_errors(tmp_path):
    write_map(tmp_path / "m.tif", make_codes())
    design = draw_design(
        tmp_path / "m.tif", LEGEND, target_standard_error=0.02, anticipated_users_accuracy={"wood": 0.9}, minimum=30
    )
    shares = design.areas.areas_m2
    expected = sample_size(shares, [0.8, 0.9, 0.8], 0.02, int(design.areas.pixels.sum()))
    assert len(design.points) == expected
    with pytest.raises(ConfigurationError, match="unknown classes: sea"):
        draw_design(tmp_path / "m.tif", LEGEND, anticipated_users_accuracy={"sea": 0.9})
    with pytest.raises(ConfigurationError, match=r"points\.gpkg"):
        design.write(tmp_path / "points.shp")
    write_map(tmp_path / "empty.tif", np.full((4, 4), 255, np.uint8))
    with pytest.raises(ProductError, match="no classified pixel"):
        draw_design(tmp_path / "empty.tif", LEGEND)
