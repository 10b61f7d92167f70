"""The page's files: what is shipped, with which licences, and that nothing comes from elsewhere."""

import json
import re

import pytest

from ecumene.core.errors import MissingDependencyError
from ecumene.viewer.assets import LIBRARIES, require_assets, shipped_files, web_folder

OWN = [path for path in shipped_files() if path.parts[0] != "vendor"]


def built():
    try:
        return require_assets()
    except MissingDependencyError:
        return pytest.skip("needs the browser libraries (make install)")


def test_missing_libraries_are_named_in_one_sentence(tmp_path):
    (tmp_path / "vendor").mkdir()
    for name in LIBRARIES[1:]:
        (tmp_path / name).touch()
    with pytest.raises(MissingDependencyError, match=r"\(maplibre-gl\.mjs\); build them with `make install`") as caught:
        require_assets(tmp_path)
    assert str(caught.value).count(". ") == 0


def test_only_the_page_is_shipped():
    names = {path.as_posix() for path in shipped_files()}
    assert {"index.html", "style.css", "js/main.js"} <= names
    assert not {name for name in names if "node_modules" in name or "package" in name or name.endswith("vendor.mjs")}


@pytest.mark.parametrize("path", OWN, ids=str)
def test_nothing_is_fetched_from_elsewhere_or_runs_inline(path):
    text = (web_folder() / path).read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"}
    if path.suffix == ".html":
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    if path.suffix == ".js":
        assert not re.search(r"\beval\(|new Function|\.innerHTML|insertAdjacentHTML|document\.write", text)


def test_the_licence_of_every_shipped_package_is_there():
    licences = (built() / "vendor" / "LICENCES.txt").read_text(encoding="utf-8")
    lock = json.loads((web_folder() / "package-lock.json").read_text(encoding="utf-8"))
    for path, entry in lock["packages"].items():
        if path and not entry.get("dev") and "/@types/" not in path:
            assert f"{path.removeprefix('node_modules/')} {entry['version']} (" in licences


def test_the_built_libraries_are_those_of_the_lock_file():
    versions = json.loads((built() / "vendor" / "versions.json").read_text(encoding="utf-8"))
    lock = json.loads((web_folder() / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((web_folder() / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert versions == wanted == {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted}


def test_no_library_asks_for_a_source_map():
    for path in (built() / "vendor").iterdir():
        assert "sourceMappingURL=" not in path.read_text(encoding="utf-8")
