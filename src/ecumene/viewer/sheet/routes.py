"""The addresses of the assessor's sheet; two of them write, behind the guard of `server.writing`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException

from ecumene.viewer.server.extension import Extension
from ecumene.viewer.server.routes import REFUSALS
from ecumene.viewer.server.writing import WriteGuard
from ecumene.viewer.sheet.session import Session

BASE = "/api/assess"
WRITABLE = frozenset({f"{BASE}/labels", f"{BASE}/undo"})
_LARGEST_BODY = 4096

Number = Annotated[int, Path(ge=0, lt=2**31, description="Number of a point, from 0.")]


class Given(BaseModel):
    """An answer as the page sends it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    number: int = Field(ge=0, lt=2**31)
    class_name: str | None = Field(max_length=500)
    confidence: str = Field(max_length=20)
    reveal: bool = True


def sheet_extension(session: Session, guard: WriteGuard | None = None) -> Extension:
    """Return the sheet as a part of the web map's server.

    Args:
        session: The assessor's work.
        guard: Check of the requests that write; default: one with a fresh token.
    """
    check = guard or WriteGuard(maximum_bytes=_LARGEST_BODY)
    return Extension(
        name="assess",
        router=_router(session, check),
        writable=WRITABLE,
        start=f"static/assess.html#token={check.token}",
    )


def _router(session: Session, guard: WriteGuard) -> APIRouter:
    router = APIRouter(prefix=BASE, responses=REFUSALS)

    @router.get("/state")
    def state() -> dict[str, Any]:
        """Describe the sheet: classes, scenes, progress."""
        return session.state()

    @router.get("/points/{number}")
    def point(number: Number) -> dict[str, Any]:
        """Return a point; what the map says only where it has been shown."""
        return session.point(number)

    @router.get("/chips/{scene}/{number}/{view}.png", response_class=Response)
    def chip(scene: Number, number: Number, view: str) -> Response:
        """Return an image chip around a point."""
        picture = session.chips.chip(scene, session.point_at(number), view)
        return Response(picture, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    @router.post("/labels")
    async def label(request: Request) -> JSONResponse:
        """Record an answer."""
        given = _parsed(await guard.body(request))
        return await _saved(lambda: session.answer(given.number, given.class_name, given.confidence, given.reveal))

    @router.post("/undo")
    async def undo(request: Request) -> JSONResponse:
        """Take the last answer back."""
        await guard.body(request)
        return await _saved(session.undo)

    return router


def _parsed(body: bytes) -> Given:
    try:
        return Given.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise HTTPException(422, f"{where}: {first['msg']}.") from error


async def _saved(action: Any) -> JSONResponse:
    """Write in a thread, because a file is written whole and synchronised."""
    from fastapi.concurrency import run_in_threadpool

    from ecumene.core.errors import LabelError, ProductError

    try:
        return JSONResponse(await run_in_threadpool(action))
    except LabelError as error:
        raise HTTPException(422, str(error)) from error
    except ProductError as error:  # the file could not be written: the fault is not the request's
        raise HTTPException(507, str(error)) from error
