"""What an operation is about is found by its whole key, also by a plan from a time of few rows."""

import random
from collections.abc import Callable, Sequence

import asyncpg

from finpay.ledger import payment_requests
from finpay.ledger.payment_requests import NewRequest
from tests.sql.ledger_fixtures import Bank, Holder, capture, hold, payment
from tests.sql.schedule_fixtures import ask, origin

BATCH = 10
PAGES_OF_A_CAPTURE = 40  # of indexes, at most: five probes of keys, and entries of two new rows
PAGES_OF_A_PAYMENT = 40  # three probes of keys, and entries of two new rows


async def test_a_capture_reads_few_pages_however_many_holds_there_are(
    fresh_database: Callable[[], str],
) -> None:
    """A plan that reads holds by the second column of their key passes each account's rows."""
    bank = Bank(fresh_database(), size=1)
    superuser = await asyncpg.connect(bank.url)
    holders = [await bank.open(10**6) for _ in range(60)]
    assert await _pages_of_captures(bank, superuser, holders) < BATCH * PAGES_OF_A_CAPTURE
    for _ in range(50):
        pairs = [random.sample(holders, 2) for _ in range(100)]
        await bank.post(*(hold(sender, receiver, 1) for sender, receiver in pairs))
    assert await _pages_of_captures(bank, superuser, holders) < BATCH * PAGES_OF_A_CAPTURE
    await superuser.close()
    await bank.close()


async def test_a_payment_reads_few_pages_however_many_requests_there_are(
    fresh_database: Callable[[], str],
) -> None:
    bank = Bank(fresh_database(), size=1)
    superuser = await asyncpg.connect(bank.url)
    holders = [await bank.open(10**6) for _ in range(60)]
    assert await _pages_of_payments(bank, superuser, holders) < BATCH * PAGES_OF_A_PAYMENT
    for requester in holders:
        payers = random.sample([each for each in holders if each is not requester], 50)
        emails = [payer.email for payer in payers]
        new = NewRequest([1] * 50, emails, None, None, "{}", 3_600, is_split=True)
        await payment_requests.create(bank.app, origin(requester), new, None, ["{}"] * 2)
    assert await _pages_of_payments(bank, superuser, holders) < BATCH * PAGES_OF_A_PAYMENT
    await superuser.close()
    await bank.close()


async def _pages_of_payments(
    bank: Bank, superuser: asyncpg.Connection, holders: Sequence[Holder]
) -> int:
    requester, payer = holders[-2:]
    made = [await ask(bank, requester, payer, 1) for _ in range(BATCH)]
    before = await _index_pages(bank, superuser, "payment_requests")
    outcomes = await bank.outcomes(*(payment(payer, one) for one in made))
    assert set(outcomes) == {"completed"}
    return await _index_pages(bank, superuser, "payment_requests") - before


async def _pages_of_captures(
    bank: Bank, superuser: asyncpg.Connection, holders: Sequence[Holder]
) -> int:
    sender, receiver = holders[-2:]
    made = [hold(sender, receiver, 1) for _ in range(BATCH)]
    await bank.post(*made)
    before = await _index_pages(bank, superuser, "holds")
    outcomes = await bank.outcomes(*(capture(receiver, one.id) for one in made))
    assert set(outcomes) == {"completed"}
    return await _index_pages(bank, superuser, "holds") - before


async def _index_pages(bank: Bank, superuser: asyncpg.Connection, table: str) -> int:
    """Read of the indexes of a table until now."""
    await bank.app.execute("SELECT pg_stat_force_next_flush()")
    pages: int = await superuser.fetchval(
        "SELECT sum(idx_blks_hit + idx_blks_read)::bigint FROM pg_statio_all_indexes "
        "WHERE schemaname = 'ledger' AND relname = $1",
        table,
    )
    return pages
