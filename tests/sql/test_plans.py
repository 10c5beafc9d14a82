"""The hot queries walk their index and read no more than a page, however long the history."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import asyncpg
import pytest

from finpay.db import queries
from finpay.db.pool import Database, Transaction
from finpay.dev.postgres import Cluster
from finpay.ledger.batched_reads import MAX_BATCH
from tests.servers import clone_template, drop_database
from tests.sql.ledger_fixtures import Bank, Holder, hold, item, transfer, transfer_batch
from tests.sql.plans import array, nodes, plan_of, rows_read, sequential_scans

STEPS: Final = 10_000
BATCH: Final = 500
FAILS: Final = 100  # of a batch
TRANSFER_BATCHES: Final = 2_000
PAGE: Final = 21
END: Final = 2**63 - 1
ANALYZED: Final = "with statistics"
NO_FILTERS: Final = [None] * 12

_SQL: Final = queries.load("finpay.ledger")
_EVENTS: Final = queries.load("finpay.outbox")
_IDENTITY: Final = queries.load("finpay.identity")
_PRUNING: Final = queries.load("finpay.identity", "cleanup.sql")


@dataclass(frozen=True, slots=True)
class Busy:
    """Where one account has a long history; a step in its middle, and the key of that."""

    url: str
    holder: Holder
    transaction_id: Any
    key: str


@pytest.fixture(scope="module")
def filled(postgres_server: Cluster, worker_id: str) -> Iterator[tuple[str, Busy]]:
    name = f"filled_{worker_id}"
    url = clone_template(postgres_server, name)
    with ThreadPoolExecutor(1) as thread:
        yield name, thread.submit(asyncio.run, _fill(url)).result()
    drop_database(postgres_server, name)


@pytest.fixture(scope="module")
def busy(
    postgres_server: Cluster, filled: tuple[str, Busy], request: pytest.FixtureRequest
) -> Iterator[Busy]:
    name, busy = filled
    copy = f"busy_{name}"
    postgres_server.sql(f"CREATE DATABASE {copy} TEMPLATE {name}")
    if getattr(request, "param", ANALYZED) == ANALYZED:
        # A bitmap scan of an index also counts the entries of rows that are gone.
        postgres_server.sql("VACUUM ledger.accounts", copy)
        postgres_server.sql("ANALYZE", copy)
    yield replace(busy, url=postgres_server.url(copy))
    drop_database(postgres_server, copy)


@pytest.fixture
async def connection(busy: Busy) -> AsyncIterator[Transaction]:
    """With the settings that the app's connections have."""
    database = Database(busy.url, size=1)
    async with database.transaction() as transaction:
        yield transaction
    await database.close()


@pytest.mark.parametrize("asked", [1, 40])
@pytest.mark.parametrize("busy", [ANALYZED, "before the first ANALYZE"], indirect=True)
async def test_accounts_of_users(connection: Transaction, asked: int) -> None:
    users = await connection.fetch(
        "SELECT user_id FROM ledger.accounts WHERE user_id IS NOT NULL LIMIT $1", asked
    )
    plan = await plan_of(connection, _SQL.list_accounts_of_users, array(user for (user,) in users))
    reads = rows_read(plan)
    assert reads.pop("accounts_user_key") == asked
    assert not reads


@pytest.mark.parametrize("asked", [1, MAX_BATCH])
@pytest.mark.parametrize("limit", [PAGE, 101])
@pytest.mark.parametrize("busy", [ANALYZED, "before the first ANALYZE"], indirect=True)
async def test_newest_pages(connection: Transaction, busy: Busy, asked: int, limit: int) -> None:
    """Each as long as it was asked for, by keys alone, however many ask."""
    accounts, limits = [busy.holder.account_id] * asked, [limit] * asked
    plan = await plan_of(connection, _SQL.list_first_pages, array(accounts), array(limits))
    reads = rows_read(plan)
    assert reads.pop("entries_pkey") == asked * limit
    assert reads.pop("failed_transactions_pkey") <= asked * limit
    assert limit <= reads.pop("transactions_pkey") <= asked * limit
    assert reads.pop("accounts_pkey") == asked
    assert not reads


async def test_what_is_pruned_is_found_by_its_age(connection: Transaction) -> None:
    """And nothing is read where nothing is old."""
    plan = await plan_of(connection, _PRUNING.delete_expired_refresh_tokens, 900, 1_000)
    assert sum(rows_read(plan).values()) == 0
    assert all(not node.get("Rows Removed by Filter") for node in nodes(plan))


@pytest.mark.parametrize("before", [END, STEPS // 2])
async def test_entries_page(connection: Transaction, busy: Busy, before: int) -> None:
    account = busy.holder.account_id
    plan = await plan_of(connection, _SQL.list_entries, account, before, None, None, PAGE)
    assert rows_read(plan) == {"entries_pkey": PAGE}


@pytest.mark.parametrize("before", [END, STEPS // 2])
async def test_transactions_page(connection: Transaction, busy: Busy, before: int) -> None:
    account = busy.holder.account_id
    plan = await plan_of(
        connection, _SQL.list_transactions, account, before, before, 0, 0, *NO_FILTERS, PAGE
    )
    reads = rows_read(plan)
    assert reads.pop("entries_pkey") == PAGE
    assert reads.pop("failed_transactions_pkey") <= PAGE
    # Each step is looked up for its filters, and each step of the page for its answer.
    assert reads.pop("transactions_pkey") <= 3 * PAGE
    assert reads == {"accounts_pkey": 1}


async def test_transaction_of_account(connection: Transaction, busy: Busy) -> None:
    account = busy.holder.account_id
    plan = await plan_of(connection, _SQL.get_transaction, busy.transaction_id, account)
    reads = rows_read(plan)
    assert reads.pop("failed_transactions_pkey", 0) == 0
    assert reads == {"transactions_pkey": 1, "entries_pkey": 1}


async def test_range_of_key(connection: Transaction, busy: Busy) -> None:
    plan = await plan_of(connection, _SQL.get_history_range_of_key, busy.holder.user_id, busy.key)
    assert rows_read(plan) == {"idempotency_keys_pkey": 1, "transfer_batches_pkey": 0}


@pytest.mark.parametrize("busy", [ANALYZED, "before the first ANALYZE"], indirect=True)
@pytest.mark.parametrize("query", ["list_events_before", "list_events_after"])
@pytest.mark.parametrize("bounds", [(0, END), (STEPS // 3, STEPS // 2)])
async def test_a_page_of_events(
    connection: Transaction, busy: Busy, query: str, bounds: tuple[int, int]
) -> None:
    """Each event of the page is looked up by keys, and nothing else is read."""
    account = busy.holder.account_id
    everything = [None, True, None, None]
    plan = await plan_of(connection, getattr(_EVENTS, query), account, *bounds, *everything, PAGE)
    reads = rows_read(plan)
    assert reads.pop("events_pkey") == PAGE
    assert reads.pop("transactions_pkey") == PAGE
    assert reads.pop("entries_pkey") + reads.pop("failed_transactions_pkey") == PAGE
    assert not any(reads.values())


@pytest.mark.parametrize("busy", [ANALYZED, "before the first ANALYZE"], indirect=True)
@pytest.mark.parametrize("query", ["list_events_before", "list_events_after"])
async def test_rare_events_are_found_without_reading_the_frequent_ones(
    connection: Transaction, busy: Busy, query: str
) -> None:
    account, types = busy.holder.account_id, "{account.updated,session.revoked}"
    plan = await plan_of(
        connection, getattr(_EVENTS, query), account, 0, END, types, False, None, None, PAGE
    )
    (scan,) = [node for node in nodes(plan) if node.get("Index Name", "").startswith("events_")]
    assert scan["Index Name"] == "events_uncommon_type"
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) <= STEPS * FAILS // BATCH


@pytest.mark.parametrize("busy", [ANALYZED, "before the first ANALYZE"], indirect=True)
async def test_one_event(connection: Transaction, busy: Busy) -> None:
    plan = await plan_of(connection, _EVENTS.get_event, busy.holder.account_id, STEPS // 2)
    reads = rows_read(plan)
    assert reads.pop("events_pkey") == 1
    assert sum(reads.values()) == 2  # the transaction, and the entry or the failure


@pytest.mark.parametrize("busy", [ANALYZED, "before the first ANALYZE"], indirect=True)
async def test_many_events_by_their_keys(connection: Transaction, busy: Busy) -> None:
    """In one statement, whose work is proportional to the places."""
    sequences = range(7, STEPS, STEPS // 100)
    accounts = ",".join([str(busy.holder.account_id)] * len(sequences))
    numbers = ",".join(map(str, sequences))
    plan = await plan_of(connection, _EVENTS.get_events, f"{{{accounts}}}", f"{{{numbers}}}")
    reads = rows_read(plan)
    assert reads.pop("events_pkey") == len(sequences)
    assert reads.pop("transactions_pkey") == len(sequences)
    assert reads.pop("entries_pkey") + reads.pop("failed_transactions_pkey") == len(sequences)
    assert not any(reads.values())


@pytest.mark.parametrize("busy", [ANALYZED, "before the first ANALYZE"], indirect=True)
async def test_who_calls_is_found_by_key(connection: Transaction) -> None:
    """What a request, a login and a refresh ask before anything else."""
    ((user, email, session, token),) = await connection.fetch(
        "SELECT u.id, u.email, s.id, t.hash FROM identity.users u "
        "JOIN identity.sessions s ON s.user_id = u.id "
        "JOIN identity.refresh_tokens t ON t.session_id = s.id LIMIT 1"
    )
    asked = {
        "get_active_session": ((session, user, 0), 1),
        "get_login_by_email": ((email,), 1),
        "get_user": ((user,), 1),
        "lock_session_of_refresh_token": (("\\x" + token.hex(),), 2),
        "get_refresh_token": (
            ("\\x" + token.hex(), 60),
            4,
        ),  # it, its session, the user, the account
    }
    for name, (arguments, rows) in asked.items():
        reads = rows_read(await plan_of(connection, getattr(_IDENTITY, name), *arguments))
        assert sum(reads.values()) == rows, (name, reads)
        await connection.execute("DEALLOCATE hot")


@pytest.mark.parametrize("busy", [ANALYZED, "before the first ANALYZE"], indirect=True)
async def test_posting_reads_no_table_from_end_to_end(busy: Busy) -> None:
    """Neither for the keys, nor for the accounts and their locks, nor for the e-mails."""
    superuser = await asyncpg.connect(busy.url)
    bank = Bank(busy.url, size=1)
    receivers = [await bank.open() for _ in range(5)]
    before = await sequential_scans(superuser)
    for _ in range(3):
        items = [transfer(busy.holder, receiver, 1) for receiver in receivers]
        named = [
            transfer(busy.holder, r, 1, receiver_id=None, receiver_email=r.email) for r in receivers
        ]
        assert set(await bank.outcomes(*items, *named)) == {"completed"}
        await bank.app.execute("SELECT pg_stat_force_next_flush()")
    assert await sequential_scans(superuser) == before
    await bank.close()
    await superuser.close()


async def test_a_plan_from_a_time_of_small_tables_does_not_last(
    fresh_database: Callable[[], str],
) -> None:
    """Statistics of empty tables say that reading them whole is cheap, and it is for an hour."""
    url = fresh_database()
    superuser = await asyncpg.connect(url)
    await superuser.execute("ANALYZE")
    bank = Bank(url, size=1)
    a, b = await bank.open(100), await bank.open()
    before = await sequential_scans(superuser)
    for _ in range(3):
        await bank.post(transfer(a, b, 1), transfer_batch(b, item(a, 1)))
        await bank.app.execute("SELECT pg_stat_force_next_flush()")
    assert await sequential_scans(superuser) == before
    await bank.close()
    await superuser.close()


async def _fill(url: str) -> Busy:
    bank = Bank(url, size=1)
    busy, other = await bank.open(STEPS * 10), await bank.open()
    middle = transfer(busy, other, 1)
    for n in range(STEPS // BATCH):
        if n == STEPS // BATCH // 2:
            await bank.post(middle)
        items = [transfer(busy, other, 1) for _ in range(BATCH - FAILS)]
        fails = [transfer(busy, other, STEPS * 100) for _ in range(FAILS)]
        await bank.post(*items, *fails)
    for _ in range(TRANSFER_BATCHES // BATCH):
        await bank.post(*(transfer_batch(other, item(busy, 1)) for _ in range(BATCH)))
    payer, shop = await bank.open(2_000), await bank.open()
    for _ in range(2_000 // BATCH):  # so that the table is long enough for an index
        await bank.post(*(hold(payer, shop, 1) for _ in range(BATCH)))
    await bank.close()
    await _open_many(url)
    return Busy(url, busy, middle.id, middle.key)


async def _open_many(url: str) -> None:
    """As many accounts as there are steps, so that reading them all would be slow."""
    superuser = await asyncpg.connect(url)
    await superuser.execute(
        "WITH new AS (INSERT INTO identity.users (id, email, password_hash) "
        "             SELECT gen_random_uuid(), format('%s@example.com', n), 'none' "
        f"             FROM generate_series(1, {STEPS}) n RETURNING id) "
        "INSERT INTO ledger.accounts (id, user_id, currency) "
        "SELECT gen_random_uuid(), id, 'ZAR' FROM new"
    )
    await superuser.execute(
        "WITH new AS (INSERT INTO identity.sessions (id, user_id, refresh_key) "
        "             SELECT gen_random_uuid(), id, sha256('') FROM identity.users RETURNING id) "
        "INSERT INTO identity.refresh_tokens (hash, session_id, generation, expires_at) "
        "SELECT sha256(id::text::bytea), id, 0, now() + interval '1 day' FROM new"
    )
    await superuser.close()
