"""Reads that share a statement: each gets what it asked for, as if it had asked alone."""

import asyncio
import random
from collections.abc import Sequence
from uuid import uuid4

import pytest

from finpay.db.pool import Database, Unavailable
from finpay.dev.postgres import Cluster
from finpay.ledger import batched_reads, reads
from finpay.ledger.batched_reads import AccountRead, BatchedReads
from tests.sql.ledger_fixtures import Bank, Holder, transfer


async def test_each_gets_its_own(bank: Bank) -> None:
    """Accounts with and without history, sent, received and failed, one asked for twice."""
    chance = random.Random(7)
    holders = [await bank.open(chance.randrange(60)) for _ in range(9)]
    for _ in range(6):
        pairs = [chance.sample(holders[:8], 2) for _ in range(20)]
        await bank.post(*(transfer(a, b, chance.randrange(1, 12)) for a, b in pairs))
    asked = [(holder, limit) for holder in holders for limit in (1, 4, 21)] * 2
    chance.shuffle(asked)
    together = BatchedReads(bank.app)
    pages = await asyncio.gather(
        *(together.newest(holder.account_id, limit) for holder, limit in asked)
    )
    for (holder, limit), page in zip(asked, pages, strict=True):
        assert page == await _alone(bank, holder, limit)
    assert {len(page.steps) for page in pages if page is not None} >= {1, 4, 21}
    assert await together.newest(uuid4(), 5) is None
    accounts = await asyncio.gather(
        *(together.account(holder.user_id) for holder, _ in asked), together.account(uuid4())
    )
    assert accounts.pop() is None
    for (holder, _), account in zip(asked, accounts, strict=True):
        assert account is not None
        assert account.id == holder.account_id
        (row,) = await bank.owner.fetch(
            "SELECT balance, sequence FROM ledger.accounts WHERE id = $1", holder.account_id
        )
        assert (account.balance, account.sequence) == tuple(row)


async def test_those_who_wait_share_one_statement(bank: Bank) -> None:
    holder = await bank.open(5)
    statements = 0

    class Counting(BatchedReads):
        async def _read_accounts(
            self, asked: Sequence[AccountRead]
        ) -> Sequence[reads.Account | None]:
            nonlocal statements
            statements += 1
            return await super()._read_accounts(asked)

    together = Counting(bank.app)
    await asyncio.gather(*(together.account(holder.user_id) for _ in range(60)))
    assert statements == 1


async def test_a_read_sees_what_was_committed_before_it_was_asked(bank: Bank) -> None:
    """Also while other reads are under way: it never joins one that has left."""
    a, b = await bank.open(1_000), await bank.open()
    together = BatchedReads(bank.app)
    others = [asyncio.ensure_future(_read_repeatedly(together, b)) for _ in range(8)]
    try:
        for sent in range(1, 101):
            await bank.post(transfer(a, b, 1))
            account = await together.account(b.user_id)
            page = await together.newest(b.account_id, 2)
            assert account is not None
            assert page is not None
            assert account.balance == sent
            assert page.steps[0].balance_after == sent
    finally:
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def test_a_lost_connection_fails_no_read(bank: Bank, postgres_server: Cluster) -> None:
    """All reads of a statement would fail with it, so it is retried once."""
    holder = await bank.open(5)
    database = Database(bank.url, size=1)
    together = BatchedReads(database)
    row = await database.fetch_one("SELECT pg_backend_pid() AS pid")
    assert row is not None
    # While the loop is blocked, so that the loss is only noticed by the next read.
    postgres_server.sql(f"SELECT pg_terminate_backend({row['pid']}, 5000)")
    accounts = await asyncio.gather(*(together.account(holder.user_id) for _ in range(20)))
    assert [account and account.balance for account in accounts] == [5] * 20
    await database.close()


async def test_who_gives_up_leaves_his_neighbours_alone(bank: Bank) -> None:
    a, b = await bank.open(5), await bank.open(7)
    together = BatchedReads(bank.app)
    leaver = asyncio.ensure_future(together.account(a.user_id))
    stayer = asyncio.ensure_future(together.account(b.user_id))
    await asyncio.sleep(0)
    leaver.cancel()
    account = await stayer
    assert account is not None
    assert account.balance == 7


async def test_a_database_that_does_not_answer_is_unavailable_in_time(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched_reads, "DEADLINE_S", 0.05)

    class Hanging(BatchedReads):
        async def _read_accounts(
            self, asked: Sequence[AccountRead]
        ) -> Sequence[reads.Account | None]:
            await asyncio.sleep(60)
            return [None for _ in asked]

    together = Hanging(bank.app)
    results = await asyncio.gather(
        *(together.account(uuid4()) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, Unavailable) for result in results)


async def _read_repeatedly(together: BatchedReads, holder: Holder) -> None:
    while True:
        await together.account(holder.user_id)
        await together.newest(holder.account_id, 2)


async def _alone(bank: Bank, holder: Holder, limit: int) -> reads.History:
    return await reads.history(
        bank.app,
        holder.user_id,
        holder.account_id,
        before=reads.HistoryPosition(),
        filters=reads.Filters(),
        limit=limit,
    )
