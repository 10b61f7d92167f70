import re

import numpy as np

from ecumene.trust.measures import reliability_diagram
from ecumene.trust.regression_measures import pit_histogram, sparsification
from ecumene.trust.set_measures import set_report
from ecumene.viewer import diagrams
from ecumene.viewer.report import Report, write_report


def card(scaling="temperature"):
    generator = np.random.default_rng(0)
    p = generator.dirichlet(np.ones(3), 400)
    target = (p.cumsum(axis=1) > generator.random((400, 1))).argmax(axis=1)
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    return {
        "scaling": scaling,
        "expected_calibration_error": reliability_diagram(p, target).error,
        "expected_calibration_error_before": reliability_diagram(sharp, target).error,
        "reliability": reliability_diagram(p, target).to_dict(),
        "reliability_before": reliability_diagram(sharp, target).to_dict(),
    }


def test_reliability_shows_before_and_after_only_where_something_changed():
    changed, same = diagrams.reliability(card()), diagrams.reliability(card("identity"))
    assert {row[0] for row in changed.numbers.rows} == {"as the model is", "calibrated"}
    assert {row[0] for row in same.numbers.rows} == {"held-out blocks"}
    assert "before calibration" in changed.caption
    assert "before calibration" not in same.caption
    assert diagrams.reliability({}) is None


def test_numbers_are_on_the_page_beside_the_pictures(tmp_path):
    generator = np.random.default_rng(1)
    doubt = generator.uniform(size=300)
    wrong = (generator.random(300) < doubt).astype(float)
    curve = sparsification(wrong, doubt, points=21).to_dict()
    shown = [
        diagrams.reliability(card()),
        diagrams.sparsification(curve),
        diagrams.pit(pit_histogram(np.zeros(500), np.full(500, 0.4), generator.normal(size=500))),
    ]
    assert "too short" in shown[2].caption
    assert diagrams.sparsification(None) is None
    assert diagrams.pit(None) is None
    path = write_report(
        Report(title="t", subtitle="s", pictures=[], tables=[], provenance=[], diagrams=shown), tmp_path / "r.html"
    )
    page = path.read_text()
    assert len(re.findall(r'<img src="data:image/svg\+xml;base64,[^"]+" alt="[^"]+"', page)) == 3
    for diagram in shown:
        assert f'alt="{diagram.kind}"' in page
        assert diagram.caption.split(".")[0] in page
        assert diagram.numbers.title in page
        assert all(cell in page for row in diagram.numbers.rows for cell in row)
    assert "<script" not in page


def test_coverage_table_names_classes_and_what_shares_alone_would_give():
    sets = set_report(np.eye(3, dtype=bool)[[0, 1, 0]], np.array([0, 1, 1]), np.array([0, 0, 1])).to_dict()
    figures = {"wanted_coverage": 0.9, "promised_coverage": 0.6, **sets}
    table = diagrams.coverage_table(figures, ("forest", "water", "road"))
    assert ["worst block", "0.0%"] in [list(row) for row in table.rows]
    assert ["water", "50.0%"] in [list(row) for row in table.rows]
    assert ["road", "-"] in [list(row) for row in table.rows]
    assert "promised to a new block 60%" in table.caption
    assert diagrams.coverage_table(None, ()) is None
