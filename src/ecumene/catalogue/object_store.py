"""A collection in an object store, through fsspec: `s3://bucket/prefix` of Amazon's or of any compatible server.

Credentials and endpoint come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`,
...) and go nowhere else. Objects have no rename: a product is made in a local folder, its files are uploaded and
compared with their checksums, and the Item, which makes it a product, is uploaded last.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ecumene.catalogue.claims import ClaimShelf
from ecumene.catalogue.store import PLAN_NAME, TILES, WORK, parse_item
from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.files import sha256_of
from ecumene.core.optional import require
from ecumene.mapping.product import ITEM_NAME

T = TypeVar("T")

_ATTEMPTS = 4


class ObjectStore:
    """A collection under a prefix of an object store."""

    def __init__(self, url: str) -> None:
        """Use an address; nothing is contacted before `prepare`.

        Raises:
            ConfigurationError: If it is no `s3://bucket/prefix`.
            MissingDependencyError: If s3fs is not installed.
        """
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or not parts.path.strip("/"):
            raise ConfigurationError(f"The store {_public(url)} is unknown; write s3://BUCKET/PREFIX or a folder.")
        self.url = f"s3://{parts.netloc}/{parts.path.strip('/')}"
        self.fs = file_system()

    def __str__(self) -> str:
        return self.url

    @property
    def claims(self) -> ClaimShelf:
        """Claims of all runs on this store."""
        return ObjectShelf(self.fs, f"{self.url}/{WORK}/claims")

    def prepare(self) -> None:
        """Prove that it can be written to.

        Raises:
            ProductError: If it cannot.
        """
        probe = f"{self.url}/{WORK}/probe-{secrets.token_hex(4)}"
        _tried(lambda: self.fs.pipe_file(probe, b""), self.url)
        _tried(lambda: self.fs.rm_file(probe), self.url)

    def item(self, unit: str) -> dict[str, Any] | None:
        """Return the Item of a finished unit, or None."""
        return parse_item(self.read_text(f"{TILES}/{unit}/{ITEM_NAME}"), f"{self.url}/{TILES}/{unit}")

    @contextlib.contextmanager
    def workspace(self, unit: str) -> Iterator[Path]:
        """Yield a temporary local folder; a killed run leaves nothing that another machine could go on with."""
        with tempfile.TemporaryDirectory(prefix=f"ecumene-{unit}-") as folder:
            yield Path(folder)

    def publish(self, unit: str, folder: Path) -> None:
        """Upload a product, its Item last; what was uploaded is compared in size and checksum."""
        files = sorted(path for path in folder.iterdir() if path.is_file())
        files.sort(key=lambda path: path.name == ITEM_NAME)
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.url}/{TILES}/{unit}/{ITEM_NAME}")
        for path in files:
            self._upload(f"{self.url}/{TILES}/{unit}/{path.name}", path)
        shutil.rmtree(folder, ignore_errors=True)

    def _upload(self, target: str, path: Path) -> None:
        wanted = sha256_of(path)
        _tried(lambda: self.fs.put_file(str(path), target), target)
        size = _tried(lambda: int(self.fs.info(target, refresh=True)["size"]), target)
        if size != path.stat().st_size or (size < _COMPARED and self._content_sum(target) != wanted):
            raise ProductError(f"{target} is not what was uploaded; run the same command again.")

    def _content_sum(self, target: str) -> str:
        import hashlib

        return hashlib.sha256(_tried(lambda: bytes(self.fs.cat_file(target)), target)).hexdigest()

    def read_text(self, name: str) -> str | None:
        """Return a text of the store, or None if there is no such object."""
        place = f"{self.url}/{name}"

        def read() -> bytes | None:
            try:
                return bytes(self.fs.cat_file(place))
            except FileNotFoundError:
                return None

        found = _tried(read, place)
        return None if found is None else found.decode("utf-8", errors="replace")

    def write_text(self, name: str, text: str) -> None:
        """Write a text; an object appears whole or not at all."""
        place = f"{self.url}/{name}"
        _tried(lambda: self.fs.pipe_file(place, text.encode()), place)

    def create_text(self, name: str, text: str) -> bool:
        """Write a text that is not there yet; False if it is."""
        return _create(self.fs, f"{self.url}/{name}", text)

    def add_file(self, name: str, path: Path) -> None:
        """Upload a file and delete it here."""
        self._upload(f"{self.url}/{name}", path)
        path.unlink()

    def clear_tiles(self) -> None:
        """Delete all products and the collection, the plan first."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.url}/{WORK}/{PLAN_NAME}")
        self.fs.invalidate_cache()
        found = _tried(lambda: self.fs.find(self.url), self.url)
        claims = f"/{WORK}/claims/"
        doomed = [place for place in found if claims not in place]
        if doomed:
            _tried(lambda: self.fs.rm(doomed), self.url)

    def file_path(self, name: str) -> str:
        """Return where GDAL finds a file of the store."""
        return f"/vsis3/{self.url.removeprefix('s3://')}/{name}"


_COMPARED = 256 << 20  # larger files are compared by size; the upload itself carries checksums


def file_system() -> Any:
    """Return the S3 file system of fsspec, with credentials and endpoint of the environment.

    Raises:
        MissingDependencyError: If s3fs is not installed.
    """
    require("fsspec")
    s3fs = require("s3fs")
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return s3fs.S3FileSystem(endpoint_url=endpoint or None, use_listings_cache=False)


class ObjectShelf:
    """Claims as objects; creation is exclusive by `If-None-Match: *`."""

    def __init__(self, fs: Any, prefix: str) -> None:
        """Use a file system and a prefix."""
        self.fs, self.prefix = fs, prefix

    def create(self, name: str, text: str) -> bool:
        """Create a claim; False if there is one of this name."""
        return _create(self.fs, f"{self.prefix}/{name}", text)

    def read(self, name: str) -> str | None:
        """Return a claim's text, None if it is gone."""
        try:
            return bytes(self.fs.cat_file(f"{self.prefix}/{name}")).decode("utf-8", errors="replace")
        except FileNotFoundError:
            return None

    def age(self, name: str) -> float | None:
        """Return the seconds since renewal, by the clock of the store."""
        probe = f"{self.prefix}/_clock-{secrets.token_hex(4)}"
        try:
            self.fs.pipe_file(probe, b"")
            now, then = (
                self.fs.info(place, refresh=True)["LastModified"] for place in (probe, f"{self.prefix}/{name}")
            )
            return float((now - then).total_seconds())
        except FileNotFoundError:
            return None
        finally:
            with contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(probe)

    def renew(self, name: str, text: str) -> None:
        """Make a claim young again."""
        self.fs.pipe_file(f"{self.prefix}/{name}", text.encode())

    def delete(self, name: str) -> None:
        """Delete a claim, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(f"{self.prefix}/{name}")

    def generations(self, unit: str) -> list[int]:
        """Return the generations of a unit's claims, ascending."""
        self.fs.invalidate_cache()
        found = []
        for place in self.fs.glob(f"{self.prefix}/{unit}.*"):
            number = str(place).rpartition(".")[2]
            if number.isdigit():
                found.append(int(number))
        return sorted(found)

    def names(self) -> list[str]:
        """Return the names of all claims."""
        found = [str(place).rpartition("/")[2] for place in self.fs.find(self.prefix)]
        return sorted(name for name in found if not name.startswith("_clock-"))


def _create(fs: Any, place: str, text: str) -> bool:
    """Create an object exclusively."""

    def attempt() -> bool:
        try:
            fs.pipe_file(place, text.encode(), mode="create")
        except FileExistsError:
            return False
        return True

    return _tried(attempt, place)


def _tried(action: Callable[[], T], place: str) -> T:
    """Do something with a store that may fail for a moment; the sentence names the place, never what was sent.

    Raises:
        ProductError: If it fails again and again.
    """
    from botocore.exceptions import BotoCoreError, NoCredentialsError

    for attempt in range(_ATTEMPTS):
        try:
            return action()
        except NoCredentialsError as error:
            raise ProductError(
                f"There are no credentials for {_public(place)}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
            ) from error
        except PermissionError as error:
            raise ProductError(
                f"{_public(place)} may not be accessed; check the credentials and the bucket."
            ) from error
        except FileNotFoundError as error:
            raise ProductError(f"There is no {_public(place)}; check bucket and prefix.") from error
        except (OSError, BotoCoreError) as error:
            if attempt + 1 == _ATTEMPTS:
                raise ProductError(
                    f"{_public(place)} does not answer as a store should; check AWS_ENDPOINT_URL and the connection."
                ) from error
            time.sleep(0.3 * 2**attempt)
    raise AssertionError("unreachable")


def _public(url: str) -> str:
    """Return an address without user name, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
