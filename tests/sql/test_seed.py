"""The seed: two users with money, once, however often and by however many processes it is run."""

import asyncio
from collections.abc import Callable

import pytest

from finpay import ids
from finpay.db.migrate import MigrationError
from finpay.db.pool import Database
from finpay.dev import seed as sowing
from finpay.dev.postgres import Cluster
from finpay.dev.seed import PASSWORD, seed
from finpay.identity.passwords import Hasher
from finpay.ledger.verify import verify
from tests.servers import drop_database


@pytest.fixture
def url(fresh_database: Callable[[], str]) -> str:
    return fresh_database()


@pytest.mark.contract("4.1.2")
async def test_alice_and_bob_have_their_money(url: str) -> None:
    seeded = await seed(url)
    assert [(person.email, person.created, person.funded) for person in seeded] == [
        ("alice@finpay.dev", True, True),
        ("bob@finpay.dev", True, True),
    ]
    rows = await _fetch(
        url,
        "SELECT u.email, u.name, a.balance, a.currency, a.sequence, a.email_verified "
        "FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id ORDER BY u.email",
    )
    assert rows == [
        ("alice@finpay.dev", "Alice", 1_000_000, "ZAR", 3, True),
        ("bob@finpay.dev", "Bob", 500_000, "ZAR", 3, True),
    ]


@pytest.mark.contract("4.1.2")
async def test_their_password_is_the_documented_one(url: str) -> None:
    await seed(url)
    hasher = Hasher()
    rows = await _fetch(url, "SELECT password_hash FROM identity.users")
    assert len(rows) == 2
    for row in rows:
        assert (await hasher.verify(str(row[0]), PASSWORD)).ok
    hasher.close()


async def test_migrations_make_no_user(url: str) -> None:
    assert await _fetch(url, "SELECT count(*) FROM identity.users") == [(0,)]


async def test_what_was_done_is_printed_and_verified(url: str) -> None:
    (alice, _) = await seed(url)
    rows = await _fetch(
        url,
        "SELECT e.sequence, e.type FROM outbox.events e "
        f"WHERE account_id = '{ids.decode('acc', alice.account_id)}' ORDER BY sequence",
    )
    assert rows == [(1, "user.registered"), (2, "account.created"), (3, "transaction.completed")]
    actions = await _fetch(url, "SELECT action, count(*) FROM audit.log GROUP BY 1 ORDER BY 1")
    assert actions == [
        ("account.created", 2),
        ("transaction.completed", 2),
        ("user.registered", 2),
    ]
    assert await _is_proven(url)


async def test_sowing_twice_changes_nothing(url: str) -> None:
    first = await seed(url)
    second = await seed(url)
    assert [person.account_id for person in first] == [person.account_id for person in second]
    assert not any(person.created or person.funded for person in second)


async def test_four_at_once_make_one_seed(url: str) -> None:
    seeded = await asyncio.gather(*(seed(url) for _ in range(4)))
    assert sum(person.created for people in seeded for person in people) == 2
    assert sum(person.funded for people in seeded for person in people) == 2
    assert await _is_proven(url)


async def test_what_a_kill_left_half_done_is_finished(url: str) -> None:
    """A user without the money: the next seed brings it."""
    database, hasher = Database(url, size=1, role="finpay_owner"), Hasher()
    assert await sowing._create(database, hasher, sowing.SEED_USERS[0])
    assert not await sowing._create(database, hasher, sowing.SEED_USERS[0])
    hasher.close()
    await database.close()
    (alice, bob) = await seed(url)
    assert (alice.created, alice.funded) == (False, True)
    assert (bob.created, bob.funded) == (True, True)
    assert await _is_proven(url)


async def test_a_database_without_tables_is_reported(
    postgres_server: Cluster, worker_id: str
) -> None:
    name = f"bare_{worker_id}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    with pytest.raises(MigrationError, match="finpay migrate"):
        await seed(postgres_server.url(name))
    drop_database(postgres_server, name)


async def _fetch(url: str, query: str) -> list[tuple[object, ...]]:
    database = Database(url, size=1)
    try:
        return [tuple(row) for row in await database.fetch(query)]
    finally:
        await database.close()


async def _is_proven(url: str) -> bool:
    database = Database(url, size=1)
    try:
        return (await verify(database)).ok
    finally:
        await database.close()
