"""What tests of several rooms share."""

import importlib.util
import json
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

    def send_part(self):
        """Answer with the file, or with the asked-for part of it."""
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body, wanted = path.read_bytes(), self.headers.get("Range")
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(body) - 1), len(body) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop}/{len(body)}")
            body = body[start : stop + 1]
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_bytes(body)

    def send_bytes(self, body):
        """End the headers and send the body, unless only the headers were asked for."""
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_json(self, value):
        """Answer with a value as JSON."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_bytes(json.dumps(value).encode())

    def log_message(self, *arguments):
        """Say nothing."""
