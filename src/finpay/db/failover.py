"""Several hosts in one URL: connects to the one that serves now.

The driver tries them in the URL's order under one time limit, so a first host that does not answer
uses up the time of all. Here each host has its share of it, and the one that served last is tried
first.
"""

from collections import deque
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import asyncpg

DEFAULT_PORT: Final = 5432

# Unreachable, not the kind of server that target_session_attrs asks for, or starting.
_TRY_NEXT: Final = (
    OSError,
    TimeoutError,
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
)


class HostList:
    """The hosts of one URL, the last one that served first. Used by one pool."""

    def __init__(self, url: str) -> None:
        self._hosts = deque(hosts_of(url))

    async def connect(
        self,
        url: str,
        *,
        timeout: float,  # noqa: ASYNC109  the driver's own name for it
        **options: Any,
    ) -> asyncpg.Connection:
        """As the driver's connect, with `timeout` seconds for all hosts together."""
        if len(self._hosts) < 2:
            return await asyncpg.connect(url, timeout=timeout, **options)
        options["timeout"] = timeout / len(self._hosts)
        last: Exception | None = None
        for host in list(self._hosts):
            # Last until it answers, also if the caller is cancelled meanwhile.
            self._hosts.remove(host)
            self._hosts.append(host)
            try:
                connection = await asyncpg.connect(url, host=host[0], port=host[1], **options)
            except _TRY_NEXT as error:
                last = error
                continue
            self._hosts.remove(host)
            self._hosts.appendleft(host)
            return connection
        assert last is not None  # noqa: S101  there are at least two
        raise last


def hosts_of(url: str) -> list[tuple[str, int]]:
    """Host and port of each; empty where the URL leaves the host to the driver."""
    listed = urlsplit(url).netloc.rpartition("@")[2]
    return [_host(part) for part in listed.split(",") if part]


def _host(part: str) -> tuple[str, int]:
    host, colon, port = part.rpartition(":")
    if not colon or port.endswith("]"):  # the colons of an IPv6 address
        host, port = part, ""
    return unquote(host.strip("[]")), int(port or DEFAULT_PORT)
