"""The receiver of all webhooks: it keeps what was delivered, and answers 204."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import msgspec

from tests.support.webhook_receiver import Request, WebhookReceiver, response

POLL_S: Final = 0.1
_ACCEPTED: Final = response(204)


class Deliveries(WebhookReceiver):
    """One path per wallet: `url_of(3)` receives the events of wallet 3."""

    def __init__(self) -> None:
        super().__init__(self._accept)
        self.received: set[tuple[int, str]] = set()  # as checker.due_deliveries has them
        self.differing: list[str] = []
        self._bodies: dict[str, bytes] = {}  # the first body of each webhook-id

    def url_of(self, wallet: int) -> str:
        return f"http://127.0.0.1:{self.port}/wallets/{wallet}"

    async def await_all(self, expected: Iterable[tuple[int, str]], limit_s: float) -> None:
        """Until all that is expected was delivered, or the time is over."""
        missing = set(expected)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                while not missing <= self.received:
                    await asyncio.sleep(POLL_S)

    def _accept(self, request: Request) -> bytes:
        """Each delivery of one webhook-id has to bring the same bytes."""
        if self._bodies.setdefault(request.id, request.body) != request.body:
            self.differing.append(f"{request.id} was delivered with two bodies")
        event = msgspec.json.decode(request.body)
        wallet = int(request.path.rpartition("/")[2])
        if event["type"] in {"transaction.completed", "transaction.failed"}:
            self.received.add((wallet, event["data"]["object"]["id"]))
        else:
            self.received.add((wallet, f"{event['type']} {event['sequence']}"))
        return _ACCEPTED
