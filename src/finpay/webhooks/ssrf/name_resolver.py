"""DNS for webhooks: names to addresses over c-ares, with a share of the look-ups for each owner.

c-ares needs no thread per look-up, so a name whose servers never answer costs a timer. It reads
/etc/hosts and /etc/resolv.conf; other sources of nsswitch.conf (mDNS, LDAP) are not asked.
"""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

from finpay.webhooks.ssrf import ip_policy
from finpay.webhooks.ssrf.ip_policy import Address

MAX_ADDRESSES: Final = 32  # a name with more addresses is no receiver of webhooks
LOOKUP_LIMIT_S: Final = 5.0  # of an attempt's time, the wait for the owner's share included
TRIES: Final = 5  # c-ares waits 0.25 s for the first and doubles: LOOKUP_LIMIT_S ends them
# Two queries each (A, AAAA); forwarders refuse more than some 150 at once (dnsmasq's default).
LOOKUPS_PER_OWNER: Final = 4


class DnsLookupFailed(Exception):
    """The name has no address, or its servers did not answer in time."""


class NameResolver:
    """At most LOOKUPS_PER_OWNER look-ups of an owner at a time, and one of each name.

    Made inside a running event loop, for that loop. `nameservers` (`host:port`) replace the
    system's.
    """

    def __init__(self, nameservers: Sequence[str] | None = None) -> None:
        from aiodns import DNSResolver  # 40 ms and 3 MB: only where a name is resolved

        self._dns = DNSResolver(nameservers, tries=TRIES)
        self._running: dict[tuple[UUID, str], asyncio.Task[list[Address]]] = {}
        self._shares: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def addresses(self, name: str, owner_id: UUID) -> list[Address]:
        """The name's addresses, best first (RFC 6724). DnsLookupFailed after LOOKUP_LIMIT_S."""
        key = owner_id, name
        task = self._running.get(key)
        if task is None:
            share = self._shares.setdefault(owner_id, asyncio.Semaphore(LOOKUPS_PER_OWNER))
            task = asyncio.get_running_loop().create_task(self._look_up(name, share))
            self._running[key] = task
            task.add_done_callback(lambda done: self._on_done(key, done))
        return await asyncio.shield(task)  # a cancelled caller leaves it to the others

    async def close(self) -> None:
        """Ends the look-ups in flight."""
        for task in self._running.values():
            task.cancel()
        await self._dns.close()

    async def _look_up(self, name: str, share: asyncio.Semaphore) -> list[Address]:
        from aiodns.error import DNSError

        try:
            async with asyncio.timeout(LOOKUP_LIMIT_S), share:
                found = await self._dns.getaddrinfo(name, type=socket.SOCK_STREAM)
            texts = dict.fromkeys(node.addr[0].decode("ascii") for node in found.nodes)
            addresses = [ip_policy.parse(text) for text in texts]
        except (DNSError, TimeoutError, ValueError):
            raise DnsLookupFailed(name) from None
        if not addresses:
            raise DnsLookupFailed(name)
        return addresses[:MAX_ADDRESSES]

    def _on_done(self, key: tuple[UUID, str], done: "asyncio.Task[list[Address]]") -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # retrieved, also when every caller was cancelled
