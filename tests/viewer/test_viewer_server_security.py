"""What the web map's server must never do: read other files, fetch addresses, write, or fall over."""

from __future__ import annotations

import http.server
import json
import socket
import threading

import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from viewer_products import class_product, number_product

pytest.importorskip("fastapi", reason="needs the extra viewer")
pytest.importorskip("rio_tiler", reason="needs the extra viewer")
pytest.importorskip("httpx", reason="needs httpx")

from fastapi import APIRouter, Request
from starlette.testclient import TestClient

from ecumene.core.errors import ConfigurationError, MissingDependencyError, ProductError
from ecumene.viewer import assets
from ecumene.viewer.server import pages, running
from ecumene.viewer.server.app import create_app
from ecumene.viewer.server.extension import Extension
from ecumene.viewer.server.library import open_library
from ecumene.viewer.server.security import origin_of
from ecumene.viewer.server.why import why_extension
from ecumene.viewer.server.writing import WriteGuard

BASE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secure")
    (folder / "secret.txt").write_text("SECRET")
    classes, _ = class_product(folder / "classes", shape=(60, 70))
    numbers = number_product(folder / "heights", shape=(50, 50))
    return open_library([classes, numbers])


@pytest.fixture(scope="module")
def client(library):
    return TestClient(create_app(library), base_url=BASE, raise_server_exceptions=False)


PATHS = [
    "/static/../server/app.py", "/static/%2e%2e/server/app.py", "/static/..%2fserver/app.py", "/static//etc/passwd",
    "/static/....//....//etc/passwd", "/static/%2fetc%2fpasswd", "/static/package.json", "/static/.gitignore",
    "/static/node_modules/x.js", "/static/js\\main.js", "/static/%00.html", "/static/", "/etc/passwd",
    "/api/products/..%2f..%2fsecret.txt/card", "/api/products/%2e%2e/card", "/api/products/classes/../../secret.txt",
    "/api/products/file%3A%2F%2F%2Fetc%2Fpasswd/card", "/api/products/classes/tiles/..%2Fsecret/0/0/0.png",
    "/api/products/classes/tiles/http%3A%2F%2Flocalhost%2Fx/0/0/0.png", "/api/products/classes/vectors/..%2Fsecret",
    "/api/products/classes/tiles/file:/0/0/0.png", "/api/products//etc/passwd/card",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out(library, path):
    with running.serving(create_app(library)) as address:
        host, port = address[7:-1].split(":")
        with socket.create_connection((host, int(port)), timeout=10) as line:
            line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: line.recv(65536), b""))
    status = int(answer.split(b" ", 2)[1])
    assert status in {400, 404, 422}
    assert b"SECRET" not in answer
    assert b"root:" not in answer
    assert b"def create_app" not in answer


def test_every_answer_carries_the_policy(client):
    for path in ("/", "/health", "/api/products", "/nothing", "/api/products/classes/tiles/value/0/0/0.png"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
        assert "access-control-allow-origin" not in headers


def test_nothing_can_be_written(client):
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        for path in ("/", "/api/products", "/api/products/classes", "/static/x.js"):
            answer = client.request(method, path)
            assert answer.status_code == 405
            assert "GET" in answer.json()["error"]
    assert client.head("/health").status_code == 200
    assert client.head("/health").content == b""


def test_other_names_of_the_server_are_refused(client):
    for host in ("evil.example", "127.0.0.1.evil.example:80", "localhost.evil:8765", ""):
        assert client.get("/api/products", headers={"host": host}).status_code == 421
    for host in ("localhost:1234", "127.0.0.1", "[::1]:8765", "LOCALHOST"):
        assert client.get("/health", headers={"host": host}).status_code == 200


def test_a_server_for_a_network_answers_to_any_name(library):
    opened = TestClient(create_app(library, hosts=None), base_url="http://maps.example")
    assert opened.get("/health").status_code == 200


def test_very_long_addresses_are_refused(client):
    assert client.get("/api/products/classes/pixel?lon=" + "1" * 5000).status_code == 414


@pytest.mark.parametrize(
    "query",
    [
        "lon=file:///etc/passwd&lat=0", "lon=nan&lat=0", "lon=inf&lat=0", "lon=1e400&lat=1", "lon=0", "",
        "lon=181&lat=0",
        "col=-1&row=0", "col=1.5&row=0", "lon=0&lat=0&lat=http://x", "col=99999999999999999999&row=1",
    ],
)  # fmt: skip
def test_wrong_places_get_a_sentence(client, query):
    answer = client.get(f"/api/products/classes/pixel?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"].endswith(".")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("band=0", 422), ("band=9", 404), ("colormap=../../x", 422), ("colormap=http://x/y", 422), ("low=1", 422),
        ("low=nan&high=1", 422), ("hide=a", 422), ("hide=1,,2", 422), ("fade=2", 422), ("size=100000", 422),
        ("hide=999", 200), ("low=5&high=5", 200), ("low=9&high=1", 200), ("fade=1&hide=1,2,3", 200),
    ],
)  # fmt: skip
def test_wrong_looks_get_a_sentence(client, query, status):
    answer = client.get(f"/api/products/classes/tiles/value/9/277/184.png?{query}")
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["error"].endswith(".")


def test_tiles_beyond_the_world_are_refused(client):
    for tile in ("1/2/0", "3/0/8", "25/0/0", "-1/0/0", "a/0/0"):
        assert client.get(f"/api/products/classes/tiles/value/{tile}.png").status_code in {404, 422}


class _Listener(http.server.BaseHTTPRequestHandler):
    asked = ()

    def do_GET(self):
        type(self).asked += (self.path,)
        self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def listener():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Listener)
    _Listener.asked = ()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _virtual(path, source):
    path.write_text(
        '<VRTDataset rasterXSize="60" rasterYSize="60"><GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>'
        '<SRS>EPSG:32633</SRS><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )


def test_a_virtual_raster_in_disguise_is_not_opened(tmp_path, listener):
    folder, _ = class_product(tmp_path / "p", shape=(60, 60))
    _virtual(folder / "value.tif", f"/vsicurl/{listener}/x.tif")
    with pytest.raises(ProductError, match="cannot be read as GeoTIFF"):
        open_library([folder])
    assert _Listener.asked == ()


def test_overviews_and_side_cars_that_lie_elsewhere_are_not_followed(tmp_path, listener):
    folder, _ = class_product(tmp_path / "p", shape=(600, 600), overviews=False)
    for name in ("value.tif", "uncertainty.tif"):
        (folder / f"{name}.aux.xml").write_text(
            '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
            f"/vsicurl/{listener}/overview.tif</MDI></Metadata></PAMDataset>"
        )
        _virtual(folder / f"{name}.ovr", f"/vsicurl/{listener}/ovr.tif")
        _virtual(folder / f"{name}.msk", f"/vsicurl/{listener}/msk.tif")
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    assert client.get("/api/products/p/tiles/value/6/34/23.png").status_code == 200
    assert client.get("/api/products/p/tiles/value/12/2219/1494.png?fade=1").status_code == 200
    assert client.get("/api/products/p/pixel?col=1&row=1").status_code == 200
    assert _Listener.asked == ()
    with rasterio.open(folder / "value.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as source:
        source.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/{listener}/inside.tif")
    for side_car in folder.glob("value.tif.*"):
        side_car.unlink()
    with pytest.raises(ProductError, match="overviews in another file"):
        open_library([folder])
    assert _Listener.asked == ()


def test_links_out_of_a_product_are_refused(tmp_path):
    secret = tmp_path / "secret.tif"
    folder, _ = class_product(tmp_path / "p", shape=(60, 60))
    secret.write_bytes((folder / "value.tif").read_bytes())
    client = TestClient(create_app(open_library([folder])), base_url=BASE)
    (folder / "value.tif").unlink()
    (folder / "value.tif").symlink_to(secret)
    for address in ("tiles/value/0/0/0.png", "pixel?col=1&row=1"):
        answer = client.get(f"/api/products/p/{address}")
        assert answer.status_code == 404
        assert "leads out" in answer.json()["error"]
    (folder / "model_card.md").unlink()
    (folder / "model_card.md").symlink_to("/etc/passwd")
    assert client.get("/api/products/p/card").status_code == 404
    with pytest.raises(ProductError, match="outside of its folder"):
        open_library([folder])


@pytest.mark.parametrize("href", ["/etc/passwd", "../x.tif", "file:///etc/passwd", "http://host/x.tif", "/vsicurl/x"])
def test_an_item_that_points_elsewhere_is_refused(tmp_path, href):
    folder = number_product(tmp_path / "p", shape=(40, 40))
    item = json.loads((folder / "item.json").read_text())
    item["assets"]["value"]["href"] = href
    (folder / "item.json").write_text(json.dumps(item))
    with pytest.raises(ProductError):
        open_library([folder])


def test_only_shipped_kinds_of_files_are_served(tmp_path):
    folder = tmp_path / "web"
    (folder / "js").mkdir(parents=True)
    (folder / "node_modules").mkdir()
    for name in ("index.html", "js/main.js", "worker.mjs", "notes.py", ".hidden.js", "package.json",
                 "node_modules/a.js"):  # fmt: skip
        (folder / name).write_text("x")
    (tmp_path / "outside.js").write_text("x")
    (folder / "link.js").symlink_to(tmp_path / "outside.js")
    (folder / "up").symlink_to(tmp_path)
    assert [pages.shipped_file(folder, name) is not None for name in ("index.html", "js/main.js", "worker.mjs")] == [
        True
    ] * 3
    for name in ("notes.py", ".hidden.js", "package.json", "node_modules/a.js", "link.js", "up/outside.js", "js",
                 "", "/etc/passwd", "../outside.js", "js/../../outside.js", "a\0.js", "x" * 5000 + ".js"):  # fmt: skip
        assert pages.shipped_file(folder, name) is None, name


def test_a_base_map_is_named_in_the_policy_and_nowhere_else(library):
    basemap = {"tiles": "https://tiles.example:8443/{z}/{x}/{y}.png", "attribution": "somebody"}
    client = TestClient(create_app(library, basemap=basemap), base_url=BASE)
    policy = client.get("/health").headers["content-security-policy"]
    assert "img-src 'self' data: blob: https://tiles.example:8443;" in policy
    assert client.get("/api/products").json()["basemap"] == basemap
    for wrong in ("ftp://x/{z}/{x}/{y}", "https://x/y.png", "https://x;script-src */{z}/{x}/{y}", "{z}{x}{y}"):
        with pytest.raises(ConfigurationError, match="--basemap"):
            origin_of(wrong)


def _writing(guard):
    router = APIRouter()

    @router.post("/assess/label")
    async def label(request: Request):
        return {"size": len(await guard.body(request))}

    return Extension("assess", router, {"points": 3}, frozenset({"/assess/label"}))


def test_an_extension_may_write_by_its_token_only(library):
    guard = WriteGuard(maximum_bytes=100)
    client = TestClient(create_app(library, extensions=[_writing(guard)]), base_url=BASE)
    good = {"x-ecumene-token": guard.token, "origin": BASE, "sec-fetch-site": "same-origin"}
    assert client.get("/api/products").json()["extensions"] == {"assess": {"points": 3}}
    assert client.post("/assess/label", json={"a": 1}, headers=good).json() == {"size": 7}
    wrong = [
        (403, {"json": {}, "headers": good | {"x-ecumene-token": "x"}}),
        (403, {"json": {}, "headers": {}}),
        (403, {"json": {}, "headers": good | {"origin": "http://evil.example"}}),
        (403, {"json": {}, "headers": good | {"origin": "null"}}),
        (403, {"json": {}, "headers": good | {"sec-fetch-site": "cross-site"}}),
        (415, {"content": b"{}", "headers": good | {"content-type": "text/plain"}}),
        (413, {"json": {"a": "x" * 200}, "headers": good}),
    ]
    for status, request in wrong:
        answer = client.post("/assess/label", **request)
        assert answer.status_code == status
        assert answer.json()["error"].endswith(".")
    assert client.post("/api/products", json={}, headers=good).status_code == 405
    assert WriteGuard().token != WriteGuard().token


def test_requests_by_its_own_description_find_no_server_error(library):
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
    answer_of = {"text": "because", "notes": [], "sections": []}
    guarded = create_app(library, extensions=[why_extension({"classes": lambda *_: answer_of})])
    schema = schemathesis.openapi.from_asgi("/openapi.json", guarded.application)
    client = TestClient(guarded, base_url=BASE, raise_server_exceptions=False)
    real = {
        "product": st.sampled_from(["classes", "heights"]),
        "layer": st.sampled_from(
            ["value", "uncertainty", "outlier", "valid", "probability", "prediction_set", "lower"]
        ),
    }
    # Drawn values alone seldom name a tile that exists; these always do, so every kind of answer is reached.
    sure = {"product": "classes", "layer": "value", "z": 0, "x": 0, "y": 0}
    seen, wrong = {}, []

    def send(case, path, params):
        answer = client.request(case.method, path, params=params)
        seen.setdefault(case.path, set()).add(answer.status_code)
        told = answer.status_code == 200 or answer.json()["error"].strip()
        if answer.status_code not in {200, 404, 422} or not told:
            wrong.append((path, answer.status_code, answer.text[:200]))

    for result in schema.get_all_operations():
        operation = result.ok()

        @given(case=operation.as_strategy(), data=st.data())
        @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def ask(case, data):
            for name in set(real) & set(case.path_parameters or {}):
                if data.draw(st.booleans()):
                    case.path_parameters[name] = data.draw(real[name])
            send(case, case.formatted_path, case.as_transport_kwargs().get("params"))
            certain = sure | ({"product": "heights"} if "relief" in case.path else {})
            for name in set(certain) & set(case.path_parameters or {}):
                case.path_parameters[name] = certain[name]
            send(case, case.formatted_path, None)

        ask()
    assert wrong == []
    assert len(seen) == 10
    reached = {path for path, codes in seen.items() if 200 in codes}
    assert {"/health", "/api/products", "/api/products/{product}/charts"} <= reached
    assert any("tiles" in path for path in reached)
    assert any("relief" in path for path in reached)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    z=st.integers(0, 24),
    spot=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)),
    layer=st.sampled_from(["value", "uncertainty", "outlier", "valid", "probability", "prediction_set", "nothing"]),
    query=st.fixed_dictionaries(
        {},
        optional={
            "band": st.integers(-1, 5),
            "fade": st.floats(),
            "low": st.floats(),
            "high": st.floats(),
            "hide": st.text("0123,", max_size=12),
            "colormap": st.sampled_from(["viridis", "PuOr", "none", ""]),
            "size": st.integers(0, 600),
        },
    ),
)
def test_no_tile_is_a_server_error(client, z, spot, layer, query):
    x, y = (int(part * 2**z) for part in spot)
    answer = client.get(f"/api/products/classes/tiles/{layer}/{z}/{x}/{y}.png", params=query)
    assert answer.status_code in {200, 404, 422}


def test_a_port_in_use_gives_the_next_one():
    first = running.free_socket("127.0.0.1", 0)
    port = first.getsockname()[1]
    with running.free_socket("127.0.0.1", port) as second:
        assert port < second.getsockname()[1] <= port + 49
    first.close()
    with pytest.raises(ConfigurationError, match="--host"):
        running.free_socket("203.0.113.7", 8765)
    with pytest.raises(ConfigurationError, match="no address"):
        running.free_socket("no such host", 8765)


def test_answers_do_not_wait_for_acknowledgements(library):
    import http.client
    import time

    with running.serving(create_app(library)) as address:
        line = http.client.HTTPConnection(address[7:-1], timeout=30)
        seconds = []
        for _ in range(30):
            start = time.perf_counter()
            line.request("GET", "/health")
            line.getresponse().read()
            seconds.append(time.perf_counter() - start)
        assert min(seconds) < 0.03  # a delayed acknowledgement takes 40 ms, each time


def test_local_addresses_are_known():
    assert [running.is_local(host) for host in ("127.0.0.1", "localhost", "::1", "127.9.9.9")] == [True] * 4
    assert [running.is_local(host) for host in ("0.0.0.0", "192.168.1.2", "maps.example")] == [False] * 3


def test_a_machine_without_browser_is_no_error(monkeypatch):
    import webbrowser

    def none(*_):
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "get", none)
    assert running.open_browser("http://127.0.0.1:1/") is False
    monkeypatch.setattr(webbrowser, "get", lambda: webbrowser.GenericBrowser("lynx"))
    assert running.open_browser("http://127.0.0.1:1/") is False


def test_the_verb_says_where_the_page_is(tmp_path, monkeypatch):
    import urllib.request

    from ecumene.workflows.view import ViewOptions, view_products

    folder, _ = class_product(tmp_path / "p", shape=(40, 40))
    told = []

    def serve(app, listening, started):
        """Serve until the page was announced."""
        server = running._server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        running._when_started(server, started)
        server.should_exit = True
        thread.join(timeout=10)

    def announce(up):
        told.append((up, urllib.request.urlopen(up.address + "health", timeout=10).read()))

    monkeypatch.setattr(running, "serve", serve)
    monkeypatch.setattr(assets, "require_assets", lambda: None)
    view_products([folder], ViewOptions(port=0, browser=False), announce=announce)
    (up, body), *more = told
    assert not more
    assert json.loads(body)["status"] == "ok"
    assert (up.products, up.opened, up.warnings) == (("A map",), False, ())
    assert up.address.startswith("http://127.0.0.1:")


def test_a_page_that_was_not_built_is_said(tmp_path):
    with pytest.raises(MissingDependencyError, match="npm"):
        assets.require_assets(tmp_path)


def test_wrong_options_get_a_sentence(tmp_path):
    from ecumene.workflows.view import ViewOptions, make_library, view_products

    one, _ = class_product(tmp_path / "one", shape=(40, 40))
    two = number_product(tmp_path / "two", shape=(40, 40))
    table = tmp_path / "a.json"
    table.write_text("{}")
    with pytest.raises(ProductError, match="not an assessment"):
        make_library([one], ViewOptions(assessment=table))
    table.write_text('{"errors": {}}')
    with pytest.raises(ConfigurationError, match="one product"):
        make_library([one, two], ViewOptions(assessment=table))
    with pytest.raises(ConfigurationError, match="--basemap"):
        view_products([one], ViewOptions(basemap="x"))
