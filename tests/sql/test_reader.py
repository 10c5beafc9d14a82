"""Reads that share a statement: each gets what it asked for, as if it had asked alone."""

import asyncio
import random
from collections.abc import Sequence
from uuid import uuid4

from finpay.ledger import reads
from finpay.ledger.reader import Reader, UserAccount
from tests.sql.bank import Bank, Holder, transfer


async def test_each_gets_its_own(bank: Bank) -> None:
    """Accounts with and without history, sent, received and failed, one asked for twice."""
    chance = random.Random(7)
    holders = [await bank.open(chance.randrange(60)) for _ in range(9)]
    for _ in range(6):
        pairs = [chance.sample(holders[:8], 2) for _ in range(20)]
        await bank.post(*(transfer(a, b, chance.randrange(1, 12)) for a, b in pairs))
    asked = [(holder, limit) for holder in holders for limit in (1, 4, 21)] * 2
    chance.shuffle(asked)
    together = Reader(bank.app)
    pages = await asyncio.gather(
        *(together.newest(holder.account_id, limit) for holder, limit in asked)
    )
    for (holder, limit), page in zip(asked, pages, strict=True):
        assert page == await _alone(bank, holder, limit)
    assert {len(page.steps) for page in pages} >= {1, 4, 21}
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

    class Counting(Reader):
        async def _read_accounts(
            self, asked: Sequence[UserAccount]
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
    together = Reader(bank.app)
    others = [asyncio.ensure_future(_again_and_again(together, b)) for _ in range(8)]
    try:
        for sent in range(1, 101):
            await bank.post(transfer(a, b, 1))
            account = await together.account(b.user_id)
            page = await together.newest(b.account_id, 2)
            assert account is not None
            assert account.balance == sent
            assert page.steps[0].balance_after == sent
    finally:
        for each in others:
            each.cancel()
        await asyncio.gather(*others, return_exceptions=True)


async def _again_and_again(together: Reader, holder: Holder) -> None:
    while True:
        await together.account(holder.user_id)
        await together.newest(holder.account_id, 2)


async def _alone(bank: Bank, holder: Holder, limit: int) -> reads.History:
    return await reads.history(
        bank.app,
        holder.user_id,
        holder.account_id,
        before=reads.Position(),
        filters=reads.Filters(),
        limit=limit,
    )
