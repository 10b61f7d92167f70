"""A simulated growing city as products, populations and boundaries, with what is true of it."""

import json
from functools import lru_cache

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine

from ecumene.objectives.prediction import LayerSpec
from ecumene.simulate import LEGEND, simulate_city
from ecumene.simulate.cover import BUILT_UP
from ecumene.workflows.array_product import ArrayProduct, write_array_product

SHAPE = (192, 160)
YEARS = (2016, 2020, 2024)
BUILT = tuple(int(code) for code in BUILT_UP)
PERSONS = {2016: 61_000, 2020: 64_000, 2024: 70_000}
"""Persons of the whole city."""

_VALID = LayerSpec("valid", "uint8", 0, categorical=True, role="valid", band_names=("valid",))


@lru_cache
def city():
    """The simulated city."""
    return simulate_city(5, SHAPE, years=(YEARS[0], YEARS[-1]))


@lru_cache
def cover(year):
    """True classes `[H, W]`."""
    return np.asarray(city().land_cover(year))


def built(year):
    """True built-up land."""
    return np.isin(cover(year), BUILT)


def write_product(folder, layers, year, valid=None, geobox=None):
    """Write an array product of a year (None: without time)."""
    folder.mkdir(parents=True)
    geobox = geobox if geobox is not None else city().geobox
    valid = np.ones(SHAPE, bool) if valid is None else valid
    when = None if year is None else f"{year}-07-01T10:00:00Z"
    write_array_product(
        folder,
        ArrayProduct(
            name="test", title=f"City {year}", lineage="Simulated.", geobox=geobox,
            layers=[*layers, (_VALID, valid[None].astype(float))], valid=valid, inputs=(), start=when, end=when,
            parameters={}, results={},
        ),
    )  # fmt: skip
    return folder


def class_product(folder, year, codes=None, probability=None, legend=LEGEND, stated=True, valid=None):
    """Write a map of classes; `probability` `[K, H, W]` in the order of the legend."""
    codes = cover(year) if codes is None else codes
    layers = [
        (LayerSpec("value", "uint8", 255, categorical=True, role="value", band_names=("class",)), codes[None] * 1.0)
    ]
    if probability is not None:
        spec = LayerSpec("probability", "uint16", 65535, scale=1 / 60000, role="probability", band_names=legend.names)
        layers.append((spec, probability))
    write_product(folder, layers, year if stated else None, valid)
    path = folder / "item.json"
    item = json.loads(path.read_text())
    entries = [
        {"value": entry.value, "name": f"c{entry.value}", "title": entry.name, "color_hint": entry.colour[1:].upper()}
        for entry in legend.classes
    ]
    item["assets"]["value"]["bands"][0]["classification:classes"] = entries
    item["assets"]["value"] |= {"ecumene:legend": legend.name, "ecumene:categorical": True}
    path.write_text(json.dumps(item))
    return folder


@lru_cache
def first_years():
    """True year of first built-up among `YEARS`; 0 where there is none until the end."""
    found = np.zeros(SHAPE)
    for year in reversed(YEARS):
        found[built(year)] = year
    return found


def first_year_product(folder):
    """Write the year of first built-up."""
    spec = LayerSpec("value", "uint16", 65535, unit="calendar year", role="value", band_names=("year",))
    write_product(folder, [(spec, first_years()[None])], YEARS[0])
    path = folder / "item.json"
    item = json.loads(path.read_text())
    item["properties"] |= {"end_datetime": f"{YEARS[-1]}-12-31T00:00:00Z"}
    path.write_text(json.dumps(item))
    return folder


@lru_cache
def persons(year):
    """True persons of each pixel, in built-up land only."""
    weights = np.random.default_rng(8).gamma(2.0, 1.0, SHAPE) * built(year)
    return weights / weights.sum() * PERSONS[year]


def population_raster(path, year, pixels=8):
    """Write persons on coarser cells of the same grid."""
    cells = persons(year).reshape(SHAPE[0] // pixels, pixels, SHAPE[1] // pixels, pixels).sum(axis=(1, 3))
    affine = city().geobox.affine * Affine.scale(pixels)
    with rasterio.open(
        path, "w", driver="GTiff", height=cells.shape[0], width=cells.shape[1], count=1, dtype="float64",
        crs=city().geobox.crs.to_wkt(), transform=affine, nodata=-1.0,
    ) as target:  # fmt: skip
        target.write(cells, 1)
    return path


def rectangle(top, left, bottom, right):
    """A polygon of whole pixels."""
    affine = city().geobox.affine
    return shapely.box(*(affine * (left, bottom)), *(affine * (right, top)))


def boundaries(path, boxes):
    """Write named rectangles (rows and columns) in degrees."""
    frame = gpd.GeoDataFrame(
        {"name": list(boxes)}, geometry=[rectangle(*box) for box in boxes.values()], crs=city().geobox.crs.to_wkt()
    )
    frame.to_crs(4326).to_file(path)
    return path
