"""A balance at a moment is final, and found without reading the history."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from finpay.db import queries
from finpay.ledger import reads
from finpay.statements.reads import StatementReads
from tests.sql.ledger_fixtures import (
    Bank,
    Holder,
    transfer,
)
from tests.sql.plans import plan_of, rows_read

ENTRIES: Final = 1_000_000
FIRST: Final = datetime(2026, 1, 1, tzinfo=UTC)
MAX_BUFFERS: Final = 150  # 20 look-ups of four pages each, and what the account itself takes
PAGE: Final = 1_000

_SQL: Final = queries.load("finpay.statements")
_LEDGER: Final = queries.load("finpay.ledger")
_MILLION: Final = """
INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount, balance_after,
                            created_at)
SELECT $1, t.id, n, n, 1, n, $3::timestamptz + n * interval '1 second'
FROM generate_series(1, $2::bigint) n, LATERAL (SELECT gen_random_uuid() AS id OFFSET 0) t
"""


@pytest.fixture
def database_url(fresh_database: Callable[[], str]) -> str:
    """Of each test alone: entries without transactions stay in it."""
    return fresh_database()


@pytest.mark.contract("11.3.4")
async def test_moment_is_final_though_a_transaction_was_open_when_it_was_asked_for(
    bank: Bank,
) -> None:
    """The commit of a transfer is held up after its time was taken: the read waits for it."""
    alice, bob = await bank.open(100), await bank.open()
    reads = StatementReads(bank.app)
    async with held_up(bank, alice) as connection:
        now = await reads.now()
        reading = asyncio.create_task(reads.balance_at(alice.account_id, now))
        bystander = await reads.balance_at(bob.account_id, now)
        assert bystander is not None
        await asyncio.sleep(0.2)
        assert not reading.done(), "the open transaction has an entry of an earlier moment"
        await connection.execute("COMMIT")
    found = await reading
    assert found is not None
    assert (found.balance, found.version) == (90, 2)
    assert await reads.balance_at(alice.account_id, now) == found


@pytest.mark.contract("11.3.4")
async def test_answers_under_load_are_the_ledgers_for_ever(bank: Bank) -> None:
    alice, bob = await bank.open(10_000), await bank.open()
    reads = StatementReads(bank.app)
    answers: list[Any] = []

    async def ask() -> None:
        for _ in range(40):
            answer = await reads.balance_at(alice.account_id, await reads.now())
            answers.append(answer)

    async def pay() -> None:
        for _ in range(60):
            await bank.post(transfer(alice, bob, 1))

    await asyncio.gather(ask(), pay(), pay(), ask())
    for answer in answers:
        assert await reads.balance_at(alice.account_id, answer.at) == answer
        row = await bank.row(
            "SELECT count(*) AS n FROM ledger.entries WHERE account_id = $1 AND created_at <= $2",
            alice.account_id,
            answer.at,
        )
        assert answer.version == row["n"]


async def test_a_read_of_the_past_locks_and_writes_nothing(bank: Bank) -> None:
    """Not even the row of the account, whose lock every transfer needs."""
    alice = await bank.open(100)
    reads = StatementReads(bank.app)
    before = await bank.row("SELECT xmin, xmax, ctid FROM ledger.accounts WHERE id = $1",
                            alice.account_id)  # fmt: skip
    await reads.balance_at(alice.account_id, await reads.now())
    after = await bank.row("SELECT xmin, xmax, ctid FROM ledger.accounts WHERE id = $1",
                           alice.account_id)  # fmt: skip
    assert tuple(before) == tuple(after)


async def test_version_of_a_moment_is_found_by_twenty_look_ups(million: Holder, bank: Bank) -> None:
    for seconds in (0, 1, 2, 499_999, 777_777, ENTRIES, 2 * ENTRIES):
        moment = FIRST + timedelta(seconds=seconds)
        row = await bank.row("SELECT ledger.version_at($1, $2) AS v", million.account_id, moment)
        assert row["v"] == min(seconds, ENTRIES)
    async with bank.app.transaction() as connection:
        plan = await plan_of(
            connection,
            "SELECT ledger.version_at($1::uuid, $2::timestamptz)",
            million.account_id,
            FIRST + timedelta(seconds=777_777),
        )
    ((plan_text,),) = await bank.app.fetch(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT ledger.version_at("
        f"'{million.account_id}', '2026-01-05')"
    )
    assert '"Seq Scan"' not in plan_text
    assert buffers(plan_text) <= MAX_BUFFERS
    assert plan["Node Type"] == "Result"


@pytest.mark.contract("1.3.4")
async def test_entries_of_a_period_are_a_range(million: Holder, bank: Bank) -> None:
    """The list of entries reads its page, however long ago the period was."""
    first, last = FIRST + timedelta(seconds=100), FIRST + timedelta(seconds=100 + PAGE)
    async with bank.app.transaction() as connection:
        plan = await plan_of(
            connection, _LEDGER.list_entries, million.account_id, 2**63 - 1, first, last, 2 * PAGE
        )
    assert rows_read(plan) == {"entries_pkey": PAGE}
    found = await reads.entries(
        bank.app, million.account_id, before_version=None, created_from=first, created_to=last,
        limit=2 * PAGE,
    )  # fmt: skip
    times = [entry.created_at for entry in found]
    assert (times[-1], times[0], len(times)) == (first, last - timedelta(seconds=1), PAGE)


async def test_page_of_a_statement_reads_its_entries_alone(million: Holder, bank: Bank) -> None:
    async with bank.app.transaction() as connection:
        plan = await plan_of(
            connection, _SQL.list_statement_entries, million.account_id, 500_000, 500_000 + PAGE
        )
    reads = rows_read(plan)
    assert reads["entries_pkey"] == PAGE
    assert sum(reads.values()) <= 3 * PAGE


def buffers(shown: str) -> int:
    plan = json.loads(shown)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


@pytest.fixture
async def million(bank: Bank) -> Holder:
    """An account of a million entries, one a second. Their transactions are left out."""
    holder = await bank.open()
    superuser = await asyncpg.connect(bank.url)
    await superuser.execute(_MILLION, holder.account_id, ENTRIES, FIRST, timeout=240)
    await superuser.execute(
        "UPDATE ledger.accounts SET version = $2 WHERE id = $1", holder.account_id, ENTRIES
    )
    await superuser.execute("ANALYZE ledger.entries")
    await superuser.close()
    return holder


@asynccontextmanager
async def held_up(bank: Bank, sender: Holder) -> AsyncIterator[asyncpg.Connection]:
    """A transfer of 10 whose transaction is open after its entry was written."""
    connection = await asyncpg.connect(bank.url)
    try:
        await connection.execute("BEGIN")
        row = await connection.fetchrow(
            "UPDATE ledger.accounts SET balance = balance - 10, version = version + 1, "
            "sequence = sequence + 1 WHERE id = $1 RETURNING version, sequence, balance",
            sender.account_id,
        )
        await connection.execute(
            "INSERT INTO ledger.entries (account_id, transaction_id, version, sequence, amount, "
            "balance_after, created_at) "
            "VALUES ($1, gen_random_uuid(), $2, $3, -10, $4, clock_timestamp())",
            sender.account_id,
            *row,
        )
        yield connection
    finally:
        await connection.close()
