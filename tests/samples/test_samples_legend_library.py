import pytest

from ecumene.core.errors import ConfigurationError
from ecumene.legends.library import get_legend, list_legends

SIZES = {
    "corine_level1": 5, "corine_level2": 15, "corine_level3": 44, "dynamic_world": 9, "eurosat": 10, "igbp": 17,
    "igbp_simplified": 10, "lcz": 17, "urban_atlas": 27, "worldcover": 11,
    "pavia_university": 9, "indian_pines": 16, "salinas": 16, "houston_2013": 15, "ucm_multilabel": 17,
}  # fmt: skip


def test_all_legends_load_with_source():
    assert dict.fromkeys(list_legends()) == dict.fromkeys(SIZES)
    for name, size in SIZES.items():
        legend = get_legend(name)
        assert (legend.name, len(legend)) == (name, size)
        assert len(legend.source) > 20


def test_known_entries():
    assert get_legend("lcz").classes[9].description == "LCZ 10"
    assert get_legend("lcz").classes[16].description == "LCZ G"
    assert get_legend("lcz").classes[5].colour == "#ff9955"
    assert get_legend("worldcover").values[-2:] == (95, 100)
    assert get_legend("eurosat").names == tuple(sorted(get_legend("eurosat").names))
    assert get_legend("corine_level3").classes[43].description == "CLC 523"
    assert get_legend("dynamic_world").names[6] == "Built"


def test_unknown_legend_lists_the_known():
    with pytest.raises(ConfigurationError, match="worldcover"):
        get_legend("nlcd")
