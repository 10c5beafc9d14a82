"""Old delivered events are deleted, undelivered ones are kept, and the ledger still verifies."""

from typing import Final

import asyncpg
import pytest

from finpay.webhooks import retention
from tests.delivery.fixtures import OwnedEndpoint, System
from tests.delivery.receiver import Receiver

DAY_S: Final = 86_400


async def test_old_events_are_deleted_and_the_ledger_verifies(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_many_events(endpoint, 30)
    system.deliver_due()
    await _age(system, endpoint, up_to=20)
    deliveries, events = await retention.prune(system.bank.app, DAY_S)
    assert (deliveries, events) == (20, 20)
    row = await system.bank.row("SELECT min(sequence) AS first FROM outbox.events")
    assert row["first"] == 21
    pruned = await system.bank.row("SELECT * FROM outbox.retention_watermarks")
    assert pruned["up_to_sequence"] == 20
    assert await system.bank.count("webhooks.attempts", "true") == 10
    await system.verify()
    assert await retention.prune(system.bank.app, DAY_S) == (0, 0)


async def test_undelivered_event_and_all_after_it_are_kept(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_many_events(endpoint, 10)
    system.deliver_due()
    await system.bank.app.execute(
        "UPDATE webhooks.deliveries SET status = 'scheduled', finished_at = NULL WHERE sequence = 4"
    )
    await _age(system, endpoint, up_to=10)
    _, events = await retention.prune(system.bank.app, DAY_S)
    assert events == 3
    await system.verify()


async def test_many_events_of_one_account_are_deleted_in_steps(
    system: System, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "EVENTS_PER_ACCOUNT", 7)
    monkeypatch.setattr(retention, "ACCOUNTS_PER_STATEMENT", 2)
    endpoints = [await system.add_endpoint(receiver.url) for _ in range(5)]
    for one in endpoints:
        await system.add_many_events(one, 20)
    system.deliver_due()
    for one in endpoints:
        await _age(system, one, up_to=20)
    _, events = await retention.prune(system.bank.app, DAY_S)
    assert events == 100
    await system.verify()


async def test_event_younger_than_a_day_is_kept(system: System, receiver: Receiver) -> None:
    """Even when the login of the app asks for less than a day."""
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 3)
    system.deliver_due()
    row = await system.bank.row(
        "SELECT removed FROM outbox.prune('00000000-0000-0000-0000-000000000000', 0, 100, 100)"
    )
    assert row["removed"] == 0


async def test_delivery_of_a_deleted_event_is_canceled(system: System, receiver: Receiver) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 2)
    await _superuser(system, "DELETE FROM outbox.events WHERE sequence = 1")
    system.deliver_due()
    assert await system.statuses() == {"canceled": 1, "delivered": 1}
    assert len(receiver.requests) == 1


async def _age(system: System, endpoint: OwnedEndpoint, *, up_to: int) -> None:
    """Makes events and their rows two days older, ids of deliveries included."""
    account = endpoint.holder.account_id
    await _superuser(
        system,
        "ALTER TABLE ledger.entries DISABLE TRIGGER ALL;"
        "ALTER TABLE ledger.transactions DISABLE TRIGGER ALL;"
        "ALTER TABLE audit.log DISABLE TRIGGER ALL;"
        f"UPDATE audit.log SET created_at = created_at - interval '2 days' WHERE subject_id IN "
        f"(SELECT transaction_id FROM outbox.events WHERE account_id = '{account}' "
        f" AND sequence <= {up_to});"
        f"UPDATE ledger.idempotency_keys SET created_at = created_at - interval '2 days' "
        f"WHERE transaction_id IN (SELECT transaction_id FROM outbox.events "
        f" WHERE account_id = '{account}' AND sequence <= {up_to});"
        f"UPDATE ledger.transactions SET created_at = created_at - interval '2 days' WHERE id IN "
        f"(SELECT transaction_id FROM outbox.events WHERE account_id = '{account}' "
        f" AND sequence <= {up_to});"
        f"UPDATE ledger.entries SET created_at = created_at - interval '2 days' WHERE "
        f"transaction_id IN (SELECT transaction_id FROM outbox.events "
        f" WHERE account_id = '{account}' AND sequence <= {up_to});"
        f"UPDATE outbox.events SET created_at = created_at - interval '2 days' "
        f"WHERE account_id = '{account}' AND sequence <= {up_to};"
        f"UPDATE webhooks.attempts a SET delivery_id = {_OLDER} FROM webhooks.deliveries d "
        f"WHERE a.delivery_id = d.id AND d.account_id = '{account}' AND d.sequence <= {up_to};"
        f"UPDATE webhooks.deliveries d SET id = {_OLDER}, "
        "finished_at = finished_at - interval '2 days' "
        f"WHERE account_id = '{account}' AND sequence <= {up_to}",
    )


# The same random bits after a time of two days ago.
_OLDER: Final = (
    "(lpad(to_hex((extract(epoch FROM d.created_at - interval '2 days') * 1000)::bigint), 12, '0')"
    " || right(replace(d.id::text, '-', ''), 20))::uuid"
)


async def _superuser(system: System, statements: str) -> None:
    connection = await asyncpg.connect(system.url)
    await connection.execute(statements)
    await connection.close()
