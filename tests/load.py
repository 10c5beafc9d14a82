"""Load for tests: closed loops of transfers over real HTTP, bounded by count and time.

It runs in another thread, so that a plain test can harm the servers during it. Every key is kept
with its answers; `resolve` retries requests with an unknown outcome, as a client should, and
`prove` compares the answers with the ledger.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import httpx

from tests.api_process import Api, User

# A test that needs more than this is a benchmark.
MAX_REQUESTS: Final = 20_000
MAX_SECONDS: Final = 30.0
TIMEOUT_S: Final = 8.0  # above the 5 s within which every request has its answer
RETRY_PAUSE_S: Final = 0.1
FINAL: Final = frozenset({201, 402, 403, 404, 422})

_NUMBERS: Final = count(1)


@dataclass(frozen=True, slots=True)
class Sent:
    """One attempt of one transfer. Status 0: no answer; `error` has the reason."""

    key: str
    status: int
    seconds: float
    at_s: float
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    error: str = ""

    @property
    def replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"


@dataclass(frozen=True, slots=True)
class Payment:
    """A transfer of 1 under a key."""

    sender: User
    receiver: User
    key: str

    @property
    def request(self) -> dict[str, Any]:
        return {
            "url": "/api/v1/transactions",
            "json": {"receiver_id": self.receiver.account_id, "amount": 1},
            "headers": {
                "Authorization": f"Bearer {self.sender.token}",
                "X-Idempotency-Key": self.key,
            },
        }


class Load:
    """`clients` closed loops of transfers of 1 from each of `senders` in turn to `receiver`.

    `pause_s` between two transfers of a loop leaves the processor to the servers. `receiver` gets
    no other transfers, so that its balance is the number of effects.
    """

    def __init__(
        self,
        api: Api,
        senders: Sequence[User],
        receiver: User,
        *,
        clients: int = 4,
        pause_s: float = 0.002,
        limit_s: float = MAX_SECONDS,
    ) -> None:
        self.sent: list[Sent] = []
        self.payments: dict[str, Payment] = {}
        self._api = api
        self._senders = senders
        self.receiver = receiver
        self._clients = clients
        self._pause_s = pause_s
        self._limit_s = limit_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits until every sent request is answered or has failed."""
        self._stopping.set()
        self._thread.join(self._limit_s + TIMEOUT_S)
        assert not self._thread.is_alive()

    def wait_for(self, answers: int, *, status: int = 201, limit_s: float = 15.0) -> None:
        """Until that many more answers with this status have arrived."""
        goal = self.count(status) + answers
        until = time.monotonic() + limit_s
        while self.count(status) < goal:
            assert time.monotonic() < until, f"no {answers} more answers {status}: {self.counts}"
            time.sleep(0.01)

    def count(self, status: int) -> int:
        return sum(sent.status == status for sent in list(self.sent))

    @property
    def counts(self) -> Counter[int]:
        return Counter(sent.status for sent in list(self.sent))

    async def _run(self) -> None:
        until = time.monotonic() + self._limit_s
        async with http_client(self._api, self._clients) as http:
            loops = [self._loop(http, number, until) for number in range(self._clients)]
            await asyncio.gather(*loops)

    async def _loop(self, http: httpx.AsyncClient, number: int, until: float) -> None:
        while not self._stopping.is_set() and time.monotonic() < until:
            assert len(self.sent) < MAX_REQUESTS
            sender = self._senders[(number + len(self.sent)) % len(self._senders)]
            payment = Payment(sender, self.receiver, f"load-{next(_NUMBERS)}")
            self.payments[payment.key] = payment
            sent = await send(http, payment)
            self.sent.append(sent)
            await asyncio.sleep(self._pause_s if sent.status else RETRY_PAUSE_S)


@contextmanager
def load(api: Api, senders: Sequence[User], receiver: User, **options: Any) -> Iterator[Load]:
    """Load until the end of the block; its results stay readable afterwards."""
    running = Load(api, senders, receiver, **options)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def send_all(api: Api, payments: Sequence[Payment]) -> list[Sent]:
    """All at once, one connection each; the answers in the order of the payments."""

    async def run() -> list[Sent]:
        async with http_client(api, len(payments)) as http:
            return await asyncio.gather(*(send(http, payment) for payment in payments))

    return asyncio.run(run())


def resolve(api: Api, running: Load, limit_s: float = 15.0) -> dict[str, Sent]:
    """The final answer of every key, retried where the first attempt has none."""

    async def run() -> dict[str, Sent]:
        async with http_client(api, 4) as http:
            slots = asyncio.Semaphore(4)
            last = {sent.key: sent for sent in running.sent}
            keys = list(running.payments)

            async def one(key: str) -> Sent:
                sent = last.get(key)
                while sent is None or sent.status not in FINAL:
                    assert time.monotonic() < until, f"still open: {key} {sent}"
                    async with slots:
                        sent = await send(http, running.payments[key])
                    await asyncio.sleep(0 if sent.status in FINAL else RETRY_PAUSE_S)
                return sent

            return dict(zip(keys, await asyncio.gather(*map(one, keys)), strict=True))

    until = time.monotonic() + limit_s
    return asyncio.run(run())


def prove(api: Api, running: Load, final: dict[str, Sent]) -> None:
    """Every key has one effect, every acknowledged transfer is in the ledger, and verify is ok."""
    assert {sent.status for sent in final.values()} == {201}, Counter(
        (sent.status, sent.body) for sent in final.values() if sent.status != 201
    )
    rows = api.sql(
        "SELECT k.key, t.id, k.answer FROM ledger.idempotency_keys k "
        "JOIN ledger.transactions t ON t.id = k.transaction_id WHERE k.key = ANY($1)",
        list(final),
    )
    stored = {row["key"]: row["answer"].encode() for row in rows}
    assert len(rows) == len(stored) == len(final)
    for sent in [*running.sent, *final.values()]:
        if sent.status == 201:
            assert stored[sent.key] == sent.body
    received = api.sql(
        "SELECT balance FROM ledger.accounts WHERE public_id = $1", running.receiver.account_id
    )
    assert received[0]["balance"] == len(final), "each payment is 1, and there are no others"
    api.verify()


def http_client(api: Api, connections: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=api.url,
        trust_env=False,
        timeout=TIMEOUT_S,
        limits=httpx.Limits(max_connections=connections),
    )


async def send(http: httpx.AsyncClient, payment: Payment) -> Sent:
    """One attempt. An error of the transport is a result, not an exception."""
    started = time.monotonic()
    try:
        answer = await http.post(**payment.request)
    except httpx.HTTPError as error:
        return Sent(payment.key, 0, time.monotonic() - started, started, error=repr(error))
    return Sent(
        payment.key,
        answer.status_code,
        time.monotonic() - started,
        started,
        dict(answer.headers),
        answer.content,
    )


def percentile(sent: Sequence[Sent], share: float) -> float:
    """Seconds within which this share of the attempts ended."""
    seconds = sorted(one.seconds for one in sent)
    return seconds[min(len(seconds) - 1, int(len(seconds) * share))]
