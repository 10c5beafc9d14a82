"""The unhurried look at all data: no time limits, no writing, one moment, nothing left behind."""

import pytest

from finpay.db.pool import Database, Unavailable
from finpay.db.snapshot import snapshot
from tests.sql.ledger_fixtures import Bank

LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout")


async def test_the_time_limits_are_lifted_and_come_back(bank: Bank) -> None:
    database = Database(bank.url, size=1)
    before = await _limits(database)
    async with snapshot(database) as view:
        assert [(await view.fetch(f"SHOW {limit}"))[0][0] for limit in LIMITS] == ["0", "0"]
    assert await _limits(database) == before
    assert "0" not in before
    await database.close()


async def test_it_sees_one_moment(bank: Bank) -> None:
    holder = await bank.open(100)
    balance = "SELECT balance FROM ledger.accounts WHERE id = $1"
    async with snapshot(bank.app) as view:
        before = await view.fetch_one(balance, holder.account_id)
        await bank.fund(holder, 1)
        after = await view.fetch_one(balance, holder.account_id)
    assert before == after
    assert await bank.balance(holder) == 101


async def test_it_can_not_write(bank: Bank) -> None:
    with pytest.raises(Unavailable):  # read-only, as a standby would be
        async with snapshot(bank.app) as view:
            await view.execute("DELETE FROM identity.refresh_tokens")


async def test_a_lost_connection_is_reported(bank: Bank) -> None:
    with pytest.raises(Unavailable):
        await _read_while_the_connection_breaks(bank)
    assert await bank.app.fetch_one("SELECT 1") is not None, "the pool is spoiled"


async def _read_while_the_connection_breaks(bank: Bank) -> None:
    superuser = Database(bank.url, size=1, role=None)
    try:
        async with snapshot(bank.app) as view:
            (row,) = await view.fetch("SELECT pg_backend_pid() AS pid")
            await superuser.execute("SELECT pg_terminate_backend($1)", row["pid"])
            await view.fetch("SELECT 1")
    finally:
        await superuser.close()


async def _limits(database: Database) -> list[str]:
    return [(await database.fetch(f"SHOW {limit}"))[0][0] for limit in LIMITS]
