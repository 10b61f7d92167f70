"""The verb `view`: products in a browser, by a server on this machine or as a static site."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.optional import require

if TYPE_CHECKING:
    from ecumene.models.bundle import Model
    from ecumene.viewer.server.extension import Extension
    from ecumene.viewer.server.library import Library, ModelFigures

_MOST_JSON = 64 << 20


@dataclass(frozen=True)
class ViewOptions:
    """How products are shown.

    Attributes:
        host: Address to listen on.
        port: First port that is tried; the next free one is taken.
        browser: Open a browser.
        models: Bundles, loaded or as folders, whose figures feed the charts; each belongs to the products that it made.
        assessment: JSON of `assess`, of the only product.
        basemap: Address of map tiles that the browser fetches, with {z}, {x}, {y}; None: no base map.
        attribution: Who made the base map.
        scenes: What the one model's product was made of, so that the page can explain places.
        declaration: What the scenes' files do not say (`sensor`, `level`, ...).
    """

    host: str = "127.0.0.1"
    port: int = 8765
    browser: bool = True
    models: tuple[Path | Model, ...] = ()
    assessment: Path | None = None
    basemap: str | None = None
    attribution: str = ""
    scenes: tuple[str, ...] = ()
    declaration: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Announcement:
    """What the user is told when the server is up.

    Attributes:
        address: Where the page is.
        products: Names of what is shown.
        opened: Whether a browser was opened.
        warnings: One sentence each.
    """

    address: str
    products: tuple[str, ...]
    opened: bool
    warnings: tuple[str, ...] = field(default_factory=tuple)


def view_products(
    folders: Sequence[str | Path],
    options: ViewOptions | None = None,
    *,
    extensions: Sequence[Extension] = (),
    announce: Callable[[Announcement], None] = lambda _: None,
) -> None:
    """Serve products until interrupted.

    Args:
        folders: Products and collections.
        options: How they are shown.
        extensions: Further parts of the server.
        announce: Called once, when the page can be opened.

    Raises:
        ProductError: If a folder is no product, or one of a newer version.
        ConfigurationError: If an option is wrong, or no port is free.
        MissingDependencyError: If the libraries of the server are not installed, or those of the page not built.
    """
    how = options or ViewOptions()
    for library_needed in ("fastapi", "uvicorn", "rio_tiler"):
        require(library_needed)
    from ecumene.viewer.assets import require_assets
    from ecumene.viewer.server.app import create_app
    from ecumene.viewer.server.running import address_of, free_socket, is_local, open_browser, serve
    from ecumene.viewer.server.security import LOCAL_HOSTS, origin_of

    if how.basemap is not None:
        origin_of(how.basemap)  # says what is wrong with it
    require_assets()
    if how.scenes:  # what explains places is needed twice, and all of its weights are checked when it is loaded
        from ecumene.models.bundle import Model

        how = replace(how, models=tuple(map(Model.of, how.models)))
    library = make_library(folders, how)
    parts = [*extensions]
    if how.scenes:
        from ecumene.workflows.view_why import open_why

        parts.append(open_why(library, how.models, how.scenes, how.declaration))
    basemap = {"tiles": how.basemap, "attribution": how.attribution} if how.basemap else None
    local = is_local(how.host)
    hosts = {*LOCAL_HOSTS, how.host.lower()} if local else None
    listening = free_socket(how.host, how.port)
    app = create_app(library, extensions=parts, basemap=basemap, hosts=hosts)
    address = address_of(listening, how.host)
    start = address + next((extension.start for extension in parts if extension.start), "")
    warnings = [text for about in library.descriptions() for text in about["warnings"]]
    if not local:
        warnings.append(f"Everybody who reaches {how.host} on the network can see these products.")

    def started() -> None:
        opened = how.browser and open_browser(start)
        names = tuple(str(about["title"]) for about in library.descriptions())
        announce(Announcement(start, names, opened, tuple(dict.fromkeys(warnings))))

    serve(app, listening, started)


def make_library(folders: Sequence[str | Path], options: ViewOptions | None = None) -> Library:
    """Open products and collections with the figures that go with them.

    Args:
        folders: Products and collections.
        options: For models and assessment.

    Raises:
        ProductError: If a folder cannot be shown.
        ConfigurationError: If models or assessment do not fit the products.
    """
    from ecumene.viewer.server.library import ProductEntry, open_library

    how = options or ViewOptions()
    figures = model_figures(how.models)
    assessment = None if how.assessment is None else read_assessment(how.assessment)
    library = open_library(folders, figures=figures, assessment=assessment)
    products = [entry for entry in library.entries.values() if isinstance(entry, ProductEntry)]
    if assessment is not None and len(library.entries) != 1:
        raise ConfigurationError("--assessment belongs to one product; give that product alone.")
    used = {entry.product.model_checksum for entry in products}
    if figures and not used & set(figures):
        raise ConfigurationError("--model is not the model that made any of these products; give that one.")
    return library


def model_figures(bundles: Sequence[Path | Model]) -> dict[str, ModelFigures]:
    """Return what model bundles, loaded or as folders, state about themselves, by the checksum that products name.

    Raises:
        ModelError: If a folder is no bundle.
    """
    from ecumene.models.bundle import Model
    from ecumene.viewer.server.library import ModelFigures

    models = [Model.of(bundle) for bundle in bundles]
    return {
        model.checksum: ModelFigures(
            model.spec.training.get("accuracy") or {},
            None if model.calibration is None else model.calibration.residuals,
        )
        for model in models
    }


def read_assessment(path: str | Path) -> dict[str, Any]:
    """Read what `assess --out` wrote.

    Raises:
        ProductError: If it is none.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MOST_JSON:
            raise ValueError("it is too large")
        figures = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(figures, dict) or not ("area_adjusted" in figures or "errors" in figures):
            raise ValueError("it has no figures of accuracy")
    except (OSError, ValueError) as error:
        raise ProductError(f"{path} is not an assessment; write one with: ecumene assess --out.") from error
    return figures
