"""The proof: silent on a ledger that is right, and exact about one that is wrong.

Each corruption is planted by a superuser, with the triggers off, in a copy of a ledger with
traffic. The checks that find it are listed, and no other check may say a word.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from finpay import ids
from finpay.db.pool import Database
from finpay.dev.postgres import Cluster
from finpay.ledger import operator
from finpay.ledger import verify as proof
from finpay.ledger.verify import Check, Report, verify
from tests.servers import clone_template, drop_database
from tests.sql.bank import Bank, again, fresh_key, transfer
from tests.sql.corruptions import CORRUPTIONS, Corruption

STRANGER: Final = UUID("018f0000-0000-7000-8000-000000000000")


@pytest.fixture(scope="module")
def traffic(
    postgres_server: Cluster, worker_id: str
) -> Iterator[tuple[str, dict[str, str]]]:
    """A database with a bit of everything, and its subjects by name. Nobody is connected to it."""
    name = f"traffic_{worker_id}"
    url = clone_template(postgres_server, name)
    with ThreadPoolExecutor(1) as thread:
        subjects = thread.submit(asyncio.run, _fill(url)).result()
    yield name, subjects
    drop_database(postgres_server, name)


@pytest.fixture
async def copy(
    postgres_server: Cluster, worker_id: str, traffic: tuple[str, dict[str, str]]
) -> AsyncIterator[str]:
    """The URL of a copy that the test may spoil."""
    name = f"spoiled_{worker_id}"
    postgres_server.sql(f"CREATE DATABASE {name} TEMPLATE {traffic[0]}")
    yield postgres_server.url(name)
    drop_database(postgres_server, name)


async def test_a_ledger_with_traffic_is_clean(copy: str) -> None:
    report = await _verified(copy)
    assert report.ok, [check for check in report.checks if not check.ok]
    assert report.as_json() == {
        "ok": True,
        "checks": [
            {"name": check.name, "ok": True, "violations": []} for check in report.checks
        ],
    }
    assert len(report.checks) == 16


async def test_an_empty_ledger_is_clean(fresh_database: str) -> None:
    assert (await _verified(fresh_database)).ok


@pytest.mark.parametrize("what", CORRUPTIONS)
async def test_a_corruption_is_found_and_named(
    copy: str, traffic: tuple[str, dict[str, str]], what: str
) -> None:
    corruption = CORRUPTIONS[what]
    await _spoil(copy, corruption.change.format_map(traffic[1]))
    report = await _verified(copy)
    found = {check.name: check for check in report.checks if not check.ok}
    print(what, '|||', ' '.join(found))
    for f in found.values(): print('    ', f.name, f.violations)
    assert not report.ok
    assert set(found) == set(corruption.found_by.split())


async def _spoil(url: str, change: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(change)
    finally:
        await connection.close()


async def _verified(url: str) -> Report:
    database = Database(url, size=1)
    try:
        return await verify(database)
    finally:
        await database.close()


async def _fill(url: str) -> dict[str, str]:
    bank = Bank(url)
    try:
        return await _traffic(bank)
    finally:
        await bank.close()


async def _traffic(bank: Bank) -> dict[str, str]:
    alice, bob = await bank.open(1_000), await bank.open(500)
    dollars, frozen = await bank.open(70, currency="USD"), await bank.open(5, frozen=True)
    crowd = [await bank.open(100) for _ in range(6)]
    early, failed = transfer(alice, bob, 10), transfer(alice, bob, 5_000)
    await bank.post(early, failed, transfer(bob, alice, 5))
    await bank.post(
        again(early),
        again(failed, fingerprint=b"another"),
        transfer(alice, dollars, 1),
        transfer(frozen, bob, 1),
        transfer(dollars, dollars, 1),
    )
    await bank.freeze(alice)
    await operator.set_status(bank.owner, alice.public_id, "active", "a test", fresh_key())
    await operator.set_status(bank.owner, alice.public_id, "active", "a test", fresh_key())
    dice = random.Random(4)
    for _ in range(20):
        pairs = [dice.sample([bob, *crowd], 2) for _ in range(10)]
        await bank.post(*(transfer(s, r, dice.randint(1, 60)) for s, r in pairs))
    late = transfer(alice, bob, 7)
    await bank.post(late)
    system = await bank.row(
        "SELECT id FROM ledger.accounts WHERE user_id IS NULL AND currency = 'ZAR'"
    )
    return {
        "alice": str(alice.account_id),
        "alice_user": str(alice.user_id),
        "bob": str(bob.account_id),
        "system": str(system["id"]),
        "early": str(early.id),
        "failed": str(failed.id),
        "late": str(late.id),
    }
