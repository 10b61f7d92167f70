"""Scenes on a server that signs, throttles, drops connections and ignores ranges."""

import json
import time

import numpy as np
import pytest
import rasterio
from affine import Affine
from flaky_server import serving

from ecumene.core.errors import SceneError
from ecumene.scenes import handles
from ecumene.scenes.opening import describe_scene
from ecumene.scenes.remote import trying
from ecumene.scenes.remote.patience import Patience
from ecumene.scenes.stack import align_scenes

QUICK = Patience(tries=4, first_wait_s=0.05, longest_wait_s=0.3, total_s=10.0)
SIDE = 512


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(trying, "DEFAULT", QUICK)
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    original = handles._options

    def options(remote, fresh=False):
        return original(remote, fresh) | ({"GDAL_HTTP_MAX_RETRY": "0"} if remote else {})

    monkeypatch.setattr(handles, "_options", options)
    for name in ("ECUMENE_SIGN", "ECUMENE_CACHE", "ECUMENE_CACHE_SIZE"):
        monkeypatch.delenv(name, raising=False)
    yield
    handles.close_handles()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote")
    values = np.random.default_rng(1).integers(1, 9000, (2, SIDE, SIDE), dtype=np.uint16)
    profile = {
        "driver": "COG",
        "height": SIDE,
        "width": SIDE,
        "count": 2,
        "dtype": "uint16",
        "crs": "EPSG:32633",
        "transform": Affine(10, 0, 600000, 0, -10, 5000000),
        "blocksize": 128,
    }
    for name in ("a", "b", "c", "d", "e", "f", "g"):
        with rasterio.open(folder / f"{name}.tif", "w", **profile) as sink:
            sink.write(values)
    (folder / "damaged.tif").write_bytes((folder / "a.tif").read_bytes()[:3000] + bytes(400_000))
    return folder


def read(href):
    """Open and read a whole scene as `[C, H, W]`."""
    source = describe_scene(href, sensor="sentinel-2", level="L1C", bands=["B04", "B08"], scale=1e-4, offset=0.0)
    stack = align_scenes([source])
    from ecumene.core.window import Window

    return stack.read(Window(0, 0, SIDE, SIDE)).image[0]


@pytest.fixture(scope="module")
def truth(folder):
    with rasterio.open(folder / "a.tif") as dataset:
        return dataset.read().astype(np.float32) * np.float32(1e-4)


def test_a_throttling_server_is_waited_for(folder, truth):
    with serving(folder) as server:
        server.throttle = 2
        np.testing.assert_allclose(read(f"{server.url}/a.tif"), truth, rtol=1e-6)


def test_dropped_connections_are_read_again(folder, truth):
    with serving(folder) as server:
        server.drop = 3
        np.testing.assert_allclose(read(f"{server.url}/b.tif"), truth, rtol=1e-6)
        assert server.drop == 0


def test_throttling_without_end_is_one_sentence(folder):
    with serving(folder) as server:
        server.throttle = 10_000
        with pytest.raises(SceneError, match=r"still throttles \(429\) after 4 tries"):
            read(f"{server.url}/c.tif")


def token_file(tmp_path, server):
    path = tmp_path / "sign.yaml"
    path.write_text(
        f"hosts: '{server.url}/(?P<name>[a-z]+)[.]tif'\ntoken_url: '{server.url}/token/{{name}}'\nlife_s: 100\n"
    )
    return path


def test_tokens_that_end_during_the_run_are_renewed(folder, truth, tmp_path, monkeypatch):
    with serving(folder) as server:
        server.token_seconds = 2.0
        monkeypatch.setenv("ECUMENE_SIGN", str(token_file(tmp_path, server)))
        np.testing.assert_allclose(read(f"{server.url}/d.tif"), truth, rtol=1e-6)
        time.sleep(2.1)
        np.testing.assert_allclose(read(f"{server.url}/d.tif"), truth, rtol=1e-6)
        assert len(server.tokens) >= 2


def test_a_token_that_the_server_has_withdrawn_is_renewed(folder, truth, tmp_path, monkeypatch):
    with serving(folder) as server:
        server.token_seconds = 3600.0
        monkeypatch.setenv("ECUMENE_SIGN", str(token_file(tmp_path, server)))
        read(f"{server.url}/e.tif")
        server.tokens.clear()
        server.tokens["withdrawn"] = 0.0
        handles.close_handles()
        np.testing.assert_allclose(read(f"{server.url}/e.tif"), truth, rtol=1e-6)


def test_secrets_stay_out_of_descriptions_and_sentences(folder, tmp_path, monkeypatch):
    with serving(folder) as server:
        server.token_seconds = 3600.0
        monkeypatch.setenv("ECUMENE_SIGN", str(token_file(tmp_path, server)))
        source = describe_scene(
            f"{server.url}/f.tif", sensor="sentinel-2", level="L1C", bands=["B04", "B08"], scale=1e-4, offset=0.0
        )
        assert "sig" not in json.dumps([band.href for band in source.bands] + [source.id, *source.files])
        with pytest.raises(SceneError) as caught:
            read(f"{server.url}/absent.tif")
        assert "sig" not in str(caught.value)
        assert "does not exist (404)" in str(caught.value)


def test_missing_credentials_are_one_sentence(folder):
    with serving(folder) as server:
        server.token_seconds = 10.0
        with pytest.raises(SceneError, match=r"may not be read \(403\).*ECUMENE_SIGN"):
            read(f"{server.url}/g.tif")


def test_a_web_page_is_no_raster(folder):
    with serving(folder) as server:
        server.html = True
        with pytest.raises(SceneError, match="is a web page instead of a raster"):
            read(f"{server.url}/a.tif")


def test_a_damaged_file_is_not_tried_for_ever(folder):
    with serving(folder) as server, pytest.raises(SceneError, match="damaged at its source"):
        read(f"{server.url}/damaged.tif")


def test_nobody_answers():
    with pytest.raises(SceneError, match="cannot be reached after 4 tries"):
        read("http://127.0.0.1:9/a.tif")


def test_a_server_without_ranges_needs_the_cache(folder, truth, tmp_path, monkeypatch):
    with serving(folder) as server:
        server.ranges = False
        with pytest.raises(SceneError, match="set ECUMENE_CACHE"):
            read(f"{server.url}/a.tif")
        monkeypatch.setenv("ECUMENE_CACHE", str(tmp_path / "cache"))
        np.testing.assert_allclose(read(f"{server.url}/a.tif"), truth, rtol=1e-6)


def test_a_throttled_catalogue_is_waited_for_and_a_page_is_no_catalogue(folder):
    from ecumene.scenes.security import AllowedRoots
    from ecumene.scenes.stac_catalogue import iterate_items

    (folder / "item.json").write_text(json.dumps({"type": "Feature", "id": "one"}))

    def items(server):
        start = f"{server.url}/item.json"
        roots = AllowedRoots.around([start])
        return list(iterate_items(start, roots, collection=None, bbox=None, datetime=None))

    with serving(folder) as server:
        server.throttle = 1
        assert items(server)[0]["id"] == "one"
        server.html = True
        with pytest.raises(SceneError, match="cannot be read as STAC JSON"):
            items(server)
