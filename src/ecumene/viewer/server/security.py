"""What every answer and every request of the web map must keep to.

Answers: a strict content-security policy, no sniffing of types, no referrer, no sharing with other origins. Requests:
GET only (extensions name the paths that may be posted to), and a Host header that names this machine, because a
stranger's page could otherwise read the maps through a name that resolves to 127.0.0.1 (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from ecumene.core.errors import ConfigurationError

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})

_LONGEST_TARGET = 4096  # bytes of path and query

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


def content_security_policy(basemap_origin: str | None = None) -> str:
    """Return the policy: nothing but this server, and the origin of a base map that the user named."""
    outside = f" {basemap_origin}" if basemap_origin else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src 'self' data: blob:{outside}",
            f"connect-src 'self'{outside}",
            "worker-src 'self'",
            "font-src 'self'",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def origin_of(address: str) -> str:
    """Return scheme and host of a base map's address.

    Raises:
        ConfigurationError: If it is no https or http address of tiles.
    """
    parts = urlsplit(address)
    plain = all(character.isalnum() or character in ".-:[]" for character in parts.netloc)
    if parts.scheme not in {"http", "https"} or not parts.netloc or not plain:
        raise ConfigurationError("--basemap must be an address like https://host/{z}/{x}/{y}.png.")
    if not all(part in address for part in ("{z}", "{x}", "{y}")):
        raise ConfigurationError("--basemap must hold {z}, {x} and {y}, like https://host/{z}/{x}/{y}.png.")
    return f"{parts.scheme}://{parts.netloc}"


class Guard:
    """ASGI middleware: refuses what must not come in, and puts the headers on everything that goes out.

    Attributes:
        application: What it guards.
    """

    def __init__(
        self,
        app: Any,
        *,
        hosts: Collection[str] | None = LOCAL_HOSTS,
        writable: Collection[str] = frozenset(),
        basemap_origin: str | None = None,
    ) -> None:
        """Wrap an application.

        Args:
            app: The application.
            hosts: Names that the Host header may have; None: any, for a server that was opened to a network.
            writable: Paths that may be posted to.
            basemap_origin: Origin of a base map.
        """
        self.application = app
        self._hosts = hosts
        self._writable = frozenset(writable)
        self._headers = [
            (b"content-security-policy", content_security_policy(basemap_origin).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"x-frame-options", b"DENY"),
            (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
        ]

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return

        headless = scope["method"] == "HEAD"

        async def secured(message: Message) -> None:
            if headless and message["type"] == "http.response.body":
                message["body"] = b""
            if message["type"] == "http.response.start":
                own = {name for name, _ in self._headers}
                kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in own]
                message["headers"] = [*kept, *self._headers]
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await _answer(secured, *refused)
            return
        await self.application({**scope, "method": "GET"} if headless else scope, receive, secured)

    def _refusal(self, scope: Message) -> tuple[int, str] | None:
        method, path = scope["method"], scope["path"]
        if method not in {"GET", "HEAD"} and not (method == "POST" and path in self._writable):
            return 405, "This server only answers GET requests."
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"") > _LONGEST_TARGET:
            return 414, "The address is too long."
        if self._hosts is not None:
            host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
            name = host if host.endswith("]") else host.rpartition(":")[0] or host
            if name.lower() not in self._hosts:
                return 421, "This server only answers to the name it was started with; see --host."
        return None


async def _answer(send: Send, status: int, sentence: str) -> None:
    body = ('{"error":"' + sentence + '"}').encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 405:
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
