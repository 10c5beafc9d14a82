"""The clients: closed loops that record each request before they send it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from tests.support.raw_http import NoResponse, Response
from torture import allowed_answers
from torture.history import Attempt, History, MoneyRequest, Read
from torture.http_client import Client
from torture.operations import Targets
from torture.operator_workload import OperatorWorkload
from torture.workload import Wallet, Workload

CLIENTS: Final = 32
OPERATOR_CLIENTS: Final = 4  # in addition to those of the wallets
# 32 clients make about 200 requests/s: faults hit requests in flight, and the figures are those of
# the system and not of a queue before two busy cores.
THINK_S: Final = 0.15
RECONNECT_PAUSE_S: Final = 0.1  # before a broken connection is replaced
MAX_OPEN: Final = 64  # requests without a final answer: enough to know that the run failed
RETRY_PAUSE_S: Final = 0.2  # between two attempts of a request without a final answer


@dataclass(slots=True)
class LoadClients:
    """All clients of a run. `ports` are those of the APIs, `total` the money of all wallets."""

    seed: int
    wallets: tuple[Wallet, ...]
    operators: tuple[Wallet, ...]
    ports: Sequence[int]
    history: History
    total: int
    think_s: float = THINK_S
    cuts_due: int = 0  # connections to cut when the response to a money POST begins
    cuts: int = 0
    targets: Targets = field(init=False)
    _stopping: bool = False
    _keys: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        accounts = (wallet.account for wallet in self.wallets)
        operators = range(len(self.wallets), len(self.wallets) + len(self.operators))
        self.targets = Targets({account: n for n, account in enumerate(accounts)}, operators)

    async def run(self) -> None:
        """Until `stop`. Every request that was sent gets its response or fails."""
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                first = number // len(self.wallets)
                clients.create_task(self._loop(number, first, self._workload(number)))
            for number in range(CLIENTS, CLIENTS + OPERATOR_CLIENTS):
                first, operator = divmod(number, len(self.operators))
                workload = self._operator_workload(number, len(self.wallets) + operator)
                clients.create_task(self._loop(number, first, workload))

    def stop(self) -> None:
        self._stopping = True

    async def resolve(self, limit_s: float) -> list[MoneyRequest]:
        """Resends every request until its answer is final, each for `limit_s` at most.

        Returns those without a final answer. After MAX_OPEN of them the rest is not resent.
        """
        still_open: list[MoneyRequest] = []
        rest = iter(list(self.history.requests))
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._resolve(number, rest, still_open, limit_s))
        return [*still_open, *rest]

    async def _resolve(
        self,
        number: int,
        rest: Iterator[MoneyRequest],
        still_open: list[MoneyRequest],
        limit_s: float,
    ) -> None:
        client = Client(self.ports, number % len(self.ports))
        while len(still_open) < MAX_OPEN and (request := next(rest, None)) is not None:
            until = time.monotonic() + limit_s
            while not await self._is_final(client, request):
                if time.monotonic() > until:
                    still_open.append(request)
                    break
                await asyncio.sleep(RETRY_PAUSE_S)
        client.reset()

    async def _is_final(self, client: Client, request: MoneyRequest) -> bool:
        response = await self._send(client, request)
        return response is not None and allowed_answers.is_final(response)

    def _workload(self, number: int) -> Workload:
        own = number % len(self.wallets)
        return Workload(
            self.seed, number, own, self.wallets, self.history, self.targets, self._keys[own]
        )

    def _operator_workload(self, number: int, own: int) -> OperatorWorkload:
        accounts = [wallet.account for wallet in self.wallets]
        keys = self._keys[own]
        return OperatorWorkload(self.seed, number, own, accounts, self.history, self.targets, keys)

    async def _loop(self, number: int, first: int, workload: Workload | OperatorWorkload) -> None:
        """The requests of one client, whose first connection is to API `first`."""
        client = Client(self.ports, first % len(self.ports))
        random = Random(f"pace {self.seed} {number}")  # noqa: S311
        while not self._stopping:
            request = workload.next_request()
            if isinstance(request, Read):
                response = await self._read(client, request)
            else:
                if not request.recorded:
                    self.history.add_request(request)
                response = await self._send(client, request)
            pause_s = self.think_s if response else RECONNECT_PAUSE_S
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
        client.reset()

    async def _send(self, client: Client, request: MoneyRequest) -> Response | None:
        headers = self._headers(request.wallet)
        if request.has_key:
            headers |= {"X-Idempotency-Key": request.key}
        attempt = await _attempt(
            client.request("POST", request.path, headers, request.body, cut=self._take_cut)
        )
        self.history.add_attempt(request, attempt)
        response = attempt.response
        if response is not None and (found := allowed_answers.violation(request, response)):
            self.history.undocumented_answers.append(found)
        if response is not None:
            self.targets.learn(request.operation, request.wallet, response)
        return response

    async def _read(self, client: Client, read: Read) -> Response | None:
        attempt = await _attempt(client.request("GET", read.path, self._headers(read.wallet)))
        self.history.add_sample(attempt)
        response = attempt.response
        if response is not None:
            if found := allowed_answers.read_violation(read, response):
                self.history.undocumented_answers.append(found)
            most = self.total + self.history.deposits
            impossible = allowed_answers.impossible_balances(response, most)
            self.history.impossible_reads += impossible
        return response

    def _headers(self, caller: int) -> dict[str, str]:
        callers = (*self.wallets, *self.operators)
        return {"Authorization": f"Bearer {callers[caller].token}"}

    def _take_cut(self) -> bool:
        if self.cuts_due <= 0:
            return False
        self.cuts_due -= 1
        self.cuts += 1
        return True


async def _attempt(exchange: Awaitable[Response]) -> Attempt:
    started = time.monotonic()
    response, reason = None, ""
    try:
        response = await exchange
    except NoResponse as error:
        reason = str(error)
    return Attempt(started, time.monotonic() - started, response, reason)
