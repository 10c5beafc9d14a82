"""What a thief of the app's login tries against money, alarms, migrations and other owners.

The functions that the role may execute are also called with generated arguments, in
test_sql_functions.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from finpay.db import migrate
from finpay.dev.data_dir import remove_data_dir
from finpay.dev.stack import migrate_database
from tests.servers import Run
from tests.sql.ledger_fixtures import Bank

INVALID: Final = asyncpg.InvalidParameterValueError
REFUSED: Final = asyncpg.InsufficientPrivilegeError

# Spellings of an action or a type that only the ledger records.
SPELLINGS: Final = (
    "{}",
    "{} ",
    " {}",
    "{}\n",
    "{}\u200b",
    "{}\u00a0",
    "{}.",
)
LEDGER_ACTIONS: Final = (
    "account.updated",
    "transaction.completed",
    "transaction.failed",
    "transaction.refused",
)
LEDGER_EVENTS: Final = ("account.updated", "transaction.completed", "transaction.failed")
HOUR: Final = timedelta(hours=1)
DEEP: Final = '{"a":' * 1_500 + "{}" + "}" * 1_500


def spelled(names: tuple[str, ...]) -> list[str]:
    return [
        variant
        for name in names
        for variant in (
            *(spelling.format(name) for spelling in SPELLINGS),
            name.upper(),
            name.title(),
            name.replace("t", "T", 1),
            name.replace("a", "\u0430", 1),  # Cyrillic
        )
    ]


@pytest.fixture
async def bank(fresh_database: Callable[[], str]) -> AsyncIterator[Bank]:
    bank = Bank(fresh_database())
    yield bank
    await bank.close()


@pytest.fixture
async def shared_bank(database_url: str) -> AsyncIterator[Bank]:
    """For tests that change nothing but accounts of their own."""
    bank = Bank(database_url)
    yield bank
    await bank.close()


@pytest.fixture
async def app(bank: Bank) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(bank.url)
    await connection.execute("SET SESSION AUTHORIZATION finpay_app")
    yield connection
    await connection.close()


@pytest.mark.fault("M2")
@pytest.mark.parametrize("action", spelled(LEDGER_ACTIONS))
async def test_an_action_of_the_ledger_is_recorded_by_the_ledger_alone(
    shared_bank: Bank, action: str
) -> None:
    owner = await shared_bank.open()
    for subject in (None, owner.account_id, owner.user_id):
        with pytest.raises(REFUSED, match="may not record the action"):
            await shared_bank.app.execute(
                "SELECT audit.record($1, $2, $3, 'r', NULL)", owner.user_id, action, subject
            )


@pytest.mark.fault("M2")
@pytest.mark.parametrize("kind", spelled(LEDGER_EVENTS))
async def test_an_event_of_the_ledger_is_recorded_by_the_ledger_alone(
    shared_bank: Bank, kind: str
) -> None:
    owner = await shared_bank.open()
    with pytest.raises(REFUSED, match="may not record events of type"):
        await shared_bank.app.execute(
            "SELECT outbox.record($1, $2, '{}', NULL, NULL)", owner.user_id, kind
        )


@pytest.mark.fault("M5")
@pytest.mark.parametrize(
    "document",
    [
        DEEP,
        '{"a":' * 8 + "{}" + "}" * 8,
        '{"a":' * 8 + "[]" + "}" * 8,
        '{"a":"' + "b" * 16_384 + '"}',
        '{"a":1e16}',
        '{"a":[1,-1e16]}',
        '{"a":9007199254740992}',
        '{"a":"\\ud800"}',
        "[1]",
        "null",
    ],
    ids=lambda document: document[:20],
)
async def test_an_event_that_a_reader_can_not_decode_is_refused(
    shared_bank: Bank, document: str
) -> None:
    """tests/delivery/test_unreadable_events: a stored one stops no other delivery."""
    owner = await shared_bank.open()
    for data, previous in ((document, "{}"), ("{}", document)):
        with pytest.raises(asyncpg.DataError):
            await shared_bank.app.execute(
                "SELECT outbox.record($1, 'account.created', $2::text::json, NULL, NULL, "
                "$3::text::json)",
                owner.user_id,
                data,
                previous,
            )
    assert not await shared_bank.count("outbox.events", "account_id = $1", owner.account_id)


@pytest.mark.parametrize(
    "document",
    ['{"a":' * 7 + "{}" + "}" * 7, '{"a":-9007199254740991,"b":1e2}', '{"a":"[[[[[[[[[[{{"}'],
)
async def test_an_event_that_a_reader_can_decode_is_recorded(
    shared_bank: Bank, document: str
) -> None:
    owner = await shared_bank.open()
    await shared_bank.app.execute(
        "SELECT outbox.record($1, 'account.created', $2::text::json, NULL, NULL)",
        owner.user_id,
        document,
    )
    assert await shared_bank.count("outbox.events", "account_id = $1", owner.account_id) == 1


@pytest.mark.fault("M2")
@pytest.mark.parametrize(
    ("arguments", "argument"),
    [
        ((2_147_483_647, 0, 100), "every_s"),
        ((3_601, 0, 100), "every_s"),
        ((-2_147_483_648, 0, 100), "every_s"),
        ((None, 0, 100), "every_s"),
        ((0, 2_147_483_647, 100), "lag_s"),
        ((0, -1, 100), "lag_s"),
        ((0, 0, 0), "size"),
        ((0, 0, None), "size"),
    ],
)
async def test_verification_is_put_off_for_no_longer_than_an_hour(
    app: asyncpg.Connection, arguments: tuple[Any, ...], argument: str
) -> None:
    with pytest.raises(INVALID, match=argument):
        await app.execute("SELECT ledger.verify_slice($1, $2, $3)", *arguments)


@pytest.mark.fault("M2")
async def test_a_violation_stands_whatever_the_app_says(
    bank: Bank, app: asyncpg.Connection
) -> None:
    """Only a round that finds the ledger right again ends the alarm."""
    await bank.open(100)
    superuser = await asyncpg.connect(bank.url)
    await superuser.execute("UPDATE ledger.accounts SET balance = 0 WHERE user_id IS NOT NULL")
    for arguments in ((0, 0, 10_000), (0, 0, 1), (3_600, 3_600, 1)):
        await superuser.execute("UPDATE ledger.verification_state SET due_at = '-infinity'")
        await app.execute("SELECT ledger.verify_slice($1, $2, $3)", *arguments)
        state = await superuser.fetchrow("SELECT * FROM ledger.verification_state")
        assert state is not None
        assert state["violations"] > 0
        assert state["succeeded_at"] is None
        assert state["due_at"] - state["checked_at"] <= HOUR
    await superuser.close()


@pytest.fixture(scope="module")
def prepared(run: Run, worker_id: str) -> Iterator[str]:
    """The URL of a database as `finpay migrate` leaves it, in a cluster of its own."""
    name = f"app-role-{worker_id}-{os.getpid()}"
    server = run.start_postgres(name)
    server.sql("CREATE DATABASE finpay")
    url = server.url("finpay")
    migrate_database(url)
    yield url
    server.stop()
    remove_data_dir(Path(run.folder, name))


@pytest.fixture
async def thief(prepared: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(prepared)
    await connection.execute("SET SESSION AUTHORIZATION finpay_app")
    yield connection
    await connection.close()


@pytest.mark.fault("M3")
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TEMP TABLE accounts (id uuid)",
        "CREATE TEMP VIEW accounts AS SELECT 1",
        "CREATE TYPE pg_temp.outcome AS ENUM ('completed')",
        "CREATE FUNCTION pg_temp.type_id(text, uuid) RETURNS text RETURN 'x'",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT lo_import('/etc/passwd')",
        "CREATE TABLE public.t (id integer)",
        "BEGIN; LOCK TABLE finpay.schema_migrations IN SHARE UPDATE EXCLUSIVE MODE",
        "SELECT FROM ledger.accounts FOR KEY SHARE",
        "SELECT FROM ledger.verification_state FOR UPDATE",
    ],
)
async def test_nothing_is_stored_or_locked_outside_the_tables(
    thief: asyncpg.Connection, statement: str
) -> None:
    with pytest.raises(REFUSED):
        await thief.execute(statement)


@pytest.mark.fault("M3")
async def test_advisory_locks_hold_up_no_migration(
    prepared: str, thief: asyncpg.Connection
) -> None:
    """Locks that others take are found in pg_locks, and taken first."""
    await thief.execute("SELECT pg_advisory_lock(hashtext('finpay.prepare'))")
    async with asyncio.timeout(20):
        await migrate.prepare(prepared)
        assert await migrate.apply(prepared) == []


@pytest.mark.fault("M3")
async def test_a_migration_takes_no_advisory_lock(prepared: str, thief: asyncpg.Connection) -> None:
    """While one migrates, another waits for it."""
    owner = await asyncpg.connect(prepared)
    async with owner.transaction():
        await owner.execute("LOCK TABLE finpay.schema_migrations IN SHARE UPDATE EXCLUSIVE MODE")
        waiting = asyncio.create_task(migrate.apply(prepared))
        await asyncio.sleep(1)
        assert not waiting.done()
        held = await thief.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert held == 0
    assert await waiting == []
    await owner.close()
