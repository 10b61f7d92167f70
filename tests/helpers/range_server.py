"""A plain file server with or without range requests, as any web host is one."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".json": "application/json", ".css": "text/css"}


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path.partition("?")[0]))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.server.seen.append((self.path, 404, 0))
            self.send_error(404)
            return
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, stop, status = 0, size, 200
        if asked and self.server.ranges:
            start, stop, status = int(asked[1]), min(int(asked[2]) + 1, size), 206
            if start >= size:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.server.seen.append((self.path, status, stop - start))
        self.send_response(status)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(stop - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        with path.open("rb") as stream, contextlib.suppress(ConnectionError):
            stream.seek(start)
            self.wfile.write(stream.read(stop - start))


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
