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
        """Make a legend from class names: codes 1..n, colour-blind-safe colours where none are given."""
        colours = colours or {}
        classes = []
        for position, class_name in enumerate(names):
            if position < len(_OKABE_ITO):
                default = _OKABE_ITO[position]
            else:
                rgb = colorsys.hls_to_rgb((position * 0.618034) % 1.0, 0.35 + 0.3 * (position % 2), 0.6)
                default = "#" + "".join(f"{round(255 * part):02x}" for part in rgb)
            colour = colours.get(class_name, default).lower()
            classes.append(LegendClass(value=position + 1, name=class_name, colour=colour))
        return cls(name=name, classes=tuple(classes))
