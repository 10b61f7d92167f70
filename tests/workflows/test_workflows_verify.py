"""The verb `verify`: wrong polygons come first."""

import geopandas
import numpy as np
import pandas as pd
import pytest
import shapely
from change_files import LEGEND, map_product
from hypothesis import given, settings
from hypothesis import strategies as st

from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.indicators.polygon_agreement import PixelEvidence, error_correlation, judge_polygons
from ecumene.workflows.verify import VerifyOptions, verify_polygons

EDGE, SIDE = 8, 10
NAMES = ["water", "forest", "built-up"]


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    """A map of squares whose errors go together, and polygons of which every ninth has a wrong class."""
    folder = tmp_path_factory.mktemp("verify")
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 3, (SIDE, SIDE))
    index = np.kron(truth, np.ones((EDGE, EDGE), int))
    confidence = np.clip(np.kron(rng.normal(0.85, 0.08, (SIDE, SIDE)), np.ones((EDGE, EDGE))), 0.55, 0.99)
    wrong = rng.random(index.shape) > confidence
    seen = np.where(wrong, (index + rng.integers(1, 3, index.shape)) % 3, index)
    chances = np.repeat(((1 - confidence) / 2)[None], 3, 0)
    np.put_along_axis(chances, seen[None], confidence[None], 0)
    product = map_product(folder / "map", np.asarray(LEGEND.values)[seen], chances, time="2020-07-01")
    rows, cols = np.divmod(np.arange(SIDE * SIDE), SIDE)
    size = EDGE * 10
    boxes = [
        shapely.box(500_000 + c * size, 5_200_000 - (r + 1) * size, 500_000 + (c + 1) * size, 5_200_000 - r * size)
        for r, c in zip(rows, cols, strict=True)
    ]
    stated = truth.ravel().copy()
    bad = np.arange(SIDE * SIDE) % 9 == 4
    stated[bad] = (stated[bad] + 1) % 3
    frame = geopandas.GeoDataFrame({"class": [NAMES[k] for k in stated]}, geometry=boxes, crs="EPSG:32633")
    frame.to_file(folder / "landuse.gpkg")
    return folder, product, bad


@pytest.fixture(scope="module")
def found(town, tmp_path_factory):
    folder, product, _ = town
    return verify_polygons(folder / "landuse.gpkg", product, tmp_path_factory.mktemp("out") / "check")


def test_wrong_polygons_come_first(town, found):
    bad = town[2]
    order = found.table["row"].to_numpy()
    assert bad[order[: bad.sum()]].all()
    assert (found.table.probability_wrong.to_numpy() > 0.5).sum() == bad.sum()
    first = found.table.iloc[0]
    assert first["mapped"] != first["class"]
    assert first.share_agrees < 0.3
    assert first.p_value < 0.01
    assert first.expected_disagreement > 0.5


def test_p_values_of_right_polygons_are_even(town, found):
    right = found.table[~town[2][found.table["row"].to_numpy()]]
    below = (right.p_value < 0.2).mean()
    assert 0.03 < below < 0.4


def test_everything_is_written(found):
    for suffix in ("gpkg", "parquet", "csv", "json", "html"):
        assert (found.folder / f"verification.{suffix}").stat().st_size > 500
    table = pd.read_csv(found.folder / "verification.csv")
    assert list(table["rank"]) == list(range(1, len(table) + 1))
    assert geopandas.read_file(found.folder / "verification.gpkg").crs.to_epsg() == 32633
    assert len(geopandas.read_parquet(found.folder / "verification.parquet")) == len(table)


def test_values_may_be_codes_or_mapped_by_the_user(town, tmp_path):
    folder, product, bad = town
    frame = geopandas.read_file(folder / "landuse.gpkg")
    frame["use"] = frame["class"].map({"water": "lake", "forest": "green", "built-up": "town"})
    frame["code"] = frame["class"].map(dict(zip(NAMES, LEGEND.values, strict=True)))
    frame.to_file(tmp_path / "other.gpkg")
    by_code = verify_polygons(tmp_path / "other.gpkg", product, tmp_path / "a", VerifyOptions(column="code"))
    assert bad[by_code.table["row"].to_numpy()[: bad.sum()]].all()
    classes = {"lake": ["water"], "town": ["built-up"]}
    partly = verify_polygons(
        tmp_path / "other.gpkg", product, tmp_path / "b", VerifyOptions(column="use", classes=classes, inset=10.0)
    )
    assert any("green" in note for note in partly.notes)
    assert (partly.table.pixels == (EDGE - 2) ** 2).all()


def test_bad_input_is_refused(town, tmp_path):
    folder, product, _ = town
    polygons, out = folder / "landuse.gpkg", tmp_path / "out"
    cases = [
        (LabelError, "no field", VerifyOptions(column="use")),
        (ConfigurationError, "no class 'lava'", VerifyOptions(classes={"water": ["lava"]})),
        (ConfigurationError, "inset", VerifyOptions(inset=-1.0)),
        (ConfigurationError, "prior", VerifyOptions(prior=0.0)),
        (LabelError, "holds a mapped pixel", VerifyOptions(inset=500.0)),
    ]
    for kind, match, options in cases:
        with pytest.raises(kind, match=match):
            verify_polygons(polygons, product, out, options)
    numbers = map_product(tmp_path / "numbers", np.ones((8, 8)), unit="m")
    with pytest.raises(ProductError, match="no map of classes"):
        verify_polygons(polygons, numbers, out)
    far = geopandas.GeoDataFrame({"class": ["water"]}, geometry=[shapely.box(0, 0, 10, 10)], crs="EPSG:32633")
    far.to_file(tmp_path / "far.gpkg")
    with pytest.raises(LabelError):
        verify_polygons(tmp_path / "far.gpkg", product, out)
    verify_polygons(polygons, product, out)
    with pytest.raises(ProductError, match="--overwrite"):
        verify_polygons(polygons, product, out)


def test_correlation_of_errors_is_found_in_spite_of_wrong_polygons():
    rng = np.random.default_rng(0)
    pixels, confidence, correlation = 60, 0.9, 0.2
    polygons = 4000
    # A beta-binomial number of right pixels has just this correlation within a polygon.
    strength = 1 / correlation - 1
    right = rng.binomial(pixels, rng.beta(confidence * strength, (1 - confidence) * strength, polygons))
    right[: polygons // 10] = rng.binomial(pixels, 0.05, polygons // 10)
    variance = np.full(polygons, pixels * confidence * (1 - confidence))
    found = error_correlation(right - pixels * confidence, variance, np.full(polygons, pixels))
    assert 0.08 < found < 0.35
    assert error_correlation(np.zeros(5), np.ones(5), np.full(5, 10)) == 0.0


@settings(max_examples=25)
@given(st.integers(1, 40), st.floats(0.4, 0.99), st.floats(0.0, 1.0))
def test_more_agreement_never_makes_a_polygon_more_doubtful(pixels, confidence, correlation):
    judged = []
    for agree in range(pixels + 1):
        index = np.where(np.arange(pixels) < agree, 0, 1)
        chances = np.full((2, pixels), 1 - confidence)
        np.put_along_axis(chances, index[None], confidence, 0)
        evidence = PixelEvidence(2)
        evidence.add(index, chances, (0,), np.zeros(pixels, bool))
        judged.append(judge_polygons([evidence], [(0,)], correlation=correlation))
    share = np.array([item.share[0] for item in judged])
    p_value, wrong = (np.array([getattr(item, name)[0] for item in judged]) for name in ("p_value", "wrong"))
    np.testing.assert_allclose(share, np.arange(pixels + 1) / pixels)
    assert (np.diff(p_value) >= -1e-12).all()
    assert ((np.diff(wrong) <= 1e-9) | (confidence < 0.5)).all()
