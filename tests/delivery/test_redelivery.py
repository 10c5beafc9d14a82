"""The owner's requests: retry, replay, ping."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from finpay import ids
from finpay.db import queries
from finpay.errors import Code, FinPayError
from finpay.webhooks import endpoints, redelivery
from finpay.webhooks.redelivery import ReplayRange
from tests.delivery.fixtures import Hooked, Scene
from tests.delivery.receiver import OK, Receiver, status

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


async def test_retry_keeps_the_event_id_and_the_attempts(scene: Scene, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(500)
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    scene.drain()
    row = await scene.bank.row("SELECT id FROM webhooks.deliveries")
    receiver.behave = lambda _: OK
    assert await redelivery.retry(scene.bank.app, hooked.holder.user_id, row["id"])
    scene.drain()
    assert await scene.statuses() == {"delivered": 1}
    assert len(receiver.ids) == 1
    assert [a["number"] for a in await scene.attempts(hooked)] == [1, 2]


async def test_other_users_delivery_and_endpoint_are_not_found(
    scene: Scene, receiver: Receiver
) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    row = await scene.bank.row("SELECT id FROM webhooks.deliveries")
    other = await scene.bank.open()
    app = scene.bank.app
    assert not await redelivery.retry(app, other.user_id, row["id"])
    assert (
        await redelivery.replay(app, other.user_id, hooked.endpoint_id, ReplayRange(LONG_AGO))
        is None
    )
    assert await redelivery.ping(app, other.user_id, hooked.endpoint_id, "req_1") is None


async def test_replay_includes_events_from_before_the_endpoint(
    scene: Scene, receiver: Receiver
) -> None:
    first = await scene.hook(receiver.url)
    await scene.events(first, 3)
    scene.drain()
    second = await scene.hook(f"{receiver.url}/second", holder=first.holder)
    await scene.events(first, 1)
    assert await _replay(scene, second, ReplayRange(LONG_AGO)) == 3  # the fourth is pending anyway
    scene.drain()
    arrived = [request.id for request in receiver.requests if "/second" in request.line]
    assert len(arrived) == len(set(arrived)) == 4
    assert await _replay(scene, second, ReplayRange(LONG_AGO)) == 4
    scene.drain()
    assert len(receiver.ids) == 4
    assert len(receiver.requests) == 4 + 4 + 4


async def test_replay_range_includes_since_and_excludes_until(
    scene: Scene, receiver: Receiver
) -> None:
    hooked = await scene.hook(receiver.url, "account.*")
    await scene.events(hooked, 2)
    await scene.bank.freeze(hooked.holder)
    scene.drain()
    (row,) = await scene.bank.app.fetch(
        "SELECT created_at FROM outbox.events WHERE type = 'account.updated'"
    )
    at, tick = row["created_at"], timedelta(microseconds=1)
    assert await _replay(scene, hooked, ReplayRange(at + tick)) == 0
    assert await _replay(scene, hooked, ReplayRange(LONG_AGO, at)) == 0
    assert await _replay(scene, hooked, ReplayRange(at, at + tick)) == 1


async def test_replay_of_only_failed_skips_delivered_events(
    scene: Scene, receiver: Receiver
) -> None:
    receiver.behave = lambda _: status(500) if len(receiver.requests) % 2 else OK
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, 10)
    scene.drain(FINPAY_WEBHOOK_CONCURRENCY="1")
    before = await scene.statuses()
    assert before == {"delivered": 5, "scheduled": 5}
    receiver.behave = lambda _: OK
    assert await _replay(scene, hooked, ReplayRange(LONG_AGO, only_failed=True)) == 5
    scene.drain()
    assert await scene.statuses() == {"delivered": 10}
    assert len(receiver.requests) == 15


@pytest.mark.fault("D4")
@pytest.mark.contract("6.3.6")
async def test_second_replay_of_an_endpoint_is_refused_while_the_first_runs(
    scene: Scene, receiver: Receiver
) -> None:
    hooked = await scene.hook(receiver.url)
    other = await scene.hook(f"{receiver.url}/other", holder=hooked.holder)
    await scene.events(hooked, 2)
    scene.drain()
    async with scene.bank.owner.transaction() as blocking:
        await blocking.execute(
            "SELECT FROM webhooks.deliveries WHERE endpoint_id = $1 FOR UPDATE", hooked.endpoint_id
        )
        first = asyncio.create_task(_replay(scene, hooked, ReplayRange(LONG_AGO)))
        await scene.bank.until_somebody_waits()
        with pytest.raises(FinPayError) as refused:
            await _replay(scene, hooked, ReplayRange(LONG_AGO))
        assert refused.value.code == Code.REPLAY_IN_PROGRESS
        assert await _replay(scene, other, ReplayRange(LONG_AGO)) == 2
    assert await first == 2
    assert await _replay(scene, hooked, ReplayRange(LONG_AGO)) == 0  # pending already


async def test_worker_records_attempts_while_a_replay_runs(
    scene: Scene, receiver: Receiver
) -> None:
    """A replay locks no delivery that a worker has leased."""
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 2)
    leased = ids.new_uuid()
    await scene.bank.app.execute(
        "UPDATE webhooks.deliveries SET status = 'leased', worker_id = $1 WHERE sequence = 1",
        leased,
    )
    async with scene.bank.app.transaction() as transaction:
        await transaction.execute(
            queries.load("finpay.webhooks", "redelivery.sql").replay_events,
            hooked.endpoint_id, 0, 10, LONG_AGO, datetime.now(UTC) + timedelta(days=1), 100,
        )  # fmt: skip
        await scene.bank.owner.execute(
            "SELECT FROM webhooks.deliveries WHERE worker_id = $1 FOR UPDATE NOWAIT", leased
        )


async def test_ping_is_delivered_and_is_no_event(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url, "account.*")
    user_id = hooked.holder.user_id
    delivery = await redelivery.ping(scene.bank.app, user_id, hooked.endpoint_id, "req_1")
    assert delivery is not None
    scene.drain()
    (request,) = receiver.requests
    event = json.loads(request.body)
    assert event["type"] == redelivery.PING
    assert event["id"] == request.id
    assert event["data"]["object"]["id"] == ids.encode("whe", hooked.endpoint_id)
    assert not await scene.bank.count("outbox.events", "true")


async def test_disabled_endpoint_refuses_retry_replay_and_ping(
    scene: Scene, receiver: Receiver
) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    row = await scene.bank.row("SELECT id FROM webhooks.deliveries")
    await endpoints.update(scene.bank.app, hooked.owner, hooked.endpoint_id, {"enabled": False})
    app, user_id = scene.bank.app, hooked.holder.user_id
    for refused in (
        redelivery.retry(app, user_id, row["id"]),
        redelivery.replay(app, user_id, hooked.endpoint_id, ReplayRange(LONG_AGO)),
        redelivery.ping(app, user_id, hooked.endpoint_id, "req_1"),
    ):
        with pytest.raises(FinPayError, match="disabled"):
            await refused


async def _replay(scene: Scene, hooked: Hooked, wanted: ReplayRange) -> int | None:
    return await redelivery.replay(
        scene.bank.app, hooked.holder.user_id, hooked.endpoint_id, wanted
    )
