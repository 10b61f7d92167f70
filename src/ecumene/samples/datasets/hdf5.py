"""Rows of HDF5 data sets by number: nothing is loaded as a whole, and several threads may read."""

from __future__ import annotations

import os
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import SceneError
from ecumene.core.optional import require

_PREAD = hasattr(os, "pread")


class Hdf5File:
    """One HDF5 file, open for reading as long as the object lives.

    Rows of a contiguous, uncompressed data set are read straight from the file, which needs no lock and lets
    threads read side by side; others go through h5py, which lets one thread in at a time.

    Args:
        path: The file.

    Raises:
        SceneError: If the file is missing, cut short or no HDF5.
        MissingDependencyError: If h5py is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        h5py: Any = require("h5py")
        self.path = Path(path)
        try:
            self._file = h5py.File(self.path, "r")
        except FileNotFoundError:
            raise SceneError(f"{self.path} does not exist.") from None
        except OSError as error:
            raise SceneError(
                f"{self.path} is cut short or is no HDF5 file ({_first(error)}); download it again."
            ) from error
        self._lock = threading.Lock()
        self._descriptor = os.open(self.path, os.O_RDONLY) if _PREAD else None
        self._places: dict[str, int | None] = {}
        weakref.finalize(self, _close, self._file, self._descriptor)

    def _data_set(self, name: str) -> Any:
        there = sorted(self._file.keys())
        if name not in there or not hasattr(self._file[name], "shape"):
            raise SceneError(
                f"{self.path} has no data set {name!r}; it holds {', '.join(there) or 'nothing'}; "
                "give the file that its publisher describes."
            )
        return self._file[name]

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the file, or the default where there is none."""
        value = self._file.attrs.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a data set.

        Raises:
            SceneError: If there is none of that name.
        """
        return tuple(int(size) for size in self._data_set(name).shape)

    def all(self, name: str) -> NDArray[Any]:
        """Return a whole data set; for small ones.

        Raises:
            SceneError: If there is none of that name, or it cannot be read.
        """
        return self._ask(name, slice(None))

    def rows(self, name: str, numbers: NDArray[np.integer]) -> NDArray[Any]:
        """Return these rows `[n, ...]` of a data set, in this order, in the file's type.

        Args:
            name: Of the data set.
            numbers: Rows, each within the data set; any order, repetitions allowed.

        Raises:
            SceneError: If the rows cannot be read.
        """
        found = self._data_set(name)
        start = self._start_of(name, found)
        if start is not None:
            return self._straight(found, start, numbers)
        result = np.empty((len(numbers), *found.shape[1:]), found.dtype)
        # A chunk is decompressed as a whole, so that rows of one chunk are taken together.
        chunk = found.chunks[0] if found.chunks else 1
        for first in np.unique(numbers // chunk) * chunk:
            here = np.flatnonzero(numbers // chunk == first // chunk)
            part = numbers[here]
            low = int(part.min())
            result[here] = self._ask(name, slice(low, int(part.max()) + 1))[part - low]
        return result

    def _ask(self, name: str, which: slice) -> NDArray[Any]:
        try:
            with self._lock:
                return np.asarray(self._data_set(name)[which])
        except OSError as error:
            raise SceneError(
                f"{name} of {self.path} cannot be read ({_first(error)}); download the file again."
            ) from error

    def _start_of(self, name: str, found: Any) -> int | None:
        """Return where a contiguous data set begins in the file, or None if it is not contiguous."""
        if name not in self._places:
            plain = self._descriptor is not None and found.chunks is None and not found.external
            self._places[name] = found.id.get_offset() if plain else None
        return self._places[name]

    def _straight(self, found: Any, start: int, numbers: NDArray[np.integer]) -> NDArray[Any]:
        assert self._descriptor is not None
        shape, kind = found.shape[1:], np.dtype(found.dtype)
        size = int(np.prod(shape)) * kind.itemsize
        result = np.empty((len(numbers), *shape), kind)
        for place, number in enumerate(numbers):
            buffer = os.pread(self._descriptor, size, start + int(number) * size)
            if len(buffer) != size:
                raise SceneError(f"{self.path} ends before its patch {int(number)}; download the file again.")
            result[place] = np.frombuffer(buffer, kind).reshape(shape)
        return result


def _first(error: OSError) -> str:
    return str(error).splitlines()[0].rstrip(".")


def _close(file: Any, descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)
    try:
        file.close()
    except Exception:  # h5py may be half torn down when the interpreter ends
        return
