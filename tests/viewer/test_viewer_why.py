"""Explanations that the page asks for: one at a time, stopped when nobody waits, never for another page."""

import http.client
import threading
import time

import pytest
from viewer_products import class_product

pytest.importorskip("fastapi", reason="needs the extra viewer")
pytest.importorskip("rio_tiler", reason="needs the extra viewer")
pytest.importorskip("httpx", reason="needs httpx")

from starlette.testclient import TestClient

from ecumene.core.errors import SceneError
from ecumene.viewer.server.app import create_app
from ecumene.viewer.server.library import open_library
from ecumene.viewer.server.running import serving
from ecumene.viewer.server.why import Stopped, why_extension

PATH = "/api/products/land/why"


class Explainer:
    """Takes `steps` steps of a hundredth of a second."""

    def __init__(self, steps=1):
        self.steps, self.calls, self.running, self.stopped = steps, [], threading.Event(), threading.Event()

    def __call__(self, lon, lat, step):
        self.calls.append((lon, lat))
        self.running.set()
        try:
            for _ in range(self.steps):
                step()
                time.sleep(0.01)
        except Stopped:
            self.stopped.set()
            raise
        if lat > 80:
            raise SceneError("The place lies outside of the scene.")
        return {"text": "because", "notes": [], "sections": []}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return open_library([class_product(tmp_path_factory.mktemp("products") / "land", shape=(40, 50))[0]])


def client_of(library, explainer):
    app = create_app(library, extensions=[why_extension({"land": explainer})])
    return TestClient(app, base_url="http://127.0.0.1")


def test_a_place_is_explained_and_the_page_knows_where_it_may_ask(library):
    explainer = Explainer()
    client = client_of(library, explainer)
    assert client.get("/api/products").json()["extensions"] == {"why": {"products": ["land"]}}
    assert client.get(PATH, params={"lon": 15.5, "lat": 45.25}).json()["text"] == "because"
    assert explainer.calls == [(15.5, 45.25)]


def test_what_cannot_be_explained_is_said(library):
    client = client_of(library, Explainer())
    answer = client.get(PATH, params={"lon": 15, "lat": 85})
    assert (answer.status_code, answer.json()["error"]) == (422, "The place lies outside of the scene.")
    assert client.get("/api/products/other/why?lon=1&lat=1").status_code == 404
    for wrong in ("", "?lon=1", "?lon=nan&lat=1", "?lon=200&lat=1", "?lon=1&lat=1e400"):
        assert client.get(PATH + wrong).status_code == 422
    assert client.post(PATH + "?lon=1&lat=1").status_code == 405


def test_pages_of_others_cannot_make_it_compute(library):
    explainer = Explainer()
    client = client_of(library, explainer)
    for site in ("cross-site", "same-site"):
        answer = client.get(PATH + "?lon=1&lat=1", headers={"sec-fetch-site": site})
        assert answer.status_code == 403
        assert answer.json()["error"] == "Requests of other pages are refused."
    for origin in ("http://example.org", "http://127.0.0.1:81", "null"):  # what older browsers send alone
        assert client.get(PATH + "?lon=1&lat=1", headers={"origin": origin}).status_code == 403
    assert explainer.calls == []
    for own in ({"sec-fetch-site": "same-origin"}, {"origin": "http://127.0.0.1"}):
        assert client.get(PATH + "?lon=1&lat=1", headers=own).status_code == 200


def ask(address):
    line = http.client.HTTPConnection(address.split("/")[2], timeout=30)
    line.request("GET", PATH + "?lon=15&lat=45")
    return line


def test_one_place_at_a_time_and_nobody_waiting_ends_it(library):
    slow = Explainer(steps=3000)
    with serving(create_app(library, extensions=[why_extension({"land": slow})])) as address:
        first = ask(address)
        assert slow.running.wait(10)
        second = ask(address).getresponse()
        assert second.status == 429
        assert b"Another place" in second.read()
        assert http.client.HTTPConnection(address.split("/")[2], timeout=10).request("GET", "/health") is None
        assert not slow.stopped.is_set()
        first.sock.close()
        first.close()
        assert slow.stopped.wait(10)
        slow.steps = 1
        for _ in range(100):  # free again as soon as the model's step has ended
            third = ask(address).getresponse()
            if third.status != 429:
                break
            time.sleep(0.02)
        assert third.status == 200
    assert len(slow.calls) == 2


def test_without_the_extension_nothing_is_explained(library):
    client = TestClient(create_app(library), base_url="http://127.0.0.1")
    assert client.get(PATH + "?lon=1&lat=1").status_code == 404
    assert client.get("/api/products").json()["extensions"] == {}
