"""The section of the page of results on the web map: every figure comes from the file."""

import json

import pytest
from support import RESULTS, ROOT, load_script

TIMES = {"median_ms": 12.34, "p90_ms": 20.0, "p99_ms": 56.78, "mean_ms": 15.0, "tiles": 9}
MADE_UP = {
    "run": "2026-01-02T03:04:05+00:00",
    "machine": {"processor": "some", "cores": 2, "system": "Linux", "python": "3.11", "versions": {"torch": "2.0"}},
    "size": 4321,
    "many_clients": TIMES | {"clients": 37, "tiles_per_second": 12.5},
    "ratio_to_bare_read": 1.234,
    "ratio_to_rio_tiler_picture": 0.876,
    "rss_mib_at_rest": 245.0,
    "under_load": {
        "minutes": 10.0, "clients": 37, "tiles": 98765, "failed": [], "rss_mib_largest": 311.0,
        "rss_mib_median_of_second_third": 301.0, "rss_mib_median_of_last_third": 302.0,
    },
}  # fmt: skip
MADE_UP |= dict.fromkeys(("bare_read", "rio_tiler_picture", "alone", "alone_asked_again", "alone_with_fade"), TIMES)


@pytest.fixture(scope="module")
def maker():
    return load_script(ROOT / "docs" / "viewer_results.py")


def test_figures_follow_the_file(maker):
    text = maker.viewer(MADE_UP)
    for expected in (
        "4321 x 4321",
        "| 12.3 | 56.8 |",
        "1.23 times",
        "0.88 times",
        "37 clients at once get 12.5",
        "98,765 tiles, 0 failed",
        "| median of the last third | 302 |",
        "SIMULATED",
    ):
        assert expected in text


def test_the_committed_file_makes_a_section(maker):
    path = RESULTS / "viewer.json"
    if not path.exists():
        pytest.skip("benchmarks/viewer.py has not been run")
    assert maker.viewer(json.loads(path.read_text(encoding="utf-8"))).startswith("## Web map")
