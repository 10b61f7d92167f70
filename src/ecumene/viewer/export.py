"""A static site of products: the web map's page, its data written out, and the products themselves.

The browser reads the products' Cloud-Optimised GeoTIFFs by HTTP range requests and warps them itself, so nothing is
rendered beforehand: a site is as large as its products, every zoom level, colour and hidden class is there, and what a
click reads are the stored values. Any web server or object store will do; one without range requests sends whole files.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecumene.core.errors import ConfigurationError, ProductError
from ecumene.core.files import TEMPORARY_MARK
from ecumene.core.progress import Progress, silent
from ecumene.mapping.product import ITEM_NAME, Product
from ecumene.viewer.assets import require_assets, shipped_files, web_folder
from ecumene.viewer.layers import describe_site
from ecumene.viewer.rasters import checked_path
from ecumene.viewer.server.library import Library, ProductEntry, product_file
from ecumene.viewer.server.security import content_security_policy, origin_of
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
) -> Path:
    """Write a static site, whole or not at all.

    Args:
        library: The products with the figures that go with them.
        out: Folder to write; it must not exist, be empty, or hold an earlier export.
        overwrite: Replace an earlier export.
        basemap: `tiles` and `attribution` of a base map that browsers fetch, or None.
        progress: Called with (products done, products, what).

    Returns:
        `out`.

    Raises:
        ConfigurationError: If the folder holds something else, or something that cannot be exported is to be.
        ProductError: If a product cannot be read or the site cannot be written.
    """
    out = Path(out)
    require_assets()
    entries = _product_entries(library)
    check_target(out, [entry.product for entry in entries], overwrite)
    fresh = out.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{out.name}")
    try:
        fresh.mkdir(parents=True)
        _write_page(fresh, basemap)
        descriptions = []
        for number, entry in enumerate(entries):
            progress(number, len(entries), f"copy {entry.identifier}")
            descriptions.append(_write_product(fresh, entry))
        _write_json(fresh / SITE_NAME, describe_site(descriptions, basemap=basemap))
        _replace(fresh, out)
        progress(len(entries), len(entries), "done")
    except OSError as error:
        raise ProductError(f"The site {out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out


def check_target(out: Path, products: list[Product], overwrite: bool) -> None:
    """Make sure that nothing is lost by writing a site into a folder.

    Raises:
        ConfigurationError: If the folder holds something that is no export, or an export that may not be replaced.
    """
    target = out.resolve()
    for product in products:
        folder = product.folder.resolve()
        if target == folder or target.is_relative_to(folder) or folder.is_relative_to(target):
            raise ConfigurationError(
                f"The site must lie apart from the product {product.folder}; choose another folder."
            )
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


def _product_entries(library: Library) -> list[ProductEntry]:
    entries = [entry for entry in library.entries.values() if isinstance(entry, ProductEntry)]
    if len(entries) < len(library.entries):
        raise ConfigurationError("A collection cannot be exported as a whole; name the folders of its products.")
    if not entries:
        raise ConfigurationError("There is no product to export; name at least one folder.")
    return entries


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
    for href in {ITEM_NAME, *(str(asset["href"]) for asset in product.item["assets"].values())}:
        target = copied / href
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checked_path(product.folder, product.folder / href), target)
    description = dict(entry.description)
    _write_json(data / "charts.json", {"charts": entry.charts()})
    for vector in vector_files(product):
        if any(known["name"] == vector for known in description["vectors"]):
            _write_json(data / f"{vector}.geojson", entry.features(vector, None, MOST_FEATURES))
    card = product_file(product, "card")
    if card is not None:
        shutil.copyfile(card, data / "card.txt")  # as text, which browsers show
    quicklook = product_file(product, "quicklook")
    description["card"] = f"data/{name}/card.txt" if card is not None else None
    description["quicklook"] = f"products/{name}/{quicklook.name}" if quicklook is not None else None
    description["layers"] = [dict(layer) | {"tiles": ""} for layer in description["layers"]]
    description["vectors"] = [
        dict(vector) | {"url": f"data/{name}/{vector['name']}.geojson"} for vector in description["vectors"]
    ]
    return description


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")


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
