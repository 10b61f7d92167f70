"""Threads joined by bounded queues: the first error stops all of them and reaches the caller."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1


class Stopped(Exception):
    """Another thread has failed; unwinds a stage, never reaches a caller."""


class _End:
    """Closes a channel."""


_END = _End()


class Channel(Generic[T]):
    """A bounded queue between stages; closed when all its producers are done."""

    def __init__(self, pipeline: Pipeline, size: int, producers: int = 1) -> None:
        """Make a channel of a pipeline that holds at most `size` items."""
        self._pipeline = pipeline
        self._queue: queue.Queue[Any] = queue.Queue()
        self._room = threading.Semaphore(size)
        self._producers = producers
        self._lock = threading.Lock()

    def reserve(self) -> None:
        """Wait for room for an item that is yet to be made, so that it need not wait in its maker's hands.

        Raises:
            Stopped: If the pipeline was stopped.
        """
        while not self._room.acquire(timeout=_POLL_SECONDS):
            if self._pipeline.stopped:
                raise Stopped
        if self._pipeline.stopped:
            raise Stopped

    def put(self, item: T, *, reserved: bool = False) -> None:
        """Add an item, waiting while the channel is full.

        Args:
            item: What is passed on.
            reserved: Whether `reserve` was called for it.

        Raises:
            Stopped: If the pipeline was stopped.
        """
        if not reserved:
            self.reserve()
        self._queue.put(item)

    def close(self) -> None:
        """Say that one producer has put its last item."""
        with self._lock:
            self._producers -= 1
            last = self._producers == 0
        if last:
            self._queue.put(_END)

    def __iter__(self) -> Iterator[T]:
        """Yield items until the channel is closed.

        Raises:
            Stopped: If the pipeline was stopped.
        """
        while True:
            if self._pipeline.stopped:
                raise Stopped
            try:
                item = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                self._queue.put(item)  # for the other consumers
                return
            self._room.release()
            yield item
            del item  # not kept alive while waiting for the next


class Pipeline:
    """Runs stages in threads until all are done or one fails."""

    def __init__(self) -> None:
        """Start with no stages."""
        self._event = threading.Event()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    @property
    def stopped(self) -> bool:
        """Whether a stage has failed."""
        return self._event.is_set()

    def fail(self, error: BaseException) -> None:
        """Stop all stages; the first error wins."""
        with self._lock:
            if self._error is None:
                self._error = error
        self._event.set()

    def channel(self, size: int, producers: int = 1) -> Channel[Any]:
        """Return a new channel."""
        return Channel(self, size, producers)

    def start(self, name: str, stage: Callable[[], None], closes: Iterable[Channel[Any]] = ()) -> None:
        """Run a stage in a thread; its output channels are closed when it is done."""
        outputs = tuple(closes)

        def body() -> None:
            try:
                stage()
                for channel in outputs:
                    channel.close()
            except Stopped:
                pass
            except BaseException as error:  # handed to the caller, whatever it is
                self.fail(error)

        thread = threading.Thread(target=body, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def join(self) -> None:
        """Wait for all stages, and raise what the first failed one raised.

        An interrupt of the waiting thread stops the stages as well.
        """
        try:
            for thread in self._threads:
                while thread.is_alive():
                    thread.join(_POLL_SECONDS)
        except BaseException as error:
            self.fail(error)
            for thread in self._threads:
                thread.join()
        if self._error is not None:
            raise self._error
