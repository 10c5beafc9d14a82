"""Shares of a process: how much of something each user may have at a time."""

from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager


class Shares:
    """Counts what each user has: at most `most` of one, and `most_of_all` (None: any number)."""

    def __init__(self, most_of_all: int | None, most: int) -> None:
        self._most_of_all = most_of_all
        self._most = most
        self._taken: Counter[Hashable] = Counter()

    @contextmanager
    def share(self, user: Hashable) -> Iterator[bool]:
        """Whether the user may have one more, which counts until the end."""
        if not self._is_left(user):
            yield False
            return
        self._taken[user] += 1
        try:
            yield True
        finally:
            self._taken[user] -= 1
            if not self._taken[user]:
                del self._taken[user]

    def _is_left(self, user: Hashable) -> bool:
        if self._taken[user] >= self._most:
            return False
        return self._most_of_all is None or self._taken.total() < self._most_of_all
