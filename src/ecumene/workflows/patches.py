"""The verb `patches`: scenes and land-cover polygons become a set of labelled patches, and masks."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, ContractError, LabelError, ProductError
from ecumene.core.files import TEMPORARY_MARK, atomic_path, ensure_writable_folder, write_json
from ecumene.core.progress import Progress, silent
from ecumene.core.window import Window
from ecumene.legends import Legend
from ecumene.legends.crosswalk import Crosswalk, get_crosswalk, read_crosswalk
from ecumene.legends.library import get_legend
from ecumene.mapping.cog import write_category_names
from ecumene.samples.datasets.eurosat import FILE_BANDS
from ecumene.samples.datasets.eurosat_writing import stored_numbers, write_colours, write_legend, write_measured
from ecumene.samples.labels import LabelRaster, read_labels
from ecumene.samples.patch_choice import ChosenPatch, choose_patches, translate
from ecumene.scenes.grid import ground_sampling_m, window_geobox
from ecumene.scenes.stack import SceneStack
from ecumene.workflows.stacks import Declaration, Paths, as_paths, open_stack

_STRIP = 1024
_TEN_METRES = (9.9, 10.1)
_CODE = re.compile(r"\b(\d{3,5})\b")


@dataclass(frozen=True)
class MadePatches:
    """What was written.

    Attributes:
        folder: The set.
        counts: Patches of each class.
        left_out: Patches that showed a class but lacked pixels.
        masks: Masks, one a scene.
        notes: Sentences about classes that were left out.
    """

    folder: Path
    counts: dict[str, int]
    left_out: int
    masks: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def make_patches(
    scenes: Paths,
    labels: str | Path,
    out: str | Path,
    *,
    label_field: str | None = "class",
    crosswalk: Crosswalk | None = None,
    legend: str | None = None,
    size: int = 64,
    step: int | None = None,
    shares: Mapping[str, float] | None = None,
    colours: bool = False,
    masks: bool = False,
    progress: Progress = silent,
    **declaration: Unpack[Declaration],
) -> MadePatches:
    """Cut labelled patches in EuroSAT's format out of Sentinel-2 L1C scenes, and write masks of the labelled area.

    Args:
        scenes: One path an acquisition; each gives patches of its own.
        labels: Polygons (or a categorical raster) with the class.
        out: Folder to write; must not exist or be empty.
        label_field: Column of the class; None for a raster.
        crosswalk: From the labels' classes, which its source may name or number, to those of the patches; a class that
            it splits is left out. None: the classes are kept.
        legend: Without a crosswalk: published legend that the labels use; None: the labels' own classes.
        size: Side of a patch in pixels.
        step: Distance of neighbouring patches in pixels; None: `size`.
        shares: Least share of a patch that a class must cover, by class; 0.9 for the others.
        colours: Also write RGB versions, `EuroSAT_RGB`.
        masks: Also write the classes of all labelled pixels as one raster a scene, `masks`.
        progress: Called with (patches done, patches, what).
        **declaration: `sensor`, `level`, ... where the files do not say it.

    Returns:
        Counts and places of what was written: `EuroSAT_MS/Class/Class_1.tif` and so on.

    Raises:
        EcumeneError: If scenes lack bands, labels cannot be used, or no patch shows a class.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ProductError(f"{out} exists already; choose another --out, nothing was changed.")
    ensure_writable_folder(out.parent)
    writer: _Writer | None = None
    sources = []
    with _whole_folder(out) as folder:
        for number, scene in enumerate(as_paths(scenes)):
            stack = _thirteen_bands(open_stack(scene, mask_clouds=False, **declaration))
            raster, notes = _in_legend(read_labels(labels, label_field, stack.geobox), crosswalk, legend)
            writer = writer or _Writer(folder, raster.legend, colours)
            writer.notes += [note for note in notes if note not in writer.notes]
            if writer.legend != raster.legend:
                raise LabelError(
                    "The scenes show different classes of the labels; give a crosswalk or a legend, so that all "
                    "patches share one list of classes."
                )
            chosen = choose_patches(raster, size, step or size, shares)
            writer.write(stack, chosen, size, progress)
            if masks:
                _write_mask(folder / "masks" / f"{number + 1}.tif", raster)
            sources += [source.id for source in stack.sources]
        if writer is None or not sum(writer.counts.values()):
            raise LabelError(
                "No patch shows one class in its least share without gaps; give smaller patches (--patch), a smaller "
                "share for narrow classes (--min-share), or other scenes."
            )
        writer.finish(sources, Path(labels).name, size, step or size, shares or {})
    written = tuple(sorted((out / "masks").glob("*.tif"))) if masks else ()
    return MadePatches(out, writer.counts, writer.left_out, written, tuple(writer.notes))


class _Writer:
    """Writes patches with running numbers a class."""

    def __init__(self, folder: Path, legend: Legend, colours: bool) -> None:
        self.folder, self.legend, self.colours = folder, legend, colours
        self.counts = dict.fromkeys(legend.names, 0)
        self.left_out = 0
        self.notes: list[str] = []

    def write(self, stack: SceneStack, chosen: Sequence[ChosenPatch], size: int, progress: Progress) -> None:
        """Read strips of the scene that hold patches, and write the patches."""
        done = 0
        for window, patches in _strips(chosen, size):
            image = stack.read(window).image[0]
            for patch in patches:
                top, left = patch.row - window.row, patch.col - window.col
                self._one(stack, patch, image[:, top : top + size, left : left + size], size)
                done += 1
            progress(done, len(chosen), "patches")

    def _one(self, stack: SceneStack, patch: ChosenPatch, image: NDArray[np.float32], size: int) -> None:
        if not np.isfinite(image).all():
            self.left_out += 1
            return
        name = self.legend.names[patch.index]
        self.counts[name] += 1
        stem = f"{_file_name(name)}_{self.counts[name]}"
        numbers = stored_numbers(image)
        place = window_geobox(stack.geobox, Window(patch.row, patch.col, size, size))
        path = self.folder / "EuroSAT_MS" / _file_name(name) / f"{stem}.tif"
        write_measured(path, numbers, place.affine, str(place.crs))
        if self.colours:
            write_colours(self.folder / "EuroSAT_RGB" / _file_name(name) / f"{stem}.jpg", numbers)

    def finish(self, sources: Sequence[str], labels: str, size: int, step: int, shares: Mapping[str, float]) -> None:
        """Write the classes that have patches, and where the patches come from."""
        present = tuple(item for item in self.legend.classes if self.counts[item.name])
        renamed = tuple(item.model_copy(update={"name": _file_name(item.name)}) for item in present)
        legend = Legend(name=self.legend.name, source=self.legend.source, classes=renamed)
        for product in ("EuroSAT_MS", "EuroSAT_RGB")[: 2 if self.colours else 1]:
            write_legend(self.folder / product, legend)
        write_json(
            self.folder / "patches.json",
            {
                "format": "EuroSAT",
                "scenes": list(sources),
                "labels": labels,
                "patch": size,
                "step": step,
                "least_share": dict(shares),
                "patches": {name: count for name, count in self.counts.items() if count},
                "left_out": self.left_out,
            },
        )


def _thirteen_bands(stack: SceneStack) -> SceneStack:
    """Return the scene's bands in the order of EuroSAT's files, or refuse the scene."""
    channels = {channel.band: channel for channel in stack.channels}
    if any(channel.sensor != "sentinel-2" or channel.level != "L1C" for channel in stack.channels):
        found = ", ".join(sorted({f"{channel.sensor} {channel.level}" for channel in stack.channels}))
        raise ContractError(f"EuroSAT's format holds Sentinel-2 L1C only, but the scene is {found}.")
    missing = [name for name in FILE_BANDS if name not in channels]
    if missing:
        raise ContractError(
            f"EuroSAT's format needs all 13 bands of Sentinel-2 L1C, but the scene lacks {', '.join(missing)}."
        )
    side = ground_sampling_m(stack.geobox)
    if not _TEN_METRES[0] <= side <= _TEN_METRES[1]:
        raise ContractError(
            f"EuroSAT's patches have pixels of 10 m, but the scene's grid has {side:.4g} m; give a 10 m band first."
        )
    return stack.select([channels[name].key for name in FILE_BANDS])


def _in_legend(labels: LabelRaster, crosswalk: Crosswalk | None, legend: str | None) -> tuple[LabelRaster, list[str]]:
    """Return the labels in the target legend, and sentences about classes that are left out."""
    if crosswalk is None and legend is None:
        return labels, []
    if crosswalk is None:
        target = get_legend(str(legend))
        return translate(labels, spelled(labels.legend.names, target), target), []
    known = spelled(labels.legend.names, crosswalk.source)
    several = set(crosswalk.split)
    aims = dict(zip(crosswalk.source.names, crosswalk.shares.argmax(axis=1), strict=True))
    left = {name for name in crosswalk.source.names if name in several or name in crosswalk.without}
    names = {own: "" if name in left else crosswalk.target.names[aims[name]] for own, name in known.items()}
    notes = [
        f"{name} is more than one class of {crosswalk.target.name} and was left out; give a crosswalk of your own."
        for name in dict.fromkeys(known.values())
        if name in several
    ]
    return translate(labels, names, crosswalk.target), notes


def choose_crosswalk(name: str | None, legend: str | None) -> Crosswalk | None:
    """Return a crosswalk by the name of the published legend that it begins with, or from a YAML file.

    Args:
        name: Such as `urban_atlas`, or the path of a file; None: none.
        legend: Where a published one leads; None: `eurosat`.

    Raises:
        EcumeneError: If there is no such crosswalk or file.
    """
    if name is None:
        return None
    if Path(name).suffix.lower() in (".yaml", ".yml"):
        return read_crosswalk(name)
    return get_crosswalk(name, legend or "eurosat")


def spelled(values: Sequence[str], legend: Legend) -> dict[str, str]:
    """Return the class of a legend that each value of a label file means.

    A value may be the class's name, the name followed by a remark in brackets, its code, or the code that the
    class's description quotes (`11100` of Urban Atlas). Values that mean none are left out.
    """
    table = {item.name.casefold(): item.name for item in legend.classes}
    for item in legend.classes:
        for key in (str(item.value), *_CODE.findall(item.description.split(",")[0])):
            table.setdefault(key.casefold(), item.name)
    plain = {value: value.casefold().split("(")[0].strip() for value in values}
    exact = {value: table[value.casefold()] for value in values if value.casefold() in table}
    return {value: table[short] for value, short in plain.items() if short in table} | exact


def parse_shares(values: Sequence[str] | None) -> dict[str, float]:
    """Turn `Highway=0.1` into numbers by class.

    Raises:
        ConfigurationError: If a value is written otherwise.
    """
    shares = {}
    for value in values or ():
        name, _, number = value.partition("=")
        try:
            shares[name.strip()] = float(number)
        except ValueError as error:
            raise ConfigurationError(f"A least share is written CLASS=0.1, not {value!r}.") from error
    return shares


def _strips(chosen: Sequence[ChosenPatch], size: int) -> Iterator[tuple[Window, list[ChosenPatch]]]:
    """Yield windows of the scene with the patches that lie in them, so that blocks of a file are decoded once."""
    groups: dict[tuple[int, int], list[ChosenPatch]] = {}
    for patch in chosen:
        groups.setdefault((patch.row // _STRIP, patch.col // _STRIP), []).append(patch)
    for _, patches in sorted(groups.items()):
        top, left = min(patch.row for patch in patches), min(patch.col for patch in patches)
        bottom = max(patch.row for patch in patches) + size
        right = max(patch.col for patch in patches) + size
        yield Window(top, left, bottom - top, right - left), patches


def _write_mask(path: Path, labels: LabelRaster) -> None:
    """Write class codes of the labelled window, 255 unlabelled, with colours and names for GIS programs."""
    import rasterio

    place = window_geobox(labels.geobox, labels.window)
    codes = np.array([*labels.legend.values, 255], np.uint8)[labels.classes]
    with (
        atomic_path(path) as temporary,
        rasterio.open(
            temporary,
            "w",
            driver="GTiff",
            count=1,
            height=codes.shape[0],
            width=codes.shape[1],
            dtype="uint8",
            nodata=255,
            crs=str(place.crs),
            transform=place.affine,
            compress="deflate",
        ) as file,
    ):
        file.write(codes, 1)
        file.set_band_description(1, "class")
        file.write_colormap(1, {item.value: _rgba(item.colour) for item in labels.legend.classes})
    table = [(item.value, item.name, item.colour) for item in labels.legend.classes]
    write_category_names(path.with_name(f"{path.name}.aux.xml"), table)


def _rgba(colour: str) -> tuple[int, int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16), 255


def _file_name(name: str) -> str:
    """Return a class name that can name a folder everywhere."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.") or "class"


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `out` when all went well, and vanishes otherwise."""
    folder = out.with_name(f"{TEMPORARY_MARK}{secrets.token_hex(4)}-{out.name}")
    try:
        folder.mkdir()
        yield folder
        if out.exists():
            out.rmdir()
        folder.replace(out)
    except OSError as error:
        raise ProductError(f"{out} cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
