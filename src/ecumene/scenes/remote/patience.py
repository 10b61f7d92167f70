"""How often and how long a request is tried again.

Exponential back-off with full jitter (Brooker 2015, "Exponential backoff and jitter"): the wait is uniform between 0
and a bound that doubles, so that many workers that failed together do not come back together. A server's
`Retry-After` wins over it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may be others a moment later."""


@dataclass(frozen=True)
class Patience:
    """Bounds of trying again.

    Attributes:
        tries: Requests at most.
        first_wait_s: Upper bound of the first wait; it doubles every time.
        longest_wait_s: No single wait is longer, whatever a server asks for.
        total_s: No wait begins after this time.
    """

    tries: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 60.0
    total_s: float = 300.0

    def attempts(self) -> Iterator[Attempt]:
        """Yield attempts; between them the caller asks `Attempt.wait`."""
        start = time.monotonic()
        for number in range(self.tries):
            yield Attempt(self, number, start)


@dataclass(frozen=True)
class Attempt:
    """One try of a request."""

    patience: Patience
    number: int
    start: float

    @property
    def last(self) -> bool:
        """Whether no further try follows."""
        late = time.monotonic() - self.start >= self.patience.total_s
        return late or self.number + 1 >= self.patience.tries

    def wait(self, retry_after: str | None = None) -> None:
        """Sleep before the next try.

        Args:
            retry_after: The server's header, in seconds or as an HTTP date.
        """
        bound = self.patience.first_wait_s * 2.0**self.number
        asked = seconds_of(retry_after)
        # Jitter decides when to ask again, never what is read.
        wanted = random.uniform(0.0, bound) if asked is None else asked + random.uniform(0.0, 0.1 * bound)  # noqa: S311
        left = self.patience.total_s - (time.monotonic() - self.start)
        time.sleep(max(0.0, min(wanted, self.patience.longest_wait_s, left)))


def seconds_of(retry_after: str | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, or None if it says nothing usable."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
