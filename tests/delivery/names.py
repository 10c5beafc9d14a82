"""Name resolvers for tests: fixed answers, and a DNS server that never answers some names."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, cast
from uuid import UUID

from finpay.webhooks.ssrf import ip_policy
from finpay.webhooks.ssrf.ip_policy import Address
from finpay.webhooks.ssrf.name_resolver import DnsLookupFailed, NameResolver

LOOPBACK: Final = bytes([127, 0, 0, 1])
_TYPE_A: Final = 1
_ANSWER: Final = 0x8180  # a response, recursion available, no error


class FixedNames(NameResolver):
    """Every name has the same addresses. `asked` are the names that were looked up."""

    def __init__(self, *addresses: str) -> None:
        self.asked: list[str] = []
        self._addresses = [ip_policy.parse(text) for text in addresses]

    async def addresses(self, name: str, owner_id: UUID) -> list[Address]:  # noqa: ARG002
        self.asked.append(name)
        if not self._addresses:
            raise DnsLookupFailed(name)
        return self._addresses

    async def close(self) -> None: ...


class DnsServer(asyncio.DatagramProtocol):
    """Answers 127.0.0.1 for every name, and nothing for names that begin with `hang`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def address(self) -> str:
        assert self._transport is not None
        return f"127.0.0.1:{self._transport.get_extra_info('sockname')[1]}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        name, end = _question(data)
        self.asked.append(name)
        if name.startswith("hang"):
            return
        (record_type,) = struct.unpack(">H", data[end : end + 2])
        records = b""
        if record_type == _TYPE_A:
            records = b"\xc0\x0c" + struct.pack(">HHIH", _TYPE_A, 1, 0, len(LOOPBACK)) + LOOPBACK
        counts = struct.pack(">HHHHH", _ANSWER, 1, 1 if records else 0, 0, 0)
        self._transport.sendto(data[:2] + counts + data[12 : end + 4] + records, addr)


@asynccontextmanager
async def dns_server() -> AsyncIterator[DnsServer]:
    """A DNS server on loopback, in this event loop."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(DnsServer, ("127.0.0.1", 0))
    yield server
    transport.close()


def _question(data: bytes) -> tuple[str, int]:
    """The name in the query, in lower case, and where its type begins."""
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels).lower(), at + 1
