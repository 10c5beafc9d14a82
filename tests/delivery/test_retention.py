"""What is old and delivered goes, what is waited for stays, and the proof still holds."""

from typing import Final

import asyncpg
import pytest

from finpay.webhooks import retention
from tests.delivery.fixtures import Hooked, Scene
from tests.delivery.receiver import Receiver

DAY_S: Final = 86_400


async def test_the_old_goes_and_the_proof_holds(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, 30)
    scene.drain()
    await _age(scene, hooked, up_to=20)
    deliveries, events = await retention.prune(scene.bank.app, DAY_S)
    assert (deliveries, events) == (20, 20)
    row = await scene.bank.row("SELECT min(sequence) AS first FROM outbox.events")
    assert row["first"] == 21
    pruned = await scene.bank.row("SELECT * FROM outbox.retention_watermarks")
    assert pruned["up_to_sequence"] == 20
    assert await scene.bank.count("webhooks.attempts", "true") == 10
    await scene.verify()
    assert await retention.prune(scene.bank.app, DAY_S) == (0, 0)


async def test_what_is_waited_for_stays_and_all_behind_it(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, 10)
    scene.drain()
    await scene.bank.app.execute(
        "UPDATE webhooks.deliveries SET status = 'scheduled', finished_at = NULL WHERE sequence = 4"
    )
    await _age(scene, hooked, up_to=10)
    _, events = await retention.prune(scene.bank.app, DAY_S)
    assert events == 3
    await scene.verify()


async def test_many_events_of_one_account_go_in_steps(
    scene: Scene, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "EVENTS_PER_ACCOUNT", 7)
    monkeypatch.setattr(retention, "ACCOUNTS_PER_STATEMENT", 2)
    hooked = [await scene.hook(receiver.url) for _ in range(5)]
    for one in hooked:
        await scene.many_events(one, 20)
    scene.drain()
    for one in hooked:
        await _age(scene, one, up_to=20)
    _, events = await retention.prune(scene.bank.app, DAY_S)
    assert events == 100
    await scene.verify()


async def test_nobody_prunes_what_is_younger_than_a_day(scene: Scene, receiver: Receiver) -> None:
    """Whatever the app's login asks for."""
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 3)
    scene.drain()
    row = await scene.bank.row(
        "SELECT removed FROM outbox.prune('00000000-0000-0000-0000-000000000000', 0, 100, 100)"
    )
    assert row["removed"] == 0


async def test_an_event_that_is_gone_ends_its_delivery(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 2)
    await _superuser(scene, "DELETE FROM outbox.events WHERE sequence = 1")
    scene.drain()
    assert await scene.statuses() == {"canceled": 1, "delivered": 1}
    assert len(receiver.requests) == 1


async def _age(scene: Scene, hooked: Hooked, *, up_to: int) -> None:
    """Two days older, ids of deliveries included."""
    account = hooked.holder.account_id
    await _superuser(
        scene,
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


# The same random bits behind a time of two days ago.
_OLDER: Final = (
    "(lpad(to_hex((extract(epoch FROM d.created_at - interval '2 days') * 1000)::bigint), 12, '0')"
    " || right(replace(d.id::text, '-', ''), 20))::uuid"
)


async def _superuser(scene: Scene, statements: str) -> None:
    connection = await asyncpg.connect(scene.url)
    await connection.execute(statements)
    await connection.close()
