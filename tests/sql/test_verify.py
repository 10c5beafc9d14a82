"""The proof: silent on a ledger that is right, and exact about one that is wrong.

Each corruption is planted by a superuser, with the triggers off, in a copy of a ledger with
traffic. The checks that find it are listed, and no other check may say a word.
"""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from finpay import ids
from finpay.db.pool import Database
from finpay.db.queries import Queries
from finpay.dev.postgres import Cluster
from finpay.ledger import administration
from finpay.ledger import verify as proof
from finpay.ledger.verify import Check, Report, verify
from tests.servers import clone_template, drop_database
from tests.sql.ledger_fixtures import (
    Bank,
    fresh_key,
    item,
    moving_money,
    retry,
    retry_batch,
    transfer,
    transfer_batch,
)
from tests.sql.operation_traffic import operation_traffic
from tests.sql.request_traffic import request_traffic

MOVED_S: Final = 10.0  # for one transfer, on a busy machine

CORRUPTION_FILES: Final = (
    "corruptions.sql", "corruptions_of_requests.sql", "corruptions_of_operations.sql",
    "corruptions_of_transfer_batches.sql", "corruptions_of_books.sql",
)  # fmt: skip
CORRUPTIONS: Final = Queries(
    "".join(Path(__file__).with_name(name).read_text("utf-8") for name in CORRUPTION_FILES),
    "corruptions.sql",
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """A database with a bit of everything, and what to find in it by name."""

    database: str
    subjects: dict[str, UUID]


@pytest.fixture(scope="module")
def traffic(postgres_server: Cluster, worker_id: str) -> Iterator[Traffic]:
    """It has no connections, so it can be copied."""
    name = f"traffic_{worker_id}"
    url = clone_template(postgres_server, name)
    with ThreadPoolExecutor(1) as thread:
        subjects = thread.submit(asyncio.run, _fill(url)).result()
    yield Traffic(name, subjects)
    drop_database(postgres_server, name)


@pytest.fixture
async def copy(postgres_server: Cluster, worker_id: str, traffic: Traffic) -> AsyncIterator[str]:
    """The URL of a copy that the test may spoil."""
    name = f"spoiled_{worker_id}"
    postgres_server.sql(f"CREATE DATABASE {name} TEMPLATE {traffic.database}")
    yield postgres_server.url(name)
    drop_database(postgres_server, name)


@pytest.mark.contract("2.4.1")
async def test_a_ledger_with_traffic_is_clean(copy: str) -> None:
    report = await _verified(copy)
    assert report.ok, [check for check in report.checks if not check.ok]
    assert report.as_json() == {
        "ok": True,
        "checks": [{"name": check.name, "ok": True, "violations": []} for check in report.checks],
    }
    assert len(report.checks) == 25


async def test_an_empty_ledger_is_clean(fresh_database: Callable[[], str]) -> None:
    assert (await _verified(fresh_database())).ok


@pytest.mark.contract("2.4.1")
@pytest.mark.parametrize("what", dict(CORRUPTIONS))
async def test_a_corruption_is_found_and_named(copy: str, traffic: Traffic, what: str) -> None:
    head, _, change = getattr(CORRUPTIONS, what).partition("\n")
    subject, _, found_by = head.removeprefix("-- ").partition(": ")
    await _spoil(copy, _with_subjects(change, traffic))
    report = await _verified(copy)
    found = {check.name: check for check in report.checks if not check.ok}
    assert set(found) == set(found_by.split(", ")), found
    named = "".join(sentence for check in found.values() for sentence in check.violations)
    assert any(public_id in named for public_id in _public_ids(traffic.subjects[subject]))


@pytest.mark.parametrize("kept", [0, 1])
async def test_events_that_retention_removed_are_no_loss(
    copy: str, traffic: Traffic, kept: int
) -> None:
    """All up to the number that it says, some, or all that there are."""
    bob = traffic.subjects["bob"]
    for through in ("2", "(SELECT sequence FROM ledger.accounts WHERE id = $bob)"):
        last = through.replace("$bob", f"'{bob}'")
        await _spoil(
            copy,
            f"DELETE FROM outbox.events WHERE account_id = '{bob}' AND sequence <= {last} - {kept};"
            "INSERT INTO outbox.retention_watermarks (account_id, up_to_sequence) "
            f"VALUES ('{bob}', {last}) "
            "ON CONFLICT (account_id) DO UPDATE SET up_to_sequence = EXCLUDED.up_to_sequence",
        )
        assert (await _verified(copy)).ok


def test_the_proof_is_tried_with_at_least_20_corruptions() -> None:
    assert len(dict(CORRUPTIONS)) >= 20


async def test_no_more_violations_are_shown_than_a_person_reads(copy: str) -> None:
    await _spoil(copy, "UPDATE ledger.entries SET created_at = created_at + interval '1 s'")
    (check,) = (check for check in (await _verified(copy)).checks if not check.ok)
    assert check.name == "entries"
    assert check.count > proof.MAX_VIOLATIONS
    assert len(check.violations) == proof.MAX_VIOLATIONS + 1
    assert check.violations[-1] == f"… and {check.count - proof.MAX_VIOLATIONS} more."


async def test_each_check_is_reported_when_it_is_done(copy: str) -> None:
    reported: list[Check] = []
    database = Database(copy, size=1)
    report = await verify(database, progress=reported.append)
    await database.close()
    assert reported == list(report.checks)


async def test_money_may_move_meanwhile(copy: str) -> None:
    """All checks see one moment."""
    async with moving_money(copy) as (bank, account):
        seen = (await bank.account(account))["version"]
        for _ in range(3):
            assert (await _verified(copy)).ok
            async with asyncio.timeout(MOVED_S):
                while (version := (await bank.account(account))["version"]) == seen:
                    await asyncio.sleep(0.01)
            assert version > seen
            seen = version


def _with_subjects(change: str, traffic: Traffic) -> str:
    return re.sub(r":([a-z_]+)", lambda name: f"'{traffic.subjects[name[1]]}'", change)


def _public_ids(subject: UUID) -> list[str]:
    prefixes: tuple[ids.Prefix, ...] = ("acc", "txn", "usr", "prq", "sch", "hld", "wdr")
    return [ids.encode(prefix, subject) for prefix in prefixes]


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


async def _fill(url: str) -> dict[str, UUID]:
    bank = Bank(url)
    try:
        return await _traffic(bank)
    finally:
        await bank.close()


async def _traffic(bank: Bank) -> dict[str, UUID]:
    alice, bob = await bank.open(1_000), await bank.open(500)
    dollars, frozen = await bank.open(70, currency="USD"), await bank.open(5, frozen=True)
    others = [await bank.open(100) for _ in range(6)]
    early, failed = transfer(alice, bob, 10), transfer(alice, bob, 5_000)
    await bank.post(early, failed, transfer(bob, alice, 5))
    await bank.post(
        retry(early),
        retry(failed, fingerprint=b"another"),
        transfer(alice, dollars, 1),
        transfer(frozen, bob, 1),
        transfer(dollars, dollars, 1),
    )
    await bank.freeze(alice)
    await administration.set_status(bank.owner, alice.public_id, "active", "a test", fresh_key())
    await administration.set_status(bank.owner, alice.public_id, "active", "a test", fresh_key())
    dice = random.Random(4)
    for _ in range(20):
        pairs = [dice.sample([bob, *others], 2) for _ in range(10)]
        await bank.post(*(transfer(s, r, dice.randint(1, 60)) for s, r in pairs))
    many = transfer_batch(bob, item(alice, 1), item(bob, 1), item(alice, 10**6), item(others[0], 2))
    whole = transfer_batch(bob, item(alice, 3), item(others[1], 4), mode="atomic")
    none = transfer_batch(bob, item(alice, 3), item(alice, 10**6), mode="atomic")
    refused = transfer_batch(alice, item(alice, 1), item(dollars, 1))
    await bank.post(transfer(alice, bob, 1), many, whole, none, refused, transfer(alice, bob, 2))
    await bank.post(retry_batch(many), retry_batch(whole, fingerprint=b"another"))
    named = await request_traffic(bank, alice, bob)
    named |= await operation_traffic(bank, alice, bob, others[0])
    late = transfer(alice, bob, 7)
    await bank.post(late)
    system = await bank.row(
        "SELECT id FROM ledger.accounts WHERE user_id IS NULL AND currency = 'ZAR'"
    )
    return {
        "alice": alice.account_id,
        "alice_user": alice.user_id,
        "bob": bob.account_id,
        "bob_user": bob.user_id,
        "many": many.items[0].id,
        "many_failed": many.items[2].id,
        "many_last": many.items[3].id,
        "whole_last": whole.items[1].id,
        "dollars": dollars.account_id,
        "system": system["id"],
        "early": early.id,
        "failed": failed.id,
        "late": late.id,
        "unknown": ids.new_uuid(),
        **named,
    }
