"""The verb `report`: a product as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecumene.core.errors import ConfigurationError, ModelError, ProductError
from ecumene.mapping.product import Product, open_product
from ecumene.models.bundle import Model
from ecumene.workflows.report import make_report
from ecumene.workflows.view import read_assessment


def report_product(
    product: str | Path | Product,
    out: str | Path = "report.html",
    *,
    model: str | Path | None = None,
    assessment: str | Path | None = None,
    scenes: Sequence[str] = (),
    title: str = "",
    overwrite: bool = False,
    declaration: Mapping[str, Any] | None = None,
) -> Path:
    """Write one self-contained HTML page about a product.

    Args:
        product: Folder of a product.
        out: The page; `.html`.
        model: Folder of the model that made it, for reliability and areas from probabilities.
        assessment: JSON file that `assess` wrote.
        scenes: Inputs to show beside the map.
        title: Heading; empty: the product's title.
        overwrite: Replace the page.
        declaration: What the scenes' files do not say (`sensor`, `bands`, ...).

    Returns:
        The page's path.

    Raises:
        ProductError: If the product or the assessment cannot be read, or the page cannot be written.
        ModelError: If the model is not the one that made the product.
        ConfigurationError: If `out` is no `.html` file.
    """
    path = Path(out)
    if path.suffix.lower() not in {".html", ".htm"}:
        raise ConfigurationError(f"The report is an HTML page; name it {path.stem or 'report'}.html.")
    if path.exists() and not overwrite:
        raise ProductError(f"{path} exists; use --overwrite to replace it, or another --out.")
    opened = product if isinstance(product, Product) else open_product(Path(product))
    loaded = matching_model(opened, model) if model is not None else None
    figures = read_assessment(Path(assessment)) if assessment is not None else None
    sources: Sequence[Any] = ()
    if scenes:
        from ecumene.workflows.stacks import open_sources

        sources = open_sources(list(scenes), **(declaration or {}))
    return make_report(opened, path, title=title, scenes=sources, model=loaded, assessment=figures)


def matching_model(product: Product, folder: str | Path) -> Model:
    """Load a model and make sure that it made the product.

    Raises:
        ModelError: If it cannot be loaded, or another one made the product.
    """
    model = Model.load(Path(folder))
    if product.model_checksum != model.checksum:
        maker = (product.properties.get("ecumene:model") or {}).get("name") or "no model"
        raise ModelError(
            f"The model {model.spec.name} did not make {product.folder.name}, which was made by {maker}; give the "
            "model that made it, or leave --model out."
        )
    return model
