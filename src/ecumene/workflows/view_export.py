"""The verb `view --export`: products as a static site."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ecumene.core.progress import Progress, silent

if TYPE_CHECKING:
    from ecumene.workflows.view import ViewOptions


def export_products(
    folders: Sequence[str | Path],
    out: str | Path,
    options: ViewOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a static site that shows products on any web server, without Python.

    Args:
        folders: Products.
        out: Folder to write.
        options: Models and assessment for the charts, base map; the others have no meaning here.
        overwrite: Replace an earlier export.
        progress: Called with (products done, products, what).
        warn: Called with what must not be overlooked, one sentence each.

    Returns:
        The folder.

    Raises:
        ProductError: If a folder is no product, or the site cannot be written.
        ConfigurationError: If the folder holds something else, or something cannot be exported.
        MissingDependencyError: If the browser libraries were not built.
    """
    from ecumene.viewer.export import export_site
    from ecumene.workflows.view import ViewOptions, make_library

    how = options or ViewOptions()
    basemap = {"tiles": how.basemap, "attribution": how.attribution} if how.basemap else None
    library = make_library(folders, how)
    return export_site(library, Path(out), overwrite=overwrite, basemap=basemap, progress=progress, warn=warn)
