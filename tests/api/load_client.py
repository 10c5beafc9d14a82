"""Many clients at once, each with a connection of its own.

Plain sockets: a full HTTP client costs more per request than the server, and a crowd that waits
for itself is none.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import httpx

from finpay.client import HttpResponse as Answer
from tests.api.assertions import TRANSACTIONS
from tests.api_process import Api, User

SLOWEST_S: Final = 5.0  # no request may take longer, however hot the account


class Connection:
    """One kept-alive connection to the API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, sender: User, receiver: User, key: str, amount: int = 1) -> Answer:
        """A transfer and its answer, in time."""
        async with asyncio.timeout(SLOWEST_S):
            self._writer.write(transfer(sender, receiver, key, amount))
            return await self._answer()

    async def vanish(self, part: bytes, after_s: float) -> None:
        """Sends a part of a request, or all of it, and is gone a moment later."""
        self._writer.write(part)
        await asyncio.sleep(after_s)  # the moment is what is tested: nothing is awaited
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()

    async def _answer(self) -> Answer:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.rstrip().split("\r\n")
        headers = httpx.Headers([(name, value) for name, _, value in
                                 (line.partition(": ") for line in lines)])  # fmt: skip
        body = await self._reader.readexactly(int(headers["Content-Length"]))
        return Answer(int(status.split()[1]), headers, body)


@asynccontextmanager
async def crowd(api: Api, size: int) -> AsyncIterator[list[Connection]]:
    """`size` connections, and every process of the API has some of them."""
    port = int(api.url.rpartition(":")[2])
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(size):
            connections.append(Connection(*await asyncio.open_connection("127.0.0.1", port)))
            stack.callback(connections[-1].close)
        yield connections


def transfer(sender: User, receiver: User, key: str, amount: int = 1) -> bytes:
    """A whole request."""
    content = f'{{"receiver_id":"{receiver.account_id}","amount":{amount}}}'
    return (
        f"POST {TRANSACTIONS} HTTP/1.1\r\nHost: finpay.test\r\n"
        f"Authorization: Bearer {sender.token}\r\nContent-Type: application/json\r\n"
        f"X-Idempotency-Key: {key}\r\nContent-Length: {len(content)}\r\n\r\n{content}"
    ).encode()
