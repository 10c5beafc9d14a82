"""Many clients at once, each with its own connection of tests/support/raw_http.py."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import httpx

from finpay.client import HttpResponse
from tests.api.assertions import TRANSACTIONS
from tests.api_process import Api, User
from tests.support import raw_http
from tests.support.tcp_proxy import port_of

SLOWEST_S: Final = 5.0  # no request may take longer, however hot the account


class Connection(raw_http.Connection):
    """One keep-alive connection to the API."""

    async def send(self, sender: User, receiver: User, key: str, amount: int = 1) -> HttpResponse:
        """A transfer and its answer. TimeoutError after SLOWEST_S."""
        async with asyncio.timeout(SLOWEST_S):
            answer = await self.exchange(transfer(sender, receiver, key, amount))
        return HttpResponse(answer.status, httpx.Headers(dict(answer.headers)), answer.body)

    async def post(self, user: User, path: str, key: str, **members: object) -> HttpResponse:
        """A money POST of the user and its answer. TimeoutError after SLOWEST_S."""
        headers = {"Authorization": f"Bearer {user.token}", "X-Idempotency-Key": key}
        body = json.dumps(members).encode()
        async with asyncio.timeout(SLOWEST_S):
            answer = await self.exchange(raw_http.request("POST", f"/api/v1{path}", headers, body))
        return HttpResponse(answer.status, httpx.Headers(dict(answer.headers)), answer.body)

    async def vanish(self, part: bytes, after_s: float) -> None:
        """Sends a part of a request, or all of it, and closes the connection after a moment."""
        self.write(part)
        await asyncio.sleep(after_s)  # the moment is what is tested: nothing is awaited
        self.reset()


@asynccontextmanager
async def open_connections(api: Api, size: int) -> AsyncIterator[list[Connection]]:
    """`size` connections, some to each process of the API."""
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(size):
            connections.append(await Connection.open(port_of(api.url)))
            stack.callback(connections[-1].close)
        yield connections


def transfer(sender: User, receiver: User, key: str, amount: int = 1) -> bytes:
    """A whole request."""
    headers = {"Authorization": f"Bearer {sender.token}", "X-Idempotency-Key": key}
    body = f'{{"receiver_id":"{receiver.account_id}","amount":{amount}}}'
    return raw_http.request("POST", TRANSACTIONS, headers, body.encode())
