"""A web server with the bad manners of real ones: it signs, throttles, drops connections and ignores ranges."""

from __future__ import annotations

import http.server
import json
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


class FlakyServer(http.server.ThreadingHTTPServer):
    """Serves a folder on a free port of 127.0.0.1.

    Attributes:
        throttle: How many of the next file requests are answered by 429.
        retry_after: Seconds in the header of those answers; None leaves it out.
        drop: How many of the next file requests end after half of their bytes.
        ranges: Whether range requests are honoured.
        token_seconds: Life of a token; None: files need none.
        html: Answer every file with a page.
        requests: Paths asked for, in order, with status.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.throttle = 0
        self.retry_after: int | None = 0
        self.drop = 0
        self.ranges = True
        self.token_seconds: float | None = None
        self.html = False
        self.tokens: dict[str, float] = {}
        self.requests: list[tuple[str, int]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address) -> None:
        """Broken pipes are what this server is for."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FlakyServer

    def log_message(self, *args: object) -> None:
        """Stay quiet."""

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None, kind="text/plain") -> None:
        self.server.requests.append((self.path, status))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _take(self, name: str) -> bool:
        with self.server.lock:
            left = getattr(self.server, name)
            if left > 0:
                setattr(self.server, name, left - 1)
            return left > 0

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        server, parts = self.server, urlsplit(self.path)
        if parts.path.startswith("/token/"):
            self._token()
            return
        path = server.folder / parts.path.lstrip("/")
        if self._take("throttle"):
            self._answer(429, headers={} if server.retry_after is None else {"Retry-After": str(server.retry_after)})
        elif server.token_seconds is not None and not self._signed(parts.query):
            self._answer(403, b"expired")
        elif not path.is_file():
            self._answer(404)
        elif server.html:
            self._answer(200, b"<html>sign in</html>", kind="text/html")
        else:
            self._file(path.read_bytes())

    def _token(self) -> None:
        token = f"sig{len(self.server.tokens)}"
        ends = time.time() + (self.server.token_seconds or 3600.0)
        self.server.tokens[token] = ends
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))
        self._answer(200, json.dumps({"token": f"sig={token}", "msft:expiry": stamp}).encode(), kind="application/json")

    def _signed(self, query: str) -> bool:
        token = parse_qs(query).get("sig", [""])[0]
        return self.server.tokens.get(token, 0.0) > time.time()

    def _file(self, body: bytes) -> None:
        wanted, status, headers = self.headers.get("Range"), 200, {}
        whole = len(body)
        if wanted and self.server.ranges:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) if last else whole - 1, whole - 1)
            body, status = body[start : end + 1], 206
            headers["Content-Range"] = f"bytes {start}-{end}/{whole}"
        if self.server.ranges:
            headers["Accept-Ranges"] = "bytes"
        if self.command == "GET" and len(body) > 1 and self._take("drop"):
            self.server.requests.append((self.path, status))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self._answer(status, body, headers, "image/tiff")


@contextmanager
def serving(folder: Path):
    """Serve a folder while the block runs."""
    server = FlakyServer(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
