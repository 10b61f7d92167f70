"""The files of the web map's page: which are shipped, and whether the browser libraries were built."""

from __future__ import annotations

from pathlib import Path

from ecumene.core.errors import MissingDependencyError

LIBRARIES = (
    "vendor/maplibre-gl.mjs",
    "vendor/maplibre-gl-worker.mjs",
    "vendor/maplibre-gl.css",
    "vendor/chart.umd.min.js",
    "vendor/fzstd.js",
    "vendor/geotiff.js",
    "vendor/proj4.js",
    "vendor/LICENCES.txt",
)
"""Files that the build copies from npm packages, relative to the page's folder."""

_OWN = ("*.html", "*.css", "*.svg", "js/*.js")
_VENDOR = ("vendor/*.mjs", "vendor/*.js", "vendor/*.css", "vendor/*.txt", "vendor/versions.json")


def web_folder() -> Path:
    """Return the folder of the page."""
    return Path(__file__).resolve().parent / "web"


def shipped_files() -> list[Path]:
    """Return the page's files relative to `web_folder()`, sorted; nothing of the build is among them."""
    root = web_folder()
    found = {path.relative_to(root) for pattern in (*_OWN, *_VENDOR) for path in root.glob(pattern)}
    return sorted(path for path in found if (root / path).is_file() and not (root / path).is_symlink())


def require_assets(folder: Path | None = None) -> Path:
    """Return the page's folder if the browser libraries are in it.

    Args:
        folder: Another folder than the shipped one.

    Raises:
        MissingDependencyError: If a library was not built.
    """
    root = folder or web_folder()
    missing = [name for name in LIBRARIES if not (root / name).is_file()]
    if missing:
        raise MissingDependencyError(
            f"The web map's browser libraries are missing ({', '.join(Path(name).name for name in missing)}); "
            "build them with `make install`, which needs npm, or install a wheel, which brings them."
        )
    return root
