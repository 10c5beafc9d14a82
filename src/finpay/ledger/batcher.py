"""Carries transfers to the ledger in batches: no timer, bounded, and honest about the unknown.

While a batch is in flight the next gathers. A batch that fails as a whole is tried again within
its deadline, with the same transaction ids and keys, so that a COMMIT whose answer was lost is
found by its key instead of being done twice; what still fails is tried item by item, so that one
bad item never spoils its neighbours.
"""

import asyncio
import random
from collections.abc import Sequence
from typing import Final

from finpay import metrics
from finpay.db.pool import Conflict, Database, Unavailable
from finpay.errors import Code, FinPayError
from finpay.gathering import Gatherer
from finpay.ledger.posting import Posted, Transfer, post

MAX_BATCH: Final = 250  # bigger ones gain little more and keep locks longer
MAX_QUEUE: Final = 4_000  # more than a second of work: beyond it, waiting only hides the overload
FLIGHTS: Final = 2  # one computes while the other waits for its fsync
DEADLINE_S: Final = 4.5  # a request has to be answered within 5 s when PostgreSQL hangs
MAX_ATTEMPTS: Final = 4  # deadlocks and lost connections are rare; more would only add load
RETRY_PAUSE_S: Final = 0.02  # doubled and jittered, so that two batches don't collide again


class Batcher:
    """The one way to `ledger.post_transfers`. One per process.

    `refusals` are the bodies of refusals in the order of Outcome, see `posting`.
    """

    def __init__(self, database: Database, refusals: Sequence[str]) -> None:
        self._database = database
        self._refusals = list(refusals)
        self._gatherer: Gatherer[Transfer, Posted] = Gatherer(
            self._fly, flights=FLIGHTS, size=MAX_BATCH, queue=MAX_QUEUE
        )

    async def post(self, item: Transfer) -> Posted:
        """What became of the item, committed. Unavailable when that is not known in time."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._gatherer.carry(item)
        except TimeoutError:
            raise _unheard() from None

    async def drain(self) -> None:
        """Waits for the batches in flight and in the queue."""
        await self._gatherer.land()

    async def _fly(self, items: Sequence[Transfer]) -> list[Posted | Exception]:
        metrics.BATCH_SIZE.observe(len(items))
        first, again = _without_repeats(items)
        results = await self._post_all([items[at] for at in first])
        if again:
            # Their keys are stored now, so any number of them is answered by one more call.
            results += await self._post_all([items[at] for at in again])
        places = sorted(zip(first + again, results, strict=True), key=lambda place: place[0])
        return [result for _, result in places]

    async def _post_all(self, items: Sequence[Transfer]) -> list[Posted | Exception]:
        try:
            async with asyncio.timeout(DEADLINE_S):
                return [*await self._post_again_and_again(items)]
        except (TimeoutError, FinPayError) as error:
            return [_unheard() if isinstance(error, TimeoutError) else error] * len(items)
        except Exception as error:  # noqa: BLE001  a bug or a bad item: find out which
            if len(items) == 1:
                return [error]
        return [(await self._post_all([item]))[0] for item in items]

    async def _post_again_and_again(self, items: Sequence[Transfer]) -> list[Posted]:
        pause_s = RETRY_PAUSE_S
        for _ in range(MAX_ATTEMPTS - 1):
            try:
                return await post(self._database, items, self._refusals)
            except Conflict:
                metrics.BATCH_RETRIES.labels("conflict").inc()
            except Unavailable:
                # Connections break one by one when PostgreSQL restarts; a fresh one may work.
                metrics.BATCH_RETRIES.labels("unavailable").inc()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  no secret
            pause_s *= 2
        try:
            return await post(self._database, items, self._refusals)
        except Conflict as error:
            raise Unavailable(
                Code.UNAVAILABLE,
                "The ledger was too busy with the same accounts. Nothing was done; try again.",
                headers={"Retry-After": "1"},
                may_have_run=False,
            ) from error


def _unheard() -> Unavailable:
    return Unavailable(
        Code.UNAVAILABLE,
        "The ledger did not answer in time, so what became of this request is not known yet. "
        "Try again with the same idempotency key: it is done once at most.",
        headers={"Retry-After": "1"},
        may_have_run=True,
    )


def _without_repeats(items: Sequence[Transfer]) -> tuple[list[int], list[int]]:
    """Places of the first item of each (sender, key), and of those that repeat one."""
    seen: set[tuple[object, str]] = set()
    first: list[int] = []
    again: list[int] = []
    for at, item in enumerate(items):
        mark = (item.sender_id, item.key)
        (again if mark in seen else first).append(at)
        seen.add(mark)
    return first, again
