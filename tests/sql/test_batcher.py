"""The batcher over a real ledger: concurrent requests, each done exactly once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import asyncpg
import pytest

from finpay import ids
from finpay.ledger.batcher import MAX_BATCH, Batcher
from finpay.ledger.posting import Transfer, TransferBatch
from tests.sql.ledger_fixtures import (
    REFUSALS,
    Bank,
    Holder,
    item,
    retry,
    retry_batch,
    transfer,
    transfer_batch,
)


@pytest.fixture
async def batcher(bank: Bank) -> AsyncIterator[Batcher]:
    batcher = Batcher(bank.app, REFUSALS)
    yield batcher
    await batcher.drain()


async def test_200_transfers_of_1_from_100_end_with_exactly_100_completed(
    bank: Bank, batcher: Batcher
) -> None:
    a, b = await bank.open(100), await bank.open()
    outcomes = await _outcomes(batcher, [transfer(a, b, 1) for _ in range(200)])
    assert outcomes == {"completed": 100, "insufficient_funds": 100}
    assert (await bank.balance(a), await bank.balance(b)) == (0, 100)


async def test_100_requests_with_one_key_have_one_effect(bank: Bank, batcher: Batcher) -> None:
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 1)
    posted = await asyncio.gather(*(batcher.post(retry(item)) for _ in range(100)))
    assert Counter(p.outcome for p in posted) == {"completed": 1, "duplicate": 99}
    assert len({p.answer for p in posted}) == 1
    assert await bank.balance(b) == 1


async def test_one_key_for_two_requests_is_reuse_for_the_second(
    bank: Bank, batcher: Batcher
) -> None:
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 1)
    items = [item, retry(item, amount=2, fingerprint=b"another"), retry(item)]
    assert await _outcomes(batcher, items) == {
        "completed": 1,
        "idempotency_key_reuse": 1,
        "duplicate": 1,
    }
    assert await bank.balance(b) == 1


async def test_two_batchers_do_a_key_once(bank: Bank, batcher: Batcher) -> None:
    """As two processes would: their batches meet in the database only."""
    a, b = await bank.open(100), await bank.open()
    other = Batcher(bank.app, REFUSALS)
    items = [transfer(a, b, 1) for _ in range(50)]
    posted = await asyncio.gather(
        *(batcher.post(item) for item in items), *(other.post(retry(item)) for item in items)
    )
    assert Counter(p.outcome for p in posted) == {"completed": 50, "duplicate": 50}
    assert await bank.balance(b) == 50


@pytest.mark.contract("2.2.5")
async def test_a_bad_item_does_not_spoil_its_batch(bank: Bank, batcher: Batcher) -> None:
    """Its neighbours are retried without it."""
    a, b = await bank.open(100), await bank.open()
    unknown = Holder(ids.new_uuid(), ids.new_uuid(), "")
    items = [transfer(a, b, 1), transfer(unknown, b, 1), transfer(a, b, 0), transfer(a, b, 2)]
    first, strange, empty, last = await asyncio.gather(
        *(batcher.post(item) for item in items), return_exceptions=True
    )
    assert isinstance(strange, asyncpg.InvalidParameterValueError)
    assert isinstance(empty, asyncpg.InvalidParameterValueError)
    assert not isinstance(first, BaseException)
    assert not isinstance(last, BaseException)
    assert (first.outcome, last.outcome) == ("completed", "completed")
    assert await bank.balance(b) == 3


@pytest.mark.contract("2.2.4")
async def test_a_client_that_goes_away_does_not_take_its_transfer_back(
    bank: Bank, batcher: Batcher
) -> None:
    a, b = await bank.open(100), await bank.open()
    item = transfer(a, b, 1)
    async with bank.owner.transaction() as holder:
        await holder.execute(
            "SELECT FROM ledger.accounts WHERE id = $1 FOR NO KEY UPDATE", a.account_id
        )
        request = asyncio.create_task(batcher.post(item))
        await bank.until_a_statement_waits()
        request.cancel()
    await batcher.drain()
    assert request.cancelled()
    assert await bank.outcome(retry(item)) == "duplicate"
    assert await bank.balance(b) == 1


async def test_a_hundred_transfer_batches_share_commits(bank: Bank, batcher: Batcher) -> None:
    a, b = await bank.open(2_000), await bank.open()
    requests = [transfer_batch(a, item(b, 1), item(b, 1)) for _ in range(100)]
    posted = await asyncio.gather(*(batcher.post(request) for request in requests))
    assert {p.http_status for p in posted} == {200}
    commits = await bank.app.fetch("SELECT DISTINCT xmin::text FROM ledger.transfer_batches "
                                   "WHERE principal_id = $1", a.user_id)  # fmt: skip
    assert len(commits) <= 2
    assert await bank.balance(b) == 200


async def test_transfer_batches_bigger_than_a_batch_and_singles_are_all_done_once(
    bank: Bank, batcher: Batcher
) -> None:
    a, b = await bank.open(10_000), await bank.open()
    big = [transfer_batch(a, *(item(b, 1) for _ in range(MAX_BATCH + 1))) for _ in range(2)]
    requests: list[Transfer | TransferBatch] = [
        transfer(a, b, 1),
        big[0],
        transfer(a, b, 1),
        retry_batch(big[0]),
        big[1],
    ]
    posted = await asyncio.gather(*(batcher.post(request) for request in requests))
    assert [p.outcome for p in posted] == [*["completed"] * 3, "duplicate", "completed"]
    assert await bank.balance(b) == 2 + 2 * (MAX_BATCH + 1)


async def test_a_bad_transfer_batch_does_not_spoil_its_batch(bank: Bank, batcher: Batcher) -> None:
    a, b = await bank.open(100), await bank.open()
    bad = transfer_batch(a, item(b, 1), item(b, 0))  # no request that was checked has it
    first, refused, last = await asyncio.gather(
        batcher.post(transfer_batch(a, item(b, 1))),
        batcher.post(bad),
        batcher.post(transfer(a, b, 2)),
        return_exceptions=True,
    )
    assert isinstance(refused, asyncpg.InvalidParameterValueError)
    assert not isinstance(first, BaseException)
    assert not isinstance(last, BaseException)
    assert await bank.balance(b) == 3


async def _outcomes(batcher: Batcher, items: list[Transfer]) -> Counter[str]:
    posted = await asyncio.gather(*(batcher.post(item) for item in items))
    return Counter(str(p.outcome) for p in posted)
