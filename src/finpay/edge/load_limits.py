"""Limits of what one process works on at a time: requests in flight, and large bodies by user."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from finpay.errors import overloaded

# A fifth of a second of work of one process: beyond it a fast refusal is better than a late
# response. What that costs is in docs/performance.md.
MAX_IN_FLIGHT: Final = 320
OVERLOADED: Final = "The server is overloaded. Retry after the time in Retry-After."
MAX_LARGE_BODIES: Final = 128  # that arrive at a time: each may be buffered twice
MAX_LARGE_BODIES_PER_USER: Final = 16


class InFlight:
    """Number of requests that this process works on, without those that wait: in `Pipeline._wait`,
    or, within `with in_flight:`, for their body. Clients may send that as slowly as they like.

    FinPayError `overloaded` at the end of such a wait, if the others are too many then.
    """

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count -= 1

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.count += 1
        if error is None and self.count > MAX_IN_FLIGHT:
            raise overloaded(OVERLOADED)


class Shares:
    """Counts what each user has: at most `most_of_all`, and `most` of one."""

    def __init__(self, most_of_all: int, most: int) -> None:
        self._most_of_all = most_of_all
        self._most = most
        self._taken: Counter[str] = Counter()

    @contextmanager
    def share(self, user: str) -> Iterator[bool]:
        """Whether the user may have one more, which counts until the end."""
        if self._taken[user] >= self._most or self._taken.total() >= self._most_of_all:
            yield False
            return
        self._taken[user] += 1
        try:
            yield True
        finally:
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]
