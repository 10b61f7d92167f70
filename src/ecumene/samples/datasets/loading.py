"""Images of an opened data set as training reads them: a subset, with a cache of limited size.

Under a random order of the samples every image is read once an epoch, so that throwing out one image for another gains
nothing: what is in the cache stays there, and the rest is read from the official files each time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ecumene.core.errors import LabelError
from ecumene.samples.datasets.contract import DataSet
from ecumene.samples.scene_set import Answers, SceneSet, count_classes
from ecumene.scenes.contract import Channel

CACHE_BYTES = 1 << 30
"""Most memory that the images of one data set keep while it is trained on."""


class ImageCache:
    """Images of a data set that are kept in memory; may be used by several threads at once.

    Args:
        count: Images of the data set.
        shape: Channels, rows and columns of an image.
        limit: Most bytes that the images may take.
    """

    def __init__(self, count: int, shape: tuple[int, int, int], limit: int = CACHE_BYTES) -> None:
        self.capacity = min(count, limit // max(1, 4 * int(np.prod(shape))))
        # Pages of memory are taken when an image comes, not here.
        self._images = np.empty((self.capacity, *shape), np.float32)
        self._slot = np.full(count, -1, np.int64)
        self._used = 0
        self._lock = threading.Lock()

    def get(self, indices: NDArray[np.intp], into: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Copy the images that are there to their places in `into` `[N, C, P, P]`; return which these are, `[N]`."""
        slots = self._slot[indices]
        there: NDArray[np.bool_] = slots >= 0
        if there.any():
            into[there] = self._images[slots[there]]
        return there

    def put(self, indices: NDArray[np.intp], images: NDArray[np.float32]) -> None:
        """Keep images while there is room."""
        with self._lock:
            for index, image in zip(indices, images, strict=True):
                if self._used >= self.capacity:
                    return
                if self._slot[index] < 0:
                    self._images[self._used] = image
                    self._slot[index] = self._used  # last: a reader sees whole images only
                    self._used += 1


class LazyScenes:
    """Some images of a data set, read when they are needed; see `SceneSamples`.

    Args:
        data: The opened data set.
        indices: Which of its samples, in this order; None: all.
        cache: Shared by the subsets of one data set; None: a new one.
        cache_bytes: Limit of a new one.
    """

    def __init__(
        self,
        data: DataSet,
        indices: NDArray[np.integer] | Sequence[int] | None = None,
        *,
        cache: ImageCache | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.data = data
        self.indices = np.arange(len(data)) if indices is None else np.asarray(indices, np.intp)
        self.cache = cache or ImageCache(len(data), self._shape(), cache_bytes)

    def _shape(self) -> tuple[int, int, int]:
        return len(self.data.channels), self.data.patch_size, self.data.patch_size

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def label(self) -> Answers:
        """As in `SceneSet`."""
        return self.data.label[self.indices]

    @property
    def mask(self) -> Answers:
        """The answers under the name that labels of pixels have."""
        return self.label

    @property
    def group(self) -> NDArray[np.int32]:
        """As in `SceneSet`."""
        return self.data.group[self.indices]

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Channels of the images."""
        return self.data.channels

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, rows and columns of an image."""
        return self._shape()

    def class_counts(self, n_classes: int) -> NDArray[np.int64]:
        """Return the images of each class; of several labels, the images that have each."""
        return count_classes(self.label, n_classes)

    def read(self, indices: NDArray[np.integer] | Sequence[int]) -> SceneSet:
        """Return the images with these numbers, in this order, from the cache where they are there.

        Raises:
            EcumeneError: If a file cannot be read.
            LabelError: If the data set gives images of another shape than it states.
        """
        chosen = self.indices[np.asarray(indices, np.intp)]
        images = np.empty((len(chosen), *self._shape()), np.float32)
        there = self.cache.get(chosen, images)
        if not there.all():
            fresh = self.data.read(chosen[~there]).image
            if fresh.shape[1:] != images.shape[1:]:
                raise LabelError(
                    f"The data set {self.data.info.name} gave images of {fresh.shape[1:]} bands, rows and columns, but "
                    f"states {images.shape[1:]}; fetch its files again."
                )
            images[~there] = fresh
            self.cache.put(chosen[~there], fresh)
        return SceneSet(images, self.data.label[chosen], self.data.group[chosen], self.data.channels)

    def take(self, indices: NDArray[np.integer] | Sequence[int]) -> LazyScenes:
        """Return these images as a source that shares the cache."""
        return LazyScenes(self.data, self.indices[np.asarray(indices, np.intp)], cache=self.cache)

    def digest(self) -> bytes:
        """Return a SHA-256 of the files' names and sizes, the channels, labels and order of the samples."""
        digest = hashlib.sha256(checksum_of(self.data).encode())
        digest.update("\n".join(channel.key for channel in self.channels).encode())
        for array in (self.indices, self.label):
            digest.update(np.ascontiguousarray(array).data)
        return digest.digest()


def checksum_of(data: DataSet) -> str:
    """Return one SHA-256 over the list of a data set's files (names inside of its folder, and sizes) and its samples.

    Pixels are not read: a data set of many gigabytes is recognised in a second. The folder's own name and place are
    not part of it.
    """
    digest = hashlib.sha256(data.info.name.encode())
    for name, size in files_of(data.folder):
        digest.update(f"{name}\0{size}\n".encode())
    digest.update("\n".join(str(name) for name in data.ids).encode())
    digest.update(np.ascontiguousarray(data.label).data)
    return digest.hexdigest()


def files_of(folder: Path) -> list[tuple[str, int]]:
    """Return names (relative, with `/`) and sizes of all files of a folder, sorted; of a file, itself."""
    if folder.is_file():
        return [(folder.name, folder.stat().st_size)]
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted((path.relative_to(folder).as_posix(), path.stat().st_size) for path in found)
