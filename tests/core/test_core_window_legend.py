"""Windows and legends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ecumene.core.errors import LabelError
from ecumene.core.window import Window
from ecumene.legends import Legend, LegendClass

windows = st.builds(Window, st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 60), st.integers(1, 60))


@given(windows, windows)
def test_intersection_is_commutative_and_inside(a: Window, b: Window) -> None:
    common = a.intersect(b)
    assert common == b.intersect(a)
    pixels = lambda w: {(r, c) for r in range(w.row, w.row_stop) for c in range(w.col, w.col_stop)}  # noqa: E731
    assert (pixels(common) if common else set()) == pixels(a) & pixels(b)


@given(windows, st.integers(0, 9))
def test_pad_and_shift(window: Window, margin: int) -> None:
    padded = window.pad(margin)
    assert padded.intersect(window) == window
    assert padded.shift(margin, margin).row == window.row


@given(st.lists(st.text(min_size=1), min_size=1, max_size=40, unique=True))
def test_legend_from_names_is_valid(names: list[str]) -> None:
    legend = Legend.from_names(names)
    assert legend.names == tuple(names)
    assert legend.values == tuple(range(1, len(names) + 1))
    assert [legend.index_of(name) for name in names] == list(range(len(names)))
    assert Legend.model_validate_json(legend.model_dump_json()) == legend


def test_legend_refuses_doubles_and_nodata_code() -> None:
    one = LegendClass(value=1, name="water", colour="#0000ff")
    with pytest.raises(ValidationError):
        Legend(classes=(one, one))
    with pytest.raises(ValidationError):
        LegendClass(value=255, name="nodata", colour="#000000")
    with pytest.raises(LabelError, match="it has: water"):
        Legend(classes=(one,)).index_of("forest")
