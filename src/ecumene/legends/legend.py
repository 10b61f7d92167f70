"""Classes with code, name, colour and description."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ecumene.core.errors import LabelError

HexColour = Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]

# Okabe and Ito (2008), "Color Universal Design": distinguishable with colour-vision deficiency.
_OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "#5b5b5b")

# Colours that map readers expect, by words in a class name: the palette of ESA WorldCover (product user manual v2.0),
# with the further classes in colours that keep their distance from it.
_CONVENTIONAL: tuple[tuple[tuple[str, ...], str], ...] = (
    (("water", "river", "lake", "sea"), "#0064c8"),
    (("forest", "tree", "trees", "woods"), "#006400"),
    (("shrub", "shrubland", "schrubland", "scrub", "bush"), "#ffbb22"),
    (("grass", "grassland", "meadow", "pasture"), "#bfd64c"),
    (("crop", "cropland", "cultivated", "arable", "field"), "#f096ff"),
    (("residential", "village", "settlement"), "#fa6e6e"),
    (("built", "built-up", "building", "buildings", "urban", "artificial", "high-rise", "city"), "#c80000"),
    (("industrial", "industry"), "#a05ac8"),
    (("road", "roads", "street", "paved"), "#505050"),
    (("bare", "soil", "sand", "rock", "cleared"), "#b4a078"),
    (("snow", "ice"), "#dcebf5"),
    (("wetland", "marsh"), "#0096a0"),
    (("moss", "lichen"), "#fae6a0"),
)


def _conventional_colour(name: str) -> str | None:
    words = set(name.lower().replace("_", " ").replace(",", " ").split())
    return next((colour for keys, colour in _CONVENTIONAL if words & set(keys)), None)


class LegendClass(BaseModel):
    """One class of a categorical map."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: int = Field(ge=0, le=254, description="Code in the raster; 255 is reserved for nodata.")
    name: str = Field(min_length=1)
    colour: HexColour
    description: str = ""


class Legend(BaseModel):
    """An ordered set of classes; a network's output channel i is `classes[i]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "classes"
    classes: tuple[LegendClass, ...]
    source: str = ""

    @model_validator(mode="after")
    def _unique(self) -> Legend:
        values = [item.value for item in self.classes]
        names = [item.name for item in self.classes]
        if len(set(values)) != len(values) or len(set(names)) != len(names):
            raise ValueError("class values and class names must be unique")
        return self

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in channel order."""
        return tuple(item.name for item in self.classes)

    @property
    def values(self) -> tuple[int, ...]:
        """Raster codes in channel order."""
        return tuple(item.value for item in self.classes)

    def index_of(self, name: str) -> int:
        """Return the channel of a class name.

        Raises:
            LabelError: If the legend has no such class.
        """
        if name not in self.names:
            raise LabelError(f"The class {name!r} is not in the legend; it has: {', '.join(self.names)}.")
        return self.names.index(name)

    @classmethod
    def from_names(
        cls, names: Iterable[str], colours: Mapping[str, str] | None = None, name: str = "classes"
    ) -> Legend:
        """Make a legend from class names with the codes 1..n.

        Colours that are not given are the conventional ones of land cover where the name tells, once each, and
        colour-blind-safe ones otherwise.
        """
        given = {key: value.lower() for key, value in (colours or {}).items()}
        used = set(given.values())
        classes = []
        for position, class_name in enumerate(names):
            colour = given.get(class_name) or _conventional_colour(class_name)
            if class_name not in given and (colour is None or colour in used):
                free = (item for item in _OKABE_ITO if item not in used)
                rgb = colorsys.hls_to_rgb((position * 0.618034) % 1.0, 0.35 + 0.3 * (position % 2), 0.6)
                colour = next(free, "#" + "".join(f"{round(255 * part):02x}" for part in rgb))
            assert colour is not None  # one of the three sources gave it
            used.add(colour)
            classes.append(LegendClass(value=position + 1, name=class_name, colour=colour))
        return cls(name=name, classes=tuple(classes))
