"""A batch that meets a locked account or a lost answer: who waits, and what is said."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from finpay.db.pool import Conflict, Database, Unavailable
from finpay.errors import Code
from finpay.ledger import batcher as module
from finpay.ledger.batcher import CONNECTIONS, LOCK_TIMEOUT_MS, Batcher
from tests.sql.ledger_fixtures import REFUSALS, Bank, transfer

SOON_S = 2.0  # far below the deadline of a request


@pytest.fixture
async def batcher(bank: Bank) -> AsyncIterator[Batcher]:
    """As app.py builds it."""
    database = Database(bank.url, size=CONNECTIONS, lock_timeout_ms=LOCK_TIMEOUT_MS)
    made = Batcher(database, REFUSALS)
    yield made
    await made.drain()
    await database.close()


@pytest.mark.contract("2.2.5")
async def test_a_locked_account_does_not_hold_up_its_neighbours(
    bank: Bank, batcher: Batcher
) -> None:
    a, b, c, d = [await bank.open(100) for _ in range(4)]
    async with bank.owner.transaction() as holder:
        await holder.execute(
            "SELECT FROM ledger.accounts WHERE id = $1 FOR NO KEY UPDATE", a.account_id
        )
        stuck = [asyncio.create_task(batcher.post(transfer(a, b, 1))) for _ in range(6)]
        free = [asyncio.create_task(batcher.post(transfer(c, d, 1))) for _ in range(20)]
        async with asyncio.timeout(SOON_S):
            posted = await asyncio.gather(*free)
        assert {one.outcome for one in posted} == {"completed"}
        assert not any(task.done() for task in stuck)
    assert {one.outcome for one in await asyncio.gather(*stuck)} == {"completed"}
    assert await bank.balance(b) == 106


class _Answers:
    """A database that answers with these errors in turn, the last one for ever."""

    def __init__(self, *errors: Unavailable) -> None:
        self._errors = list(errors)
        self.calls = 0

    async def fetch_one(self, *_: Any) -> None:
        self.calls += 1
        raise self._errors.pop(0) if len(self._errors) > 1 else self._errors[0]


def _away(*, may_have_run: bool) -> Unavailable:
    return Unavailable(Code.UNAVAILABLE, "away", may_have_run=may_have_run)


_BUSY = Conflict(Code.UNAVAILABLE, "busy", may_have_run=False)


@pytest.mark.contract("2.2.6")
@pytest.mark.parametrize(
    "later", [_away(may_have_run=False), _BUSY], ids=["then away", "then busy"]
)
async def test_what_may_have_run_once_is_unknown_to_the_end(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, later: Unavailable
) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.7)
    a, b = await bank.open(100), await bank.open()
    database: Any = _Answers(_away(may_have_run=True), later)
    with pytest.raises(Unavailable) as refused:
        await Batcher(database, REFUSALS).post(transfer(a, b, 1))
    assert refused.value.may_have_run
    assert database.calls > module.MAX_ATTEMPTS


async def test_where_nothing_ran_the_refusal_is_soon_and_says_so(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    database: Any = _Answers(_away(may_have_run=False))
    batcher = Batcher(database, REFUSALS)
    async with asyncio.timeout(SOON_S):
        results = await asyncio.gather(
            *(batcher.post(transfer(a, b, 1)) for _ in range(3)), return_exceptions=True
        )
    assert [isinstance(one, Unavailable) and one.may_have_run for one in results] == [False] * 3
    assert len({id(one) for one in results}) == 3
