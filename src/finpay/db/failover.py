"""Several hosts in one URL: connects to whichever serves now.

The driver tries them in the URL's order under one time limit, so a first host that is switched
off and says nothing uses up the time of all. Here each has its share of it, and the one that
served last is asked first.
"""

from collections import deque
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import asyncpg

DEFAULT_PORT: Final = 5432

# Not there, not the kind of server that target_session_attrs asks for, or just starting.
_NEXT: Final = (OSError, TimeoutError, asyncpg.InternalClientError, asyncpg.CannotConnectNowError)


class HostList:
    """The hosts of one URL, the best first. Used by one pool."""

    def __init__(self, url: str) -> None:
        self._hosts = deque(hosts_of(url))

    async def connect(
        self,
        url: str,
        *,
        timeout: float,  # noqa: ASYNC109  the driver's own name for it
        **options: Any,
    ) -> asyncpg.Connection:
        """A connection like the driver's own, in `timeout` seconds for all hosts together."""
        if len(self._hosts) < 2:
            return await asyncpg.connect(url, timeout=timeout, **options)
        options["timeout"] = timeout / len(self._hosts)
        last: Exception | None = None
        for host in list(self._hosts):
            # Last in line until it answers: whoever gives up waiting for us learns from it too.
            self._hosts.remove(host)
            self._hosts.append(host)
            try:
                connection = await asyncpg.connect(url, host=host[0], port=host[1], **options)
            except _NEXT as error:
                last = error
                continue
            self._hosts.remove(host)
            self._hosts.appendleft(host)
            return connection
        assert last is not None  # noqa: S101  there are at least two
        raise last


def hosts_of(url: str) -> list[tuple[str, int]]:
    """Host and port of each; empty where the URL leaves it to the driver."""
    listed = urlsplit(url).netloc.rpartition("@")[2]
    return [_host(part) for part in listed.split(",") if part]


def _host(part: str) -> tuple[str, int]:
    host, colon, port = part.rpartition(":")
    if not colon or port.endswith("]"):  # an IPv6 address has colons of its own
        host, port = part, ""
    return unquote(host.strip("[]")), int(port or DEFAULT_PORT)
