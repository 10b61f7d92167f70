"""The web map's application: pages, descriptions, tiles, pixels, charts and vectors of the products it was given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ecumene import __version__
from ecumene.core.errors import EcumeneError, ProductError
from ecumene.core.optional import require
from ecumene.viewer.server.library import Library
from ecumene.viewer.server.memory import limit_block_cache
from ecumene.viewer.server.pages import page_router
from ecumene.viewer.server.routes import api_router
from ecumene.viewer.server.security import LOCAL_HOSTS, Guard, origin_of
from ecumene.viewer.server.tiles import TileMaker

if TYPE_CHECKING:
    from ecumene.viewer.server.extension import Extension


def create_app(
    library: Library,
    *,
    extensions: Sequence[Extension] = (),
    basemap: Mapping[str, str] | None = None,
    hosts: Collection[str] | None = LOCAL_HOSTS,
) -> Guard:
    """Return the web map as an ASGI application.

    Args:
        library: What it shows; no other file can be reached.
        extensions: Further parts.
        basemap: `tiles` and `attribution` of a base map that the browser fetches; the server never does.
        hosts: Names that requests may address the server by; None: any.

    Returns:
        The application with its guard; the FastAPI application is its attribute `application`.

    Raises:
        ConfigurationError: If the base map's address is none.
    """
    _load_libraries()
    limit_block_cache()
    app = FastAPI(
        title="ecumene",
        version=__version__,
        summary="Maps with their error bars, read from finished products.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    about = {extension.name: dict(extension.description) for extension in extensions}
    app.include_router(api_router(library, TileMaker(), basemap=basemap, extensions=about))
    for extension in extensions:
        app.include_router(extension.router)
    app.include_router(page_router())
    app.add_exception_handler(EcumeneError, _sentence)
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(HTTPException, _http_problem)
    writable = frozenset[str]().union(*(extension.writable for extension in extensions))
    origin = origin_of(basemap["tiles"]) if basemap else None
    return Guard(app, hosts=hosts, writable=writable, basemap_origin=origin)


def _load_libraries() -> None:
    """Import what requests need before there are threads: two first requests must not import the same things at once.

    Raises:
        MissingDependencyError: If a library of the server is not installed.
    """
    for name in ("rio_tiler.io", "rasterio.warp", "pyproj", "shapely", "pyarrow.parquet", "PIL.Image", "matplotlib"):
        require(name)


async def _sentence(_: Request, error: Exception) -> JSONResponse:
    """Answer what a product cannot give: 404 for what is not there or cannot be read, 422 for a wrong wish."""
    return JSONResponse({"error": str(error)}, 404 if isinstance(error, ProductError) else 422)


async def _wrong_parameter(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0])
    name = str(first["loc"][-1]) if first.get("loc") else "request"
    return JSONResponse({"error": f"{name}: {first['msg']}."}, 422)


async def _http_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    said = "There is nothing at this address." if error.status_code == 404 else str(error.detail)
    return JSONResponse({"error": said}, error.status_code, headers=error.headers)
