"""Continuous verification: no violation in a ledger that is right, each corruption is found.

The corruptions are those of the tests of `finpay ledger verify`.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final

import pytest

from finpay import ids
from finpay.db.pool import Database
from finpay.ledger.continuous_verification import State, read_state, run_round
from tests.sql.ledger_fixtures import Bank, moving_money, transfer
from tests.sql.test_verify import (
    CORRUPTIONS,
    Traffic,
    _public_ids,
    _spoil,
    _with_subjects,
    copy,
    traffic,
)

__all__ = ("copy", "traffic")

# The rules that both have; the others are of keys, transfer batches, audit rows and users.
SHARED: Final = frozenset(
    {"totals", "double_entry", "entries", "balances", "running_balances", "overdrafts", "parties"}
)


@pytest.fixture
async def database(copy: str) -> AsyncIterator[Database]:
    database = Database(copy, size=2)
    yield database
    await database.close()


async def checked(database: Database, *, slice_size: int = 2_000) -> State:
    """The state after one round."""
    assert await run_round(database, every_s=0, safety_lag_s=0, slice_size=slice_size)
    return await read_state(database)


async def verify_when_due(database: Database, size: int) -> None:
    """One slice. It is due after a rest of three times as long as the last one took."""
    async with asyncio.timeout(10):
        while True:
            row = await database.fetch_one("SELECT * FROM ledger.verify_slice(0, 0, $1)", size)
            assert row is not None
            if row["is_done"] is not None:
                return
            await asyncio.sleep(0.01)


async def messages(database: Database) -> str:
    row = await database.fetch_one("SELECT messages FROM ledger.verification_state")
    assert row is not None
    return "\n".join(row["messages"])


async def test_a_ledger_with_traffic_has_no_violations(database: Database) -> None:
    assert (await read_state(database)).status == "unknown"
    state = await checked(database)
    assert state.status == "ok"
    assert state.succeeded_at is not None
    assert state.checked_through is not None
    newest = await database.fetch_one("SELECT max(created_at) AS at FROM ledger.transactions")
    assert newest is not None
    assert state.checked_through > newest["at"]


@pytest.mark.parametrize(
    "what",
    [
        name
        for name, text in CORRUPTIONS
        if SHARED & set(text.partition("\n")[0].partition(": ")[2].split(", "))
    ],
)
async def test_a_corruption_is_found(
    database: Database, copy: str, traffic: Traffic, what: str
) -> None:
    """In a history that is checked for the first time."""
    change = getattr(CORRUPTIONS, what)
    await _spoil(copy, _with_subjects(change, traffic))
    state = await checked(database)
    assert (state.status, state.succeeded_at) == ("failed", None)
    assert state.violations > 0


async def test_a_row_that_changes_after_its_check_is_found_by_the_next_round(
    database: Database, copy: str, traffic: Traffic
) -> None:
    """An account without new transactions, in a round of its own: the total stays right."""
    assert (await checked(database)).status == "ok"
    change = CORRUPTIONS.one_unit_has_moved_without_an_entry
    await _spoil(copy, _with_subjects(change, traffic))
    assert (await checked(database)).violations == 2
    assert set(_public_ids(traffic.subjects["alice"])) & set(
        (await messages(database)).replace(".", " ").split()
    )


async def test_a_violation_stands_until_it_is_repaired(
    database: Database, copy: str, traffic: Traffic
) -> None:
    """Though later rounds begin behind its transaction."""
    late = traffic.subjects["late"]
    spoil = "UPDATE ledger.entries SET transaction_id = '{}' WHERE transaction_id = '{}'"
    other = ids.new_uuid()
    await _spoil(copy, spoil.format(other, late))
    found = [await checked(database) for _ in range(3)]
    assert {state.violations for state in found} == {found[0].violations}
    assert ids.encode("txn", late) in await messages(database)
    assert found[-1].succeeded_at is None
    await _spoil(copy, spoil.format(late, other))
    state = await checked(database)
    assert (state.status, state.violations) == ("ok", 0)
    assert state.succeeded_at is not None


async def test_each_slice_begins_where_the_last_one_ended(database: Database) -> None:
    row = await database.fetch_one("SELECT count(*) AS n FROM ledger.transactions")
    assert row is not None
    seen: list[datetime] = []
    for number in range(row["n"] // 7 + 1):
        await verify_when_due(database, 7)
        state = await read_state(database)
        assert state.status == "ok"
        assert state.checked_through is not None
        seen.append(state.checked_through)
        assert await left(database) == max(0, row["n"] - 7 * (number + 1))
    assert seen == sorted(seen)
    assert seen[0] < seen[-1]


async def test_more_open_violations_than_are_kept_stop_the_progress(
    database: Database, copy: str
) -> None:
    """100 are kept, each of which has to be repaired."""
    bank = Bank(copy)
    a, b = await bank.open(200), await bank.open()
    await bank.post(*(transfer(a, b, 1) for _ in range(101)))
    await bank.close()
    await _spoil(copy, "UPDATE ledger.entries SET created_at = created_at + interval '1 s'")
    before = await left(database)
    states = [await checked(database) for _ in range(2)]
    assert states[0].violations == states[1].violations > 100
    assert await left(database) == before


async def test_transactions_within_the_safety_lag_are_left_for_later(database: Database) -> None:
    assert await run_round(database, every_s=0, safety_lag_s=3_600)
    assert await left(database) > 0
    assert (await read_state(database)).status == "ok"


async def test_a_round_runs_in_one_of_many_workers(database: Database, copy: str) -> None:
    others = [Database(copy, size=1) for _ in range(4)]
    ran = await asyncio.gather(*(run_round(other, every_s=60, safety_lag_s=0) for other in others))
    assert sorted(ran) == [False, False, False, True]
    assert not await run_round(database, every_s=60)
    await _spoil(copy, "UPDATE ledger.verification_state SET due_at = now() - interval '1 s'")
    assert await run_round(database, every_s=60)
    for other in others:
        await other.close()


async def test_a_worker_that_hangs_in_a_slice_keeps_the_others_out(
    database: Database, copy: str
) -> None:
    """The state's lock is skipped, and released with the connection."""
    hanging = Database(copy, size=1)
    async with hanging.unbounded_transaction() as transaction:
        await transaction.fetch("SELECT ledger.verify_slice(0, 0, 10)")
        assert not await run_round(database, every_s=0, safety_lag_s=0)
    await hanging.close()
    await asyncio.sleep(0.1)
    assert await run_round(database, every_s=0, safety_lag_s=0)


async def test_verification_that_stopped_is_unknown_after_two_minutes(
    database: Database, copy: str
) -> None:
    assert (await checked(database)).status == "ok"
    await _spoil(copy, "UPDATE ledger.verification_state SET due_at = now() - interval '3 min'")
    assert (await read_state(database)).status == "unknown"
    assert (await checked(database)).status == "ok"


async def test_money_may_move_meanwhile(copy: str) -> None:
    database = Database(copy, size=1)
    try:
        async with moving_money(copy):
            for _ in range(10):
                assert (await checked(database)).status == "ok", await messages(database)
    finally:
        await database.close()


async def left(database: Database) -> int:
    """The number of transactions after the last one that was verified."""
    row = await database.fetch_one(
        "SELECT count(*) AS n FROM ledger.transactions t "
        "WHERE t.id > (SELECT transaction_id FROM ledger.verification_state)"
    )
    assert row is not None
    count: int = row["n"]
    return count
