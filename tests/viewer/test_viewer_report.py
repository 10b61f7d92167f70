"""The report of a product: one file that needs nothing else, and says what the product says."""

import base64
import hashlib
import itertools
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import viewer_products as made
from viewer_products import PIXELS, class_layers, write_product

from ecumene.core.errors import ConfigurationError, ModelError, ProductError
from ecumene.mapping.product import open_product
from ecumene.objectives.prediction import LayerSpec
from ecumene.viewer.chart_pictures import chart_diagram, chart_table
from ecumene.viewer.layer_pictures import product_pictures
from ecumene.viewer.layers import describe_product
from ecumene.viewer.report import Picture, Report, Table, write_report
from ecumene.workflows.view_report import report_product


class Page(HTMLParser):
    """Elements of a page, in their order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.words, self._open = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "rect", "link"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in set(self._open):
            self.words.setdefault(tag, []).append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    folder, _ = made.class_product(tmp_path_factory.mktemp("products") / "land", shape=(120, 90))
    return folder


@pytest.fixture(scope="module")
def assessment(land, tmp_path_factory):
    from ecumene.indicators.sampling_design import draw_design
    from ecumene.workflows.assess import assess_map

    folder = tmp_path_factory.mktemp("assessment")
    design = draw_design(land / "value.tif", made.LEGEND, total=60, minimum=20).points
    names = np.array(design["stratum_name"], dtype=object)
    names[::10] = "water"
    design.assign(**{"class": names}).to_file(folder / "labels.gpkg")
    assess_map(land, folder / "labels.gpkg", out=folder / "assessment.json")
    return folder / "assessment.json"


def test_page_needs_no_other_file_and_runs_nothing(land, assessment, tmp_path):
    text = report_product(land, tmp_path / "report.html", assessment=assessment).read_text()
    page = Page(text)
    assert text.startswith("<!doctype html>")
    assert {name for name, _ in page.found} & {"script", "iframe", "object", "link", "form", "base"} == set()
    addresses = [value for _, found in page.found for key, value in found.items() if key in {"src", "href", "action"}]
    assert all(value.startswith(("data:image/", "#")) for value in addresses)
    assert not [key for _, found in page.found for key in found if key.startswith("on") or key == "style"]
    targets = {found["id"] for _, found in page.found if "id" in found}
    assert {value[1:] for value in addresses if value.startswith("#")} <= targets
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = next(found["content"] for found in page.all("meta") if "http-equiv" in found)
    assert policy.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_page_can_be_read_without_seeing_it(land, assessment, tmp_path):
    page = Page(report_product(land, tmp_path / "report.html", assessment=assessment).read_text())
    assert all(len(image["alt"]) > 1 for image in page.all("img"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert page.all("html") == [{"lang": "en"}]
    levels = [int(name[1]) for name, _ in page.found if re.fullmatch(r"h[1-6]", name)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    pictures = [image["alt"] for image in page.all("img") if image.get("class") == "map"]
    assert [alt.partition(".")[0].partition(",")[0] for alt in pictures] == [
        "Class", "Uncertainty", "Outlier flag", "Class set", "Mapped or not",
    ]  # fmt: skip


def test_figures_are_those_of_the_assessment_in_the_order_of_the_legend(land, assessment, tmp_path):
    figures = json.loads(assessment.read_text())
    text = report_product(land, tmp_path / "report.html", assessment=assessment).read_text()
    overall = figures["area_adjusted"]["overall_accuracy"]
    assert f"{overall['value']:.1%} ± {overall['margin']:.1%}" in text
    table = text[text.index("<h3>Confusion matrix") :]
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', table)[:3]
    assert [name for name, _ in rows] == list(made.LEGEND.names)
    counts = [[int(cell) for cell in re.findall(r"<td>(\d+)</td>", cells)] for _, cells in rows]
    assert counts == figures["accuracy"]["confusion_matrix"]
    assert "Area by class" in text
    assert "Accuracy by class" in text
    assert "# model" in text  # the model card
    assert "0" * 64 in text  # the input's checksum


def test_same_product_gives_the_same_bytes(land, tmp_path):
    pages = [report_product(land, tmp_path / name).read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_numbers_intervals_and_products_without_a_place(tmp_path):
    folder = made.number_product(tmp_path / "heights", shape=(50, 60))
    text = report_product(folder, tmp_path / "heights.html").read_text()
    assert "Mean 25 m." in text
    assert '<th scope="row">upper</th>' in text
    radar, _ = made.class_product(tmp_path / "radar", crs=PIXELS, shape=(40, 50))
    text = report_product(radar, tmp_path / "radar.html").read_text()
    assert "no place on the Earth" in text
    assert "Pixels by class" in text
    assert "longitude" not in text


def test_product_with_a_value_only_and_hostile_names(tmp_path):
    layers, _ = class_layers((40, 30))
    kept = [layers[0], layers[3]]
    evil = '<script>alert("x")</script>'
    write_product(
        tmp_path / "land", kept, legend=made.LEGEND, properties={"title": evil, "processing:lineage": '"><img src=x>'}
    )
    text = report_product(tmp_path / "land", tmp_path / "r.html").read_text()
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;" in text


def test_many_bands_and_dates_are_shown(tmp_path):
    days = np.broadcast_to(np.linspace(0, 365, 30), (20, 30))[None]
    date = LayerSpec("value", "float32", float("nan"), unit="days since 2020-01-01", role="value", band_names=("day",))
    shares = LayerSpec(
        "fraction", "float32", float("nan"), role="value", band_names=tuple(f"material {k}" for k in range(9))
    )
    valid = made.number_layers((20, 30))[-1]
    write_product(tmp_path / "p", [(date, days), (shares, np.zeros((9, 20, 30))), valid])
    description = describe_product(open_product(tmp_path / "p"))
    pictures = product_pictures(tmp_path / "p", description)
    assert len([picture for picture in pictures if "material" in picture.title]) == 6
    ramp = pictures[0].ramp
    assert re.fullmatch(r"2020-\d\d-\d\d", ramp.low)
    assert ramp.low < ramp.high


def test_charts_become_svg_that_follows_the_scheme_and_names_no_address():
    series = {
        "name": "a",
        "x": [0.0, 1.0, 2.0],
        "y": [1.0, None, 2.0],
        "low": [0.5, None, 1.5],
        "high": [1.5, None, 2.5],
    }
    table = {"columns": ["x", "y"], "rows": [["0", "1.0"], ["1", "-"], ["2", "2.0"]]}
    chart = {"title": "T", "caption": "C.", "x": {"label": "x"}, "y": {"label": "y", "unit": "ha"}, "table": table}
    named = chart | {"x": {"label": "class", "categories": ["one", "two & <three>", "four"]}}
    colours = {"name": "b", "y": [3.0, 2.0, None], "colours": ["#0072b2", "#e69f00", "#009e73"]}
    kinds = [
        named
        | {"kind": "bars", "series": [colours, {"name": "a", **{key: series[key] for key in ("y", "low", "high")}}]},
        chart | {"kind": "lines", "series": [series, {"name": "d", "y": [0.0, 1.0, 2.0], "dashed": True}]},
        chart | {"kind": "points", "series": [series | {"weight": [0.1, 0.2, 0.7]}], "diagonal": True},
    ]
    for given in kinds:
        diagram = chart_diagram(given)
        svg = base64.b64decode(diagram.uri.partition(",")[2]).decode()
        assert svg.startswith("<svg")
        assert "prefers-color-scheme" in svg
        assert "currentColor" in svg
        assert re.findall(r"https?://(?!www\.w3\.org/)", svg) == []
        assert re.findall(r"<(script|image|foreignObject)", svg) == []
        assert chart_diagram(given) == diagram
        assert [list(row) for row in diagram.numbers.rows] == table["rows"]
    assert "two &amp; &lt;three&gt;" in base64.b64decode(chart_diagram(kinds[0]).uri.partition(",")[2]).decode()
    only = chart | {"kind": "table", "series": []}
    assert chart_diagram(only) is None
    assert chart_table(only).caption == "C."


def test_bad_input_is_said_in_one_sentence(land, tmp_path):
    def refused(error, match, product=land, out="r.html", **options):
        with pytest.raises(error, match=match):
            report_product(product, tmp_path / out, **options)

    refused(ProductError, "no finished product", product=tmp_path)
    refused(ConfigurationError, r"name it r\.html", out="r.pdf")
    (tmp_path / "there.html").write_text("mine")
    refused(ProductError, "--overwrite", out="there.html")
    assert (tmp_path / "there.html").read_text() == "mine"
    report_product(land, tmp_path / "there.html", overwrite=True)
    (tmp_path / "a.json").write_text('{"a": 1}')
    refused(ProductError, "not an assessment", assessment=tmp_path / "a.json")
    refused(ProductError, "not an assessment", assessment=tmp_path / "none.json")
    (tmp_path / "b.json").write_text('{"sample_size": 3, "accuracy": {}, "area_adjusted": {}}')
    refused(ProductError, "lacks figures", assessment=tmp_path / "b.json")
    refused(ModelError, "model", model=tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(land, broken)
    (broken / "uncertainty.tif").write_bytes(b"II*\0" + bytes(40))
    refused(ProductError, "uncertainty", product=broken)
    assert not (tmp_path / "r.html").exists()


def test_command_report_writes_the_page(land, tmp_path):
    from typer.testing import CliRunner

    from ecumene.cli.main import app

    done = CliRunner().invoke(app, ["report", str(land), "--out", str(tmp_path / "r.html"), "--title", "My map"])
    assert done.exit_code == 0, done.output
    assert "<h1>My map</h1>" in (tmp_path / "r.html").read_text()


def test_pages_of_other_verbs_keep_their_legend_and_tables(tmp_path):
    picture = Picture("Map", "data:image/png;base64,AA==", "Seen.")
    report = Report("t", "s", [picture], [Table("Numbers", ("a", "b"), [["1", "2"]])], [("x", "y")], legend=made.LEGEND)
    page = Page(write_report(report, tmp_path / "r.html").read_text())
    assert [found["fill"] for found in page.all("rect")] == [entry.colour for entry in made.LEGEND.classes]
    assert page.all("img")[0]["alt"] == "Map. Seen."
