"""Further parts of the web map: routes, what the page needs to know of them, which paths may be posted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import APIRouter


@dataclass(frozen=True)
class Extension:
    """A further part of the server.

    Attributes:
        name: Key of its description in the page's data.
        router: Its routes.
        description: What the page needs to know, JSON-able.
        writable: Paths that may be posted to; each must check requests by a `writing.WriteGuard`.
        start: Page to open first, relative to the server's address, or `""`.
    """

    name: str
    router: APIRouter
    description: Mapping[str, Any] = field(default_factory=dict)
    writable: frozenset[str] = frozenset()
    start: str = ""
