"""Tiny products as the agencies lay them out, written by the tests themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
import yaml
from affine import Affine

S2_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
S2_SAMPLING = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20),
    **dict.fromkeys(("B01", "B09", "B10"), 60),
}
ORIGIN = (500_000.0, 5_300_040.0)


def write_raster(
    path: Path,
    array: np.ndarray,
    *,
    names=None,
    crs="EPSG:32633",
    resolution=10.0,
    nodata=None,
    scales=None,
    offsets=None,
    tags=None,
    band_tags=None,
    driver="GTiff",
    georeferenced=True,
    **options,
) -> Path:
    """Write `[bands, rows, cols]` as a raster."""
    bands, rows, cols = array.shape
    transform = Affine(resolution, 0, ORIGIN[0], 0, -resolution, ORIGIN[1])
    profile = {"driver": driver, "width": cols, "height": rows, "count": bands, "dtype": array.dtype, "nodata": nodata}
    if georeferenced:
        profile |= {"crs": crs, "transform": transform}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile, **options) as dataset:
        dataset.write(array)
        if names:
            dataset.descriptions = tuple(names)
        if scales:
            dataset.scales = scales
        if offsets:
            dataset.offsets = offsets
        if tags:
            dataset.update_tags(**tags)
        for index, values in enumerate(band_tags or (), 1):
            dataset.update_tags(index, **values)
    return path


def digital_numbers(bands: int, rows: int, cols: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 9000, (bands, rows, cols)).astype(np.uint16)


def write_jp2(path: Path, array: np.ndarray, resolution: float) -> Path:
    return write_raster(
        path, array, resolution=resolution, driver="JP2OpenJPEG", REVERSIBLE="YES", QUALITY="100", YCBCR420="NO"
    )


def make_safe(
    folder: Path,
    level: str = "L2A",
    baseline: str = "05.09",
    *,
    offset: int | None = -1000,
    bands=("B02", "B04", "B05", "B01"),
    sensing: str = "2023-06-01T10:05:31.024Z",
    size: int = 12,
    image_prefix: str = "",
    write_images: bool = True,
    omit=(),
) -> Path:
    """Write a SAFE folder with a few bands of `size` x `size` pixels at 10 m; DN of band b is 1500 + 100 b + pixel."""
    granule = "L2A_T33UUP_A000001_20230601T100531" if level == "L2A" else "L1C_T33UUP_A000001_20230601T100531"
    stem = "T33UUP_20230601T100031"
    files = []
    for number, band in enumerate(bands):
        sampling = S2_SAMPLING[band]
        pixels = size * 10 // sampling
        values = (1500 + 100 * number + np.arange(pixels * pixels).reshape(1, pixels, pixels)).astype(np.uint16)
        values[0, 0, 0] = 0
        inside = f"R{sampling}m/{stem}_{band}_{sampling}m" if level == "L2A" else f"{stem}_{band}"
        relative = f"{image_prefix}GRANULE/{granule}/IMG_DATA/{inside}"
        files.append(relative)
        if write_images and band not in omit:
            write_jp2(folder / f"{relative}.jp2", values, float(sampling))
    if level == "L2A":
        relative = f"{image_prefix}GRANULE/{granule}/IMG_DATA/R20m/{stem}_SCL_20m"
        files.append(relative)
        half = size // 2
        if write_images:
            write_jp2(folder / f"{relative}.jp2", np.full((1, half, half), 4, np.uint8), 20.0)
        files.append(f"GRANULE/{granule}/IMG_DATA/R10m/{stem}_TCI_10m")
    prefix = "RADIO" if level == "L1C" else "BOA"
    offsets = ""
    if offset is not None:
        rows = "".join(
            f'<{prefix}_ADD_OFFSET band_id="{index}">{offset - index}</{prefix}_ADD_OFFSET>' for index in range(13)
        )
        name = "Radiometric_Offset_List" if level == "L1C" else "BOA_ADD_OFFSET_VALUES_LIST"
        offsets = f"<{name}>{rows}</{name}>"
    quantification = (
        '<QUANTIFICATION_VALUE unit="none">10000</QUANTIFICATION_VALUE>'
        if level == "L1C"
        else '<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
    )
    images = "".join(f"<IMAGE_FILE>{name}</IMAGE_FILE>" for name in files)
    product = f"Level-{level[1:]}_User_Product"
    text = f"""<?xml version="1.0" encoding="UTF-8"?>
<n1:{product} xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level[1:]}.xsd">
<n1:General_Info><Product_Info>
<PRODUCT_START_TIME>2023-06-01T10:00:31.024Z</PRODUCT_START_TIME>
<PRODUCT_URI>{folder.name}</PRODUCT_URI><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
<Datatake datatakeIdentifier="X"><SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>
<DATATAKE_SENSING_START>2023-06-01T10:00:31.024Z</DATATAKE_SENSING_START></Datatake>
<Product_Organisation><Granule_List><Granule>{images}</Granule></Granule_List></Product_Organisation></Product_Info>
<Product_Image_Characteristics>{quantification}{offsets}</Product_Image_Characteristics></n1:General_Info>
</n1:{product}>
"""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"MTD_MSI{level}.xml").write_text(text, encoding="utf-8")
    tile = folder / "GRANULE" / granule / "MTD_TL.xml"
    tile.parent.mkdir(parents=True, exist_ok=True)
    tile.write_text(f"<Tile><General_Info><SENSING_TIME>{sensing}</SENSING_TIME></General_Info></Tile>")
    return folder


def landsat8_l1_text(prefix: str, bands=("2", "3", "8", "10"), elevation: float = 30.0) -> str:
    names = "\n".join(f'    FILE_NAME_BAND_{band} = "{prefix}_B{band}.TIF"' for band in bands)
    return f"""GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    LANDSAT_PRODUCT_ID = "{prefix}"
    PROCESSING_LEVEL = "L1TP"
    COLLECTION_NUMBER = 02
{names}
    FILE_NAME_QUALITY_L1_PIXEL = "{prefix}_QA_PIXEL.TIF"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = IMAGE_ATTRIBUTES
    SPACECRAFT_ID = "LANDSAT_8"
    SENSOR_ID = "OLI_TIRS"
    DATE_ACQUIRED = 2021-07-04
    SCENE_CENTER_TIME = "10:11:12.3456789Z"
    SUN_AZIMUTH = 140.0
    SUN_ELEVATION = {elevation}
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    RADIANCE_MULT_BAND_10 = 3.3420E-04
    RADIANCE_ADD_BAND_10 = 0.10000
    REFLECTANCE_MULT_BAND_2 = 2.0000E-05
    REFLECTANCE_ADD_BAND_2 = -0.100000
    REFLECTANCE_MULT_BAND_3 = 2.0000E-05
    REFLECTANCE_ADD_BAND_3 = -0.100000
    REFLECTANCE_MULT_BAND_8 = 2.0000E-05
    REFLECTANCE_ADD_BAND_8 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
  GROUP = LEVEL1_THERMAL_CONSTANTS
    K1_CONSTANT_BAND_10 = 774.8853
    K2_CONSTANT_BAND_10 = 1321.0789
  END_GROUP = LEVEL1_THERMAL_CONSTANTS
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def make_landsat_l1(folder: Path, **options) -> Path:
    """A Collection 2 Level-1 folder: B2, B3 (30 m), B8 (15 m, panchromatic), B10 (thermal) and QA_PIXEL."""
    prefix = "LC08_L1TP_190027_20210704_20210712_02_T1"
    folder.mkdir(parents=True)
    (folder / f"{prefix}_MTL.txt").write_text(landsat8_l1_text(prefix, **options))
    for band, value, size, resolution in (
        ("2", 10000, 8, 30.0),
        ("3", 20000, 8, 30.0),
        ("8", 15000, 16, 15.0),
        ("10", 28000, 8, 30.0),
    ):
        values = np.full((1, size, size), value, np.uint16)
        values[0, 0, 0] = 0
        write_raster(folder / f"{prefix}_B{band}.TIF", values, resolution=resolution)
    write_raster(folder / f"{prefix}_QA_PIXEL.TIF", np.full((1, 8, 8), 21824, np.uint16), resolution=30.0)
    return folder


def make_landsat_l2(folder: Path) -> Path:
    """A Collection 2 Level-2 folder whose metadata repeat the Level-1 record, as USGS ships it."""
    prefix, level1 = "LC09_L2SP_190027_20220704_20220712_02_T1", "LC09_L1TP_190027_20220704_20220712_02_T1"
    folder.mkdir(parents=True)
    (folder / f"{prefix}_MTL.txt").write_text(f"""GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    LANDSAT_PRODUCT_ID = "{prefix}"
    PROCESSING_LEVEL = "L2SP"
    COLLECTION_NUMBER = 02
    FILE_NAME_BAND_4 = "{prefix}_SR_B4.TIF"
    FILE_NAME_BAND_5 = "{prefix}_SR_B5.TIF"
    FILE_NAME_BAND_ST_B10 = "{prefix}_ST_B10.TIF"
    FILE_NAME_ATMOSPHERIC_TRANSMITTANCE = "{prefix}_ST_ATRAN.TIF"
    FILE_NAME_QUALITY_L1_PIXEL = "{prefix}_QA_PIXEL.TIF"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = IMAGE_ATTRIBUTES
    SPACECRAFT_ID = "LANDSAT_9"
    DATE_ACQUIRED = 2022-07-04
    SCENE_CENTER_TIME = "10:11:12.3456789Z"
    SUN_ELEVATION = 60.0
    SUN_AZIMUTH = 140.0
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    REFLECTANCE_MULT_BAND_4 = 2.75e-05
    REFLECTANCE_ADD_BAND_4 = -0.2
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL1_PROCESSING_RECORD
    LANDSAT_PRODUCT_ID = "{level1}"
    PROCESSING_LEVEL = "L1TP"
    FILE_NAME_BAND_4 = "{level1}_B4.TIF"
  END_GROUP = LEVEL1_PROCESSING_RECORD
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
""")
    for name, value in (("SR_B4", 18639), ("SR_B5", 20000), ("ST_B10", 44947), ("ST_ATRAN", 5), ("QA_PIXEL", 21824)):
        write_raster(folder / f"{prefix}_{name}.TIF", np.full((1, 6, 6), value, np.uint16), resolution=30.0)
    return folder


def s2_file(folder: Path, names=("B02", "B03", "B04", "B08"), *, described=True, name="s2.tif", **options) -> Path:
    array = digital_numbers(len(names), 9, 7)
    return write_raster(folder / name, array, names=names if described else None, **options)


def write_yaml(path: Path, **values) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path
