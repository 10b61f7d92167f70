"""Types of growth and what growth took."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ecumene.core.errors import ConfigurationError
from ecumene.indicators.class_groups import class_codes
from ecumene.indicators.growth_losses import FromToAreas, RealShare, block_variance, sampled_transition
from ecumene.indicators.growth_types import GrowthTypes
from ecumene.indicators.olofsson import olofsson_report
from ecumene.legends import Legend
from ecumene.legends.library import get_legend


def growth(before, after, known=None, rows=None, pixel=(10.0, 10.0)):
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    known = np.ones(before.shape, bool) if known is None else known
    wide = [np.pad(a, 1) for a in (before, after, known)]
    collected = GrowthTypes(pixel)
    step = rows or len(before)
    for start in range(0, len(before), step):
        stop = min(start + step, len(before))
        parts = [a[start : stop + 2] for a in wide]
        collected.add(*parts, np.full((stop - start, 1), pixel[0] * pixel[1]))
    return collected.result()


def test_three_types_by_hand():
    before = np.zeros((9, 12), bool)
    before[1:6, 1:6] = True
    before[3, 3] = False  # a hole
    after = before.copy()
    after[3, 3] = True  # infill: all four sides are along built-up land
    after[1:3, 6:8] = True  # extension: 2 of 8 sides
    after[7, 10] = True  # leapfrog: no side
    found = growth(before, after)
    assert found.areas_m2 == {"infill": 100.0, "extension": 400.0, "leapfrog": 100.0}
    assert found.patches == {"infill": 1, "extension": 1, "leapfrog": 1}
    assert found.lost_m2 == 0
    assert found.total_m2 == 600


def test_exactly_half_is_infill_and_less_is_not():
    before = np.zeros((5, 5), bool)
    before[0:2, :] = True
    notch = before.copy()
    notch[1, 2] = False  # three of four sides
    assert growth(notch, before).patches["infill"] == 1
    corner = before.copy()
    corner[2, 0:2] = True
    corner_after = corner.copy()
    corner_after[2, 2] = True  # above and left: two of four sides
    assert growth(corner, corner_after).patches["infill"] == 1
    line = before.copy()
    line[2, 2] = True  # one of four sides
    assert growth(before, line).patches["extension"] == 1


def test_losses_are_reported_and_unknown_land_is_no_perimeter():
    before = np.array([[1, 1, 0, 0]], bool)
    after = np.array([[0, 1, 1, 0]], bool)
    found = growth(before, after)
    assert found.lost_m2 == 100
    assert found.patches == {"infill": 1, "extension": 0, "leapfrog": 0}  # one of two known sides
    whole = growth(np.zeros((2, 2), bool), np.ones((2, 2), bool))
    assert whole.patches["leapfrog"] == 1


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.bool_, (8, 7)), hnp.arrays(np.bool_, (8, 7)), hnp.arrays(np.bool_, (8, 7)), st.integers(1, 4))
def test_strips_do_not_matter_and_nothing_is_lost(before, after, known, rows):
    one, two = growth(before, after, known), growth(before, after, known, rows)
    assert two == one
    assert one.total_m2 == pytest.approx(100 * (after & ~before & known).sum())
    assert one.lost_m2 == pytest.approx(100 * (before & ~after & known).sum())


def test_from_to_table():
    legend = Legend.from_names(["built-up", "grass", "field"])
    collected = FromToAreas(legend)
    before, after = np.array([[2, 3, 3, 1]]), np.array([[1, 1, 3, 1]])
    known = np.array([[True, True, True, True]])
    areas = np.array([[10.0, 20.0, 30.0, 40.0]])
    collected.add(before, after, known, areas)
    collected.add(before, after, np.zeros((1, 4), bool), areas)
    found = collected.result()
    assert found.between([2], [1]) == 10
    assert found.between([3], [1]) == 20
    assert found.between([2, 3], [1]) == 30
    assert found.areas_m2.sum() == 100
    assert found.to_dict()["areas_m2"][2] == [20.0, 0.0, 30.0]
    with pytest.raises(ConfigurationError, match="not in its legend"):
        collected.add(np.array([[77]]), np.array([[1]]), np.array([[True]]), np.array([[1.0]]))


def test_sampled_transition_is_the_area_adjusted_estimate():
    counts = [[40, 10], [5, 95]]
    found = sampled_transition([100.0, 900.0], counts, 0)
    assert found.value == pytest.approx(100 * 0.8 + 900 * 0.05)
    assert found == olofsson_report(counts, [100.0, 900.0]).areas[0]


def test_block_variance_lies_between_its_extremes():
    deviations = np.full((4, 6), 2.0)
    assert block_variance(deviations, 1) == pytest.approx(24 * 4)  # independent pixels
    assert block_variance(deviations, 100) == pytest.approx((24 * 2) ** 2)  # one block
    assert block_variance(deviations, 2) == pytest.approx(6 * 8.0**2)


def test_real_share_covers_when_errors_are_shared_by_blocks():
    """Truth drawn with one number a block: intervals of 90 % hold the real area in about 90 % of the maps."""
    generator = np.random.default_rng(4)
    side, block, maps, held = 60, 6, 400, 0
    for _ in range(maps):
        q = np.repeat(np.repeat(generator.uniform(0.2, 0.95, (10, 10)), block, 0), block, 1)
        lucky = np.repeat(np.repeat(generator.uniform(size=(10, 10)), block, 0), block, 1)
        collected = RealShare()
        collected.add(q, np.ones((side, side), bool), np.full((side, 1), 100.0), block)
        interval = collected.result(0.9)
        held += interval.low <= 100.0 * (lucky < q).sum() <= interval.high
    assert held / maps == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / maps))


def test_classes_of_published_legends():
    cover = get_legend("worldcover")
    assert class_codes(cover, "built-up") == (50,)
    assert 40 in class_codes(cover, "farmland")
    assert class_codes(cover, "built-up", ["Cropland"]) == (40,)
    own = Legend.from_names(["Built up", "other"])
    assert class_codes(own, "built-up") == (1,)
    assert class_codes(Legend.from_names(["a", "b"]), "built-up") == ()
    with pytest.raises(ConfigurationError, match="no class 'towns'"):
        class_codes(cover, "built-up", ["towns"])


@pytest.mark.parametrize(
    "name",
    ["worldcover", "dynamic_world", "igbp", "igbp_simplified", "corine_level1", "corine_level2", "corine_level3",
     "urban_atlas", "lcz"],
)  # fmt: skip
def test_groups_do_not_overlap(name):
    legend = get_legend(name)
    groups = [set(class_codes(legend, group)) for group in ("built-up", "green", "farmland")]
    assert groups[0]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
    assert not groups[1] & groups[2]
