"""Opens what agencies ship: paths and declarations in, `SceneSource` or the Scene contract's data set out.

A path names one acquisition: a GeoTIFF, COG, VRT or ENVI cube; a folder of one-band files; several files
joined by `+` (several resolutions); a Sentinel-2 SAFE folder; a Landsat folder or MTL file; a
`scene.yaml`; or a STAC item. Nothing is inferred from pixel values: what files and metadata do not say,
the user declares, by options or in `scene.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecumene.core.errors import ConfigurationError, ContractError, SceneError
from ecumene.core.files import sha256_of
from ecumene.scenes.contract import BandSource, SceneSource
from ecumene.scenes.declaration import (
    SCENE_FILE,
    Declaration,
    declaration_beside,
    make_declaration,
    read_declaration,
)
from ecumene.scenes.formats.assembly import assemble, finest_grid
from ecumene.scenes.formats.images import candidates_of_files, candidates_of_folder, candidates_of_mapping
from ecumene.scenes.formats.landsat import is_mtl, read_landsat
from ecumene.scenes.formats.product import Candidate, Product
from ecumene.scenes.formats.raster import envi_data_file, find_rasters
from ecumene.scenes.formats.sentinel2 import find_metadata, read_sentinel2
from ecumene.scenes.security import AllowedRoots, is_remote
from ecumene.sensors import get_sensor, match_band

if TYPE_CHECKING:
    import xarray as xr
    from odc.geo.geobox import GeoBox

JOIN = "+"
DEFAULT_CHUNKS: Mapping[str, int] = {"y": 2048, "x": 2048}


def describe_scene(
    path: str | Path,
    *,
    sensor: str | None = None,
    level: str | None = None,
    scale: float | Mapping[str, float] | None = None,
    offset: float | Mapping[str, float] | None = None,
    nodata: float | str | None = None,
    unit: str | None = None,
    bands: Sequence[str] | None = None,
    time: Any = None,
    crs: str | None = None,
    mask: Any = None,
    licence: str | None = None,
    allowed_roots: Sequence[str | Path] | None = None,
) -> SceneSource:
    """Describe one acquisition without reading its pixels.

    Args:
        path: What to open; see the module. Files of one scene are joined by `+`.
        sensor: Sensor id, where the files do not say it.
        level: Product level of the sensor.
        scale: physical = stored * scale + offset; one number, or one per band.
        offset: See `scale`.
        nodata: Stored value without data; `"none"` for none.
        unit: Unit of the physical values.
        bands: Names of the bands in file order, or the bands to open; `all`; ranges `B001:B103`.
        time: Acquisition time; without zone it is UTC.
        crs: Coordinate reference system, where the files have none.
        mask: Raster of clouds and defects: a mapping with `file`, `kind`, `band`, `bad_values`.
        licence: Licence of the data.
        allowed_roots: Folders and URL prefixes, besides the folders of `path`, that files may point to.

    Returns:
        The description.

    Raises:
        ConfigurationError: If something must be declared, or a declaration is wrong.
        ContractError: If a band is missing.
        SceneError: If there is no such file, or it is damaged, has no CRS, or points outside.
    """
    names = bands if bands is None or isinstance(bands, str) else tuple(bands)
    options = make_declaration(
        {"sensor": sensor, "level": level, "scale": scale, "offset": offset, "nodata": nodata, "unit": unit}
        | {"bands": names, "time": time, "crs": crs, "mask": mask, "licence": licence}
    )
    text = str(path)
    if _is_stac(text):
        found = _from_stac(text, options, allowed_roots)
        if len(found) != 1:
            raise SceneError(f"{text} holds {len(found)} scenes; describe_scenes takes several.")
        return found[0]
    return _describe(text, options, allowed_roots)


def describe_scenes(
    paths: Sequence[str | Path], *, time: Any = None, allowed_roots: Sequence[str | Path] | None = None, **options: Any
) -> tuple[SceneSource, ...]:
    """Describe several acquisitions, one a path, ordered by time (undated ones last, in the given order).

    Args:
        paths: One path an acquisition; see `describe_scene`. A STAC path may hold several.
        time: One time for all, or one per path.
        allowed_roots: See `describe_scene`.
        **options: Declarations of `describe_scene`, for all paths.

    Returns:
        The descriptions.

    Raises:
        ConfigurationError: If the number of times is neither 1 nor that of the paths; or as `describe_scene`.
        ContractError: As `describe_scene`.
        SceneError: As `describe_scene`.
    """
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    times = list(time) if isinstance(time, list | tuple) else [time]
    if len(times) == 1:
        times *= len(listed)
    if len(times) != len(listed):
        raise ConfigurationError(f"{len(times)} times are declared for {len(listed)} scenes; declare one for each.")
    sources: list[SceneSource] = []
    for path, moment in zip(listed, times, strict=True):
        if _is_stac(str(path)):
            declared = make_declaration({**options, "time": moment})
            sources.extend(_from_stac(str(path), declared, allowed_roots))
        else:
            sources.append(describe_scene(path, time=moment, allowed_roots=allowed_roots, **options))
    latest = np.datetime64("9999-12-31", "s")
    # Seconds: datetime64[ns] ends in 2262, before the stand-in for "no date".
    return tuple(sorted(sources, key=lambda item: latest if item.time is None else item.time.astype("datetime64[s]")))


def _describe(text: str, options: Declaration, allowed_roots: Sequence[str | Path] | None) -> SceneSource:
    parts = _split_parts(text)
    roots = AllowedRoots.around(parts, allowed_roots)
    for part in parts:
        if not is_remote(part) and not Path(part).exists():
            raise SceneError(f"There is no file or folder {part}; check the path.")
    if len(parts) > 1:
        return _joined(parts, options, roots)
    if is_remote(parts[0]):
        candidates = candidates_of_files(parts, roots, options)
        return assemble(candidates, options, None, roots, name=Path(parts[0]).stem, folder=None)
    return _single(Path(parts[0]), options, roots)


def _split_parts(text: str) -> list[str]:
    """Split a path at `+`, unless a file has it in its name; later parts may be relative to the first one's folder."""
    if JOIN not in text or Path(text).exists():
        return [text]
    parts = [part for part in text.split(JOIN) if part]
    if not parts:
        raise SceneError(f"{text!r} names no file; name at least one.")
    folder = Path(parts[0]).parent
    return [
        part if is_remote(part) or Path(part).exists() or not (folder / part).exists() else str(folder / part)
        for part in parts
    ]


def _joined(parts: list[str], options: Declaration, roots: AllowedRoots) -> SceneSource:
    """Several files of one scene; one of them may be a Landsat MTL file."""
    first = Path(parts[0])
    texts = [Path(part) for part in parts if not is_remote(part) and is_mtl(Path(part))]
    images = [part for part in parts if Path(part) not in texts]
    if len(texts) > 1 or not images:
        raise SceneError(f"{JOIN.join(parts)} needs images and at most one metadata file; correct the path.")
    bad = [part for part in images if Path(part).is_dir()]
    if bad:
        raise SceneError(f"{bad[0]} is a folder; only files are joined with '+'.")
    declaration = options.over(declaration_beside(first)) if not is_remote(parts[0]) else options
    product: Product | None = None
    if texts:
        candidates, product = read_landsat(texts[0], [Path(part) for part in images], roots, declaration)
    else:
        hrefs = [part if is_remote(part) else str(Path(part).resolve()) for part in images]
        candidates = candidates_of_files(hrefs, roots, declaration)
    return assemble(candidates, declaration, product, roots, name=Path(images[0]).stem, folder=first.parent, mask=None)


def _single(path: Path, options: Declaration, roots: AllowedRoots) -> SceneSource:
    """One local path: product folder or metadata file, `scene.yaml`, folder of images, or an image."""
    safe = find_metadata(path)
    if safe is not None:
        declaration = options.over(declaration_beside(path))
        candidates, product = read_sentinel2(safe, roots, declaration)
        return assemble(candidates, declaration, product, roots, name=safe.parent.stem, folder=safe.parent)
    if path.is_file() and path.suffix.lower() in {".yaml", ".yml"}:
        image = _described_image(path)
        return _single(image, options, roots) if image else _from_yaml(path, options, roots)
    if path.is_dir() and (path / SCENE_FILE).is_file():
        return _from_yaml(path / SCENE_FILE, options, roots)
    texts = [path] if path.is_file() and is_mtl(path) else []
    if path.is_dir():
        texts = sorted(item for item in path.iterdir() if item.is_file() and is_mtl(item))
        if len(texts) > 1:
            raise SceneError(f"{path} holds {len(texts)} Landsat products; name one of their MTL files.")
    declaration = options.over(declaration_beside(path))
    if texts:
        candidates, product = read_landsat(texts[0], [], roots, declaration)
        return assemble(candidates, declaration, product, roots, name=texts[0].stem, folder=texts[0].parent)
    if path.is_dir():
        candidates, mask = candidates_of_folder(path, roots, declaration)
        return assemble(candidates, declaration, None, roots, name=path.name, folder=path, mask=mask)
    return _from_image(path, declaration, roots)


def _described_image(path: Path) -> Path | None:
    """The image that a `<name>.scene.yaml` without `files` speaks of."""
    if not path.name.endswith(f".{SCENE_FILE}") or read_declaration(path).files is not None:
        return None
    stem = path.name.removesuffix(f".{SCENE_FILE}")
    return next((image for image in find_rasters(path.parent) if image.stem == stem), None)


def _from_image(path: Path, declaration: Declaration, roots: AllowedRoots) -> SceneSource:
    data = envi_data_file(path) if path.suffix.lower() == ".hdr" else path
    if data is None:
        raise SceneError(f"{path} is an ENVI header without its data file; put the data file beside it.")
    if declaration.metadata is not None:
        text = Path(roots.locate(declaration.metadata, path.parent, f"{SCENE_FILE} of {path.name}"))
        candidates, product = read_landsat(text, [data.resolve()], roots, declaration)
        return assemble(candidates, declaration, product, roots, name=path.stem, folder=path.parent)
    candidates = candidates_of_files([str(data.resolve())], roots, declaration)
    return assemble(candidates, declaration, None, roots, name=path.stem, folder=path.parent)


def _from_yaml(path: Path, options: Declaration, roots: AllowedRoots) -> SceneSource:
    """A `scene.yaml`: its own `files`, or the images of its folder."""
    declaration = options.over(read_declaration(path))
    folder, named_by = path.parent, str(path)
    name = folder.name if path.name == SCENE_FILE else path.stem.removesuffix(".scene")
    files = declaration.files
    product: Product | None = None
    mask = None
    candidates: list[Candidate]
    if isinstance(files, dict):
        candidates = candidates_of_mapping(files, folder, roots, declaration, named_by)
    elif files:
        hrefs = [roots.locate(item, folder, named_by) for item in files]
        if declaration.metadata is not None:
            text = Path(roots.locate(declaration.metadata, folder, named_by))
            candidates, product = read_landsat(text, [Path(href) for href in hrefs], roots, declaration)
        else:
            candidates = candidates_of_files(hrefs, roots, declaration)
    else:
        candidates, mask = candidates_of_folder(folder, roots, declaration)
    return assemble(candidates, declaration, product, roots, name=name, folder=folder, mask=mask)


def _is_stac(text: str) -> bool:
    return text.split("?")[0].lower().endswith((".json", ".geojson"))


def _from_stac(text: str, options: Declaration, allowed_roots: Sequence[str | Path] | None) -> tuple[SceneSource, ...]:
    """Hand a STAC Item, Collection or Catalogue to its reader.

    Raises:
        ConfigurationError: If something is declared that STAC Items say themselves.
    """
    from ecumene.scenes.stac import scenes_from_stac

    for key in ("scale", "offset", "nodata", "unit", "time", "crs", "mask"):
        if getattr(options, key) is not None:
            raise ConfigurationError(f"{text} is STAC, whose Items say {key} themselves; drop --{key} for it.")
    return scenes_from_stac(
        text, sensor=options.sensor, level=options.level, bands=options.bands, allowed_roots=allowed_roots
    )


def select_bands(source: SceneSource, bands: Sequence[str]) -> SceneSource:
    """Return the scene with these bands only, in this order, on the grid of the finest of them.

    Raises:
        ContractError: If the scene lacks one.
    """
    sensor = get_sensor(source.sensor)
    present: dict[str, BandSource] = {band.name: band for band in source.bands}
    names = [name if name in present else match_band(sensor, name) or name for name in bands]
    for name in names:
        if name not in present:
            raise ContractError(f"The scene {source.id} has no band {name!r}; it has: {', '.join(present)}.")
    chosen = tuple(present[name] for name in names)
    return replace(source, bands=chosen, geobox=finest_grid([band.geobox for band in chosen]))


def open_scene(
    path: str | Path,
    *,
    chunks: Mapping[str, int] | None = DEFAULT_CHUNKS,
    bands: Sequence[str] | None = None,
    checksums: bool = True,
    **declaration: Any,
) -> xr.Dataset:
    """Open one acquisition as the data set of the Scene contract.

    Args:
        path: See `describe_scene`.
        chunks: Sizes in pixels of the lazily read blocks along `y` and `x`; None reads everything now.
        bands: See `describe_scene`.
        checksums: Compute SHA-256 of local files (once a file and process) into the attribute `checksums`.
        **declaration: Other arguments of `describe_scene`.

    Returns:
        Dims `(time, y, x)`, one float32 variable a band in physical units with NaN for nodata and the
        attribute `units`; attributes `sensor`, `product_level`, `source` (hrefs) and `checksums`. The
        grid is `.odc.geobox`; an unknown time is NaT.

    Raises:
        ConfigurationError: As `describe_scene`.
        ContractError: As `describe_scene`.
        SceneError: As `describe_scene`; also when blocks are read and a file turns out damaged.
    """
    source = describe_scene(path, bands=bands, **declaration)
    return dataset_of(source, chunks=chunks, checksums=checksums)


def dataset_of(
    source: SceneSource, *, chunks: Mapping[str, int] | None = DEFAULT_CHUNKS, checksums: bool = False
) -> xr.Dataset:
    """Return the data set of the Scene contract of a description; see `open_scene`."""
    import xarray as xr
    from odc.geo.xr import xr_coords

    height, width = source.geobox.shape
    sizes = {"y": height, "x": width} if chunks is None else {"y": chunks.get("y", 2048), "x": chunks.get("x", 2048)}
    coords: dict[str, Any] = {str(name): value for name, value in xr_coords(source.geobox).items()}
    time = np.datetime64("NaT", "ns") if source.time is None else source.time.astype("datetime64[ns]")
    coords["time"] = ("time", np.array([time], dtype="datetime64[ns]"))
    spatial = tuple(source.geobox.dimensions)
    variables = {}
    for band in source.bands:
        lazy = _lazy_band(source, band.name, sizes)[np.newaxis]
        attributes = {"units": band.unit, "grid_mapping": "spatial_ref"}
        variables[band.name] = (("time", *spatial), lazy, attributes)
    dataset = xr.Dataset(variables, coords=coords)
    if spatial != ("y", "x"):
        dataset = dataset.rename(dict(zip(spatial, ("y", "x"), strict=True)))
    dataset.attrs = {
        "sensor": source.sensor,
        "product_level": source.level,
        "source": list(source.files),
        "id": source.id,
    }
    if checksums:
        dataset.attrs["checksums"] = source_checksums(source)
    return dataset.compute() if chunks is None else dataset


def _lazy_band(source: SceneSource, band: str, sizes: Mapping[str, int]) -> Any:
    """A dask array of one band; each block reads its own window when it is computed."""
    import dask.array as da
    from dask.base import tokenize

    height, width = source.geobox.shape
    shape = da.core.normalize_chunks((sizes["y"], sizes["x"]), shape=(height, width), dtype=np.float32)

    def read(block_info: Any = None) -> np.ndarray:
        (top, bottom), (left, right) = block_info[None]["array-location"]
        return _read(source, band, source.geobox[top:bottom, left:right])

    name = f"{source.sensor}-{band}-{tokenize(source.id, source.files, band, shape, str(source.bands))}"
    return da.map_blocks(read, chunks=shape, dtype=np.float32, meta=np.empty((0, 0), np.float32), name=name)


def _read(source: SceneSource, band: str, geobox: GeoBox) -> np.ndarray:
    from ecumene.scenes.reading import read_bands

    return np.asarray(read_bands(source, [band], geobox)[0])


def source_checksums(source: SceneSource) -> dict[str, str]:
    """Return the SHA-256 of every local file of a scene, by href."""
    local = [href for href in source.files if not is_remote(href) and Path(href).is_file()]
    return {href: _checksum(href, Path(href).stat().st_mtime_ns, Path(href).stat().st_size) for href in local}


@lru_cache(maxsize=4096)
def _checksum(href: str, modified: int, size: int) -> str:
    """Checksum of a file state; time and size are in the key so that a changed file is read again."""
    return sha256_of(href)
