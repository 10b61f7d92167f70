"""Scenes that agree where they overlap, and small models, for the tests of collections."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas
import numpy as np
import yaml
from affine import Affine
from odc.geo.geobox import GeoBox
from shapely.geometry import box

from ecumene.legends import Legend
from ecumene.models.bundle import Model
from ecumene.models.contract import InputBand, ModelSpec
from ecumene.objectives import Segmentation
from ecumene.simulate.writing import write_raster

BANDS = ("B02", "B03", "B04", "B08")
CRS = "EPSG:32633"
RESOLUTION = 10.0
WEST, NORTH = 500_000.0, 5_002_560.0
"""Upper left corner of the land, a multiple of 32 pixels of 10 m on the lattice through the origin."""


def grid(rows, cols, row=0, col=0, crs=CRS, resolution=RESOLUTION, west=WEST, north=NORTH):
    """A grid whose upper left pixel is (row, col) of the land."""
    return GeoBox(
        (rows, cols), Affine(resolution, 0, west + col * resolution, 0, -resolution, north - row * resolution), crs
    )


def land(geobox, day=0):
    """Digital numbers [4, H, W] as a function of place and day alone, so that overlapping scenes agree."""
    rows, cols = (int(size) for size in geobox.shape)
    matrix = geobox.affine
    x = (matrix.c + (np.arange(cols) + 0.5) * matrix.a)[None, :]
    y = (matrix.f + (np.arange(rows) + 0.5) * matrix.e)[:, None]
    bands = []
    for k in range(4):
        wave = 1500 + 700 * np.sin(x / (170.0 + 60 * k)) * np.cos(y / (140.0 + 35 * k)) + 300 * np.sin((x + y) / 55.0)
        speckle = np.sin(x * 12.9898 + y * 78.233 + k * 37.7) * 43758.5453
        bands.append(wave + 120 * (speckle - np.floor(speckle)) + 25 * day)
    return np.clip(np.stack(bands), 1, 9000).astype(np.uint16)


def write_scene(path, geobox, day=0, values=None, **declared):
    """Write a scene of Sentinel-2 L2A with its declaration; `day` counts from 2024-06-01."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = land(geobox, day) if values is None else values
    write_raster(path, values, geobox, names=BANDS, nodata=0)
    moment = np.datetime64("2024-06-01") + day
    declaration = {
        "sensor": "sentinel-2", "level": "L2A", "scale": 1e-4, "offset": 0.0, "nodata": 0, "unit": "1",
        "bands": list(BANDS), "time": f"{moment}T10:00:00Z", "licence": "CC0-1.0",
    }  # fmt: skip
    declaration |= declared
    declaration = {key: value for key, value in declaration.items() if value is not None}
    path.with_name(path.stem + ".scene.yaml").write_text(yaml.safe_dump(declaration))
    return path


def write_list(path, scenes):
    """Write a list of scenes."""
    path = Path(path)
    path.write_text("# scenes\n" + "\n".join(str(scene) for scene in scenes) + "\n")
    return path


def write_aoi(path, geobox, crs=None):
    """Write the rectangle of a grid as an area of interest."""
    bounds = geobox.boundingbox
    shape = box(bounds.left, bounds.bottom, bounds.right, bounds.top)
    frame = geopandas.GeoDataFrame(geometry=[shape], crs=str(geobox.crs))
    frame = frame if crs is None else frame.to_crs(crs)
    frame.to_file(path)
    return Path(path)


def make_model(name="unet-small", seed=0, classes=4):
    """A bundle with random weights: its classes mean nothing, its arithmetic is a real network's."""
    import torch

    from ecumene.networks import build_network

    torch.manual_seed(seed)
    arguments = {"in_channels": len(BANDS), "n_outputs": classes}
    arguments |= {"width": 8} if name == "unet-small" else {"hidden": [16]}
    network = build_network(name, **arguments).eval()
    with torch.no_grad():  # classes that compete, so that a map has borders between them
        sample = torch.from_numpy(land(grid(128, 128)).astype(np.float32))[None] * 1e-4
        logits = network((sample - 0.15) / 0.05)
        mean, spread = logits.mean(dim=(0, 2, 3)), logits.std(dim=(0, 2, 3))
        network.head.weight *= (2.0 / spread)[:, None, None, None]
        network.head.bias.copy_((network.head.bias - mean) * (2.0 / spread))
    objective = Segmentation(Legend.from_names([f"class {k}" for k in range(classes)]))
    spec = ModelSpec(
        name=f"random-{name}",
        created="2024-01-01T00:00:00Z",
        kind="network",
        architecture={"name": name, "arguments": arguments},
        objective=objective.to_config(),
        inputs=tuple(
            InputBand(sensor="sentinel-2", level="L2A", band=band, unit="1", mean=0.15, std=0.05) for band in BANDS
        ),
        temporal=False,
        resolution_m=RESOLUTION,
        stride=int(network.stride),
        margin=int(network.margin),
    )
    weights = {key: value.detach().numpy().copy() for key, value in network.state_dict().items()}
    return Model(spec, objective, weights=weights)


def stac_catalogue(folder, scenes):
    """Write a static STAC catalogue of scenes (pairs of path and grid) beside their files."""
    folder = Path(folder)
    links = []
    for path, geobox, day in scenes:
        path = Path(path)
        matrix, lonlat = geobox.affine, geobox.extent.to_crs("EPSG:4326").boundingbox
        bands = [
            {"name": name, "data_type": "uint16", "nodata": 0, "raster:scale": 1e-4, "raster:offset": 0.0}
            for name in BANDS
        ]
        item = {
            "type": "Feature", "stac_version": "1.1.0", "id": path.stem, "collection": "land",
            "geometry": None, "bbox": [lonlat.left, lonlat.bottom, lonlat.right, lonlat.top], "links": [],
            "properties": {
                "datetime": f"{np.datetime64('2024-06-01') + day}T10:00:00Z", "platform": "sentinel-2a",
                "processing:level": "L2A", "proj:code": str(geobox.crs), "eo:cloud_cover": 5.0 * (day % 7),
                "proj:shape": list(geobox.shape), "s2:processing_baseline": "05.10",
                "proj:transform": [matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f],
            },
            "assets": {
                "data": {"href": f"./{path.name}", "type": "image/tiff; application=geotiff", "bands": bands}
            },
        }  # fmt: skip
        (path.parent / f"{path.stem}.json").write_text(json.dumps(item))
        links.append({"rel": "item", "href": f"./{path.relative_to(folder).with_suffix('.json')}"})
    catalogue = {"type": "Catalog", "id": "land", "stac_version": "1.1.0", "description": "land", "links": links}
    (folder / "catalog.json").write_text(json.dumps(catalogue))
    return folder / "catalog.json"
