"""A static site: what is in it, what it must not destroy, and that it is written whole or not at all."""

import json
import shutil

import pytest
import viewer_products as made
from viewer_products import PIXELS

from ecumene.core.errors import ConfigurationError, MissingDependencyError, ProductError
from ecumene.mapping.product import open_product
from ecumene.viewer import assets
from ecumene.viewer import export as site
from ecumene.viewer.server.library import open_library
from ecumene.workflows.view import ViewOptions
from ecumene.workflows.view_export import export_products

BASEMAP = "https://tiles.example.org/{z}/{x}/{y}.png"


@pytest.fixture(autouse=True)
def page(tmp_path_factory, monkeypatch):
    """A page with stand-ins for the browser libraries, so that the tests do not need npm."""
    folder = tmp_path_factory.mktemp("web")
    real = assets.web_folder()
    for name in ("index.html", "assess.html", "style.css", "icon.svg"):
        shutil.copy(real / name, folder)
    shutil.copytree(real / "js", folder / "js")
    (folder / "vendor").mkdir()
    for name in assets.LIBRARIES:
        (folder / name).write_text("library")
    monkeypatch.setattr(assets, "web_folder", lambda: folder)
    monkeypatch.setattr(site, "web_folder", lambda: folder)
    return folder


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    root = tmp_path_factory.mktemp("products")
    made.class_product(root / "land", shape=(80, 70))
    made.number_product(root / "heights", shape=(60, 50))
    return root


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_site_holds_the_page_its_data_and_whole_products(products, tmp_path):
    out = export_products([products / "land", products / "heights"], tmp_path / "site")
    about = json.loads((out / site.SITE_NAME).read_text())
    assert [entry["id"] for entry in about["products"]] == ["land", "heights"]
    for entry in about["products"]:
        copy = open_product(out / "products" / entry["id"], verify=True)
        assert {layer["file"] for layer in entry["layers"]} == {layer.path.name for layer in copy.layers.values()}
        charts = json.loads((out / "data" / entry["id"] / "charts.json").read_text())["charts"]
        assert all(chart["table"]["columns"] for chart in charts)
    land = about["products"][0]
    assert (out / land["card"]).read_text() == "# model\n"
    assert "api/" not in json.dumps(about)  # nothing is asked of a server
    page = (out / "index.html").read_text()
    assert '<meta name="ecumene-source" content="static">' in page
    assert 'name="ecumene-source" content="server"' not in page
    assert not list(out.rglob("assess*"))
    assert not any(".part-" in path.name for path in tmp_path.rglob("*"))


def test_page_may_run_only_its_own_scripts_and_ask_only_its_own_server(products, tmp_path):
    out = export_products([products / "land"], tmp_path / "site")
    page = (out / "index.html").read_text()
    policy = page.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in policy
    assert page.index("Content-Security-Policy") < page.index("<script")
    with_map = export_products([products / "land"], tmp_path / "other", ViewOptions(basemap=BASEMAP))
    assert "connect-src 'self' https://tiles.example.org;" in (with_map / "index.html").read_text()
    assert json.loads((with_map / site.SITE_NAME).read_text())["basemap"]["tiles"] == BASEMAP


def test_same_products_give_the_same_bytes(products, tmp_path):
    first = export_products([products / "land"], tmp_path / "a")
    second = export_products([products / "land"], tmp_path / "b")
    assert files_of(first) == files_of(second)


def test_other_files_are_never_replaced_and_an_earlier_site_only_when_asked(products, tmp_path):
    out = tmp_path / "site"
    out.mkdir()
    export_products([products / "land"], out)  # an empty folder is fine
    before = files_of(out)
    with pytest.raises(ConfigurationError, match="--overwrite"):
        export_products([products / "heights"], out)
    assert files_of(out) == before
    export_products([products / "heights"], out, overwrite=True)
    assert (out / "products" / "heights").is_dir()
    assert not (out / "products" / "land").exists()

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(ConfigurationError, match="other files"):
            export_products([products / "land"], mine, overwrite=overwrite)
    assert files_of(mine) == {"thesis.txt": b"years of work"}
    with pytest.raises(ConfigurationError, match="not a folder"):
        export_products([products / "land"], mine / "thesis.txt")
    link = tmp_path / "link"
    link.symlink_to(out)
    with pytest.raises(ConfigurationError, match="not a folder"):
        export_products([products / "land"], link, overwrite=True)


@pytest.mark.parametrize("where", ["land", "land/site", "."])
def test_site_is_not_written_into_or_around_its_product(products, where):
    before = files_of(products)
    with pytest.raises(ConfigurationError, match="apart from"):
        export_products([products / "land"], products / where, overwrite=True)
    assert files_of(products) == before


def test_full_disk_leaves_the_earlier_site(products, tmp_path, monkeypatch):
    out = export_products([products / "land"], tmp_path / "site")
    before, copy, count = files_of(out), shutil.copyfile, []

    def full(*places):
        count.append(places)
        if len(count) > 12:
            raise OSError(28, "No space left on device")
        return copy(*places)

    monkeypatch.setattr(site.shutil, "copyfile", full)
    with pytest.raises(ProductError, match="No space left"):
        export_products([products / "heights"], out, overwrite=True)
    assert files_of(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_bad_input_is_said_in_one_sentence(products, tmp_path, page):
    with pytest.raises(ProductError, match="no finished product"):
        export_products([tmp_path], tmp_path / "site")
    newer = tmp_path / "newer"
    shutil.copytree(products / "land", newer)
    item = json.loads((newer / "item.json").read_text())
    item["properties"]["ecumene:product_version"] = 99
    (newer / "item.json").write_text(json.dumps(item))
    with pytest.raises(ProductError, match="newer ecumene"):
        export_products([newer], tmp_path / "site")
    with pytest.raises(ConfigurationError, match="--basemap"):
        export_products([products / "land"], tmp_path / "site", ViewOptions(basemap="file:///etc/passwd"))
    (page / "vendor" / "geotiff.js").unlink()
    with pytest.raises(MissingDependencyError, match=r"geotiff\.js") as missing:
        site.require_assets(page)
    assert "make install" in str(missing.value)
    assert not (tmp_path / "site").exists()


def test_product_without_a_place_on_the_earth_keeps_its_pixels(tmp_path):
    made.class_product(tmp_path / "radar", crs=PIXELS, shape=(40, 30))
    out = export_products([tmp_path / "radar"], tmp_path / "site")
    about = json.loads((out / site.SITE_NAME).read_text())["products"][0]
    assert not about["georeferenced"]
    assert "no place on the Earth" in " ".join(about["warnings"])


def test_nothing_to_export_is_said(tmp_path):
    with pytest.raises(ConfigurationError, match="no product"):
        site.export_site(open_library([]), tmp_path / "site")
