"""A static site of products: the web map's page, its data written out, and the products themselves.

The browser reads the products' Cloud-Optimised GeoTIFFs by HTTP range requests and warps them itself, so nothing is
rendered beforehand: a site is as large as its products, every zoom level, colour and hidden class is there, and what a
click reads are the stored values. Any web server or object store will do; one without range requests sends whole files.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.files import TEMPORARY_MARK
from ecumene.core.progress import Progress, silent
from ecumene.viewer.assets import require_assets, shipped_files, web_folder
from ecumene.viewer.export_collection import write_collection
from ecumene.viewer.layers import describe_site
from ecumene.viewer.server.collection import CollectionEntry
from ecumene.viewer.server.library import Library, ProductEntry, product_file
from ecumene.viewer.server.security import content_security_policy, origin_of
from ecumene.viewer.site_files import copy_product, without_server, write_json
from ecumene.viewer.vectors import MOST_FEATURES, vector_files

SITE_NAME = "data/site.json"
"""File that says that a folder is an exported site."""

_SHEET = "assess"
_SOURCE = '<meta name="ecumene-source" content="server">'


def export_site(
    library: Library,
    out: Path,
    *,
    overwrite: bool = False,
    basemap: Mapping[str, str] | None = None,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a static site, whole or not at all.

    Args:
        library: The products with the figures that go with them.
        out: Folder to write; it must not exist, be empty, or hold an earlier export.
        overwrite: Replace an earlier export.
        basemap: `tiles` and `attribution` of a base map that browsers fetch, or None.
        progress: Called with (products done, products, what).
        warn: Called with what must not be overlooked, one sentence each; the page says it as well.

    Returns:
        `out`.

    Raises:
        ConfigurationError: If the folder holds something else, or something that cannot be exported is to be.
        ProductError: If a product cannot be read or the site cannot be written.
    """
    out = Path(out)
    require_assets()
    entries = [entry for entry in library.entries.values() if isinstance(entry, ProductEntry | CollectionEntry)]
    if not entries:
        raise ConfigurationError("There is no product to export; name at least one folder.")
    check_target(out, [_folder_of(entry) for entry in entries], overwrite)
    told = _Told(progress, sum(_number_of(entry) for entry in entries))
    fresh = out.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{out.name}")
    try:
        fresh.mkdir(parents=True)
        _write_page(fresh, basemap)
        descriptions = [_write_entry(fresh, entry, told) for entry in entries]
        write_json(fresh / SITE_NAME, describe_site(descriptions, basemap=basemap))
        _replace(fresh, out)
        progress(told.total, told.total, "done")
        for text in dict.fromkeys(text for about in descriptions for text in about["warnings"]):
            warn(text)
    except OSError as error:
        raise ProductError(f"The site {out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out


@dataclass
class _Told:
    """Counts the products that are copied."""

    progress: Progress
    total: int
    done: int = 0

    def __call__(self, name: str) -> None:
        self.progress(self.done, self.total, f"copy {name}")
        self.done += 1


def _folder_of(entry: ProductEntry | CollectionEntry) -> Path:
    return entry.product.folder if isinstance(entry, ProductEntry) else entry.store.folder


def _number_of(entry: ProductEntry | CollectionEntry) -> int:
    return 1 if isinstance(entry, ProductEntry) else entry.number()


def _write_entry(fresh: Path, entry: ProductEntry | CollectionEntry, told: _Told) -> dict[str, Any]:
    if isinstance(entry, CollectionEntry):
        return write_collection(fresh, entry, told)
    told(entry.identifier)
    return _write_product(fresh, entry)


def check_target(out: Path, folders: Sequence[Path], overwrite: bool) -> None:
    """Make sure that nothing is lost by writing a site into a folder.

    Raises:
        ConfigurationError: If the folder holds something that is no export, or an export that may not be replaced.
    """
    target = out.resolve()
    for given in folders:
        folder = given.resolve()
        if target == folder or target.is_relative_to(folder) or folder.is_relative_to(target):
            raise ConfigurationError(f"The site must lie apart from the product {given}; choose another folder.")
    if not out.exists():
        return
    if not out.is_dir() or out.is_symlink():
        raise ConfigurationError(f"{out} is not a folder; choose another one for the site.")
    if not any(out.iterdir()):
        return
    if not (out / SITE_NAME).is_file():
        raise ConfigurationError(f"{out} holds other files; choose an empty folder for the site, or empty this one.")
    if not overwrite:
        raise ConfigurationError(
            f"{out} holds an earlier site; use --overwrite to replace it, or choose another folder."
        )


def static_policy(basemap: Mapping[str, str] | None) -> str:
    """Return the content-security policy of an exported page, for a `meta` element (which knows no framing rule)."""
    policy = content_security_policy(origin_of(basemap["tiles"]) if basemap else None)
    return "; ".join(rule for rule in policy.split("; ") if not rule.startswith("frame-ancestors"))


def _write_page(fresh: Path, basemap: Mapping[str, str] | None) -> None:
    """Copy the page and what it needs, and tell it that its data are files."""
    web = web_folder()
    page = (web / "index.html").read_text(encoding="utf-8")
    if _SOURCE not in page:
        raise ProductError("The web map's page is damaged; install ecumene again.")
    meta = f'<meta http-equiv="Content-Security-Policy" content="{static_policy(basemap)}">'
    page = page.replace(_SOURCE, f"{meta}\n{_SOURCE.replace('server', 'static')}", 1)
    (fresh / "index.html").write_text(page, encoding="utf-8")
    for name in shipped_files():
        if name.suffix == ".html" or name.stem.startswith(_SHEET):
            continue  # the assessor's sheet needs a server
        target = fresh / "static" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(web / name, target)


def _write_product(fresh: Path, entry: ProductEntry) -> dict[str, Any]:
    """Copy a product, write what the page asks a server for, and return its description."""
    product, name = entry.product, entry.identifier
    copied, data = fresh / "products" / name, fresh / "data" / name
    copied.mkdir(parents=True)
    data.mkdir(parents=True)
    copy_product(product, copied)
    description = without_server(entry.description)
    write_json(data / "charts.json", {"charts": entry.charts()})
    for vector in vector_files(product):
        if any(known["name"] == vector for known in description["vectors"]):
            write_json(data / f"{vector}.geojson", entry.features(vector, None, MOST_FEATURES))
    card = product_file(product, "card")
    if card is not None:
        shutil.copyfile(card, data / "card.txt")  # as text, which browsers show
    quicklook = product_file(product, "quicklook")
    description["card"] = f"data/{name}/card.txt" if card is not None else None
    description["quicklook"] = f"products/{name}/{quicklook.name}" if quicklook is not None else None
    description["vectors"] = [
        dict(vector) | {"url": f"data/{name}/{vector['name']}.geojson"} for vector in description["vectors"]
    ]
    return description


def _replace(fresh: Path, out: Path) -> None:
    """Put the finished site in its place; an earlier one is gone only when the new one is there."""
    if not out.exists():
        fresh.rename(out)
        return
    old = out.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{out.name}")
    out.rename(old)
    try:
        fresh.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
