"""The verb `view --assess`: sample points are judged from image chips, and saved as reference labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecumene.core.errors import ConfigurationError, ContractError
from ecumene.core.optional import require
from ecumene.mapping.product import Product, open_product

if TYPE_CHECKING:
    from ecumene.viewer.sheet.session import Session
    from ecumene.workflows.view import Announcement, ViewOptions


def open_sheet(
    product: str | Path | Product,
    points: str | Path,
    out: str | Path,
    scenes: Sequence[str],
    declaration: Mapping[str, Any] | None = None,
) -> Session:
    """Open an assessor's sheet, a new one or one that was begun.

    Args:
        product: A map of classes.
        points: Vector file with sample points, for example of `sampling_design`.
        out: GeoPackage of the reference labels; answers that it holds are gone on with.
        scenes: Scenes to judge from.
        declaration: What the scenes' files do not say (`sensor`, `level`, ...).

    Raises:
        ProductError: If the product cannot be read or is no map of classes.
        LabelError: If the points cannot be used, or `out` holds something else.
        ConfigurationError: If a file is named wrongly, or no scene is given.
        SceneError: If a scene cannot be opened.
    """
    from ecumene.viewer.layers import describe_product
    from ecumene.viewer.pixel import read_pixel
    from ecumene.viewer.sheet.chips import Chips
    from ecumene.viewer.sheet.labels import LabelFile
    from ecumene.viewer.sheet.points import SamplePoint, read_sample
    from ecumene.viewer.sheet.session import Session
    from ecumene.workflows.stacks import open_sources

    if not scenes:
        raise ConfigurationError("The assessor's sheet needs scenes to judge from; give them with --scenes.")
    if Path(points).resolve() == Path(out).resolve():
        raise ConfigurationError("The labels would replace the sample points; choose another file with --out.")
    opened = product if isinstance(product, Product) else open_product(Path(product))
    sample = read_sample(Path(points), opened)
    assert opened.legend is not None  # read_sample made sure
    labels = LabelFile(Path(out), sample, opened.legend.names)
    sources = open_sources(list(scenes), **(declaration or {}))
    bare = next((source.id for source in sources if not source.bands), None)
    if bare is not None:
        raise ContractError(f"The scene {bare} has no bands to show; give another with --scenes.")
    description = describe_product(opened)

    def ask_map(point: SamplePoint) -> dict[str, Any]:
        found = read_pixel(opened, description, col=point.col, row=point.line)
        value = found["value"] or {}
        return {"class": value.get("class"), "colour": value.get("colour"), "text": found["text"]}

    return Session(sample, labels, opened.legend, Chips(sources, opened.geobox), ask_map, str(description["title"]))


def serve_sheet(
    session: Session, options: ViewOptions | None = None, *, announce: Callable[[Announcement], None] = lambda _: None
) -> None:
    """Serve an assessor's sheet until interrupted; the map itself is not served.

    Args:
        session: By `open_sheet`.
        options: Address, port and browser.
        announce: Called once, when the page can be opened.

    Raises:
        ConfigurationError: If the address can be reached by others, or no port is free.
        MissingDependencyError: If the libraries of the server are not installed.
    """
    from ecumene.workflows.view import Announcement, ViewOptions

    how = options or ViewOptions()
    for library_needed in ("fastapi", "uvicorn", "rio_tiler"):
        require(library_needed)
    from ecumene.viewer.assets import web_folder
    from ecumene.viewer.server.app import create_app
    from ecumene.viewer.server.library import Library
    from ecumene.viewer.server.running import address_of, free_socket, is_local, open_browser, serve
    from ecumene.viewer.server.security import LOCAL_HOSTS
    from ecumene.viewer.sheet.routes import sheet_extension

    if not is_local(how.host):
        raise ConfigurationError(
            "The assessor's sheet writes a file, so it is served to this machine only; drop --host."
        )
    assert (web_folder() / "assess.html").is_file()  # shipped with the package
    extension = sheet_extension(session)
    listening = free_socket(how.host, how.port)
    app = create_app(Library(), extensions=[extension], hosts={*LOCAL_HOSTS, how.host.lower()})
    start = address_of(listening, how.host) + extension.start

    def started() -> None:
        state = session.state()
        said = f"{state['total']} sample points, {state['judged'] + state['unknown']} answered"
        notes = (f"{state['outside']} point(s) do not lie on the map and are left out.",) if state["outside"] else ()
        announce(Announcement(start, (said,), how.browser and open_browser(start), notes))

    serve(app, listening, started)
