"""Writes what tomography found: points as GeoParquet and LAZ, layers as Cloud-Optimised GeoTIFF, a STAC Item."""

from __future__ import annotations

import datetime as dt
import importlib.util
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene import __version__
from ecumene.core.errors import ProductError
from ecumene.core.files import atomic_path, multihash_of, write_json
from ecumene.core.optional import require
from ecumene.mapping.cog import validate_cog
from ecumene.mapping.item import COG_TYPE, file_asset
from ecumene.mapping.layers import OUTLIER, VALID
from ecumene.mapping.product import ITEM_NAME, PRODUCT_VERSION
from ecumene.mapping.quicklook import write_quicklook
from ecumene.mapping.stac_models import EXTENSIONS, validate_item
from ecumene.objectives.prediction import LayerSpec
from ecumene.physics.tomography.grid import SearchGrid
from ecumene.physics.tomography.result import Scatterers
from ecumene.physics.tomography.sl1mmer import TomographyOptions
from ecumene.workflows.number_layers import number_layer
from ecumene.workflows.tomography_stack import ComplexStack

_RADAR_CRS = (
    'ENGCRS["radar geometry of the images",EDATUM["first pixel of the images"],CS[Cartesian,2],'
    'AXIS["column",east],AXIS["row",south],LENGTHUNIT["pixel",1]]'
)
_TITLE = "Scatterers by SAR tomography"


@dataclass(frozen=True)
class Provenance:
    """How scatterers were found."""

    stack: ComplexStack
    grid: SearchGrid
    options: TomographyOptions
    looks: int
    noise_variance: float
    noise_source: str
    reference: tuple[int, int] | None


@dataclass(frozen=True)
class WrittenFiles:
    """Files of a product."""

    points: Path
    laz: Path | None


def write_product(
    folder: Path, found: Scatterers, how: Provenance, laz: bool | None, profile: Path | None = None
) -> WrittenFiles:
    """Write all files of a product, the Item last.

    Args:
        folder: An existing folder.
        found: Scatterers of all pixels, row by row.
        how: Provenance.
        laz: Write LAZ; None: if laspy is installed.
        profile: Picture of an elevation profile that lies in the folder already.

    Returns:
        The vector files.

    Raises:
        ProductError: If a file cannot be written or is not valid.
        MissingDependencyError: If LAZ is asked for and laspy is not installed.
    """
    (folder / ITEM_NAME).unlink(missing_ok=True)  # without its Item a product is not finished
    assets: dict[str, dict[str, Any]] = {}
    drawn: dict[str, tuple[Path, LayerSpec]] = {}
    for spec, values in _layers(found, how.stack.shape):
        path = folder / f"{spec.name}.tif"
        _write_cog(path, spec, values, how.stack)
        assets[spec.name] = _layer_asset(path, spec)
        drawn[spec.name] = (path, spec)
    picture = folder / "quicklook.png"
    write_quicklook(picture, drawn, None, f"{_TITLE}: height of the strongest scatterer")
    assets["quicklook"] = file_asset(picture, "image/png", ["overview"], "quick-look")
    if profile is not None:
        assets["profile"] = file_asset(
            profile, "image/png", ["overview"], "elevation profile", "Power along elevation in one row, and scatterers."
        )
    table = point_table(found, how.stack)
    points = folder / "points.parquet"
    _write_points(points, table, how.stack.crs)
    assets["points"] = file_asset(
        points, "application/vnd.apache.parquet", ["data"], "scatterers", "One row a scatterer."
    )
    cloud = None
    if laz or (laz is None and importlib.util.find_spec("laspy") and importlib.util.find_spec("lazrs")):
        cloud = folder / "points.laz"
        _write_laz(cloud, table, how.stack.crs)
        assets["laz"] = file_asset(cloud, "application/vnd.laszip", ["data"], "point cloud")
    _write_item(folder, assets, found, how)
    return WrittenFiles(points, cloud)


def point_table(found: Scatterers, stack: ComplexStack) -> dict[str, NDArray[Any]]:
    """Return one entry a scatterer: place, height, motion, their standard deviations, strength, flags."""
    pixel, which = np.nonzero(np.isfinite(found.elevation_m))
    row, column = pixel // stack.shape[1], pixel % stack.shape[1]
    a, b, c, d, e, f = stack.transform
    x, y = column + 0.5, row + 0.5
    if stack.crs is not None:
        x, y = a * x + b * y + c, d * x + e * y + f
    table: dict[str, NDArray[Any]] = {
        "x": x,
        "y": y,
        "row": row.astype(np.int32),
        "column": column.astype(np.int32),
        "height_m": found.height_m[pixel, which],
        "height_standard_deviation_m": found.height_standard_deviation_m[pixel, which],
    }
    geometry = found.geometry
    for d_, (name, unit) in enumerate(zip(geometry.parameter_names, geometry.parameter_units, strict=True)):
        label = f"{name}_{unit.replace('/', '_per_')}"
        table[label] = found.parameters[pixel, which, d_]
        table[label.replace(name, f"{name}_standard_deviation", 1)] = found.standard_deviation[pixel, which, d_]
    table["amplitude"] = np.sqrt(found.power[pixel, which])
    table["amplitude_standard_deviation"] = found.amplitude_standard_deviation[pixel, which]
    table["phase_rad"] = np.angle(found.amplitude[pixel, which, 0])
    table["phase_standard_deviation_rad"] = found.phase_standard_deviation[pixel, which, 0]
    table["snr_db"] = found.signal_to_noise_db[pixel, which]
    table["coherence"] = found.coherence[pixel]
    table["scatterer"] = (which + 1).astype(np.uint8)
    table["scatterers"] = found.count[pixel].astype(np.uint8)
    table["outlier"] = found.outlier[pixel]
    table["valid"] = found.valid[pixel]
    return table


def _layers(found: Scatterers, shape: tuple[int, int]) -> list[tuple[LayerSpec, NDArray[Any]]]:
    most = found.parameters.shape[1]
    names = tuple(f"scatterer {k + 1}" for k in range(most))
    count = LayerSpec("count", "uint8", 255, description="scatterers in the pixel", role="extra")
    valid = found.valid

    def image(values: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(values.reshape(*shape, -1), -1, 0)

    spread = image(found.height_standard_deviation_m)
    layers = [
        number_layer(
            "value", "m", "height above the removed surface, strongest first", image(found.height_m), "value", names
        ),
        number_layer("uncertainty", "m", "standard deviation of the height", spread, "uncertainty", names),
        (count, image(found.count)),
        number_layer("coherence", "1", "correlation of model and data", image(found.coherence)),
        (OUTLIER, image(found.outlier.astype(np.uint8))),
        (VALID, image(valid.astype(np.uint8))),
    ]
    geometry = found.geometry
    for d, (name, unit) in enumerate(zip(geometry.parameter_names[1:], geometry.parameter_units[1:], strict=True), 1):
        about, error = f"{name}, positive away from the satellite", f"standard deviation of {name}"
        layers += [
            number_layer(name, unit, about, image(found.parameters[:, :, d]), bands=names),
            number_layer(f"{name}_uncertainty", unit, error, image(found.standard_deviation[:, :, d]), bands=names),
        ]
    mask = valid.reshape(shape)
    return [
        (spec, spec.encode(np.asarray(values, np.float64), mask if spec.role != "valid" else np.ones_like(mask)))
        for spec, values in layers
    ]


def _write_cog(target: Path, spec: LayerSpec, stored: NDArray[Any], stack: ComplexStack) -> None:
    import warnings

    import rasterio
    from affine import Affine
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    profile: dict[str, Any] = {
        "driver": "COG", "dtype": spec.dtype, "count": spec.count, "height": stack.shape[0], "width": stack.shape[1],
        "compress": "DEFLATE", "overview_resampling": "NEAREST" if spec.categorical else "AVERAGE",
        "nodata": None if spec.role == "valid" else spec.nodata,
    }  # fmt: skip
    if stack.crs is not None:
        profile |= {"crs": stack.crs, "transform": Affine(*stack.transform)}
    with atomic_path(target, validate_cog) as path:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(path, "w", **profile) as sink:
                    sink.write(stored)
                    sink.update_tags(layer=spec.name, role=spec.role, description=spec.description)
                    for band, name in enumerate(spec.band_names, 1):
                        sink.set_band_description(band, name or spec.name)
                    sink.units = tuple([spec.unit if spec.unit != "1" else ""] * spec.count)
        except RasterioError as error:
            raise ProductError(f"{target.name} could not be written ({str(error)[:150]}).") from error


def _layer_asset(path: Path, spec: LayerSpec) -> dict[str, Any]:
    band: dict[str, Any] = {"data_type": spec.dtype, "raster:sampling": "area"}
    if spec.role != "valid":
        band["nodata"] = "nan" if np.isnan(float(spec.nodata)) else spec.nodata
    if spec.unit != "1":
        band["unit"] = spec.unit
    roles = ["data"] if spec.role == "value" else ["metadata", spec.role]
    asset = file_asset(path, COG_TYPE, roles, spec.name, spec.description)
    asset |= {"bands": [{"name": name or spec.name} | band for name in spec.band_names], "ecumene:role": spec.role}
    return asset | ({"ecumene:categorical": True} if spec.categorical else {})


def _write_points(target: Path, table: dict[str, NDArray[Any]], crs: str | None) -> None:
    import geopandas

    places = geopandas.points_from_xy(table["x"], table["y"], table["height_m"], crs=crs)
    columns = {name: values for name, values in table.items() if name not in {"x", "y"}}
    frame = geopandas.GeoDataFrame(columns, geometry=places)
    with atomic_path(target) as path:
        frame.to_parquet(path, index=False, compression="zstd")


def _write_laz(target: Path, table: dict[str, NDArray[Any]], crs: str | None) -> None:
    laspy = require("laspy")
    header = laspy.LasHeader(point_format=6, version="1.4")
    # Degrees need more digits than metres.
    step = 1e-3 if crs is None or not _geographic(crs) else 1e-8
    header.scales = np.array([step, step, 1e-3])
    empty = table["x"].size == 0
    header.offsets = np.zeros(3) if empty else np.floor([table["x"].min(), table["y"].min(), table["height_m"].min()])
    skipped = {"x", "y", "height_m", "row", "column", "elevation_m", "valid", "scatterer", "scatterers"}
    short = {
        name: name.replace("standard_deviation", "std") for name in table if name not in skipped
    }  # names of extra bytes have at most 32 characters
    for name, label in short.items():
        kind = np.uint8 if table[name].dtype == np.bool_ else np.float32
        header.add_extra_dim(laspy.ExtraBytesParams(name=label[:32], type=kind))
    if crs is not None:
        from pyproj import CRS

        header.add_crs(CRS.from_user_input(crs))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = table["x"], table["y"], table["height_m"]
    cloud.return_number, cloud.number_of_returns = table["scatterer"], table["scatterers"]
    for name, label in short.items():
        cloud[label[:32]] = table[name].astype(np.uint8 if table[name].dtype == np.bool_ else np.float32)
    with atomic_path(target) as path:
        cloud.write(path)


def _geographic(crs: str) -> bool:
    from pyproj import CRS

    return bool(CRS.from_user_input(crs).is_geographic)


def _write_item(folder: Path, assets: dict[str, dict[str, Any]], found: Scatterers, how: Provenance) -> None:
    from pydantic import ValidationError
    from pystac.errors import STACValidationError

    geometry, box = _footprint(how.stack)
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(EXTENSIONS),
        "id": f"tomography-{how.stack.paths[0].stem}",
        "geometry": geometry,
        "properties": _properties(found, how),
        "links": [
            {"rel": "derived_from", "href": path.name, "file:checksum": multihash_of(path)} for path in how.stack.paths
        ],
        "assets": assets,
    }
    if box is not None:
        item["bbox"] = box
    try:
        validate_item(item)
    except (STACValidationError, ValidationError) as error:
        raise ProductError(f"The product's STAC Item is not valid, so it was not written: {error}.") from error
    write_json(folder / ITEM_NAME, item)


def _properties(found: Scatterers, how: Provenance) -> dict[str, Any]:
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    stack, geometry = how.stack, found.geometry
    result: dict[str, Any] = {"datetime": now}
    if stack.times is not None:
        result = {"datetime": None, "start_datetime": f"{min(stack.times)}Z", "end_datetime": f"{max(stack.times)}Z"}
    code = stack.crs if stack.crs is not None and stack.crs.startswith("EPSG:") else None
    result |= {
        "title": _TITLE,
        "created": now,
        "proj:code": code,
        "proj:shape": list(stack.shape),
        "proj:transform": list(stack.transform),
        "processing:lineage": (
            f"SAR tomography ({how.options.method}) by ecumene {__version__} of {geometry.count} acquisitions; "
            "heights are relative to the surface that was removed from the phase, points are not shifted for layover."
        ),
        "processing:software": {"ecumene": __version__},
        "processing:datetime": now,
        "ecumene:product_version": PRODUCT_VERSION,
        "ecumene:tomography": {
            "options": asdict(how.options),
            "baselines_m": geometry.baselines_m.tolist(),
            "wavelength_m": geometry.wavelength_m,
            "slant_range_m": geometry.slant_range_m,
            "incidence_deg": geometry.incidence_deg,
            "passes": geometry.passes,
            "sign": geometry.sign,
            "motion": list(geometry.motion),
            "rayleigh_m": geometry.rayleigh_m,
            "search": {
                n: [float(a[0]), float(a[-1]), a.size]
                for n, a in zip(geometry.parameter_names, how.grid.axes, strict=True)
            },
            "snapshot_window": how.looks,
            "noise_variance": how.noise_variance,
            "noise_estimated": how.noise_source != "stated",
            "noise_estimated_from": None if how.noise_source == "stated" else how.noise_source,
            "reference_pixel": None if how.reference is None else list(how.reference),
        },
    }
    if code is None:
        result["proj:wkt2"] = stack.crs or _RADAR_CRS
    return result


def _footprint(stack: ComplexStack) -> tuple[dict[str, Any] | None, list[float] | None]:
    if stack.crs is None:
        return None, None
    from rasterio.warp import transform_geom

    a, b, c, d, e, f = stack.transform
    height, width = stack.shape
    corners = [(0, 0), (width, 0), (width, height), (0, height), (0, 0)]
    ring = [(a * x + b * y + c, d * x + e * y + f) for x, y in corners]
    moved = transform_geom(
        stack.crs, "EPSG:4326", {"type": "Polygon", "coordinates": [ring]}, antimeridian_cutting=True
    )
    parts = [moved["coordinates"]] if moved["type"] == "Polygon" else moved["coordinates"]
    places = np.array([point for part in parts for point in part[0]])
    box = [float(value) for value in (*places.min(axis=0), *places.max(axis=0))]
    lists = [[[[float(x), float(y)] for x, y in line] for line in part] for part in parts]
    shape = moved["type"]
    return {"type": shape, "coordinates": lists[0] if shape == "Polygon" else lists}, box
