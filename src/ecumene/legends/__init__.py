"""Legends: what the codes of a categorical map mean. Data, validated; see `Legend`."""

from ecumene.legends.legend import Legend, LegendClass

__all__ = ["Legend", "LegendClass"]
