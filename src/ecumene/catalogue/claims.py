"""Claims: who works on a unit, so that two runs on one store do not do the same work or damage each other.

A claim is a small object `<unit>.<generation>` that is created exclusively: of any number of workers that try, one
succeeds. It says who holds it and is renewed while the work goes on. A claim that nobody renews is not deleted by
those who want the unit; they create the next generation, again exclusively, so that one of them wins. The highest
generation counts: a worker that comes back after it was given up finds a higher one and does not publish. Claims are
deleted after the product has been published, and whoever gets a claim looks first whether the product is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ecumene.core.errors import ProductError

RENEW_SECONDS = 15.0
"""How often a claim is renewed."""

STALE_SECONDS = 120.0
"""A claim not renewed for this long is given up, wherever its holder is."""

_BEAT_SECONDS = 0.5


class ClaimShelf(Protocol):
    """Where claims lie. Names are `<unit>.<generation>`."""

    def create(self, name: str, text: str) -> bool:
        """Create a claim; False if there is one of this name."""

    def read(self, name: str) -> str | None:
        """Return a claim's text, None if it is gone."""

    def age(self, name: str) -> float | None:
        """Return the seconds since a claim was created or renewed, None if it is gone."""

    def renew(self, name: str, text: str) -> None:
        """Make a claim young again."""

    def delete(self, name: str) -> None:
        """Delete a claim, if it is there."""

    def generations(self, unit: str) -> list[int]:
        """Return the generations of a unit's claims, ascending."""

    def names(self) -> list[str]:
        """Return the names of all claims."""


@dataclass(frozen=True)
class Holder:
    """Who holds a claim."""

    host: str
    pid: int
    started: str
    since: str
    token: str

    @classmethod
    def here(cls) -> Holder:
        """Return this process as a holder, with a new token."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(socket.gethostname(), os.getpid(), _start_of(os.getpid()) or "", now, secrets.token_hex(8))

    def is_dead(self) -> bool:
        """Whether the holder is known to be gone: a process of this host that ended."""
        if self.host != socket.gethostname():
            return False
        start = _start_of(self.pid)
        if start is None:
            return not _signalled(self.pid)
        return bool(self.started) and start != self.started


def _start_of(pid: int) -> str | None:
    """Return when a process started, in the kernel's ticks since boot, so that a reused number is noticed."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else f"{fields[19]}@{_boot()}"


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _signalled(pid: int) -> bool:
    """Whether a process exists, where there is no `/proc`; a finished child that nobody waited for does not count."""
    if Path("/proc/self/stat").exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@dataclass
class Claim:
    """A claim that this process holds."""

    shelf: ClaimShelf
    unit: str
    generation: int
    holder: Holder

    @property
    def name(self) -> str:
        """Its name on the shelf."""
        return f"{self.unit}.{self.generation}"

    def is_held(self) -> bool:
        """Whether it still counts: it is there, it is ours, and there is no later generation."""
        generations = self.shelf.generations(self.unit)
        if not generations or generations[-1] != self.generation:
            return False
        return _holder_of(self.shelf.read(self.name)) == self.holder

    def release(self) -> None:
        """Delete it and older generations."""
        for generation in self.shelf.generations(self.unit):
            if generation <= self.generation:
                self.shelf.delete(f"{self.unit}.{generation}")

    @contextlib.contextmanager
    def kept_alive(self, every: float = RENEW_SECONDS) -> Iterator[None]:
        """Renew the claim in the background while the block runs."""
        heart = _Heart.of_this_process()
        heart.add(self, every)
        try:
            yield
        finally:
            heart.remove(self)

    def renew(self) -> None:
        """Make it young again; a renewal that fails is not the end of the work."""
        with contextlib.suppress(ProductError, OSError):
            self.shelf.renew(self.name, _text(self.holder))


class _Heart:
    """One thread a process that renews all its claims; starting one a claim would cost more than the claim."""

    _instance: _Heart | None = None
    _guard = threading.Lock()

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._claims: dict[int, tuple[Claim, float, float]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._beat, name="claims", daemon=True).start()

    @classmethod
    def of_this_process(cls) -> _Heart:
        """Return the heart of this process; a forked child has its own."""
        with cls._guard:
            if cls._instance is None or cls._instance.pid != os.getpid():
                cls._instance = cls()
            return cls._instance

    def add(self, claim: Claim, every: float) -> None:
        with self._lock:
            self._claims[id(claim)] = (claim, every, time.monotonic() + every)

    def remove(self, claim: Claim) -> None:
        with self._lock:
            self._claims.pop(id(claim), None)

    def _beat(self) -> None:
        while True:
            time.sleep(_BEAT_SECONDS)
            now = time.monotonic()
            with self._lock:
                late = [(claim, every) for claim, every, due in self._claims.values() if due <= now]
                for claim, every in late:
                    self._claims[id(claim)] = (claim, every, now + every)
            for claim, _ in late:
                claim.renew()


def take_claim(shelf: ClaimShelf, unit: str, stale: float = STALE_SECONDS) -> Claim | None:
    """Try to become the one who works on a unit.

    Args:
        shelf: Where claims lie.
        unit: The unit.
        stale: Seconds without renewal after which a claim is given up.

    Returns:
        The claim, or None if somebody else holds it.
    """
    generations = shelf.generations(unit)
    following = 0
    if generations:
        last = f"{unit}.{generations[-1]}"
        if not _abandoned(shelf, last, stale):
            return None
        following = generations[-1] + 1
    claim = Claim(shelf, unit, following, Holder.here())
    return claim if shelf.create(claim.name, _text(claim.holder)) else None


def sweep(shelf: ClaimShelf, finished: Callable[[str], bool], stale: float = STALE_SECONDS) -> None:
    """Delete what workers that died after publishing have left: abandoned claims of finished units.

    Args:
        shelf: Where claims lie.
        finished: Whether a unit's product is in its place.
        stale: Seconds without renewal after which a claim is given up.
    """
    for name in shelf.names():
        if finished(name.rpartition(".")[0]) and _abandoned(shelf, name, stale):
            shelf.delete(name)


def held(shelf: ClaimShelf, stale: float = STALE_SECONDS) -> list[str]:
    """Return the units that somebody works on: those whose latest claim is not abandoned.

    Args:
        shelf: Where claims lie.
        stale: Seconds without renewal after which a claim is given up.

    Returns:
        Names of units, sorted.
    """
    latest: dict[str, int] = {}
    for name in shelf.names():
        unit, _, generation = name.rpartition(".")
        if generation.isdigit():
            latest[unit] = max(int(generation), latest.get(unit, 0))
    return sorted(unit for unit, generation in latest.items() if _is_held(shelf, f"{unit}.{generation}", stale))


def _is_held(shelf: ClaimShelf, name: str, stale: float) -> bool:
    """Whether a claim is there and counts; one that vanishes while it is looked at was released."""
    return shelf.age(name) is not None and not _abandoned(shelf, name, stale)


def _abandoned(shelf: ClaimShelf, name: str, stale: float) -> bool:
    holder = _holder_of(shelf.read(name))
    if holder is not None and holder.is_dead():
        return True
    age = shelf.age(name)
    return age is not None and age > stale


def _text(holder: Holder) -> str:
    return json.dumps(holder.__dict__, sort_keys=True)


def _holder_of(text: str | None) -> Holder | None:
    """Return the holder in a claim's text; None where it is gone or was not written whole."""
    try:
        return None if text is None else Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


class FolderShelf:
    """Claims as files of a folder that all workers share."""

    def __init__(self, folder: Path) -> None:
        """Use a folder; created."""
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProductError(f"The folder {folder} cannot be created ({error.strerror}).") from error

    def create(self, name: str, text: str) -> bool:
        """Create a claim; False if there is one of this name."""
        try:
            handle = os.open(self.folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        except OSError as error:
            raise ProductError(f"{self.folder} cannot be written to ({error.strerror}).") from error
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        return True

    def read(self, name: str) -> str | None:
        """Return a claim's text, None if it is gone."""
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def age(self, name: str) -> float | None:
        """Return the seconds since renewal, by the clock of the file system, which all hosts share."""
        probe = self.folder / f"_clock-{secrets.token_hex(4)}"
        try:
            probe.touch()
            return probe.stat().st_mtime - (self.folder / name).stat().st_mtime
        except OSError:
            return None
        finally:
            probe.unlink(missing_ok=True)

    def renew(self, name: str, text: str) -> None:
        """Make a claim young again; the time is set by the file system."""
        os.utime(self.folder / name)

    def delete(self, name: str) -> None:
        """Delete a claim, if it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def generations(self, unit: str) -> list[int]:
        """Return the generations of a unit's claims, ascending; they begin at 0 or where older ones were deleted."""
        found = []
        for path in self.folder.glob(f"{unit}.*"):
            number = path.name[len(unit) + 1 :]
            if number.isdigit():
                found.append(int(number))
        return sorted(found)

    def names(self) -> list[str]:
        """Return the names of all claims."""
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("_clock-"))
