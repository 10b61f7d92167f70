"""What a request must be: of the page itself; to write also with a secret of this run, JSON, of bounded size."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from fastapi import Request

TOKEN_HEADER = "x-ecumene-token"  # noqa: S105  # the name of the header, no secret


def require_same_origin(request: Request) -> None:
    """Refuse what another page asks for.

    Browsers name the page that asks in `Sec-Fetch-Site`, and in `Origin` where it is another one or the request may
    write; older ones send the second alone, and what is no browser may send neither.

    Raises:
        fastapi.HTTPException: 403 with a sentence.
    """
    from fastapi import HTTPException

    origin = request.headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
    if foreign or request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise HTTPException(403, "Requests of other pages are refused.")


@dataclass(frozen=True)
class WriteGuard:
    """Reads the body of a request that may write, or refuses it.

    The token is made anew for every run. It is handed to the page in the fragment of its address, which browsers
    send to nobody, so that neither another page nor another user of the machine has it.

    Attributes:
        maximum_bytes: Largest body.
        token: Secret of this run.
    """

    maximum_bytes: int = 64 << 10
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    async def body(self, request: Request) -> bytes:
        """Return the body of an allowed request.

        Raises:
            fastapi.HTTPException: 403, 411, 413 or 415 with a sentence.
        """
        from fastapi import HTTPException

        given = request.headers.get(TOKEN_HEADER, "")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise HTTPException(403, "The page must be opened by the address that the command printed.")
        require_same_origin(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415, "The body must be JSON.")
        length = request.headers.get("content-length", "")
        if not length.isdigit():
            raise HTTPException(411, "The request must state its length.")
        if int(length) > self.maximum_bytes:
            raise HTTPException(413, "The body is too large.")
        parts, size = [], 0
        async for part in request.stream():
            size += len(part)
            if size > self.maximum_bytes:
                raise HTTPException(413, "The body is too large.")
            parts.append(part)
        return b"".join(parts)
