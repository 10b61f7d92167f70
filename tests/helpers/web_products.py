"""Small products with known pixels for tests of the web map: classes by date, heights with buildings, a radar grid."""

import json

import geopandas as gpd
import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from ecumene.objectives.prediction import LayerSpec
from ecumene.workflows.array_product import ArrayProduct, ExtraFile, write_array_product

ROWS, COLUMNS, PIXEL = 96, 80, 10.0
ORIGIN = (500_000.0, 5_200_000.0)  # on the central meridian of zone 33: 15 degrees east
CLASSES = ((1, "water", "0064c8"), (2, "forest", "006400"), (3, "built-up", "c80000"), (7, "cropland", "f096ff"))
GRID = GeoBox((ROWS, COLUMNS), Affine(PIXEL, 0, ORIGIN[0], 0, -PIXEL, ORIGIN[1]), "EPSG:32633")
RADAR = (
    'ENGCRS["pixels of the radar",EDATUM["scene"],CS[Cartesian,2],AXIS["x",east],AXIS["y",south],LENGTHUNIT["metre",1]]'
)

_VALID = LayerSpec("valid", "uint8", 0, categorical=True, role="valid", band_names=("valid",))
_OUTLIER = LayerSpec(
    "outlier", "uint8", 255, description="1 where the pixel is unlike everything that the model was trained on",
    categorical=True, role="outlier", band_names=("outlier",),
)  # fmt: skip


def place(row, column):
    """Longitude and latitude of a pixel's centre."""
    from pyproj import Transformer

    x, y = GRID.transform * (column + 0.5, row + 0.5)
    return Transformer.from_crs(GRID.crs.proj, "EPSG:4326", always_xy=True).transform(x, y)


def pixel(lon, lat):
    """Row and column of a place."""
    from pyproj import Transformer

    x, y = Transformer.from_crs("EPSG:4326", GRID.crs.proj, always_xy=True).transform(lon, lat)
    column, row = ~GRID.transform * (x, y)
    return int(row), int(column)


def codes(built):
    """Class codes `[ROWS, COLUMNS]`: water left, then `built` columns of town, forest, fields."""
    found = np.full((ROWS, COLUMNS), 7, np.uint8)
    found[:48, 40:] = 2
    found[:, :30] = 1
    found[:, 30 : 30 + built] = 3
    return found


def class_product(folder, day="2023-07-06", built=12):
    """Write a map of four classes with probabilities, sets, outliers and charts of its own."""
    folder.mkdir(parents=True)
    code = codes(built)
    values = [value for value, _, _ in CLASSES]
    names = tuple(name for _, name, _ in CLASSES)
    best = np.where(code == 3, 0.64, 0.88)
    probability = np.stack([np.where(code == value, best, (1 - best) / 3) for value in values])
    entropy = -(probability * np.log(probability)).sum(0) / np.log(len(values))
    sets = np.stack([(code == value) * (1 << k) for k, value in enumerate(values)]).sum(0) | np.where(code == 3, 8, 0)
    outlier = np.zeros_like(code)
    outlier[-12:, -12:] = 1
    valid = np.ones(code.shape, bool)
    valid[:6, :6] = False
    text = "set of classes as a bit mask that aims to hold the true class with probability 0.9 (" + ", ".join(
        f"bit {k}: {name}" for k, name in enumerate(names)
    )
    layers = [
        (LayerSpec("value", "uint8", 255, description="class of the largest probability", categorical=True,
                   role="value", band_names=("class",)), code[None].astype(float)),
        (LayerSpec("uncertainty", "uint8", 255, scale=0.004, description="predictive entropy over ln K",
                   role="uncertainty", band_names=("entropy",)), entropy[None]),
        (_OUTLIER, outlier[None].astype(float)),
        (LayerSpec("probability", "uint8", 255, scale=0.004, role="probability", band_names=names), probability),
        (LayerSpec("prediction_set", "uint32", 0, role="set", description=text + ")", band_names=("classes",)),
         sets[None].astype(float)),
        (_VALID, valid[None].astype(float)),
    ]  # fmt: skip
    write_array_product(
        folder,
        ArrayProduct(
            name="test-map", title=f"Land cover {day}", lineage="Drawn for tests.", geobox=GRID, layers=layers,
            valid=valid, inputs=(), start=f"{day}T09:30:00Z", end=f"{day}T09:30:00Z", parameters={"built": built},
            results={"classes": len(values)},
        ),
    )  # fmt: skip
    _add_legend(folder, code[valid], day)
    return folder


def _add_legend(folder, mapped, day):
    path = folder / "item.json"
    item = json.loads(path.read_text())
    entries = []
    for value, name, colour in CLASSES:
        count = int((mapped == value).sum())
        entries.append({"value": value, "name": name, "title": name, "color_hint": colour.upper(), "count": count})
    asset = item["assets"]["value"]
    asset["bands"][0]["classification:classes"] = entries
    asset |= {"ecumene:legend": "test classes", "ecumene:categorical": True}
    years = [2019.0, 2020.0, 2021.0, 2022.0, 2023.0]
    area = [20.0, 22.5, 24.0, 27.0, 31.0]
    item["properties"]["ecumene:charts"] = [
        {
            "id": "built-up", "title": "Built-up area by year", "kind": "lines",
            "caption": "Area of built-up land with 90 % intervals.",
            "x": {"label": "year", "categories": None, "limits": None},
            "y": {"label": "area", "unit": "ha", "limits": None},
            "series": [{"name": "built-up", "x": years, "y": area, "low": [y - 2 for y in area],
                        "high": [y + 2 for y in area]}],
            "table": {"columns": ["year", "area (ha)"],
                      "rows": [[f"{x:.0f}", f"{y:.1f}"] for x, y in zip(years, area, strict=True)]},
        },
        {
            "id": "sdg", "title": "SDG 11.3.1", "kind": "table", "caption": "Land consumption by population growth.",
            "x": {"label": ""}, "y": {"label": ""}, "series": [],
            "table": {"columns": ["period", "rate", "90 % interval"],
                      "rows": [["2019 to 2023", "1.31", "0.92 to 1.84"]]},
        },
    ]  # fmt: skip
    path.write_text(json.dumps(item))


def height_product(folder, day="2023-07-06", rise=0.0):
    """Write heights with interval, and sixteen buildings that can stand up; `rise` metres more everywhere."""
    folder.mkdir(parents=True)
    row, column = np.mgrid[:ROWS, :COLUMNS]
    height = 5.0 + 0.3 * column + 0.1 * row + rise
    deviation = 1.0 + 0.05 * row
    height[:4, :4] = np.nan
    valid = np.isfinite(height)
    kind = {"nodata": float("nan"), "unit": "m", "band_names": ("height",)}
    end = "end of the 90 % prediction interval"

    def metres(name, role, description):
        return LayerSpec(name, "float32", description=description, role=role, **kind)

    layers = [
        (metres("value", "value", "predicted mean"), height[None]),
        (metres("uncertainty", "uncertainty", "one standard deviation"), deviation[None]),
        (metres("lower", "interval", f"lower {end}"), (height - 1.6449 * deviation)[None]),
        (metres("upper", "interval", f"upper {end}"), (height + 1.6449 * deviation)[None]),
        (LayerSpec("built_year", "float32", float("nan"), unit="calendar year", role="extra", band_names=("year",)),
         (1990.0 + column / 4)[None]),
        (_VALID, valid[None].astype(float)),
    ]  # fmt: skip
    shapes, heights = [], []
    for k in range(16):
        x, y = ORIGIN[0] + 100 + (k % 4) * 180, ORIGIN[1] - 150 - (k // 4) * 200
        shapes.append(box(x, y - 60, x + 60, y))
        heights.append(8.0 + 4.0 * k)
    table = {"height_m": heights, "height_standard_deviation_m": [1.5 + 0.1 * k for k in range(16)]}
    buildings = folder / "buildings.parquet"
    gpd.GeoDataFrame(table, geometry=shapes, crs="EPSG:32633").to_parquet(buildings)
    extra = ExtraFile(buildings, "application/vnd.apache.parquet", "Buildings", "boxes with heights")
    write_array_product(
        folder,
        ArrayProduct(
            name="heights", title="Building heights", lineage="Drawn for tests.", geobox=GRID, layers=layers,
            valid=valid, inputs=(), start=f"{day}T00:00:00Z", end=f"{day}T00:00:00Z", parameters={},
            results={"buildings": 16}, files={"buildings": extra},
        ),
    )  # fmt: skip
    return folder


def radar_product(folder):
    """Write a product that has no coordinate system."""
    from pyproj import CRS

    height_product(folder)
    path = folder / "item.json"
    item = json.loads(path.read_text())
    properties = item["properties"]
    properties["proj:code"] = None
    properties["proj:wkt2"] = CRS.from_wkt(RADAR).to_wkt()
    properties["proj:transform"] = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    del item["assets"]["buildings"]
    path.write_text(json.dumps(item))
    return folder


def explanation_product(folder, day="2019-07-06"):
    """Write what `ecumene explain` writes: how much each band matters at each pixel."""
    folder.mkdir(parents=True)
    falls = np.stack([np.full((ROWS, COLUMNS), value) for value in (0.05, 0.4, -0.1)])
    spec = LayerSpec(
        "importance_band", "float32", float("nan"), description="fall of the score when the band is hidden",
        role="value", band_names=("sentinel-2/B02", "sentinel-2/B08", "sentinel-2/B11"),
    )  # fmt: skip
    valid = np.ones((ROWS, COLUMNS), bool)
    write_array_product(
        folder,
        ArrayProduct(
            name="explanation", title="Explanation of water by occlusion", lineage="Drawn for tests.", geobox=GRID,
            layers=[(spec, falls), (_VALID, valid[None].astype(float))], valid=valid, inputs=(),
            start=f"{day}T09:30:00Z", end=f"{day}T09:30:00Z", parameters={}, results={"target": "water"},
        ),
    )  # fmt: skip
    return folder
