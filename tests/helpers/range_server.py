"""A plain file server with or without range requests, as any web host is one."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

from support import RangeHandler

TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".css": "text/css"}


class _Handler(RangeHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = RangeHandler.extensions_map | TYPES
    do_GET = RangeHandler.send_part

    @property
    def ranges(self) -> bool:
        return self.server.ranges

    def answered(self, status: int, size: int) -> None:
        self.server.seen.append((self.path, status, size))


@contextlib.contextmanager
def file_server(folder: Path, *, ranges: bool = True) -> Iterator[tuple[str, list[tuple[str, int, int]]]]:
    """Serve a folder; yields (address, list of (path, status, bytes) of the requests)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder)))
    server.seen, server.ranges = [], ranges
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", server.seen
    finally:
        server.shutdown()
        server.server_close()
