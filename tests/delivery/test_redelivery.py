"""What the owner of an endpoint may ask for: retry, replay, ping."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from finpay import ids
from finpay.errors import FinPayError
from finpay.webhooks import endpoints, redelivery
from finpay.webhooks.redelivery import ReplayRange
from tests.delivery.fixtures import Hooked, Scene
from tests.delivery.receiver import OK, Receiver, status

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


async def test_a_retry_keeps_id_and_attempts(scene: Scene, receiver: Receiver) -> None:
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


async def test_others_can_ask_for_nothing(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    row = await scene.bank.row("SELECT id FROM webhooks.deliveries")
    stranger = await scene.bank.open()
    app = scene.bank.app
    assert not await redelivery.retry(app, stranger.user_id, row["id"])
    assert (
        await redelivery.replay(app, stranger.user_id, hooked.endpoint_id, ReplayRange(LONG_AGO))
        is None
    )
    assert await redelivery.ping(app, stranger.user_id, hooked.endpoint_id, "req_1") is None


async def test_a_replay_brings_what_was_before_the_endpoint(
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


async def test_a_replay_has_edges(scene: Scene, receiver: Receiver) -> None:
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


async def test_a_replay_of_failures_alone(scene: Scene, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(500) if len(receiver.requests) % 2 else OK
    hooked = await scene.hook(receiver.url)
    await scene.many_events(hooked, 10)
    scene.drain(FINPAY_WEBHOOK_CONCURRENCY="1")
    before = await scene.statuses()
    assert before == {"delivered": 5, "waiting": 5}
    receiver.behave = lambda _: OK
    assert await _replay(scene, hooked, ReplayRange(LONG_AGO, only_failed=True)) == 5
    scene.drain()
    assert await scene.statuses() == {"delivered": 10}
    assert len(receiver.requests) == 15


async def test_a_ping_says_hello(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url, "account.*")
    user_id = hooked.holder.user_id
    delivery = await redelivery.ping(scene.bank.app, user_id, hooked.endpoint_id, "req_1")
    assert delivery is not None
    scene.drain()
    (request,) = receiver.requests
    told = json.loads(request.body)
    assert told["type"] == redelivery.PING
    assert told["id"] == request.id
    assert told["data"]["object"]["id"] == ids.encode("whe", hooked.endpoint_id)
    assert not await scene.bank.count("outbox.events", "true")


async def test_nothing_is_queued_for_a_disabled_endpoint(scene: Scene, receiver: Receiver) -> None:
    hooked = await scene.hook(receiver.url)
    await scene.events(hooked, 1)
    row = await scene.bank.row("SELECT id FROM webhooks.deliveries")
    await endpoints.change(scene.bank.app, hooked.owner, hooked.endpoint_id, {"enabled": False})
    app, user_id = scene.bank.app, hooked.holder.user_id
    for asked in (
        redelivery.retry(app, user_id, row["id"]),
        redelivery.replay(app, user_id, hooked.endpoint_id, ReplayRange(LONG_AGO)),
        redelivery.ping(app, user_id, hooked.endpoint_id, "req_1"),
    ):
        with pytest.raises(FinPayError, match="disabled"):
            await asked


async def _replay(scene: Scene, hooked: Hooked, wanted: ReplayRange) -> int | None:
    return await redelivery.replay(
        scene.bank.app, hooked.holder.user_id, hooked.endpoint_id, wanted
    )
