import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox

from ecumene.samples.buffers import nearer_than
from ecumene.samples.contract import Part
from ecumene.samples.grids import pixel_size_m
from ecumene.samples.labels import read_labels, require_trainable
from ecumene.samples.split import split_blocks

needs_data = [
    pytest.mark.data,
    pytest.mark.skipif("ECUMENE_DATA" not in os.environ, reason="ECUMENE_DATA does not name the real data sets"),
]


def open_case(folder, scene, labels, field):
    root = Path(os.environ["ECUMENE_DATA"]) / folder
    if not (root / labels).is_file():
        pytest.skip(f"{folder} is not among the data sets of ECUMENE_DATA")
    with rasterio.open(root / scene) as source:
        grid = GeoBox(source.shape, source.transform, source.crs.to_wkt())
    return read_labels(root / labels, field, grid)


@pytest.mark.parametrize("group", ["block", "feature"])
@pytest.mark.parametrize(
    ("folder", "scene", "labels", "features"),
    [
        pytest.param(
            "s2_amazon_village", "S2_L2A_12band.tif", "training_polygons.gpkg", (4, 8, 9, 4), marks=needs_data
        ),
        pytest.param(
            "landsat5_para_1988", "LT5_1988-08-14_dn.tif", "training_polygons.gpkg", (10, 8, 9, 9), marks=needs_data
        ),
    ],
)
def test_few_polygons_fill_all_parts(folder, scene, labels, features, group):
    read = require_trainable(open_case(folder, scene, labels, "class"))
    assert read.features_per_class == features
    assert (read.conflicts, read.outside, read.without_pixels) == (0, 0, 0)
    splits = [split_blocks(read, group=group, buffer_m=30, seed=seed) for seed in range(5)]
    for split in splits:
        assert not any(split.missing.values())
        near = nearer_than(split.mask(Part.TEST), 30.0, pixel_size_m(read.geobox))
        assert not (near & split.mask(Part.TRAIN, Part.VALIDATION, Part.CALIBRATION)).any()
    assert len({split.parts.tobytes() for split in splits}) > 1


@pytest.mark.parametrize("group", [pytest.param("block", marks=needs_data)])
def test_polygons_and_raster_of_slovenia_agree(group):
    case = "s2_eopatch_slovenia", "S2_L1C_2015-07-11.tif"
    vector = open_case(*case, "lulc_vector.geojson", "LULC_NAME")
    raster = open_case(*case, "lulc_raster.tif", None)
    assert vector.pixels_per_class == (198, 11, 7601, 1777, 358)
    codes = np.array([8, 1, 2, 3, 4])[vector.classes]
    labelled = vector.classes >= 0
    np.testing.assert_array_equal(codes[labelled], np.array(raster.legend.values)[raster.classes][labelled])
    split = split_blocks(vector, buffer_m=20, group=group)
    assert split.missing[Part.TRAIN] == ()


def test_import_is_light():
    code = (
        "import sys, ecumene.samples.labels, ecumene.samples.split, ecumene.samples.patches, "
        "ecumene.samples.augmentation, ecumene.indicators.accuracy, ecumene.indicators.extraction;"
        "heavy = {'torch', 'lightning', 'geopandas', 'sklearn', 'matplotlib', 'timm'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
