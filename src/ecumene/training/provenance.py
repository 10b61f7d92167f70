"""Where a model comes from: data with checksums, seeds, versions, revision. No absolute paths."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ecumene._version import __version__
from ecumene.core.errors import ContractError
from ecumene.core.files import sha256_of
from ecumene.models.contract import InputBand
from ecumene.samples.patches import ChannelStatistics
from ecumene.scenes.contract import Channel, SceneSource

_LIBRARIES = (
    "numpy", "torch", "lightning", "timm", "segmentation-models-pytorch", "scikit-learn", "lightgbm",
    "rasterio", "odc-geo", "numba",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return versions of ecumene, Python and the libraries that decide a model."""
    found = {"ecumene": __version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_revision(start: Path | None = None) -> str | None:
    """Return the commit of the working tree that this package is run from, or None.

    Args:
        start: Folder to look from, upwards; None: this package's.
    """
    start = start or Path(__file__).resolve().parent
    for folder in (start, *start.parents):
        if (folder / ".git").is_dir():
            return _head(folder / ".git")
        if (folder / "site-packages").is_dir() or folder.name == "site-packages":
            return None
    return None


def _head(git: Path) -> str | None:
    try:
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref: "):
            return head or None
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text(encoding="utf-8").strip() or None
        for line in (git / "packed-refs").read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {name}"):
                return line.split(" ", 1)[0]
    except OSError:
        return None
    return None


def describe_sources(sources: Sequence[SceneSource]) -> list[dict[str, Any]]:
    """Return id, sensor, level, time and file checksums of scenes; files by name only."""
    described = []
    for source in sources:
        entry: dict[str, Any] = {"id": source.id, "sensor": source.sensor, "level": source.level}
        if source.time is not None:
            entry["time"] = f"{np.datetime_as_string(source.time, unit='s')}Z"
        if "licence" in source.properties:
            entry["licence"] = str(source.properties["licence"])
        hrefs = source.files or tuple(dict.fromkeys(band.href for band in source.bands))
        entry["files"] = {Path(href).name: _checksum(href) for href in hrefs}
        described.append(entry)
    return described


def _checksum(href: str) -> str | None:
    """Return a local file's SHA-256, None for what is not a local file."""
    path = Path(href.removeprefix("file://"))
    return sha256_of(path) if path.is_file() else None


def training_provenance(
    sources: Sequence[SceneSource], *, labels: Path | str | None = None, seed: int, **entries: Any
) -> dict[str, Any]:
    """Return the provenance part of `ModelSpec.training`.

    Args:
        sources: Scenes that were learned from.
        labels: File of the labels.
        seed: Of the training.
        **entries: Anything else that is JSON-able.
    """
    provenance: dict[str, Any] = {
        "scenes": describe_sources(sources),
        "seed": seed,
        "versions": versions(),
        "platform": f"{platform.system()} {platform.machine()}",
        "git_revision": git_revision(),
    }
    if labels is not None:
        provenance["labels"] = {"file": Path(labels).name, "sha256": _checksum(str(labels))}
    return provenance | entries


def make_inputs(
    channels: Sequence[Channel], statistics: ChannelStatistics | Mapping[str, Any]
) -> tuple[InputBand, ...]:
    """Join channels with the training data's statistics.

    Args:
        channels: In the order of the image's axis C.
        statistics: Result of `samples.patches.channel_statistics`, or a mapping with its `mean`, `std` and,
            optionally, `low` and `high` (0.1 % and 99.9 % quantiles), each `[C]`.

    Returns:
        The bands as the bundle states them.

    Raises:
        ContractError: If a channel has no finite mean.
    """

    def get(name: str) -> Any:
        found = statistics.get(name) if isinstance(statistics, Mapping) else getattr(statistics, name, None)
        return np.full(len(channels), np.nan) if found is None else np.asarray(found, np.float64)

    mean, std, low, high = get("mean"), get("std"), get("low"), get("high")
    inputs = []
    for position, channel in enumerate(channels):
        if not np.isfinite(mean[position]):
            raise ContractError(f"The training data have no valid pixel of {channel.key}; leave that band out.")
        spread = float(std[position])
        inputs.append(
            InputBand(
                sensor=channel.sensor,
                level=channel.level,
                band=channel.band,
                unit=channel.unit,
                center_wavelength_um=channel.center_wavelength_um,
                ground_sampling_m=channel.ground_sampling_m,
                mean=float(mean[position]),
                # A constant band carries nothing; dividing by 1 keeps it harmless.
                std=spread if np.isfinite(spread) and spread > 1e-12 else 1.0,
                minimum=float(low[position]) if np.isfinite(low[position]) else None,
                maximum=float(high[position]) if np.isfinite(high[position]) else None,
            )
        )
    return tuple(inputs)
