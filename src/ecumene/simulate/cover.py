"""What the simulated ground is made of: the legend of land cover, and the materials below it.

A class is what a map is asked for (a residential quarter holds roofs, gardens and lanes); a material is
what a photon meets.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from ecumene.legends import Legend, LegendClass


class Cover(IntEnum):
    """Land-cover classes; the value is the code in rasters."""

    WATER = 1
    FOREST = 2
    GRASS = 3
    CROPLAND = 4
    BARE = 5
    LOW_RISE = 6
    HIGH_RISE = 7
    INDUSTRIAL = 8
    ROAD = 9


class Material(IntEnum):
    """Surface materials on the 2.5 m grid."""

    WATER = 0
    BROADLEAF = 1
    CONIFER = 2
    GRASS = 3
    WINTER_CEREAL = 4
    MAIZE = 5
    RAPESEED = 6
    ROOT_CROP = 7
    SOIL = 8
    ASPHALT = 9
    CONCRETE = 10
    TILE = 11
    DARK_ROOF = 12
    METAL = 13
    GRAVEL = 14


VEGETATION = (
    Material.BROADLEAF,
    Material.CONIFER,
    Material.GRASS,
    Material.WINTER_CEREAL,
    Material.MAIZE,
    Material.RAPESEED,
    Material.ROOT_CROP,
)
CROPS = (Material.WINTER_CEREAL, Material.MAIZE, Material.RAPESEED, Material.ROOT_CROP)
BUILT_UP = (Cover.LOW_RISE, Cover.HIGH_RISE, Cover.INDUSTRIAL)

FRACTION_NAMES = ("building", "paved", "tree", "low_vegetation", "soil", "water")
"""Names of the fractional-cover layers, in their order."""

LEGEND = Legend(
    name="simulated-city",
    source="ecumene.simulate: simulated, no claim of real-world accuracy",
    classes=(
        LegendClass(value=1, name="water", colour="#2f6fb5", description="Rivers, lakes and ponds"),
        LegendClass(value=2, name="forest", colour="#1b6b34", description="Broadleaf and conifer stands, tree belts"),
        LegendClass(value=3, name="grass", colour="#9bcf62", description="Meadows, pastures, parks, verges"),
        LegendClass(value=4, name="cropland", colour="#f0d264", description="Fields, whatever grows on them today"),
        LegendClass(value=5, name="bare soil", colour="#b98f5a", description="Quarries, building sites, bare banks"),
        LegendClass(value=6, name="low-rise residential", colour="#e9967a", description="Houses with their gardens"),
        LegendClass(value=7, name="high-rise and commercial", colour="#b22222", description="Blocks and slabs"),
        LegendClass(value=8, name="industrial", colour="#8a5fa8", description="Large halls with their yards"),
        LegendClass(
            value=9, name="road", colour="#4d4d4d", description="Roads and squares about a pixel wide or wider"
        ),
    ),
)
"""The legend of every simulated city."""

GROUPS: Mapping[str, tuple[int, ...]] = {
    "built-up": tuple(int(cover) for cover in BUILT_UP),
    "green": (int(Cover.FOREST), int(Cover.GRASS)),
    "farmland": (int(Cover.CROPLAND),),
}
"""Codes of its classes that indicators take together, as published legends state them in their files."""
