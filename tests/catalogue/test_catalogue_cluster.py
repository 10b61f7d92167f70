"""Dask: the same bytes as in one process, no tile lost with a worker, a sentence for what does not answer."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from catalogue_data import grid, make_model, write_scene
from test_catalogue_run import OPTIONS, rasters

from ecumene.catalogue import cluster
from ecumene.catalogue.cluster import Address, parse_cluster
from ecumene.catalogue.plan import Unit
from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.workflows.map_collection import map_collection

pytest.importorskip("distributed")


def test_addresses():
    assert parse_cluster("local:3") == Address(workers=3)
    assert parse_cluster("local").workers >= 1
    assert parse_cluster("tcp://host:8786") == Address(url="tcp://host:8786")
    for text in ("local:0", "local:x", "host:8786", "tcp://", "ftp://host"):
        with pytest.raises(ConfigurationError, match="write local, local:N or tcp"):
            parse_cluster(text)


def test_a_cluster_that_does_not_answer(monkeypatch, mlp, land_scene, tmp_path):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match=r"The cluster tcp://127\.0\.0\.1:9 does not answer"):
        map_collection(mlp, tmp_path / "s", scenes=[land_scene], cluster="tcp://127.0.0.1:9", options=OPTIONS)
    assert time.monotonic() - began < 20


def test_a_tile_that_kills_its_workers_is_given_up():
    """Whatever takes workers down, memory mostly, ends with a sentence instead of going round for ever."""
    from distributed.scheduler import KilledWorker

    class Future:
        def cancelled(self):
            return False

        def result(self):
            raise KilledWorker("task", None, cluster.ALLOWED_LOSSES)

    unit = Unit("33TWM", None, None, (0, 0, 1, 1), ())
    outcome = cluster._outcome(Future(), unit)
    assert outcome.state == "failed"
    assert "lack of memory" in outcome.message


def test_a_cluster_without_workers_ends_a_run(monkeypatch):
    monkeypatch.setattr(cluster, "LOST_SECONDS", 0.2)

    class Client:
        def nthreads(self):
            time.sleep(0.3)
            return {}

    with pytest.raises(ProductError, match="lost all its workers"):
        cluster._submit_all(Client(), [Unit("a", None, None, (0, 0, 1, 1), ())], None, "out", lambda *_: None)


def test_losses_are_allowed_on_a_running_scheduler():
    class Scheduler:
        allowed_failures = 3

    cluster._allow_losses(dask_scheduler=Scheduler, losses=10)
    assert Scheduler.allowed_failures == 10


def test_workers_give_the_same_bytes_and_one_may_die(tmp_path, monkeypatch):
    """A worker is killed while it works; its tile is done by another, and nothing differs from a run in one process."""
    write_scene(tmp_path / "s.tif", grid(160, 160))
    model = make_model("mlp")
    source = {"scenes": [tmp_path / "s.tif"], "grid": "EPSG:32633:640", "options": OPTIONS}
    map_collection(model, tmp_path / "one", **source)
    killed = []
    original = cluster._prepare

    def prepare(client, *rest):
        original(client, *rest)
        workers = [entry["pid"] for entry in client.run(lambda: {"pid": os.getpid()}).values()]

        def kill():
            folder = tmp_path / "two" / "tiles"
            deadline = time.monotonic() + 60
            while not any(folder.iterdir()) and time.monotonic() < deadline:
                time.sleep(0.02)
            os.kill(workers[0], signal.SIGKILL)
            killed.append(workers[0])

        threading.Thread(target=kill, daemon=True).start()

    monkeypatch.setattr(cluster, "_prepare", prepare)
    seen = []
    result = map_collection(
        model,
        tmp_path / "two",
        cluster="local:2",
        progress=lambda done, total, what: seen.append((done, total)),
        **source,
    )
    assert killed
    assert not result.failures
    assert rasters(tmp_path / "one") == rasters(tmp_path / "two")
    assert seen[-1] == (len(result.plan.units), len(result.plan.units))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not any((tmp_path / "two" / ".work" / "claims").iterdir())
