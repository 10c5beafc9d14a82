"""A bound on the open connections of a process, of which any client may open many.

Those that wait longest for their client are closed for new ones: connections that are kept open,
and those of requests that don't arrive. A request that has arrived keeps its connection.
"""

import resource
from collections.abc import Collection
from heapq import nsmallest
from typing import Final, Protocol

MAX_CONNECTIONS: Final = 4_096  # each may buffer a head or a body of 64 KiB
FILES_PER_CONNECTION: Final = 2  # many may be accepted before others are closed
CLOSED_SHARE: Final = 16  # one of so many is closed at a time: each time all are looked at


class WaitingConnection(Protocol):
    """`since_s`: the beginning of the request that is read, or else the last response."""

    @property
    def is_waiting(self) -> bool: ...

    @property
    def since_s(self) -> float: ...

    def abort(self) -> None: ...


def close_surplus(connections: Collection[WaitingConnection]) -> None:
    """Closes some where there are more than the limit."""
    limit = _limit()
    if len(connections) <= limit:
        return
    waiting = [connection for connection in connections if connection.is_waiting]
    for connection in nsmallest(limit // CLOSED_SHARE, waiting, key=lambda each: each.since_s):
        connection.abort()


def _limit() -> int:
    """Below MAX_CONNECTIONS where the process may open fewer files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, files // FILES_PER_CONNECTION)
