"""The rows of ledger.hold_expiries: from the hold's creation to its time, and what that spares."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import asyncpg
import pytest

from finpay.ledger import holds
from finpay.ledger import operator_commands as commands
from tests.sql.hold_fixtures import close_oldest, end_holds, hold_many
from tests.sql.ledger_fixtures import (
    Bank,
    Holder,
    capture,
    fresh_key,
    transfer,
    void,
)

HOLDS = 60


async def expire(bank: Bank) -> int:
    return await holds.expire(bank.app, lambda: None)


@pytest.fixture(autouse=True)
async def nothing_due(bank: Bank) -> None:
    """Other tests leave holds whose time is over."""
    await expire(bank)


async def test_each_party_has_a_row_until_the_time_whatever_becomes_of_the_hold(
    bank: Bank,
) -> None:
    a, b = await bank.open(100), await bank.open()
    opened, captured, voided = [await bank.hold(a, b, 10) for _ in range(3)]
    await bank.post(capture(b, captured.id), void(b, voided.id))
    assert await expire(bank) == 0
    for request in (opened, captured, voided):
        rows = await bank.app.fetch(
            "SELECT h.account_id FROM ledger.hold_expiries x JOIN ledger.holds h "
            "ON h.account_id = x.account_id AND h.id = x.hold_id AND h.expires_at = x.expires_at "
            "WHERE x.hold_id = $1",
            request.id,
        )
        assert {row["account_id"] for row in rows} == {a.account_id, b.account_id}
        assert len(rows) == 2
    await end_holds(bank, opened.id, captured.id, voided.id)
    assert await expire(bank) == 2
    assert await _expiries(bank, opened.id, captured.id, voided.id) == 0


async def test_rows_of_closed_holds_are_deleted_without_a_lock_of_an_account(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 10)
    await bank.post(capture(b, request.id))
    await end_holds(bank, request.id)
    async with bank.owner.transaction() as payment:
        await payment.execute(
            "SELECT FROM ledger.accounts WHERE id = ANY ($1) FOR UPDATE",
            [a.account_id, b.account_id],
        )
        async with asyncio.timeout(5):
            assert await expire(bank) == 0
    assert await _expiries(bank, request.id) == 0


async def test_more_closed_rows_than_are_read_at_once_are_not_the_end(
    fresh_database: Callable[[], str],
) -> None:
    bank = Bank(fresh_database())
    receiver = await bank.open()
    await hold_many(bank, receiver, senders=3, of_each=400)
    await close_oldest(bank, 1_100)  # holds: two rows each, so the first two pages have no other
    assert await expire(bank) == 200
    assert await bank.count("ledger.hold_expiries", "true") == 0
    await bank.close()


async def test_rows_that_another_transaction_keeps_hide_no_other(
    fresh_database: Callable[[], str],
) -> None:
    """It may be an abandoned one: as many closed rows as are read at once, before an open one."""
    bank = Bank(fresh_database())
    receiver = await bank.open()
    await hold_many(bank, receiver, senders=2, of_each=300)
    await close_oldest(bank, 500)
    async with bank.owner.transaction() as other:
        await other.execute("SELECT ledger.list_due_holds(1000, NULL)")
        async with asyncio.timeout(5):
            assert await expire(bank) == 200
        assert await bank.count("ledger.hold_expiries", "true") == 1_000
    assert await bank.count("ledger.hold_expiries", "true") == 0
    await bank.close()


async def test_pages_follow_each_other_without_a_gap(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    made = [await bank.hold(a, b, 10) for _ in range(3)]
    await end_holds(bank, *(each.id for each in made))
    found: list[tuple[UUID, UUID]] = []
    last = None
    while True:
        row = await bank.app.fetch_one("SELECT * FROM ledger.list_due_holds(2, $1)", last)
        assert row is not None
        last = row["last"]
        if last is None:
            break
        found += zip(row["account_ids"], row["ids"], strict=True)
    assert len(found) == len(set(found)) == 6


async def test_a_row_that_another_worker_deletes_is_left_to_it(bank: Bank) -> None:
    a, b = await bank.open(100), await bank.open()
    mine, theirs = await bank.hold(a, b, 10), await bank.hold(a, b, 10)
    await bank.post(void(b, mine.id), void(b, theirs.id))
    await end_holds(bank, mine.id, theirs.id)
    async with bank.owner.transaction() as other:
        await other.execute(
            "SELECT FROM ledger.hold_expiries WHERE hold_id = $1 FOR UPDATE", theirs.id
        )
        async with asyncio.timeout(5):
            assert await expire(bank) == 0
        assert await _expiries(bank, mine.id) == 0
        assert await _expiries(bank, theirs.id) == 2
    await expire(bank)
    assert await _expiries(bank, theirs.id) == 0


async def test_a_worker_that_is_killed_loses_nothing(bank: Bank) -> None:
    """Within each of the two calls, and between them."""
    a, b = await bank.open(100), await bank.open()
    due, voided = await bank.hold(a, b, 10), await bank.hold(a, b, 10)
    await bank.post(void(b, voided.id))
    await end_holds(bank, due.id, voided.id)
    for statement in (
        "SELECT ledger.list_due_holds(1000, NULL)",
        f"SELECT ledger.expire_holds('{{{a.account_id}}}', '{{{due.id}}}')",
    ):
        killed = await asyncpg.connect(bank.url)
        await killed.execute(f"BEGIN; {statement}")
        killed.terminate()
    await bank.app.execute("SELECT ledger.list_due_holds(1000, NULL)")
    assert await _expiries(bank, due.id, voided.id) == 2
    assert await bank.count("ledger.holds", "id = $1 AND status = 'open'", due.id) == 2
    assert await expire(bank) == 2
    assert await _expiries(bank, due.id, voided.id) == 0
    assert await bank.held(a) == 0


async def test_workers_at_the_same_time_delete_all_and_expire_each_once(
    fresh_database: Callable[[], str],
) -> None:
    bank = Bank(fresh_database(), size=6)
    receiver = await bank.open()
    await hold_many(bank, receiver, senders=20, of_each=100)
    await close_oldest(bank, 900)
    expired = await asyncio.gather(*(expire(bank) for _ in range(4)))
    assert sum(expired) + await expire(bank) == 2 * 1_100
    assert await bank.count("ledger.hold_expiries", "true") == 0
    assert await bank.count("outbox.events", "type = 'hold.expired'") == 2 * 1_100
    await bank.close()


async def test_a_payment_that_releases_a_hold_deletes_its_row(bank: Bank) -> None:
    """That of the sender, whose account is locked; the worker deletes the receiver's."""
    a, b = await bank.open(100), await bank.open()
    request = await bank.hold(a, b, 100)
    await end_holds(bank, request.id)
    assert await bank.outcome(transfer(a, b, 40)) == "completed"
    assert await _expiries_of(bank, a) == 0
    assert await _expiries_of(bank, b) == 1
    assert await expire(bank) == 1
    assert await _expiries(bank, request.id) == 0


async def test_an_operators_refund_that_releases_a_hold_deletes_its_row(bank: Bank) -> None:
    a, b = await bank.open(), await bank.open()
    key = fresh_key()
    paid = await commands.deposit(bank.owner, a.public_id, 50, fresh_key(), key=key)
    request = await bank.hold(a, b, 50)
    await end_holds(bank, request.id)
    await commands.refund(bank.owner, paid.members["id"], None, key=f"{key}2")
    assert await bank.balance(a) == 0
    assert await _expiries_of(bank, a) == 0


@pytest.mark.parametrize("most", [None, 0, 1_001])
async def test_no_more_rows_are_read_at_once_than_a_worker_wants(
    bank: Bank, most: int | None
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await bank.app.fetch("SELECT ledger.list_due_holds($1, NULL)", most)


async def test_captures_and_voids_write_no_index_entry_of_holds(
    fresh_database: Callable[[], str],
) -> None:
    """They are HOT updates, as no index has a column that they change.

    Each page has space for a second version of all its rows: a transaction of another test, in
    whatever database, may keep PostgreSQL from removing the first ones.
    """
    bank = Bank(fresh_database(), size=1)
    await bank.owner.execute("ALTER TABLE ledger.holds SET (fillfactor = 40)")
    people = [await bank.open(10**4) for _ in range(6)]
    made = [await bank.hold(people[n % 3], people[3 + n % 3], 10) for n in range(HOLDS)]
    receivers = [people[3 + n % 3] for n in range(HOLDS)]
    closing = [
        capture(receiver, one.id) if n % 2 else void(receiver, one.id)
        for n, (receiver, one) in enumerate(zip(receivers, made, strict=True))
    ]
    assert set(await bank.outcomes(*closing)) == {"completed"}
    await bank.app.execute("SELECT pg_stat_force_next_flush()")
    row = await bank.row(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
        "WHERE relid = 'ledger.holds'::regclass"
    )
    assert tuple(row) == (2 * HOLDS, 2 * HOLDS)
    await bank.close()


async def _expiries(bank: Bank, *hold_ids: UUID) -> int:
    return await bank.count("ledger.hold_expiries", "hold_id = ANY ($1)", list(hold_ids))


async def _expiries_of(bank: Bank, holder: Holder) -> int:
    return await bank.count("ledger.hold_expiries", "account_id = $1", holder.account_id)
