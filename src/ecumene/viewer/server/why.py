"""Why the model says what it says at a place, computed when the page asks: one place at a time, and it can be stopped.

It only reads, so it is asked by GET like everything else; but it costs much more than a tile. A request of another
origin is therefore refused even though its page could not read the answer, a second request is refused while one is
being computed, and what nobody waits for any more is stopped at the model's next step.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ecumene.core.errors import EcumeneError, ProductError
from ecumene.viewer.server.extension import Extension
from ecumene.viewer.server.routes import REFUSALS, Identifier, Problem
from ecumene.viewer.server.writing import require_same_origin

NAME = "why"
"""Key of the extension's description in the page's data."""

_ASKED_EVERY = 0.2  # seconds between two looks whether somebody still waits
_BUSY = "Another place is being explained; ask again when that is done."
_RESPONSES: dict[int | str, dict[str, Any]] = REFUSALS | {
    403: {"model": Problem, "description": "The request comes from another page."},
    429: {"model": Problem, "description": "Another place is being explained."},
}

Step = Callable[[], None]
"""To be called between two steps of a computation; raises `Stopped` when nobody waits for it any more."""

Explain = Callable[[float, float, Step], dict[str, Any]]
"""From longitude, latitude and a `Step` to `text` and `sections`, each with `title`, `description` and `bands`."""


class Stopped(EcumeneError):
    """Nobody waits for the explanation any more."""


@dataclass
class _Desk:
    """Computes one explanation at a time."""

    explain: Mapping[str, Explain]

    def __post_init__(self) -> None:
        self._free = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="why")

    async def answer(self, request: Request, product: str, lon: float, lat: float) -> dict[str, Any]:
        """Return the explanation of a place.

        Raises:
            starlette.exceptions.HTTPException: 429 while another one is computed.
            EcumeneError: If the place cannot be explained.
        """
        if product not in self.explain:
            raise ProductError(f"Places of {product[:80]!r} cannot be explained here; give its --model and --scenes.")
        if not self._free.acquire(blocking=False):
            raise HTTPException(429, _BUSY)
        gone = threading.Event()

        def step() -> None:
            if gone.is_set():
                raise Stopped("The explanation was stopped.")

        def compute() -> dict[str, Any]:
            try:
                return self.explain[product](lon, lat, step)
            finally:
                self._free.release()

        try:
            work = asyncio.get_running_loop().run_in_executor(self._thread, compute)
        except BaseException:
            self._free.release()
            raise
        try:
            while not (await asyncio.wait({work}, timeout=_ASKED_EVERY))[0]:
                if await request.is_disconnected():
                    gone.set()
            return work.result()
        finally:
            gone.set()  # also where the server itself is stopped


def why_extension(explain: Mapping[str, Explain]) -> Extension:
    """Return the part of the server that explains places.

    Args:
        explain: What explains a place, by the product's identifier.
    """
    desk = _Desk(explain)
    router = APIRouter(responses=_RESPONSES)

    @router.get("/api/products/{product}/why", response_class=JSONResponse)
    async def why(
        request: Request,
        product: Identifier,
        lon: Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False, description="Degrees.")],
        lat: Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False, description="Degrees.")],
    ) -> dict[str, Any]:
        """Say which inputs decided at a place; computed now, one place at a time."""
        require_same_origin(request)
        return await desk.answer(request, product, lon, lat)

    return Extension(NAME, router, {"products": sorted(explain)})
