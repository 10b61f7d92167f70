"""The page and its parts: files that were shipped with the package, and no others."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from ecumene.viewer.assets import shipped_files, web_folder

MEDIA = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
"""Media type by suffix; files with other suffixes are not served."""

_PRIVATE = frozenset({"node_modules", "test", "package.json", "package-lock.json"})


def shipped_file(folder: Path, name: str) -> Path | None:
    """Return a file of the page by its name below `folder`, or None where there is none that may be served.

    Links, hidden files, files of the build and everything outside of the folder are not served.
    """
    parts = PurePosixPath(name).parts
    if not parts or "\\" in name or "\0" in name or any(part.startswith(".") or part in _PRIVATE for part in parts):
        return None
    path = folder.joinpath(*parts)
    if PurePosixPath(name).is_absolute() or path.suffix not in MEDIA:
        return None
    try:
        real = path.resolve()
        return path if real == path.absolute() and real.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, ValueError):
        return None


def page_router() -> APIRouter:
    """Return the routes of the page and its parts."""
    root = web_folder().resolve()
    names = {path.as_posix() for path in shipped_files()}
    router = APIRouter(include_in_schema=False)

    def answer(name: str) -> Response:
        path = shipped_file(root, name) if name in names else None
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, media_type=MEDIA[path.suffix], headers={"cache-control": "no-cache"})

    @router.get("/")
    def page() -> Response:
        return answer("index.html")

    @router.get("/static/{name:path}")
    def part(name: str) -> Response:
        return answer(name)

    return router
