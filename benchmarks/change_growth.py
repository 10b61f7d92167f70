"""Growth of simulated towns from scenes to SDG 11.3.1: dates, their intervals, from-to change and indicators.

    python benchmarks/change_growth.py            # results/change_growth.json
    python benchmarks/change_growth.py --quick    # one small town, prints only

A town that grows from 2016 to 2024 is seen by Sentinel-2 once each summer, and every second month from 2019 to 2022. A
random forest is trained on polygons of one year and maps all years (`series --model`); season-trend breaks are looked
for in the two-monthly series (`series --method breaks`); first and last map are compared (`change`); and the years of
first built-up go through `indicators` with the true population. Simulated: no claim about real towns.

The truth changes at the turn of a year: in the year before it is built-up, ground is a building site. A break counts as
right if it is one of both turns.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

from common import spread, store
from ecumene import train_model
from ecumene.mapping.product import Product
from ecumene.simulate import City, observe_sentinel2, simulate_city, write_labels, write_sentinel2
from ecumene.workflows.change import ChangeOptions, find_change
from ecumene.workflows.indicators import compute_indicators
from ecumene.workflows.series import SeriesOptions, follow_series

YEARS = (2016, 2024)
LABELLED = 2020
DENSE = (2019, 2022)
BUILT = ["low-rise residential", "high-rise and commercial", "industrial"]
PERSONS = {2016: 20_000.0, 2020: 22_000.0, 2024: 25_000.0}
Numbers = NDArray[np.float64]


def layer(product: Product, name: str) -> Numbers:
    """Return physical values of a layer, NaN without data."""
    with rasterio.open(product.path(name)) as source:
        stored = source.read(1, masked=True)
    info = product.layers[name]
    return np.asarray(stored.astype(float).filled(np.nan) * info.scale + info.offset)


def day(year: int, month: int = 1, date: int = 1) -> int:
    """Return a day since 1970-01-01."""
    return int(np.datetime64(f"{year}-{month:02d}-{date:02d}", "D").astype(int))


def first_built(city: City) -> NDArray[np.int64]:
    """Return the true year of first built-up; 0: never."""
    found = np.zeros(city.shape, int)
    for year in range(YEARS[1], YEARS[0] - 1, -1):
        found[city.built_up(year)] = year
    return found


def growth(city: City, scenes: list[Path], built: list[str], folder: Path) -> dict[str, Any]:
    """Follow yearly maps and compare their years with the truth."""
    options = SeriesOptions(model=folder / "model", built_up=built, keep_maps=True, animation=False)
    found = follow_series(scenes, folder / "growth", options)
    truth, year = first_built(city), layer(found, "value")
    low, high = layer(found, "date_low"), layer(found, "date_high")
    grown = (truth > YEARS[0]) & (year > YEARS[0])
    error = (year - truth)[grown]
    # Built between the summer before and that of the first built-up year: the interval must meet that year.
    holds = (low[grown] <= np.array([day(y, 12, 31) for y in truth[grown]])) & (
        high[grown] >= np.array([day(y) for y in truth[grown]])
    )
    sums = found.properties["ecumene:results"]["built_up_m2"]
    relative = []
    inside = []
    for date, entry in sums.items():
        area = float(city.built_up(int(date[:4])).sum()) * 100.0
        relative.append(entry["expected"] / area - 1.0)
        inside.append(entry["low"] <= area * 1.001 and area <= entry["high"] * 1.001)
    return {
        "pixels that grew": int((truth > YEARS[0]).sum()),
        "found of them": float((year > YEARS[0])[truth > YEARS[0]].mean()),
        "year exact, of these": float((error == 0).mean()),
        "year within one": float((np.abs(error) <= 1).mean()),
        "mean error, days": float(error.mean() * 365.25),
        "mean absolute error, days": float(np.abs(error).mean() * 365.25),
        "share of true years in the 90 % interval": float(holds.mean()),
        "built-up area, relative error": [round(float(value), 4) for value in relative],
        "built-up area in its interval": float(np.mean(inside)),
    }


def breaks(city: City, scenes: list[Path], folder: Path) -> dict[str, Any]:
    """Find breaks in the two-monthly series and compare their dates with the turns of years."""
    found = follow_series(scenes, folder / "breaks", SeriesOptions(method="breaks", animation=False))
    value, low, high = (layer(found, name) for name in ("value", "date_low", "date_high"))
    chance = layer(found, "probability")
    truth = first_built(city)
    # Both turns (site, building) lie within the series, with a year of observations on either side.
    new = (truth >= DENSE[0] + 2) & (truth <= DENSE[1])
    same = city.land_cover(DENSE[0]) == city.land_cover(DENSE[1])
    for year in range(DENSE[0], DENSE[1] + 2):
        same &= city.land_cover(year) == city.land_cover(DENSE[0])
    seen = new & np.isfinite(value)
    turns = np.stack([[day(y - 1) for y in truth[seen]], [day(y) for y in truth[seen]]]).astype(float)
    apart = value[seen] - turns
    nearest = np.take_along_axis(apart, np.abs(apart).argmin(axis=0)[None], 0)[0]
    holds = ((low[seen] <= turns) & (turns <= high[seen])).any(axis=0)
    return {
        "pixels that were built over": int(new.sum()),
        "break found": float(np.isfinite(value)[new].mean()),
        "break found where nothing changed": float(np.isfinite(value)[same].mean()),
        "median absolute error, days": float(np.median(np.abs(nearest))),
        "mean absolute error, days": float(np.abs(nearest).mean()),
        "share of turns in the 90 % interval": float(holds.mean()),
        "median width of the interval, days": float(np.median((high - low)[seen])),
        "Brier score of the probability": float(np.concatenate([(chance[new] - 1.0) ** 2, chance[same] ** 2]).mean()),
    }


def from_to(city: City, folder: Path) -> dict[str, Any]:
    """Compare first and last map by their probabilities, beside comparing their classes."""
    maps = [folder / "growth" / "maps" / f"{year}-07-10" for year in YEARS]
    found = find_change(*maps, folder / "fromto", ChangeOptions(animation=False))
    before, after = city.land_cover(YEARS[0]), city.land_cover(YEARS[1])
    truth = before != after
    value = layer(found, "value") == 1
    codes = []
    for path in maps:
        with rasterio.open(path / "value.tif") as source:
            codes.append(source.read(1))
    plain = codes[0] != codes[1]
    right = value & truth

    def f1(guess: NDArray[np.bool_]) -> float:
        return float(2 * (guess & truth).sum() / max(guess.sum() + truth.sum(), 1))

    chance = 1.0 - layer(found, "probability")  # the first band is that of no change
    part = np.minimum((chance * 10).astype(int), 9)
    bins = [part == k for k in range(10) if (part == k).any()]
    apart = [here.mean() * abs(chance[here].mean() - truth[here].mean()) for here in bins]
    results = found.properties["ecumene:results"]
    names = dict(zip(city.legend.values, city.legend.names, strict=True))
    order = found.item["assets"]["to"]["bands"][0]["classification:classes"]
    titles = {entry["value"]: entry.get("title") for entry in order}
    to = layer(found, "to")
    agree = np.array([titles.get(int(a)) == names[b] for a, b in zip(to[right], after[right], strict=True)])
    return {
        "changed in truth": float(truth.mean()),
        "changed, F1": f1(value),
        "changed by classes alone, F1": f1(plain),
        "changed by classes alone": float(plain.mean()),
        "expected changed": float(results["expected_changed_m2"] / results["total_m2"]),
        "Brier score of the probability of change": float(np.mean((chance - truth) ** 2)),
        "expected calibration error of it": float(np.sum(apart)),
        "sharpness of the maps' probabilities": float(results["sharpness_of_probabilities"]),
        "new class right where change is right": float(agree.mean()) if agree.size else None,
    }


def indicators(city: City, folder: Path) -> dict[str, Any]:
    """Compute SDG 11.3.1 from the years of first built-up beside the true one."""
    people = []
    for year, persons in PERSONS.items():
        built = city.built_up(year).astype(float)
        cells = (built / built.sum() * persons).reshape(built.shape[0] // 8, 8, built.shape[1] // 8, 8).sum(axis=(1, 3))
        path = folder / f"p{year}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=cells.shape[0], width=cells.shape[1], count=1, dtype="float64",
            crs=city.geobox.crs.to_wkt(), transform=city.geobox.affine * Affine.scale(8), nodata=-1.0,
        ) as target:  # fmt: skip
            target.write(cells, 1)
        people.append((year, path))
    box = city.geobox.boundingbox
    town = geopandas.GeoDataFrame({"name": ["town"]}, geometry=[shapely.box(*box.bbox)], crs=city.geobox.crs.to_wkt())
    town.to_file(folder / "town.gpkg")
    compute_indicators([folder / "growth"], people, folder / "town.gpkg", folder / "sdg")
    told = json.loads((folder / "sdg" / "indicators.json").read_text())["cities"][0]
    rows = []
    for period in told["periods"]:
        first, last = period["years"]
        form = period["forms"]["logarithmic"]
        land = np.log(city.built_up(last).sum() / city.built_up(first).sum()) / (last - first)
        persons = np.log(PERSONS[last] / PERSONS[first]) / (last - first)
        rate = form["land_consumption_rate"]
        rows.append(
            {
                "years": [first, last],
                "land rate": rate["value"],
                "true land rate": float(land),
                "interval": [rate.get("low"), rate.get("high")],
                "holds": bool(rate["low"] <= land <= rate["high"]) if rate.get("low") is not None else None,
                "ratio": form["ratio"],
                "true ratio": float(land / persons),
            }
        )
    return {"periods": rows}


def one_town(seed: int, edge: int, quick: bool) -> dict[str, Any]:
    """Measure one town."""
    city = simulate_city(seed, (edge, edge), years=YEARS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yearly, dense = [], []
        for year in range(YEARS[0], YEARS[1] + 1, 2 if quick else 1):
            scene = observe_sentinel2(city, f"{year}-07-10", seed=year)
            yearly.append(write_sentinel2(scene, folder / f"y{year}.tif"))
        for number, (year, month) in enumerate((y, m) for y in range(DENSE[0], DENSE[1] + 1) for m in range(1, 13, 2)):
            cloud = 0.3 if number % 4 == 3 else 0.0
            scene = observe_sentinel2(city, f"{year}-{month:02d}-12", cloud_cover=cloud, seed=number)
            dense.append(write_sentinel2(scene, folder / f"d{year}{month:02d}.tif"))
        labels = write_labels(city, folder / "labels.gpkg", 25, seed + 100, year=LABELLED)
        train_model(
            [folder / f"y{LABELLED}.tif"],
            labels,
            folder / "model",
            system="random-forest",
            split_by="feature",
            seed=seed,
        )
        labelled = set(geopandas.read_file(labels)["class"])
        grown = growth(city, yearly, [name for name in BUILT if name in labelled], folder)
        return {
            "growth": grown,
            "breaks": breaks(city, dense, folder),
            "from-to": from_to(city, folder),
            "indicators": indicators(city, folder),
        }


def main() -> None:
    """Run and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    seeds = [5] if chosen.quick else list(range(5, 5 + chosen.seeds))
    edge = 128 if chosen.quick else 160
    towns = {str(seed): one_town(seed, edge, chosen.quick) for seed in seeds}
    summary = {
        part: {
            key: spread([town[part][key] for town in towns.values()])
            for key, value in next(iter(towns.values()))[part].items()
            if isinstance(value, float)
        }
        for part in ("growth", "breaks", "from-to")
    }
    held = [
        row["holds"] for town in towns.values() for row in town["indicators"]["periods"] if row["holds"] is not None
    ]
    summary["indicators"] = {"intervals that hold the true land rate": float(np.mean(held)) if held else None}
    results = {
        "data": [{"name": "simulated growing towns", "kind": "simulated", "seeds": seeds, "pixels": edge * edge}],
        "summary": summary,
        "towns": towns,
    }
    if chosen.quick:
        print(json.dumps(results, indent=2, default=float))
    else:
        print(store("change_growth", results))


if __name__ == "__main__":
    main()
