"""Collections in an object store: scenes from it, products into it, claims on it, nothing secret in what is written."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time

import pytest
from catalogue_data import grid, write_scene
from test_catalogue_run import OPTIONS

from ecumene.catalogue import object_store
from ecumene.catalogue.claims import take_claim
from ecumene.catalogue.object_store import ObjectStore
from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.mapping import map_stack
from ecumene.scenes.opening import describe_scenes
from ecumene.scenes.stack import align_scenes
from ecumene.workflows.map_collection import map_collection

pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

SECRET = "do-not-tell-anybody"


@pytest.fixture(scope="module")
def server():
    """An S3-compatible server with one bucket, in a process of its own: GDAL holds Python's lock while it waits."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.1)
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        object_store.file_system().mkdir("maps")
        yield patch
        running.terminate()
        running.wait()


def test_a_collection_from_and_into_a_bucket(server, mlp, tmp_path):
    fs = object_store.file_system()
    scene = write_scene(tmp_path / "s.tif", grid(128, 128))
    fs.put_file(str(scene), "maps/scenes/s.tif")
    declaration = {
        "sensor": "sentinel-2", "level": "L2A", "scale": 1e-4, "offset": 0.0, "nodata": 0, "unit": "1",
        "bands": ["B02", "B03", "B04", "B08"], "time": "2024-06-01",
    }  # fmt: skip
    source = {"scenes": ["s3://maps/scenes/s.tif"], "declaration": declaration, "grid": "EPSG:32633:2560"}
    result = map_collection(mlp, "s3://maps/store", options=OPTIONS, **source)
    assert not result.failures
    store = ObjectStore("s3://maps/store")
    single = map_stack(align_scenes(describe_scenes([scene])), mlp, tmp_path / "one", options=OPTIONS)
    import rasterio

    from ecumene.core.object_access import gdal_options

    with rasterio.Env(**gdal_options()), rasterio.open(store.file_path("value.vrt")) as mosaic:
        place = rasterio.windows.from_bounds(*single.geobox.boundingbox.bbox, mosaic.transform)
        values = mosaic.read(1, window=place)
    with rasterio.open(single.path("value")) as dataset:
        assert (values == dataset.read(1)).all()
    assert json.loads(store.read_text("collection.json"))["type"] == "Collection"
    assert fs.exists("maps/store/items.parquet")
    again = map_collection(mlp, "s3://maps/store", options=OPTIONS, **source)
    assert again.summary.count("kept") == len(result.plan.units)
    assert store.claims.names() == []
    for place in fs.find("maps/store"):
        assert SECRET.encode() not in fs.cat_file(place)
    overwrite = OPTIONS.model_copy(update={"overwrite": True})
    with pytest.raises(ProductError, match="another plan"):
        map_collection(mlp, "s3://maps/store", options=OPTIONS, composite="medoid", **source)
    new = map_collection(mlp, "s3://maps/store", options=overwrite, composite="medoid", **source)
    assert new.summary.count("mapped") == len(new.plan.units)


def test_of_many_one_gets_a_unit_in_a_bucket(server):
    shelf = ObjectStore("s3://maps/claims").claims
    got, barrier = [], threading.Barrier(6)

    def attempt():
        barrier.wait()
        got.append(take_claim(shelf, "33TWM"))

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [claim for claim in got if claim is not None]
    assert len(held) == 1
    assert held[0].is_held()
    shelf.renew(held[0].name, shelf.read(held[0].name))
    assert 0 <= shelf.age(held[0].name) < 30
    assert take_claim(shelf, "33TWM") is None
    shelf.renew(held[0].name, shelf.read(held[0].name).replace('"host": "', '"host": "another-'))
    assert take_claim(shelf, "33TWM", stale=-1.0) is not None
    assert not held[0].is_held()


def test_addresses_and_stores_that_do_not_work(server, monkeypatch):
    for url in ("gs://bucket/x", "s3://bucket", "s3://user:password@bucket/x"):
        with pytest.raises(ConfigurationError, match="write s3://BUCKET/PREFIX") as caught:
            ObjectStore(url)
        assert "password" not in str(caught.value)
    with pytest.raises(ProductError, match="s3://nowhere/x"):
        ObjectStore("s3://nowhere/x").prepare()
    monkeypatch.setattr(object_store, "_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(ProductError, match="does not answer") as caught:
        ObjectStore("s3://maps/x").prepare()
    assert SECRET not in str(caught.value)
