"""The continuous check: silent on a ledger that is right, slice by slice, and loud about the rest.

It is tried with the corruptions of the whole proof.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from finpay import ids
from finpay.db.pool import Database
from finpay.ledger import continuous_verification
from finpay.ledger.continuous_verification import State, check, look
from tests.sql.ledger_fixtures import Bank, transfer
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

# The rules that it shares with the whole proof; the others are of keys, bulks, audit and users.
SHARED: Final = frozenset(
    {"totals", "double_entry", "entries", "balances", "running_balances", "overdrafts", "parties"}
)


@pytest.fixture
async def database(copy: str) -> AsyncIterator[Database]:
    database = Database(copy, size=2)
    yield database
    await database.close()


async def checked(database: Database) -> State:
    """After one round, whoever's turn it was."""
    assert await check(database, every_s=0, settled_s=-1)
    return await look(database)


async def sentences(database: Database) -> str:
    row = await database.fetch_one("SELECT sentences FROM ledger.integrity")
    assert row is not None
    return "\n".join(row["sentences"])


async def test_a_ledger_with_traffic_is_clean(database: Database) -> None:
    assert (await look(database)).verdict == "unknown"
    state = await checked(database)
    assert state.verdict == "ok"
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
    assert (state.verdict, state.succeeded_at) == ("failed", None)
    assert state.violations > 0


async def test_what_was_checked_and_changed_since_is_found_too(
    database: Database, copy: str, traffic: Traffic
) -> None:
    """An account that nobody uses, in a round of its own: no total tells."""
    assert (await checked(database)).verdict == "ok"
    change = CORRUPTIONS.one_unit_has_moved_without_an_entry
    await _spoil(copy, _with_subjects(change, traffic))
    assert (await checked(database)).violations == 2
    assert set(_public_ids(traffic.subjects["alice"])) & set(
        (await sentences(database)).replace(".", " ").split()
    )


async def test_a_violation_stands_until_it_is_put_right(
    database: Database, copy: str, traffic: Traffic
) -> None:
    """Though the slice that it was in is long past."""
    late = traffic.subjects["late"]
    spoil = "UPDATE ledger.entries SET transaction_id = '{}' WHERE transaction_id = '{}'"
    other = ids.new_uuid()
    await _spoil(copy, spoil.format(other, late))
    found = [await checked(database) for _ in range(3)]
    assert {state.violations for state in found} == {found[0].violations}
    assert ids.encode("txn", late) in await sentences(database)
    assert found[-1].succeeded_at is None
    await _spoil(copy, spoil.format(late, other))
    state = await checked(database)
    assert (state.verdict, state.violations) == ("ok", 0)
    assert state.succeeded_at is not None


async def test_slices_go_on_where_the_last_one_ended(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuous_verification, "SLICE", 7)
    monkeypatch.setattr(continuous_verification, "MAX_SLICES", 2)
    monkeypatch.setattr(continuous_verification, "ACCOUNTS", 3)
    row = await database.fetch_one("SELECT count(*) AS n FROM ledger.transactions")
    assert row is not None
    seen: list[State] = [await checked(database) for _ in range(row["n"] // 14 + 1)]
    assert {state.verdict for state in seen} == {"ok"}
    through = [state.checked_through for state in seen if state.checked_through is not None]
    assert through == sorted(set(through))
    assert len(through) == len(seen)
    assert not await left(database)


async def test_it_goes_no_further_than_it_can_remember(
    database: Database, copy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continuous_verification, "MAX_SUSPECTS", 5)
    await _spoil(
        copy,
        "UPDATE ledger.entries SET created_at = created_at + interval '1 s'",
    )
    before = await left(database)
    states = [await checked(database) for _ in range(2)]
    assert states[0].violations == states[1].violations > 5
    assert await left(database) == before


async def test_only_what_is_settled_is_checked(database: Database) -> None:
    assert await check(database, every_s=0, settled_s=3_600)
    assert await left(database) > 0
    assert (await look(database)).verdict == "ok"


async def test_one_of_many_workers_checks(database: Database, copy: str) -> None:
    others = [Database(copy, size=1) for _ in range(4)]
    turns = await asyncio.gather(*(check(other, every_s=60, settled_s=-1) for other in others))
    assert sorted(turns) == [False, False, False, True]
    assert not await check(database, every_s=60)
    await _spoil(copy, "UPDATE ledger.integrity SET due_at = now() - interval '1 s'")
    assert await check(database, every_s=60)
    for other in others:
        await other.close()


async def test_a_worker_that_died_on_the_way_is_followed(database: Database, copy: str) -> None:
    """Its lease ends; before that nobody else begins, and what was known stays."""
    assert (await checked(database)).verdict == "ok"
    assert await database.fetch("SELECT * FROM ledger.claim_integrity(120)")
    assert not await check(database, every_s=0)
    assert (await look(database)).verdict == "ok"
    await _spoil(copy, "UPDATE ledger.integrity SET due_at = now() - interval '3 min'")
    assert (await look(database)).verdict == "unknown", "nobody checks any more"
    assert (await checked(database)).verdict == "ok"


async def test_money_may_move_meanwhile(copy: str) -> None:
    bank = Bank(copy)
    a, b = await bank.open(10_000), await bank.open()
    stop = asyncio.Event()

    async def keep_moving() -> None:
        while not stop.is_set():
            await bank.post(transfer(a, b, 1), transfer(b, a, 1), transfer(b, a, 10_000))

    moving = asyncio.create_task(keep_moving())
    database = Database(copy, size=1)
    try:
        for _ in range(10):
            assert (await checked(database)).verdict == "ok", await sentences(database)
    finally:
        stop.set()
        await moving
        await bank.close()
        await database.close()


async def left(database: Database) -> int:
    """Transactions behind the point that was reached."""
    row = await database.fetch_one(
        "SELECT count(*) AS n FROM ledger.transactions t "
        "WHERE t.id > (SELECT transaction_id FROM ledger.integrity)"
    )
    assert row is not None
    count: int = row["n"]
    return count
