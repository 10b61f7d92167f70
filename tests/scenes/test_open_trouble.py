"""Opening files that are damaged, missing or hostile: one sentence each, and nothing outside of the allowed folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from fixtures_opening import digital_numbers, s2_file, write_jp2, write_raster, write_yaml
from hypothesis import HealthCheck, settings
from rasterio.windows import Window

from ecumene.core.errors import ConfigurationError, EcumeneError, SceneError
from ecumene.scenes.opening import describe_scene, open_scene
from ecumene.sensors import get_sensor

S2 = {"sensor": "sentinel-2", "level": "L1C", "scale": 1e-4, "offset": 0.0}
NAMES = tuple(band.name for band in get_sensor("sentinel-2").bands)
ONCE = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# ------------------------------------------------------------------ damaged and missing
def test_no_such_file_empty_file_and_folders_without_scenes(tmp_path):
    with pytest.raises(SceneError, match="There is no file"):
        describe_scene(tmp_path / "none.tif", **S2)
    (tmp_path / "empty.tif").touch()
    with pytest.raises(SceneError, match="0 bytes"):
        describe_scene(tmp_path / "empty.tif", **S2)
    (tmp_path / "folder").mkdir()
    with pytest.raises(SceneError, match="contains no scene"):
        describe_scene(tmp_path / "folder", **S2)
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(SceneError, match="cannot be opened as a raster"):
        describe_scene(tmp_path / "text.tif", **S2)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.98])
@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}])
def test_truncated_tiff_is_found(tmp_path, keep, options):
    array = digital_numbers(3, 200, 200)
    path = write_raster(tmp_path / "t.tif", array, names=("B02", "B03", "B04"), **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(SceneError, match="truncated"):
        describe_scene(path, **S2)


def test_a_lost_block_is_found_though_the_last_one_is_there(tmp_path):
    # Written from the bottom up, the first block of the image is the last of the file.
    path, full = tmp_path / "t.tif", digital_numbers(1, 256, 64)
    profile = {"driver": "GTiff", "width": 64, "height": 256, "count": 1, "dtype": "uint16", "crs": "EPSG:32633"}
    profile |= {"tiled": True, "blockxsize": 64, "blockysize": 64, "transform": Affine(10, 0, 0, 0, -10, 0)}
    with rasterio.Env(GDAL_CACHEMAX=0), rasterio.open(path, "w", **profile) as dataset:
        dataset.descriptions = ("B02",)
        for row in (192, 128, 64, 0):
            dataset.write(full[0, row : row + 64], 1, window=Window(0, row, 64, 64))
    whole = describe_scene(path, **S2)
    assert whole.geobox.shape == (256, 64)
    with rasterio.open(path) as dataset:
        offsets = [int(dataset.get_tag_item(f"BLOCK_OFFSET_0_{row}", dm="TIFF", bidx=1)) for row in range(4)]
    assert offsets[0] == max(offsets)
    path.write_bytes(path.read_bytes()[: offsets[0] + 100])
    with pytest.raises(SceneError, match="pixel blocks are missing"):
        describe_scene(path, **S2)


def test_truncated_source_of_a_vrt_and_truncated_jp2_are_found(tmp_path):
    from rasterio.shutil import copy

    path = write_raster(tmp_path / "t.tif", digital_numbers(1, 200, 200), names=("B02",))
    copy(path, tmp_path / "t.vrt", driver="VRT")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(SceneError, match=r"t\.tif .*truncated"):
        describe_scene(tmp_path / "t.vrt", **S2)
    image = write_jp2(tmp_path / "T33_B02.jp2", digital_numbers(1, 256, 256), 10.0)
    data = image.read_bytes()
    image.write_bytes(data[: len(data) // 2])
    with pytest.raises(SceneError, match="truncated"):
        describe_scene(image, **S2)


def test_envi_cube_opens_by_header_or_data_and_must_be_whole(tmp_path):
    array = digital_numbers(3, 6, 5)
    path = write_raster(tmp_path / "cube.img", array, names=("B02", "B03", "B04"), driver="ENVI")
    for name in ("cube.hdr", "cube.img"):
        source = describe_scene(tmp_path / name, **S2)
        assert source.band_names == ("B02", "B03", "B04")
    np.testing.assert_allclose(open_scene(path, **S2)["B03"].values[0], array[1] * 1e-4, rtol=1e-6)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SceneError, match="truncated"):
        describe_scene(path, **S2)
    path.unlink()
    with pytest.raises(SceneError, match="without its data file"):
        describe_scene(tmp_path / "cube.hdr", **S2)


def test_all_errors_are_one_sentence(tmp_path):
    path = s2_file(tmp_path)
    for declared in (
        {},
        {"sensor": "x"},
        {"sensor": "sentinel-2"},
        {**S2, "bands": ["B12"]},
        {**S2, "crs": "nonsense"},
    ):
        with pytest.raises(EcumeneError) as caught:
            describe_scene(path, **declared)
        text = str(caught.value)
        assert text.endswith((".", ")."))
        assert "\n" not in text


# ------------------------------------------------------------------ allowed roots
def vrt_of(path: Path, target: Path, source: str, relative: int = 0) -> Path:
    from rasterio.shutil import copy

    copy(path, target, driver="VRT")
    import re

    text = re.sub(
        r'<SourceFilename relativeToVRT="\d"[^>]*>[^<]*</SourceFilename>',
        f'<SourceFilename relativeToVRT="{relative}">{source}</SourceFilename>',
        target.read_text(),
    )
    assert source in text
    target.write_text(text)
    return target


def test_vrt_inside_its_folder_opens(tmp_path):
    path = s2_file(tmp_path)
    vrt = vrt_of(path, tmp_path / "scene.vrt", "s2.tif", relative=1)
    np.testing.assert_array_equal(open_scene(vrt, **S2)["B08"].values, open_scene(path, **S2)["B08"].values)


def test_vrt_cannot_read_outside_of_the_allowed_roots(tmp_path):
    path = s2_file(tmp_path / "secret")
    folder = tmp_path / "given"
    folder.mkdir()
    for source, relative in ((str(path), 0), ("../secret/s2.tif", 1)):
        vrt = vrt_of(path, folder / "scene.vrt", source, relative)
        with pytest.raises(SceneError, match="outside of the allowed roots"):
            describe_scene(vrt, **S2)
        assert describe_scene(vrt, allowed_roots=[path.parent], **S2).band_names == ("B02", "B03", "B04", "B08")
    shutil.move(folder / "scene.vrt", folder / "scene.tif")
    with pytest.raises(SceneError, match="outside of the allowed roots"):
        describe_scene(folder / "scene.tif", **S2)


@pytest.mark.parametrize(
    "source",
    ["/vsicurl/http://127.0.0.1:9/x.tif", "http://127.0.0.1:9/x.tif", "/vsizip//etc/x.zip/x.tif", "NETCDF:/etc/x.nc:v"],
)
def test_vrt_cannot_reach_the_network_or_virtual_files(tmp_path, source):
    vrt = vrt_of(s2_file(tmp_path), tmp_path / "scene.vrt", source)
    with pytest.raises(SceneError, match="outside of the allowed roots"):
        describe_scene(vrt, **S2)


def test_nested_vrts_links_and_circles(tmp_path):
    path = s2_file(tmp_path / "secret")
    folder = tmp_path / "given"
    folder.mkdir()
    vrt_of(path, folder / "inner.vrt", str(path))
    vrt_of(path, folder / "outer.vrt", "inner.vrt", relative=1)
    with pytest.raises(SceneError, match="outside of the allowed roots"):
        describe_scene(folder / "outer.vrt", **S2)
    (folder / "link.tif").symlink_to(path)
    vrt_of(path, folder / "linked.vrt", "link.tif", relative=1)
    with pytest.raises(SceneError, match="outside of the allowed roots"):
        describe_scene(folder / "linked.vrt", **S2)
    vrt_of(path, folder / "circle.vrt", "circle.vrt", relative=1)
    with pytest.raises(SceneError, match="circle"):
        describe_scene(folder / "circle.vrt", **S2)
    vrt_of(path, folder / "gone.vrt", "gone.tif", relative=1)
    with pytest.raises(SceneError, match="does not exist"):
        describe_scene(folder / "gone.vrt", **S2)


def test_vrt_with_python_pixel_functions_is_refused(tmp_path):
    vrt = vrt_of(s2_file(tmp_path), tmp_path / "scene.vrt", "s2.tif", relative=1)
    code = "<PixelFunctionLanguage>Python</PixelFunctionLanguage></VRTRasterBand>"
    vrt.write_text(vrt.read_text().replace("</VRTRasterBand>", code, 1))
    with pytest.raises(SceneError, match="runs Python code"):
        describe_scene(vrt, **S2)


def test_scene_yaml_cannot_point_outside(tmp_path):
    path = s2_file(tmp_path / "secret")
    folder = tmp_path / "given"
    folder.mkdir()
    for files in (
        [str(path)],
        ["../secret/s2.tif"],
        {"B02": "../secret/s2.tif"},
        ["/vsicurl/http://127.0.0.1:9/x.tif"],
    ):
        write_yaml(folder / "scene.yaml", files=files, **S2)
        with pytest.raises(SceneError, match="outside of the allowed roots"):
            describe_scene(folder)
    s2_file(folder, name="in.tif")
    write_yaml(folder / "scene.yaml", files=["in.tif"], mask={"file": "../secret/s2.tif", "kind": "binary"}, **S2)
    with pytest.raises(SceneError, match="outside of the allowed roots"):
        describe_scene(folder)
    write_yaml(folder / "scene.yaml", files=["../secret/s2.tif"], **S2)
    assert describe_scene(folder, allowed_roots=[tmp_path / "secret"]).band_names[0] == "B02"


def test_stac_items_say_their_numbers_themselves(tmp_path):
    (tmp_path / "item.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="drop --scale"):
        describe_scene(tmp_path / "item.json", scale=1e-4)


def test_a_stac_item_opens_as_a_scene(tmp_path):
    path = s2_file(tmp_path, ("B02", "B03"))
    bands = [{"name": name, "raster:scale": 1e-4, "raster:offset": -0.1, "nodata": 0} for name in ("B02", "B03")]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "one",
        "properties": {"datetime": "2023-06-01T10:00:00Z", "constellation": "sentinel-2", "processing:level": "L2"},
        "geometry": {"type": "Point", "coordinates": [15.0, 47.8]},
        "bbox": [15.0, 47.8, 15.0, 47.8],
        "links": [],
        "assets": {"data": {"href": f"./{path.name}", "type": "image/tiff", "roles": ["data"], "bands": bands}},
    }
    (tmp_path / "item.json").write_text(json.dumps(item))
    source = describe_scene(tmp_path / "item.json", level="L2A")
    assert (source.sensor, source.band_names, source.bands[0].offset) == ("sentinel-2", ("B02", "B03"), -0.1)
    data = open_scene(tmp_path / "item.json", level="L2A", bands=["B03"])
    expected = digital_numbers(2, 9, 7)[1] * 1e-4 - 0.1
    np.testing.assert_allclose(data["B03"].values[0], expected, atol=1e-6)


def test_importing_opens_no_heavy_library():
    code = (
        "import sys, ecumene.scenes.opening, ecumene.sensors; "
        "bad = {'torch', 'lightning', 'sklearn', 'matplotlib', 'geopandas', 'xarray'} & set(sys.modules); "
        "sys.exit(repr(bad) if bad else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert result.returncode == 0, result.stderr
