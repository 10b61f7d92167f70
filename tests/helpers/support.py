"""What tests of several rooms share."""

import contextlib
import importlib.util
import json
import re
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import rasterio

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def load_script(path):
    """Import a file that is no module of the package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def damage_block(path, row, col):
    """Overwrite one compressed block of a GeoTIFF."""
    with rasterio.open(path) as source:
        offset = int(source.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1))
        size = int(source.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=1))
    with Path(path).open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff" * size)


class RangeHandler(SimpleHTTPRequestHandler):
    """A file server that knows byte ranges and is silent."""

    ranges = True

    def send_part(self):
        """Answer with the file, or with the asked-for part of it."""
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            self.answered(404, 0)
            self.send_error(404)
            return
        body, status = path.read_bytes(), 200
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if self.ranges else None
        if asked:
            start, size, status = int(asked[1]), len(body), 206
            stop = min(int(asked[2]) + 1, size) if asked[2] else size
            body = body[start:stop]
        if status == 206 and not body:
            self.send_response(416)
            self.send_bytes(b"")
            return
        self.answered(status, len(body))
        self.send_response(status)
        self.send_header("Content-Type", self.guess_type(str(path)))
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_bytes(body)

    def answered(self, status, size):
        """Take notice of an answer, for servers that keep a list."""

    def send_bytes(self, body):
        """End the headers and send the body, unless only the headers were asked for."""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

    def send_json(self, value):
        """Answer with a value as JSON."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_bytes(json.dumps(value).encode())

    def log_message(self, *arguments):
        """Say nothing."""
