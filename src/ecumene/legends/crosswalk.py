"""Crosswalks: what the classes of one legend are called in another.

A crosswalk is data: a YAML file in `crosswalks` for each pair of published legends, or the user's own. A class may go
to one class, to several by shares of its area, or to none (no data). What has no file of its own is chained from those
that have, by the shortest way.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cache, reduce
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ecumene.core.errors import ConfigurationError, LabelError
from ecumene.legends.legend import Legend
from ecumene.legends.library import get_legend, list_legends

NODATA = 255
_TOLERANCE = 1e-6
_LARGEST_FILE = 1 << 20


@dataclass(frozen=True, eq=False)
class Crosswalk:
    """Classes of a source legend as shares of the classes of a target legend.

    Attributes:
        source: Legend of the codes that go in.
        target: Legend of the codes that come out.
        shares: float64 `[source, target]`, each 0..1; a row sums to 1, or to less where part of the class has no
            counterpart.
        origin: Where the correspondence comes from.
    """

    source: Legend
    target: Legend
    shares: NDArray[np.float64]
    origin: str = ""

    def __post_init__(self) -> None:
        shape = (len(self.source), len(self.target))
        if self.shares.shape != shape or not np.isfinite(self.shares).all():
            raise LabelError(f"A crosswalk of {shape[0]} to {shape[1]} classes needs that many finite shares.")
        sums = self.shares.sum(axis=1)
        if (self.shares < 0).any() or (sums > 1 + _TOLERANCE).any():
            worst = self.source.names[int(np.argmax(np.where((self.shares < 0).any(axis=1), np.inf, sums)))]
            raise LabelError(
                f"The shares of the class {worst!r} must be 0 or more and sum to 1; correct the crosswalk."
            )

    @property
    def split(self) -> tuple[str, ...]:
        """Source classes that go to several targets (or in part to none)."""
        whole = (self.shares > 1 - _TOLERANCE).any(axis=1) | (self.shares.sum(axis=1) < _TOLERANCE)
        return tuple(name for name, single in zip(self.source.names, whole, strict=True) if not single)

    @property
    def without(self) -> tuple[str, ...]:
        """Source classes that have no counterpart at all."""
        lost = self.shares.sum(axis=1) < _TOLERANCE
        return tuple(name for name, gone in zip(self.source.names, lost, strict=True) if gone)

    def require_single(self) -> None:
        """Make sure that each class goes to one class, or to no data.

        Raises:
            LabelError: If one is split.
        """
        if not self.split:
            return
        first = self.split[0]
        row = self.shares[self.source.index_of(first)]
        names = [f"{name} ({share:.0%})" for name, share in zip(self.target.names, row, strict=True) if share > 0]
        raise LabelError(
            f"The class {first!r} of {self.source.name} is more than one class of {self.target.name}: "
            f"{', '.join(names)}; use --shares with a product that has the layer probability, or your own crosswalk."
        )

    def targets(self) -> NDArray[np.intp]:
        """Return the index of the target class of each source class, -1 for none.

        Raises:
            LabelError: If a class is split.
        """
        self.require_single()
        return np.where(self.shares.sum(axis=1) < _TOLERANCE, -1, self.shares.argmax(axis=1))

    def codes(self, values: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Return class codes in the target legend; `NODATA` for none, for nodata and for codes of no class.

        Raises:
            LabelError: If a class is split.
        """
        table = np.full(256, NODATA, np.uint8)
        for code, target in zip(self.source.values, self.targets(), strict=True):
            if target >= 0:
                table[code] = self.target.values[target]
        stored = np.asarray(values)
        known = (stored >= 0) & (stored <= NODATA)
        return np.asarray(table[np.where(known, stored, NODATA).astype(np.intp)])

    def probabilities(self, values: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities of the target classes and of having no counterpart.

        By the law of total probability, p(t) = sum over s of share(t | s) p(s): classes that become one are summed.

        Args:
            values: Probabilities `[source, ...]`; they sum to 1.

        Returns:
            float32 `[target, ...]`, scaled to sum to 1 where any of it is left, and float32 `[...]`, what was lost.
        """
        given = np.asarray(values, np.float32)
        summed = np.tensordot(self.shares.T.astype(np.float32), given, axes=1)
        left = summed.sum(axis=0)
        lost = np.clip(given.sum(axis=0) - left, 0.0, 1.0)
        scaled = np.divide(summed, left, out=np.zeros_like(summed), where=left > _TOLERANCE)
        return scaled, np.asarray(lost, np.float32)

    def sets(self, bits: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.uint32]:
        """Return sets of classes as bit masks: every target of every class in the set.

        A set that holds the true source class holds the true target class, so that its coverage is kept.

        Args:
            bits: uint32, bit i for `source.classes[i]`.

        Raises:
            LabelError: If the target has more than 32 classes.
        """
        if len(self.target) > 32:
            raise LabelError(f"Class sets hold at most 32 classes; {self.target.name} has {len(self.target)}.")
        given = np.asarray(bits, np.uint32)
        result = np.zeros(given.shape, np.uint32)
        for index, row in enumerate(self.shares[:32]):
            mask = np.uint32(sum(1 << int(target) for target in np.flatnonzero(row > 0)))
            result |= np.where((given >> np.uint32(index)) & np.uint32(1), mask, np.uint32(0)).astype(np.uint32)
        return result

    def then(self, other: Crosswalk) -> Crosswalk:
        """Return this crosswalk followed by another.

        Raises:
            LabelError: If the other does not begin where this one ends.
        """
        if other.source.names != self.target.names:
            raise LabelError(f"A crosswalk to {self.target.name} cannot go on from {other.source.name}.")
        return Crosswalk(self.source, other.target, self.shares @ other.shares, f"{self.origin} Then: {other.origin}")

    def of(self, legend: Legend) -> Crosswalk:
        """Return the crosswalk for the classes of another legend with names of this one's source.

        Args:
            legend: Its codes and order count; its class names must be names of the source.

        Raises:
            LabelError: If a class is not in the source.
        """
        unknown = [name for name in legend.names if name not in self.source.names]
        if unknown:
            raise LabelError(
                f"The crosswalk from {self.source.name} has no class {unknown[0]!r}; it has: "
                f"{', '.join(self.source.names)}."
            )
        rows = [self.source.index_of(name) for name in legend.names]
        return Crosswalk(legend, self.target, self.shares[rows], self.origin)


def _folder() -> Any:
    return resources.files("ecumene.legends") / "crosswalks"


@cache
def list_crosswalks() -> tuple[tuple[str, str], ...]:
    """Return the pairs (source, target) that have a file, sorted."""
    names = [item.name.removesuffix(".yaml") for item in _folder().iterdir() if item.name.endswith(".yaml")]
    pairs = [name.split("--") for name in names]
    return tuple(sorted((source, target) for source, target in pairs))


def _shares(entry: Any, name: str, target: Legend) -> NDArray[np.float64]:
    row = np.zeros(len(target))
    if entry is None:
        return row
    parts = {entry: 1.0} if isinstance(entry, str) else entry
    if not isinstance(parts, dict) or not all(isinstance(share, (int, float)) for share in parts.values()):
        raise LabelError(f"The class {name!r} of a crosswalk needs a class, shares of classes, or null for none.")
    for other, share in parts.items():
        if other not in target.names:
            raise LabelError(
                f"The crosswalk sends {name!r} to {other!r}, which is not in {target.name}; it has: "
                f"{', '.join(target.names)}."
            )
        row[target.index_of(other)] = float(share)
    if abs(row.sum() - 1.0) > _TOLERANCE:
        raise LabelError(f"The shares of the class {name!r} sum to {row.sum():g}, not to 1; correct the crosswalk.")
    return row


def _parse(text: str, title: str) -> Crosswalk:
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LabelError(f"The crosswalk {title} is no YAML file; it needs target_legend and classes.") from error
    if not isinstance(given, dict) or not isinstance(given.get("classes"), dict) or "target_legend" not in given:
        raise LabelError(f"The crosswalk {title} needs target_legend and classes (source class: target class).")
    unknown = set(given) - {"source_legend", "target_legend", "source", "classes"}
    if unknown:
        raise LabelError(f"The crosswalk {title} has an unknown entry {min(map(str, unknown))!r}.")
    target = get_legend(str(given["target_legend"]))
    classes = {str(name): entry for name, entry in given["classes"].items()}
    named = str(given.get("source_legend", "classes"))
    source = get_legend(named) if named in list_legends() else Legend.from_names(classes, name=named)
    for name in source.names:
        if name not in classes:
            raise LabelError(
                f"The crosswalk {title} has no target for the class {name!r} of {source.name}; name one, or null for "
                "no data."
            )
    extra = [name for name in classes if name not in source.names]
    if extra:
        raise LabelError(f"The crosswalk {title} names {extra[0]!r}, which is no class of {source.name}.")
    rows = np.stack([_shares(classes[name], name, target) for name in source.names])
    return Crosswalk(source, target, rows, str(given.get("source", title)).strip())


@cache
def _published(source: str, target: str) -> Crosswalk:
    return _parse((_folder() / f"{source}--{target}.yaml").read_text(encoding="utf-8"), f"{source}--{target}")


def get_crosswalk(source: str, target: str) -> Crosswalk:
    """Return the crosswalk between two published legends, chained by the shortest way where it has no file.

    Args:
        source: Name of a legend of the library.
        target: Name of another.

    Raises:
        ConfigurationError: If there is no such legend, or no way between the two.
    """
    for name in (source, target):
        get_legend(name)
    if source == target:
        legend = get_legend(source)
        return Crosswalk(legend, legend, np.eye(len(legend)), "The legend itself.")
    came = {source: source}
    queue = deque([source])
    while queue and target not in came:
        here = queue.popleft()
        for start, end in list_crosswalks():
            if start == here and end not in came:
                came[end] = here
                queue.append(end)
    if target not in came:
        reachable = ", ".join(sorted(set(came) - {source})) or "none"
        raise ConfigurationError(
            f"There is no crosswalk from {source} to {target}; from {source} one can go to: {reachable}; or give your "
            "own file."
        )
    way = [target]
    while way[-1] != source:
        way.append(came[way[-1]])
    steps = way[::-1]
    first, *further = [_published(start, end) for start, end in pairwise(steps)]
    return reduce(Crosswalk.then, further, first)


def read_crosswalk(path: Path | str) -> Crosswalk:
    """Read a crosswalk of one's own.

    Args:
        path: YAML with `target_legend` (a published one), `classes` (source class: target class, shares of target
            classes, or null), and optionally `source_legend` and `source` (where it comes from).

    Raises:
        LabelError: In one sentence, if something is missing, unknown or does not sum to 1.
        ConfigurationError: If the target legend is unknown.
    """
    place = Path(path)
    try:
        if place.stat().st_size > _LARGEST_FILE:
            raise LabelError(f"{place} is too large to be a crosswalk.")
        text = place.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"The crosswalk {place} cannot be read; give a YAML file.") from error
    return _parse(text, place.name)
