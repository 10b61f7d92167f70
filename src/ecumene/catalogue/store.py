"""Where a collection lies: a folder, or a prefix in an object store.

    collection.json  items.parquet  *.vrt        the collection, its index, its mosaics
    tiles/<unit>/item.json ...                   one product a unit; finished when its Item is there
    .work/plan.json  .work/claims/  .work/units/ what runs need

A unit is made in a folder of its own under `.work/units` and takes its place by one rename, so that `tiles` holds
finished products only. In an object store the Item is uploaded last.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from ecumene.catalogue.claims import ClaimShelf, FolderShelf
from ecumene.core.errors import ProductError
from ecumene.core.files import TEMPORARY_MARK, atomic_path, ensure_writable_folder, write_text
from ecumene.mapping.product import ITEM_NAME

PLAN_NAME = "plan.json"
TILES = "tiles"
WORK = ".work"


class Store(Protocol):
    """What a run needs of the place where a collection lies."""

    @property
    def claims(self) -> ClaimShelf:
        """Claims of all runs on this store."""

    def prepare(self) -> None:
        """Prove that it can be written to."""

    def item(self, unit: str) -> dict[str, Any] | None:
        """Return the Item of a finished unit, or None."""

    def workspace(self, unit: str) -> contextlib.AbstractContextManager[Path]:
        """Yield a local folder to make a unit's product in; what a killed run left there may be found again."""

    def publish(self, unit: str, folder: Path) -> None:
        """Put a finished product into its place; the folder is gone afterwards."""

    def read_text(self, name: str) -> str | None:
        """Return a text of the store, or None."""

    def write_text(self, name: str, text: str) -> None:
        """Write a text, whole or not at all."""

    def create_text(self, name: str, text: str) -> bool:
        """Write a text that is not there yet; False if it is."""

    def add_file(self, name: str, path: Path) -> None:
        """Move a local file into the store."""

    def clear_tiles(self) -> None:
        """Delete all products and the collection, the plan first."""

    def file_path(self, name: str) -> str:
        """Return where GDAL finds a file of the store."""


class FolderStore:
    """A collection in a folder that all workers share."""

    def __init__(self, root: Path | str) -> None:
        """Use a folder; nothing is created before `prepare`."""
        self.root = Path(root)

    def __str__(self) -> str:
        return str(self.root)

    @property
    def claims(self) -> ClaimShelf:
        """Claims of all runs on this store."""
        return FolderShelf(self.root / WORK / "claims")

    def prepare(self) -> None:
        """Create the folder and prove that it can be written to.

        Raises:
            ProductError: If it cannot, or holds something else than a collection.
        """
        if self.root.is_dir() and (self.root / ITEM_NAME).exists():
            raise ProductError(f"{self.root} holds a single product; choose another --out for a collection.")
        ensure_writable_folder(self.root)
        for name in (TILES, WORK, f"{WORK}/units"):
            ensure_writable_folder(self.root / name)

    def item(self, unit: str) -> dict[str, Any] | None:
        """Return the Item of a finished unit, or None."""
        return parse_item(self.read_text(f"{TILES}/{unit}/{ITEM_NAME}"), f"{self.root}/{TILES}/{unit}")

    @contextlib.contextmanager
    def workspace(self, unit: str) -> Iterator[Path]:
        """Yield a folder on the same file system; it stays after a failure, so that the next attempt goes on."""
        folder = self.root / WORK / "units" / unit
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProductError(f"The folder {folder} cannot be created ({error.strerror}).") from error
        yield folder

    def publish(self, unit: str, folder: Path) -> None:
        """Rename a finished product into its place; a product that is there is replaced."""
        target = self.root / TILES / unit
        try:
            if target.exists():
                trash = self.root / WORK / "units" / f"old-{unit}-{secrets.token_hex(4)}"
                target.rename(trash)
                folder.rename(target)
                shutil.rmtree(trash, ignore_errors=True)
            else:
                folder.rename(target)
        except OSError as error:
            raise ProductError(f"{target} cannot be written ({error.strerror}); run the same command again.") from error

    def read_text(self, name: str) -> str | None:
        """Return a text of the store, or None if there is no such file."""
        try:
            return (self.root / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise ProductError(f"{self.root / name} cannot be read; check the store.") from error

    def write_text(self, name: str, text: str) -> None:
        """Write a text, whole or not at all."""
        write_text(self.root / name, text)

    def create_text(self, name: str, text: str) -> bool:
        """Write a text that is not there yet, whole or not at all; False if it is."""
        temporary = self.root / WORK / f"{TEMPORARY_MARK}{secrets.token_hex(4)}"
        try:
            temporary.write_text(text, encoding="utf-8")
            os.link(temporary, self.root / name)
        except FileExistsError:
            return False
        except OSError as error:
            raise ProductError(f"{self.root / name} cannot be written ({error.strerror}).") from error
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def add_file(self, name: str, path: Path) -> None:
        """Move a local file into the store, whole or not at all."""
        with atomic_path(self.root / name) as temporary:
            shutil.move(path, temporary)

    def clear_tiles(self) -> None:
        """Delete all products and the collection, the plan first."""
        (self.root / WORK / PLAN_NAME).unlink(missing_ok=True)
        for name in (TILES, f"{WORK}/units"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        for pattern in ("collection.json", "items.parquet", "*.vrt", "*.qml"):
            for path in self.root.glob(pattern):
                path.unlink(missing_ok=True)

    def file_path(self, name: str) -> str:
        """Return where GDAL finds a file of the store."""
        return str(self.root / name)


def parse_item(text: str | None, where: str) -> dict[str, Any] | None:
    """Return an Item from its text.

    Raises:
        ProductError: If it is no JSON object with properties and assets.
    """
    if text is None:
        return None
    try:
        item = json.loads(text)
        if isinstance(item["properties"], dict) and isinstance(item["assets"], dict):
            return dict(item)
    except (ValueError, KeyError, TypeError):
        pass
    raise ProductError(f"{where} holds a damaged Item; delete that folder and run the same command again.")


def open_store(out: str | Path) -> Store:
    """Return the store of a path or an address such as `s3://bucket/prefix`.

    Raises:
        MissingDependencyError: If an object store needs a library that is not installed.
        ConfigurationError: If the address has another form.
    """
    if "://" in str(out):
        from ecumene.catalogue.object_store import ObjectStore

        return ObjectStore(str(out))
    return FolderStore(out)
