"""The addresses of the web map's data; all of them GET, none takes a path or an address."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from ecumene import __version__
from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.viewer.colours import COLORMAPS
from ecumene.viewer.layers import describe_site
from ecumene.viewer.places import MERCATOR_LATITUDE, mercator_to_lonlat, tile_bounds
from ecumene.viewer.server.library import Entry, Library
from ecumene.viewer.server.memory import ANSWERING_THREADS
from ecumene.viewer.server.tiles import TileLook, TileMaker
from ecumene.viewer.vectors import MOST_FEATURES, Box


class Problem(BaseModel):
    """What every refused request answers."""

    error: str


class Health(BaseModel):
    """That the server is there."""

    status: str
    version: str


REFUSALS: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "There is no such product, layer or band, or its file cannot be read."},
    422: {"model": Problem, "description": "A parameter is wrong."},
}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
    304: {"description": "The picture has not changed."},
}
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}

Identifier = Annotated[str, Path(pattern=r"^[0-9A-Za-z_-]{1,80}$", description="Identifier of a product.")]
LayerName = Annotated[str, Path(min_length=1, max_length=80, description="Name of a layer.")]
Zoom = Annotated[int, Path(ge=0, le=24, description="Zoom level.")]
TileNumber = Annotated[int, Path(ge=0, lt=2**24, description="Column or row of a tile.")]
Codes = Annotated[str, Query(pattern=r"^(\d{1,3}(,\d{1,3}){0,255})?$", description="Codes of classes, by commas.")]
Ramp = Annotated[str | None, Query(pattern=f"^({'|'.join(COLORMAPS)})$", description="Another colour ramp.")]
Finite = Annotated[float | None, Query(allow_inf_nan=False, ge=-1e30, le=1e30)]
Longitude = Annotated[float | None, Query(ge=-180, le=180, allow_inf_nan=False, description="Degrees.")]
Latitude = Annotated[float | None, Query(ge=-90, le=90, allow_inf_nan=False, description="Degrees.")]
PixelNumber = Annotated[int | None, Query(ge=0, lt=2**31)]
BoxText = Annotated[str | None, Query(max_length=200, description="west,south,east,north in degrees.")]


def api_router(
    library: Library,
    maker: TileMaker,
    *,
    basemap: Mapping[str, str] | None = None,
    extensions: Mapping[str, Any] | None = None,
) -> APIRouter:
    """Return the routes of the data.

    Args:
        library: What is shown.
        maker: Makes tiles.
        basemap: For the page.
        extensions: For the page.
    """
    router = APIRouter(responses=REFUSALS)
    _add_site(router, library, basemap, extensions)
    _add_tiles(router, library, maker)
    _add_relief(router, library, maker)
    _add_answers(router, library, ThreadPoolExecutor(ANSWERING_THREADS, thread_name_prefix="answers"))
    _add_files(router, library)
    return router


def _add_site(
    router: APIRouter, library: Library, basemap: Mapping[str, str] | None, extensions: Mapping[str, Any] | None
) -> None:
    @router.get("/health")
    def health() -> Health:
        """Say that the server is there."""
        return Health(status="ok", version=__version__)

    @router.get("/api/products")
    def products() -> dict[str, Any]:
        """Describe everything that can be shown."""
        total = len(library.entries)
        return describe_site(library.descriptions(), total=total, basemap=basemap, extensions=extensions)


def _add_tiles(router: APIRouter, library: Library, maker: TileMaker) -> None:
    @router.get("/api/products/{product}/tiles/{layer}/{z}/{x}/{y}.png", responses=_PICTURE, response_class=Response)
    async def tile(
        request: Request,
        product: Identifier,
        layer: LayerName,
        z: Zoom,
        x: TileNumber,
        y: TileNumber,
        band: Annotated[int, Query(ge=1, le=65535)] = 1,
        colormap: Ramp = None,
        low: Finite = None,
        high: Finite = None,
        hide: Codes = "",
        fade: Annotated[float, Query(ge=0, le=1, allow_inf_nan=False)] = 0.0,
        size: Annotated[int, Query(ge=64, le=512)] = 256,
    ) -> Response:
        """Draw a tile of a layer in Web Mercator; transparent where there is nothing."""
        if max(x, y) >= 2**z:
            raise ConfigurationError(f"At zoom {z}, columns and rows of tiles are below {2**z}.")
        if (low is None) != (high is None):
            raise ConfigurationError("Give both low and high, or neither.")
        limits = None if low is None or high is None else (low, high)
        hidden = frozenset(int(code) for code in hide.split(",") if code)
        look = TileLook(band, colormap, limits, hidden, round(fade, 3), size)
        entry = library.entry(product)

        def make() -> bytes:
            sources = entry.sources(layer, _degrees(z, x, y))
            return maker.tile(sources, layer, z, x, y, look)

        picture = await asyncio.get_running_loop().run_in_executor(maker.threads, make)
        return _cached(request, picture, "image/png")


def _add_relief(router: APIRouter, library: Library, maker: TileMaker) -> None:
    @router.get("/api/products/{product}/relief/{z}/{x}/{y}.png", responses=_PICTURE, response_class=Response)
    async def relief(request: Request, product: Identifier, z: Zoom, x: TileNumber, y: TileNumber) -> Response:
        """Return a tile of a product's heights in Web Mercator, packed as Terrarium; level 0 where there are none."""
        if max(x, y) >= 2**z:
            raise ConfigurationError(f"At zoom {z}, columns and rows of tiles are below {2**z}.")
        entry = library.entry(product)
        about = entry.description["relief"]
        if about is None:
            raise ProductError(f"The product {product} has no layer of heights.")

        def make() -> bytes:
            return maker.relief(entry.sources(about["layer"], _degrees(z, x, y)), about, z, x, y)

        packed = await asyncio.get_running_loop().run_in_executor(maker.threads, make)
        return _cached(request, packed, "image/png")


def _degrees(z: int, x: int, y: int) -> Box:
    left, bottom, right, top = tile_bounds(z, x, y)
    (west, south), (east, north) = mercator_to_lonlat(left, bottom), mercator_to_lonlat(right, top)
    if north > MERCATOR_LATITUDE - 1e-6:
        north = 90.0
    return west, south, east, north


def _cached(request: Request, body: bytes, media: str) -> Response:
    """Answer with a tag, so that browsers ask again but fetch only what has changed."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media, headers=headers)


async def _within(threads: Executor, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what `act` returns in one of a few threads, so that many requests at once do not need much memory."""
    return await asyncio.get_running_loop().run_in_executor(threads, act)


def _add_answers(router: APIRouter, library: Library, threads: Executor) -> None:
    @router.get("/api/products/{product}/pixel", response_class=JSONResponse)
    async def pixel(
        product: Identifier,
        lon: Longitude = None,
        lat: Latitude = None,
        col: PixelNumber = None,
        row: PixelNumber = None,
    ) -> dict[str, Any]:
        """Say what a product holds at a pixel, by lon and lat or by col and row."""
        if (lon is None or lat is None) and (col is None or row is None):
            raise ConfigurationError("Name a pixel by lon and lat, or by col and row.")
        by_place = lon is not None and lat is not None
        place = {"lon": lon, "lat": lat} if by_place else {"col": col, "row": row}
        return await _within(threads, lambda: library.entry(product).pixel(**place))

    @router.get("/api/products/{product}/charts", response_class=JSONResponse)
    async def charts(product: Identifier) -> dict[str, Any]:
        """Return the charts of a product as data."""
        return await _within(threads, lambda: {"charts": library.entry(product).charts()})

    @router.get("/api/products/{product}/vectors/{layer}", response_class=JSONResponse)
    async def vectors(
        product: Identifier,
        layer: LayerName,
        bbox: BoxText = None,
        limit: Annotated[int, Query(ge=1, le=MOST_FEATURES)] = 5000,
    ) -> dict[str, Any]:
        """Return features of a vector layer as GeoJSON."""
        box = _box(bbox)
        return await _within(threads, lambda: library.entry(product).features(layer, box, limit))


def _box(text: str | None) -> Box | None:
    if text is None:
        return None
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError("bbox must be west,south,east,north in degrees.") from error
    ordered = -180 <= west <= east <= 180 and -90 <= south <= north <= 90
    if not ordered or not all(map(math.isfinite, (west, south, east, north))):
        raise ConfigurationError("bbox must be west,south,east,north in degrees, west before east, south before north.")
    return west, south, east, north


def _add_files(router: APIRouter, library: Library) -> None:
    @router.get("/api/products/{product}/card", responses=_TEXT, response_class=Response)
    def card(product: Identifier) -> Response:
        """Return the model card."""
        return _file(library.entry(product), "card", "text/plain; charset=utf-8")

    @router.get("/api/products/{product}/quicklook.png", responses=_PICTURE, response_class=Response)
    def quicklook(product: Identifier) -> Response:
        """Return the quick-look."""
        return _file(library.entry(product), "quicklook", "image/png")


def _file(entry: Entry, what: str, media: str) -> Response:
    path = entry.file(what)
    if path is None:
        raise HTTPException(404)
    return FileResponse(path, media_type=media, headers={"cache-control": "private, no-cache"})
