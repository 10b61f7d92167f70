"""A collection as a static site: its products, and an index that a browser can read in parts."""

import json
import shutil

import pytest
from viewer_collections import make_collection

pytest.importorskip("duckdb", reason="needs the extra viewer")

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.mapping.product import open_product
from ecumene.viewer import assets, export_collection
from ecumene.viewer import export as site
from ecumene.viewer.server.collection import MOST_SOURCES
from ecumene.workflows.view_export import export_products


@pytest.fixture(autouse=True)
def page(tmp_path_factory, monkeypatch):
    """A page with stand-ins for the browser libraries, so that the tests do not need npm."""
    folder = tmp_path_factory.mktemp("web")
    real = assets.web_folder()
    shutil.copy(real / "index.html", folder)
    shutil.copytree(real / "js", folder / "js")
    (folder / "vendor").mkdir()
    for name in assets.LIBRARIES:
        (folder / name).write_text("library")
    monkeypatch.setattr(assets, "web_folder", lambda: folder)
    monkeypatch.setattr(site, "web_folder", lambda: folder)


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    return make_collection(tmp_path_factory.mktemp("collections") / "land", 5, 3, index=False)


def read(path):
    return json.loads(path.read_text())


def test_site_holds_every_product_and_an_index_of_bounded_parts(land, tmp_path, monkeypatch):
    monkeypatch.setattr(export_collection, "PART_UNITS", 4)
    out = export_products([land], tmp_path / "site")
    about = read(out / site.SITE_NAME)["products"][0]
    assert (about["kind"], about["tiles_number"], about["name"]) == ("collection", 15, "land")
    assert "api/" not in json.dumps(about)
    index = read(out / "data" / "land" / "index.json")
    assert (index["number"], index["most_sources"]) == (15, MOST_SOURCES)
    assert [part["number"] for part in index["parts"]] == [4, 4, 4, 3]
    names = []
    for part in index["parts"]:
        for unit in read(out / "data" / "land" / part["file"])["units"]:
            names.append(unit["name"])
            inside = [part["box"][k] <= unit["box"][k] for k in (0, 1)] + [
                part["box"][k] >= unit["box"][k] for k in (2, 3)
            ]
            assert all(inside)
            copy = open_product(out / "products" / "land" / unit["name"], verify=True)
            assert list(copy.geobox.shape) == unit["shape"]
            own = read(out / "data" / "land" / "units" / f"{unit['name']}.json")
            assert own["transform"] == unit["transform"] == [*copy.geobox.affine[:6]]
            assert {layer["file"] for layer in own["layers"]} == {layer.path.name for layer in copy.layers.values()}
    assert sorted(names) == sorted(path.name for path in (land / "tiles").iterdir())


def test_products_of_a_part_lie_close_together(land, tmp_path, monkeypatch):
    monkeypatch.setattr(export_collection, "PART_UNITS", 4)
    out = export_products([land], tmp_path / "site")
    whole = read(out / site.SITE_NAME)["products"][0]["bounds"]
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])  # noqa: E731
    parts = read(out / "data" / "land" / "index.json")["parts"]
    assert sum(area(part["box"]) for part in parts) < 2 * area(whole)


def test_the_site_of_a_collection_grows_by_its_products_alone(land, tmp_path):
    """What is loaded at the start does not know how many products there are."""
    small = make_collection(tmp_path / "small", 1, 1, index=False)
    sizes = [
        (export_products([folder], tmp_path / f"site-{folder.name}") / site.SITE_NAME).stat().st_size
        for folder in (small, land)
    ]
    assert abs(sizes[1] - sizes[0]) < 200


def test_days_are_entries_and_products_stay_products(tmp_path):
    folder = make_collection(tmp_path / "days", 2, 1, days=("2024-06-01", "2024-06-11"), index=False)
    single = folder / "tiles" / "x00y00_2024-06-01"
    out = export_products([folder, single], tmp_path / "site")
    entries = read(out / site.SITE_NAME)["products"]
    assert [entry["kind"] for entry in entries] == ["collection", "collection", "product"]
    assert [read(out / "data" / entry["id"] / "index.json")["number"] for entry in entries[:2]] == [2, 2]


def test_products_that_lack_a_layer_are_counted(land, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(land, mixed)
    for unit in ("x01y01", "x02y01"):
        item = mixed / "tiles" / unit / "item.json"
        body = read(item)
        del body["assets"]["valid"]
        item.write_text(json.dumps(body))
    said = []
    out = export_products([mixed], tmp_path / "site", warn=said.append)
    assert [text for text in said if "2 of 15 products of Map of a land lack a layer" in text]
    about = read(out / site.SITE_NAME)["products"][0]
    assert about["tiles_number"] == 13
    assert set(said) == set(about["warnings"])
    said.clear()
    export_products([land], tmp_path / "whole", warn=said.append)
    assert not [text for text in said if "lack a layer" in text]


def test_same_collection_gives_the_same_bytes(land, tmp_path):
    files = []
    for name in ("a", "b"):
        out = export_products([land], tmp_path / name)
        files.append({str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()})
    assert files[0] == files[1]


def test_parts_across_the_antimeridian_hold_all_longitudes():
    around = export_collection._around([[179.0, 10.0, -179.0, 11.0], [178.0, 9.0, 179.0, 10.0]])
    assert around == [-180.0, 9.0, 180.0, 11.0]


def test_bad_input_is_said_in_one_sentence(land, tmp_path):
    with pytest.raises(ConfigurationError, match="apart from"):
        export_products([land], land / "tiles" / "site")
    broken = tmp_path / "broken"
    shutil.copytree(land, broken)
    (broken / "tiles" / "x01y01" / "value.tif").unlink()
    with pytest.raises(ProductError, match=r"value\.tif"):
        export_products([broken], tmp_path / "site")
    assert not (tmp_path / "site").exists()
    assert not [path for path in tmp_path.iterdir() if path.name not in {"broken"}]
