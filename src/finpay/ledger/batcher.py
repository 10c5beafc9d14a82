"""Carries requests to the ledger in batches: bounded, and honest about the unknown.

While a batch is in flight the next gathers. A batch that loses its connection is tried again
with the same transaction ids and keys, so that a COMMIT whose answer was lost is found by its key
and not done twice. A batch that meets a locked account or a bad item is taken apart: its requests
go on alone, on connections of their own, so that one of them never spoils its neighbours. A bulk
is one request, however many items it has: it shares batches where it fits, and is never cut.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from finpay.concurrency.micro_batcher import MicroBatcher
from finpay.db.pool import Conflict, Database, Unavailable
from finpay.errors import Code, FinPayError
from finpay.ledger import transfer_metrics
from finpay.ledger.posting import Posting, PostingResult, post
from finpay.telemetry import metrics

MAX_BATCH: Final = 500  # items; more gain little and keep locks longer. Bigger bulks fly alone
MAX_QUEUE: Final = 4_000  # more than a second of work: beyond it, waiting only hides the overload
MAX_LOAD: Final = 50_000  # items of all that wait: a hundred bulks of 500, a few seconds of work
FLIGHTS: Final = 1  # two made batches half as big and 27 % fewer transfers, see docs/performance.md
LINGER: Final = 7  # turns of the loop: no time for one client, company for many, see 0010
LANES: Final = 4  # for items that go alone: one that waits for a lock leaves room for the others
CONNECTIONS: Final = FLIGHTS + LANES
LOCK_TIMEOUT_MS: Final = 100  # a batch that waits longer for one account is better taken apart
DEADLINE_S: Final = 4.5  # a request has to be answered within 5 s when PostgreSQL hangs
MAX_ATTEMPTS: Final = 4  # where nothing can have run: PostgreSQL is away, say so soon
RETRY_PAUSE_S: Final = 0.02  # doubled and jittered, so that two attempts don't collide again
MAX_PAUSE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class _Alone:
    """The batch came apart. `may_have_run`: its requests may be in the ledger already."""

    may_have_run: bool


class Batcher:
    """The one way to `ledger.post_transfers`. One per process.

    `database` has CONNECTIONS connections with LOCK_TIMEOUT_MS. `refusals` are the bodies of
    refusals, see `posting`. `wake` is called after each commit that left
    webhooks to deliver.
    """

    def __init__(
        self,
        database: Database,
        refusals: Sequence[str],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._wake = wake
        self._refusals = list(refusals)
        self._batches: MicroBatcher[Posting, PostingResult | _Alone] = MicroBatcher(
            self._fly,
            max_in_flight=FLIGHTS,
            max_batch=MAX_BATCH,
            linger_ticks=LINGER,
            max_queued=MAX_QUEUE,
            max_queued_weight=MAX_LOAD,
            weight_of=_weight,
        )
        self._singles: MicroBatcher[Posting, PostingResult] = MicroBatcher(
            self._post, max_in_flight=LANES, max_batch=1, max_queued=MAX_QUEUE
        )

    async def post(self, request: Posting) -> PostingResult:
        """What became of the request, committed. Unavailable when that is not known in time."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._carry(request)
        except TimeoutError:
            raise _unheard() from None

    async def drain(self) -> None:
        """Waits for what is in flight and in the queues."""
        await self._batches.drain()
        await self._singles.drain()

    async def _carry(self, request: Posting) -> PostingResult:
        result = await self._batches.submit_nowait(request)
        if isinstance(result, PostingResult):
            return result
        return await self._post_alone(request, may_have_run=result.may_have_run)

    async def _fly(self, requests: Sequence[Posting]) -> list[PostingResult | _Alone | Exception]:
        metrics.BATCH_SIZE.observe(sum(map(_weight, requests)))
        first, again = _without_repeats(requests)
        results = await self._post_together([requests[at] for at in first])
        if again and all(isinstance(result, PostingResult) for result in results):
            # Their keys are stored now, so any number of them is answered by one more call.
            results += await self._post_together([requests[at] for at in again])
        else:
            results += [_Alone(may_have_run=False)] * len(again)
        places = sorted(zip(first + again, results, strict=True), key=lambda place: place[0])
        return [result for _, result in places]

    async def _post_together(
        self, requests: Sequence[Posting]
    ) -> list[PostingResult | _Alone | Exception]:
        may_have_run = False
        pause_s = RETRY_PAUSE_S
        for _ in range(MAX_ATTEMPTS):
            try:
                return [*await self._post(requests)]
            except Conflict:
                metrics.BATCH_RETRIES.labels("conflict").inc()
                break
            except Unavailable as error:
                # Connections break one by one when PostgreSQL restarts; a fresh one may work.
                metrics.BATCH_RETRIES.labels("unavailable").inc()
                may_have_run |= error.may_have_run
            except Exception as error:  # noqa: BLE001  a bug or a bad item: find out which
                if len(requests) == 1:
                    return [error]
                break
            pause_s = await _pause(pause_s)
        else:
            if not may_have_run:
                return [_away() for _ in requests]
        return [_Alone(may_have_run)] * len(requests)

    async def _post_alone(self, request: Posting, *, may_have_run: bool) -> PostingResult:
        """Until the deadline of `post` while its outcome is unknown or its accounts are busy."""
        attempts = 0
        pause_s = RETRY_PAUSE_S
        while True:
            try:
                return await self._singles.submit(request)
            except Conflict:
                pass
            except FinPayError as error:
                attempts += 1
                may_have_run |= isinstance(error, Unavailable) and error.may_have_run
                if attempts >= MAX_ATTEMPTS and not may_have_run:
                    raise
            pause_s = await _pause(pause_s)

    async def _post(self, requests: Sequence[Posting]) -> list[PostingResult]:
        results = await post(self._database, requests, self._refusals, self._wake)
        transfer_metrics.count(requests, results)
        return results


async def _pause(pause_s: float) -> float:
    """Waits, and answers how long to wait the next time."""
    await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  no secret
    return min(2 * pause_s, MAX_PAUSE_S)


def _away() -> Unavailable:
    return Unavailable(
        Code.UNAVAILABLE,
        "The ledger can't be reached. Nothing was done; try again.",
        headers={"Retry-After": "1"},
        may_have_run=False,
    )


def _unheard() -> Unavailable:
    return Unavailable(
        Code.UNAVAILABLE,
        "The ledger did not answer in time, so what became of this request is not known yet. "
        "Try again with the same idempotency key: it is done once at most.",
        headers={"Retry-After": "1"},
        may_have_run=True,
    )


def _weight(request: Posting) -> int:
    return len(request.items)


def _without_repeats(requests: Sequence[Posting]) -> tuple[list[int], list[int]]:
    """Places of the first request of each (sender, key), and of those that repeat one."""
    seen: set[tuple[int, str]] = set()
    first: list[int] = []
    again: list[int] = []
    for at, request in enumerate(requests):
        mark = (request.sender_id.int, request.key)
        (again if mark in seen else first).append(at)
        seen.add(mark)
    return first, again
