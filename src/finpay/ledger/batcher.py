"""Posts requests to the ledger in commit batches of bounded size and number.

While a batch is processed, the next requests are queued. A batch that loses its connection is
retried with the same transaction ids and keys, so a COMMIT whose answer was lost is found by its
key and not done twice. A batch that meets a locked account or an invalid item is split: each of its
requests is posted alone, on connections of their own, so that one can't make the others fail. A
transfer batch is one request, however many items it has: it shares commit batches where it fits,
and is never divided.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from finpay.concurrency.batch_observer import NO_OBSERVER, BatchObserver
from finpay.concurrency.micro_batcher import MicroBatcher
from finpay.db.pool import Conflict, Database, Unavailable
from finpay.errors import Code, FinPayError
from finpay.ledger import transfer_metrics
from finpay.ledger.posting import Posting, PostingResult, post
from finpay.telemetry import metrics

MAX_BATCH: Final = 500  # items; more gain little and keep locks longer. Larger requests go alone
MAX_QUEUED: Final = 4_000  # more than a second of work: a longer queue only delays the refusal
MAX_QUEUED_ITEMS: Final = 50_000  # a hundred transfer batches of 500: a few seconds of work
MAX_IN_FLIGHT: Final = 1  # two made batches half as large and 27 % fewer transfers
LINGER_TICKS: Final = 20  # of the event loop: little for one client; decision 0010
SINGLES_IN_FLIGHT: Final = 4  # one that waits for a lock leaves connections for the others
CONNECTIONS: Final = MAX_IN_FLIGHT + SINGLES_IN_FLIGHT
LOCK_TIMEOUT_MS: Final = 100  # a batch that waits longer for one account is better split
DEADLINE_S: Final = 4.5  # a request has to be answered within 5 s when PostgreSQL hangs
MAX_ATTEMPTS: Final = 4  # where nothing can have run: PostgreSQL is unavailable, so answer soon
RETRY_PAUSE_S: Final = 0.02  # doubled and jittered, so that two attempts don't collide repeatedly
MAX_PAUSE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class _PostAlone:
    """The batch was split. `may_have_run`: its requests may be in the ledger already."""

    may_have_run: bool


class Batcher:
    """The only caller of `ledger.post_transfers`. One per process.

    `database` has CONNECTIONS connections with LOCK_TIMEOUT_MS. `refusals` are the bodies of
    refusals, see `posting`. `wake` is called after each commit that left webhooks to deliver.
    `public_url` is where payment requests are shown.
    """

    def __init__(
        self,
        database: Database,
        refusals: Sequence[str],
        wake: Callable[[], None] = lambda: None,
        observer: BatchObserver = NO_OBSERVER,
        public_url: str | None = None,
    ) -> None:
        self._database = database
        self._wake = wake
        self._observer = observer
        self._public_url = public_url
        self._refusals = list(refusals)
        self._batches: MicroBatcher[Posting, PostingResult | _PostAlone] = MicroBatcher(
            self._process,
            max_in_flight=MAX_IN_FLIGHT,
            max_batch=MAX_BATCH,
            linger_ticks=LINGER_TICKS,
            max_queued=MAX_QUEUED,
            max_queued_weight=MAX_QUEUED_ITEMS,
            weight_of=_weight,
        )
        self._singles: MicroBatcher[Posting, PostingResult] = MicroBatcher(
            self._post, max_in_flight=SINGLES_IN_FLIGHT, max_batch=1, max_queued=MAX_QUEUED
        )

    async def post(self, request: Posting) -> PostingResult:
        """The result of the request, committed. Unavailable when it is not known in time."""
        with self._observer.item(request) as record_outcome:
            future = self._batches.submit_nowait(request)
            # A timer of the future costs each transfer a fifth of what asyncio.timeout does.
            deadline = future.get_loop().call_later(DEADLINE_S, _expire, future)
            try:
                result = await future
            finally:
                deadline.cancel()
            if isinstance(result, _PostAlone):
                result = await self._after_batch(request, result, until_s=deadline.when())
            record_outcome(result.outcome)
            return result

    async def drain(self) -> None:
        """Waits until no request is queued or in flight."""
        await self._batches.drain()
        await self._singles.drain()

    async def _after_batch(
        self, request: Posting, split: _PostAlone, *, until_s: float
    ) -> PostingResult:
        try:
            async with asyncio.timeout_at(until_s):
                return await self._post_alone(request, may_have_run=split.may_have_run)
        except TimeoutError:
            raise _no_answer() from None

    async def _process(
        self, requests: Sequence[Posting]
    ) -> list[PostingResult | _PostAlone | Exception]:
        metrics.BATCH_SIZE.observe(sum(map(_weight, requests)))
        first, repeated = _split_repeated(requests)
        results = await self._post_together([requests[index] for index in first])
        if repeated and all(isinstance(result, PostingResult) for result in results):
            # Their keys are stored now, so any number of them is answered by one more call.
            results += await self._post_together([requests[index] for index in repeated])
        else:
            results += [_PostAlone(may_have_run=False)] * len(repeated)
        by_index = dict(zip(first + repeated, results, strict=True))
        return [by_index[index] for index in range(len(requests))]

    async def _post_together(
        self, requests: Sequence[Posting]
    ) -> list[PostingResult | _PostAlone | Exception]:
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
            except Exception as error:  # noqa: BLE001  a bug or an invalid item: find which one
                if len(requests) == 1:
                    return [error]
                break
            pause_s = await _pause(pause_s)
        else:
            if not may_have_run:
                return [_unreachable() for _ in requests]
        return [_PostAlone(may_have_run)] * len(requests)

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
        with self._observer.batch(requests, sum(map(_weight, requests))):
            results = await post(
                self._database, requests, self._refusals, self._wake, self._public_url
            )
        transfer_metrics.count(requests, results)
        return results


def _expire(future: asyncio.Future[PostingResult | _PostAlone]) -> None:
    if not future.done():
        future.set_exception(_no_answer())


async def _pause(pause_s: float) -> float:
    """Waits; returns the length of the next pause."""
    await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  no secret
    return min(2 * pause_s, MAX_PAUSE_S)


def _unreachable() -> Unavailable:
    return Unavailable(
        Code.UNAVAILABLE,
        "The ledger can't be reached. Nothing was done; try again.",
        headers={"Retry-After": "1"},
        may_have_run=False,
    )


def _no_answer() -> Unavailable:
    return Unavailable(
        Code.UNAVAILABLE,
        "The ledger did not answer in time, so the outcome of this request is not known yet. "
        "Try again with the same idempotency key: it is done at most once.",
        headers={"Retry-After": "1"},
        may_have_run=True,
    )


def _weight(request: Posting) -> int:
    return len(request.items)


def _split_repeated(requests: Sequence[Posting]) -> tuple[list[int], list[int]]:
    """Indexes of the first request of each (sender, key), and of those that repeat one."""
    seen: set[tuple[int, str]] = set()
    first: list[int] = []
    repeated: list[int] = []
    for index, request in enumerate(requests):
        principal_key = (request.sender_id.int, request.key)
        (repeated if principal_key in seen else first).append(index)
        seen.add(principal_key)
    return first, repeated
