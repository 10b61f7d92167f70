"""The demonstration, its report, and independence of the machine's time zone."""

from __future__ import annotations

import functools
import html.parser
import time

import pytest
from end_to_end import SHAPE, raster_bytes, weights_of

from ecumene import map_scenes, run_demo, train_model
from ecumene.mapping.product import open_product
from ecumene.models.bundle import Model
from ecumene.simulate import write_demo
from ecumene.workflows import demo as demo_verb


class Page(html.parser.HTMLParser):
    """Collects what a page loads and what its pictures are called."""

    def __init__(self):
        super().__init__()
        self.tags, self.loaded, self.names = [], [], []
        self.text = ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name in {"src", "href", "srcset", "action", "data", "poster"}:
                self.loaded.append(value)
            assert not name.startswith("on"), f"{tag} runs {value}"
        if tag == "img":
            self.names.append(dict(attributes).get("alt"))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    """The demonstration on a smaller city with one epoch."""
    folder = tmp_path_factory.mktemp("demo")
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        small = functools.partial(write_demo, shape=SHAPE, n_polygons_per_class=8, n_reference=150)
        patch.setattr(demo_verb, "write_demo", small)
        result = run_demo(folder / "demo", seed=1, epochs=1, progress=lambda *step: steps.append(step))
    return result, folder / "demo", steps


def test_the_demonstration_leaves_everything(demonstration):
    result, folder, steps = demonstration
    assert result.report == (folder / "report.html").resolve()
    assert result.assessment.sample_size > 100
    assert Model.load(folder / "model").spec.training["seed"] == 1
    open_product(folder / "product", verify=True)
    open_product(folder / "product-clouded", verify=True)
    assert (folder / "assessment.json").is_file()
    done = [step[0] for step in steps]
    assert done == sorted(done)
    assert steps[-1][0] == steps[-1][1]


def test_the_report_needs_nothing_else_and_runs_nothing(demonstration):
    result, _, _ = demonstration
    text = result.report.read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert "script" not in page.tags
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert page.loaded
    assert all(value.startswith(("data:image/", "#")) for value in page.loaded)
    assert "url(" not in text
    assert "@import" not in text
    assert str(result.report.parent) not in text  # where it was made is nobody's business


def test_the_report_names_its_figures_and_tables(demonstration):
    result, _, _ = demonstration
    page = Page()
    page.feed(result.report.read_text(encoding="utf-8"))
    wanted = ["Scene", "Class", "Uncertainty", "Outlier flag", "Another date, clouded", "Outliers on the clouded date"]
    wanted += ["Scatter chart: Is the confidence honest?", "Bar chart: Area by class"]
    for name in wanted:
        assert any(found.startswith(name) for found in page.names), name
    for title in ("Accuracy", "Areas", "Confusion matrix", "Where this comes from"):
        assert title in page.text
    assert "simulated" in page.text  # nobody may take these figures for a claim about real scenes
    assert "±" in page.text
    for name in result.product.legend.names:
        assert name in page.text
    assert "seed 1" in page.text


def test_the_machines_time_zone_changes_nothing(town, tmp_path, monkeypatch):
    """Times without zone are UTC: near midnight a local reading would move them to another day."""
    times = ["2023-04-22T23:30:00", "2023-07-06T00:30:00"]
    made = {}
    try:
        for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Honolulu"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            folder = tmp_path / zone.rpartition("/")[2]
            train_model(
                town.sentinel2, town.labels, folder / "model", system="ltae-series", epochs=1, split_by="feature",
                use_bands=["B04", "B08"], time=times,
            )  # fmt: skip
            product = map_scenes(folder / "model", town.sentinel2, folder / "product", time=times)
            properties = product.item["properties"]
            made[zone] = (
                weights_of(folder / "model"),
                raster_bytes(folder / "product"),
                properties["start_datetime"],
                properties["end_datetime"],
            )
    finally:
        monkeypatch.undo()
        time.tzset()
    reference = made.pop("UTC")
    assert reference[2:] == ("2023-04-22T23:30:00Z", "2023-07-06T00:30:00Z")
    for other in made.values():
        assert other == reference
