"""Accounts are locked in id order, so no two calls ever wait for each other in a circle."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Final

import pytest

from finpay import ids
from finpay.db.pool import Unavailable
from tests.sql.ledger_fixtures import Bank, Holder, transfer

CLIENTS: Final = 64
ROUNDS: Final = 4
LOCK: Final = "SELECT FROM ledger.accounts WHERE id = $1 FOR NO KEY UPDATE NOWAIT"


@pytest.fixture
async def others(database_url: str) -> AsyncIterator[Bank]:
    """A connection for every client, so that all are in the database at once.

    Each has made its plans, which takes longer than a call: the first calls would make each other
    wait for all of them.
    """
    others = Bank(database_url, size=CLIENTS)
    receiver = ids.new_uuid()
    senders = [await others.open() for _ in range(CLIENTS)]
    absent = Holder(receiver, receiver, "")
    await asyncio.gather(*(others.post(transfer(sender, absent, 1)) for sender in senders))
    yield others
    await others.close()


@pytest.mark.contract("2.2.3")
async def test_64_clients_that_cross_do_not_deadlock(others: Bank) -> None:
    a, b = await others.open(100_000), await others.open(100_000)

    async def client(number: int) -> list[str]:
        sender, receiver = (a, b) if number % 2 else (b, a)
        outcomes: list[str] = []
        for _ in range(ROUNDS):
            outcomes += await others.outcomes(*(transfer(sender, receiver, 1) for _ in range(3)))
        return outcomes

    # A deadlock would be raised as Conflict: nothing here tries again.
    outcomes = await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    assert outcomes == [["completed"] * 3 * ROUNDS] * CLIENTS
    assert (await others.balance(a), await others.balance(b)) == (100_000, 100_000)
    assert (await others.account(a))["version"] == 1 + 3 * ROUNDS * CLIENTS


async def test_batches_that_share_accounts_in_opposite_order_do_not_deadlock(
    others: Bank,
) -> None:
    people = [await others.open(1_000) for _ in range(8)]
    there = list(pairwise(people))
    back = [(receiver, sender) for sender, receiver in reversed(there)]

    async def client(pairs: list[tuple[Holder, Holder]]) -> None:
        for _ in range(ROUNDS):
            await others.post(*(transfer(sender, receiver, 1) for sender, receiver in pairs))

    await asyncio.gather(*(client(there if n % 2 else back) for n in range(CLIENTS)))
    assert sum([await others.balance(person) for person in people]) == 8_000


@pytest.mark.contract("2.2.3")
async def test_a_batch_waits_with_the_lower_locks_and_without_the_higher(bank: Bank) -> None:
    low, middle, high = await _in_id_order(bank)
    async with bank.owner.transaction() as holder, bank.owner.transaction() as probe:
        await holder.execute(LOCK, middle.account_id)
        batch = asyncio.create_task(
            bank.outcomes(transfer(high, middle, 1), transfer(middle, low, 1))
        )
        await bank.until_a_statement_waits()
        await probe.execute(LOCK, high.account_id)
        with pytest.raises(Unavailable):
            await probe.execute(LOCK, low.account_id)
    assert await batch == ["completed", "completed"]


async def test_a_funding_locks_in_id_order_too(others: Bank) -> None:
    """During transfers among the same accounts and other fundings."""
    people = [await others.open(1_000) for _ in range(4)]
    fundings = [others.fund(person, 1) for person in people * 8]
    transfers = [
        others.post(transfer(people[n % 4], people[(n + 1) % 4], 1)) for n in range(CLIENTS)
    ]
    await asyncio.gather(*fundings, *transfers)
    assert sum([await others.balance(person) for person in people]) == 4_000 + 32


async def _in_id_order(bank: Bank) -> list[Holder]:
    people = [await bank.open(100) for _ in range(3)]
    return sorted(people, key=lambda person: person.account_id)
