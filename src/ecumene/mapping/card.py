"""The model card that goes with a product, so that a map can be judged without its model at hand."""

from __future__ import annotations

from pathlib import Path

from ecumene.core.files import write_text
from ecumene.mapping.contract import MapModel

CARD_NAME = "model_card.md"


def write_card(out: Path, model: MapModel) -> Path:
    """Write the card beside the product's Item."""
    path = out / CARD_NAME
    write_text(path, model.card)
    return path
