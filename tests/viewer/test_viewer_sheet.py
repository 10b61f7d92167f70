"""The assessor's sheet: answers become reference labels, the map stays hidden, and nobody else can write."""

import io
import json

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import viewer_products
from affine import Affine
from shapely.geometry import MultiPoint, Point, box
from viewer_products import LEGEND, PIXELS, UTM

from ecumene.core.errors import ConfigurationError, LabelError, ProductError
from ecumene.indicators.sampling_design import draw_design
from ecumene.mapping.product import open_product
from ecumene.workflows.assess import assess_map
from ecumene.workflows.view_assess import open_sheet, serve_sheet

SHAPE = (90, 75)
ORIGIN = Affine(10, 0, 500_000, 0, -10, 5_000_000)
NAMES = LEGEND.names


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    folder, _ = viewer_products.class_product(tmp_path_factory.mktemp("map") / "land", shape=SHAPE)
    return open_product(folder)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Two dates whose red band is the column, so that a chip tells where it was cut, and one date that is bright."""
    folder = tmp_path_factory.mktemp("scenes")
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    made = []
    for day, gain in (("2024-04-01", 1), ("2024-06-01", 1), ("2024-08-01", 60)):
        bands = np.stack([column, row, column + row]).astype("uint16") * 10 * gain + 1
        path = folder / f"{day}.tif"
        with rasterio.open(path, "w", driver="GTiff", count=3, height=SHAPE[0], width=SHAPE[1], dtype="uint16",
                           crs=UTM, transform=ORIGIN, nodata=0) as target:  # fmt: skip
            target.write(bands)
        path.with_suffix(".scene.yaml").write_text(
            "sensor: sentinel-2\nlevel: L2A\nbands: [B04, B03, B02]\nscale: 0.0001\noffset: 0\nunit: '1'\nnodata: 0\n"
            f"time: {day}T10:00:00Z\n"
        )
        made.append(str(path))
    return made


@pytest.fixture
def points(product, tmp_path):
    path = tmp_path / "points.gpkg"
    draw_design(product.path("value"), LEGEND, total=12, minimum=4).write(path)
    return path


@pytest.fixture
def sheet(product, points, scenes, tmp_path):
    return open_sheet(product, points, tmp_path / "labels.gpkg", scenes)


def labels_of(tmp_path):
    return gpd.read_file(tmp_path / "labels.gpkg")


def truth(product, place):
    with rasterio.open(product.path("value")) as source:
        code = source.read(1)[place.line, place.col]
    return NAMES[LEGEND.values.index(code)]


def test_answers_are_read_by_assess(product, sheet, tmp_path):
    total = sheet.state()["total"]
    for number in range(total):
        right = truth(product, sheet.point_at(number))
        given = NAMES[(NAMES.index(right) + 1) % 3] if number == 0 else right
        sheet.answer(number, None if number == 1 else given, "sure", reveal=False)
    assert (sheet.state()["judged"], sheet.state()["unknown"], sheet.state()["next"]) == (total - 1, 1, None)
    assessment = assess_map(product, tmp_path / "labels.gpkg")
    assert assessment.sample_size == total - 1
    assert assessment.measure("overall_accuracy") == pytest.approx((total - 2) / (total - 1))
    with_design = assess_map(product, tmp_path / "labels.gpkg", field="reference")  # the column of the design
    assert with_design.sample_size == total - 1


def test_command_assess_runs_on_the_file(product, sheet, tmp_path):
    from typer.testing import CliRunner

    from ecumene.cli.main import app

    for number in range(6):
        sheet.answer(number, truth(product, sheet.point_at(number)), "sure", reveal=False)
    out = tmp_path / "assessment.json"
    arguments = ["assess", product.folder, "--reference", tmp_path / "labels.gpkg", "--out", out]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert json.loads(out.read_text())["sample_size"] == 6


def test_every_answer_is_on_disk_at_once_and_columns_of_the_design_stay(sheet, points, tmp_path):
    design = gpd.read_file(points)
    sheet.answer(3, "forest", "likely", reveal=False)
    found = labels_of(tmp_path)
    row = sheet.point_at(3).row
    assert found.crs == design.crs
    assert found.geometry.geom_equals(design.geometry).all()
    assert list(found["stratum"]) == list(design["stratum"])
    assert (found["class"][row], found["confidence"][row], found["status"][row]) == ("forest", "likely", "judged")
    assert found["judged_at"][row].endswith("Z")
    others = found.drop(index=row)
    assert others["class"].isna().all()
    assert set(others["status"]) == {"open"}


def test_work_goes_on_where_it_ended_and_undo_takes_back(product, points, scenes, sheet, tmp_path):
    sheet.answer(0, "water", "sure", reveal=False)
    sheet.answer(1, "forest", "unsure", reveal=False)
    assert sheet.undo()["number"] == 1
    assert sheet.point(1)["status"] == "open"
    sheet.answer(0, "built-up", "sure", reveal=False)
    assert sheet.undo()["class"] == "water"  # the answer before comes back
    again = open_sheet(product, points, tmp_path / "labels.gpkg", scenes)
    assert again.point(0)["class"] == "water"
    assert again.state()["judged"] == 1
    assert again.state()["next"] == 1
    with pytest.raises(LabelError, match="no answer to take back"):
        again.undo()


def test_map_is_hidden_until_answered_and_later_answers_say_that_it_was_seen(product, sheet, tmp_path):
    said = json.dumps([sheet.state(), *(sheet.point(number) for number in range(5))])
    assert "stratum" not in said
    assert "probability" not in said
    assert all(sheet.point(number)["map"] is None for number in range(5))
    hidden = sheet.answer(0, "water", "sure", reveal=False)
    assert hidden["map"] is None
    shown = sheet.answer(1, "water", "sure", reveal=True)
    assert shown["map"]["class"] == truth(product, sheet.point_at(1))
    assert "probability 0.80" in shown["map"]["text"]
    rows = [sheet.point_at(number).row for number in (0, 1)]
    assert labels_of(tmp_path)["map_seen"][rows].tolist() == [0, 0]  # both were given without it
    sheet.answer(1, "forest", "sure", reveal=True)
    assert labels_of(tmp_path)["map_seen"][rows].tolist() == [0, 1]
    sheet.answer(2, "forest", "sure", reveal=True)
    sheet.undo()
    assert sheet.point(2)["map"] is None  # open again
    sheet.answer(2, "water", "sure", reveal=False)
    assert labels_of(tmp_path)["map_seen"][sheet.point_at(2).row] == 1


def test_order_tells_nothing_of_the_strata(product, scenes, tmp_path):
    sorted_points = tmp_path / "sorted.gpkg"
    design = draw_design(product.path("value"), LEGEND, total=60, minimum=20).points.sort_values("stratum")
    design.reset_index(drop=True).to_file(sorted_points, driver="GPKG")
    sheet = open_sheet(product, sorted_points, tmp_path / "labels.gpkg", scenes)
    rows = [sheet.point_at(number).row for number in range(60)]
    assert sorted(rows) == list(range(60))
    assert abs(np.corrcoef(rows, range(60))[0, 1]) < 0.5
    again = open_sheet(product, sorted_points, tmp_path / "labels.gpkg", scenes)
    assert [again.point_at(number).row for number in range(60)] == rows


def test_full_disk_loses_no_answer_and_records_none(sheet, tmp_path, monkeypatch):
    sheet.answer(0, "water", "sure", reveal=False)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(gpd.GeoDataFrame, "to_file", full)
        with pytest.raises(ProductError, match="No space left"):
            sheet.answer(1, "forest", "sure", reveal=False)
    assert sheet.point(1)["status"] == "open"
    assert labels_of(tmp_path)["class"].notna().sum() == 1
    assert [path.name for path in tmp_path.iterdir() if ".part-" in path.name] == []


def test_chips_are_centred_and_stretched_alike_for_all_dates(sheet):
    from PIL import Image

    def chip(scene, number, view):
        return np.asarray(Image.open(io.BytesIO(sheet.chips.chip(scene, sheet.point_at(number), view))).convert("RGBA"))

    described = sheet.chips.describe()
    assert [entry["date"] for entry in described] == ["2024-04-01", "2024-06-01", "2024-08-01"]
    assert described[0]["bands"] == ["B04", "B03", "B02"]
    inner = next(n for n in range(12) if 20 < sheet.point_at(n).col < 55 and 20 < sheet.point_at(n).line < 70)
    place = sheet.point_at(inner)
    near = chip(0, inner, "detail")
    assert near.shape == (25, 25, 4)
    low, high = np.percentile((np.mgrid[: SHAPE[0], : SHAPE[1]][1] * 10 + 1) * 1e-4, (2, 98))
    want = np.clip(((place.col * 10 + 1) * 1e-4 - low) / (high - low), 0, 1) * 255
    assert abs(int(near[12, 12, 0]) - want) <= 1  # the middle is the pixel of the point
    assert np.array_equal(near, chip(1, inner, "detail"))
    far = chip(0, inner, "neighbourhood")
    assert far.shape == (151, 151, 4)
    assert (far[..., 3] == 0).any()  # beyond the scene nothing is drawn
    assert chip(2, inner, "detail")[12, 12, 0] == 255  # a bright date stays bright beside the others
    for wrong in ((9, "detail"), (0, "../detail")):
        with pytest.raises(LabelError, match="no such image chip"):
            sheet.chips.chip(wrong[0], place, wrong[1])


def test_bad_input_is_said_in_one_sentence(product, points, scenes, tmp_path):
    out = tmp_path / "labels.gpkg"

    def refused(error, match, *, of=product, where=points, to=out, seen=scenes):
        with pytest.raises(error, match=match) as found:
            open_sheet(of, where, to, seen)
        assert str(found.value).count(". ") == 0

    refused(ConfigurationError, "--scenes", seen=[])
    refused(ConfigurationError, "choose another file with --out", to=points)
    refused(ConfigurationError, r"labels\.gpkg", to=tmp_path / "labels.csv")
    refused(LabelError, "does not exist", where=tmp_path / "none.gpkg")
    design = gpd.read_file(points)
    far = tmp_path / "far.gpkg"
    design.set_geometry(design.geometry.translate(1e6)).to_file(far)
    refused(LabelError, "lies on the map", where=far)
    for shape in (
        box(500_100, 4_999_500, 500_200, 4_999_600),
        MultiPoint([(500_100, 4_999_500), (500_200, 4_999_500)]),
    ):
        other = tmp_path / f"{shape.geom_type}.gpkg"
        gpd.GeoDataFrame(geometry=[shape], crs=UTM).to_file(other)
        refused(LabelError, "one point for each row", where=other)
    gpd.GeoDataFrame({"a": [1]}, geometry=[Point(0, 0)], crs=UTM).to_file(out)
    refused(LabelError, "holds no answers to these points")
    out.write_bytes(b"no database")
    refused(LabelError, "holds no answers to these points")
    numbers = open_product(viewer_products.number_product(tmp_path / "numbers", shape=(40, 40)))
    refused(ProductError, "no map of classes", of=numbers, to=tmp_path / "other.gpkg")
    folder, _ = viewer_products.class_product(tmp_path / "radar", crs=PIXELS, shape=(40, 40))
    refused(ProductError, "no place on the Earth", of=open_product(folder), to=tmp_path / "other.gpkg")


def test_unknown_class_confidence_and_point_are_refused(sheet, tmp_path):
    for number, name, confidence, match in (
        (0, "volcano", "sure", "not in the legend"),
        (0, "water", "perhaps", "confidence is one of"),
        (999, "water", "sure", "no point 1000"),
    ):
        with pytest.raises(LabelError, match=match):
            sheet.answer(number, name, confidence, reveal=False)
    assert not (tmp_path / "labels.gpkg").exists()


@pytest.fixture
def client(sheet):
    pytest.importorskip("fastapi", reason="needs the extra viewer")
    pytest.importorskip("rio_tiler", reason="needs the extra viewer")
    pytest.importorskip("httpx", reason="needs httpx")
    from starlette.testclient import TestClient

    from ecumene.viewer.server.app import create_app
    from ecumene.viewer.server.library import Library
    from ecumene.viewer.server.writing import WriteGuard
    from ecumene.viewer.sheet.routes import sheet_extension

    guard = WriteGuard(maximum_bytes=4096)
    app = create_app(Library(), extensions=[sheet_extension(sheet, guard)])
    client = TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False)
    client.token = guard.token
    return client


ANSWER = {"number": 0, "class_name": "forest", "confidence": "sure", "reveal": True}


def post(client, path="/api/assess/labels", body=ANSWER, **headers):
    given = {
        "x-ecumene-token": client.token,
        "content-type": "application/json",
        "origin": "http://127.0.0.1",
    } | headers
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(path, content=content, headers={key: value for key, value in given.items() if value is not None})


def test_only_the_opened_page_may_write(client, tmp_path):
    evil = {"origin": "https://evil.example"}
    refusals = [
        (post(client, **{"x-ecumene-token": None}), 403),
        (post(client, **{"x-ecumene-token": "guess"}), 403),
        (post(client, **evil), 403),
        (post(client, **{"sec-fetch-site": "cross-site"}), 403),
        (post(client, **{"content-type": "text/plain"}), 415),
        (post(client, body=b"[" * 100_000), 413),
        (post(client, body=b"{"), 422),
        (post(client, body={**ANSWER, "class_name": "volcano"}), 422),
        (post(client, body={**ANSWER, "number": -1}), 422),
        (post(client, body={**ANSWER, "path": "/etc/passwd"}), 422),
        (post(client, "/api/assess/undo", body={}), 422),
        (post(client, "/api/assess/points/0", body={}), 405),
        (client.put("/api/assess/labels"), 405),
        (client.delete("/api/assess/labels"), 405),
        (client.get("/api/assess/labels"), 404),
    ]
    for answer, status in refusals:
        assert answer.status_code in {status, 405}, answer.text
        assert answer.status_code == status or status == 404, answer.text
        assert len(answer.json()["error"]) > 10
    assert not (tmp_path / "labels.gpkg").exists()
    saved = post(client)
    assert saved.status_code == 200
    assert saved.json()["class"] == "forest"
    assert post(client, "/api/assess/undo", body={}).json()["status"] == "open"


def test_nothing_of_the_map_can_be_asked_before_an_answer(client):
    assert client.get("/api/products").json()["products"] == []
    assert client.get("/api/assess/points/0").json()["map"] is None
    assert client.get("/api/assess/points/999").status_code == 422
    assert client.get("/api/assess/chips/0/0/detail.png").headers["content-type"] == "image/png"
    assert client.get("/api/assess/chips/7/0/detail.png").status_code == 422
    assert client.get("/api/assess/chips/0/0/..%2Fdetail.png").status_code in {404, 422}
    assert "default-src 'none'" in client.get("/api/assess/state").headers["content-security-policy"]


def test_sheet_is_served_to_this_machine_only(sheet):
    pytest.importorskip("fastapi", reason="needs the extra viewer")
    pytest.importorskip("rio_tiler", reason="needs the extra viewer")
    from ecumene.workflows.view import ViewOptions

    with pytest.raises(ConfigurationError, match="this machine only"):
        serve_sheet(sheet, ViewOptions(host="0.0.0.0", browser=False))
