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
from tests.delivery.fixtures import OwnedEndpoint, System
from tests.delivery.receiver import OK, Receiver, status

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


async def test_retry_keeps_the_event_id_and_the_attempts(
    system: System, receiver: Receiver
) -> None:
    receiver.behave = lambda _: status(500)
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    system.deliver_due()
    row = await system.bank.row("SELECT id FROM webhooks.deliveries")
    receiver.behave = lambda _: OK
    assert await redelivery.retry(system.bank.app, endpoint.holder.user_id, row["id"])
    system.deliver_due()
    assert await system.statuses() == {"delivered": 1}
    assert len(receiver.ids) == 1
    assert [a["number"] for a in await system.attempts(endpoint)] == [1, 2]


async def test_other_users_delivery_and_endpoint_are_not_found(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    row = await system.bank.row("SELECT id FROM webhooks.deliveries")
    other = await system.bank.open()
    app = system.bank.app
    assert not await redelivery.retry(app, other.user_id, row["id"])
    assert await redelivery.replay(app, other.user_id, endpoint.id, ReplayRange(LONG_AGO)) is None
    assert await redelivery.ping(app, other.user_id, endpoint.id, "req_1") is None


async def test_replay_includes_events_from_before_the_endpoint(
    system: System, receiver: Receiver
) -> None:
    first = await system.add_endpoint(receiver.url)
    await system.add_events(first, 3)
    system.deliver_due()
    second = await system.add_endpoint(f"{receiver.url}/second", holder=first.holder)
    await system.add_events(first, 1)
    assert (
        await _replay(system, second, ReplayRange(LONG_AGO)) == 3
    )  # the fourth is pending already
    system.deliver_due()
    arrived = [request.id for request in receiver.requests if "/second" in request.line]
    assert len(arrived) == len(set(arrived)) == 4
    assert await _replay(system, second, ReplayRange(LONG_AGO)) == 4
    system.deliver_due()
    assert len(receiver.ids) == 4
    assert len(receiver.requests) == 4 + 4 + 4


async def test_replay_range_includes_since_and_excludes_until(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url, "account.*")
    await system.add_events(endpoint, 2)
    await system.bank.freeze(endpoint.holder)
    system.deliver_due()
    (row,) = await system.bank.app.fetch(
        "SELECT created_at FROM outbox.events WHERE type = 'account.updated'"
    )
    at, tick = row["created_at"], timedelta(microseconds=1)
    assert await _replay(system, endpoint, ReplayRange(at + tick)) == 0
    assert await _replay(system, endpoint, ReplayRange(LONG_AGO, at)) == 0
    assert await _replay(system, endpoint, ReplayRange(at, at + tick)) == 1


async def test_replay_of_only_failed_skips_delivered_events(
    system: System, receiver: Receiver
) -> None:
    receiver.behave = lambda _: status(500) if len(receiver.requests) % 2 else OK
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_many_events(endpoint, 10)
    system.deliver_due(FINPAY_WEBHOOK_CONCURRENCY="1")
    before = await system.statuses()
    assert before == {"delivered": 5, "scheduled": 5}
    receiver.behave = lambda _: OK
    assert await _replay(system, endpoint, ReplayRange(LONG_AGO, only_failed=True)) == 5
    system.deliver_due()
    assert await system.statuses() == {"delivered": 10}
    assert len(receiver.requests) == 15


@pytest.mark.fault("D4")
@pytest.mark.contract("6.3.6")
async def test_second_replay_of_an_endpoint_is_refused_while_the_first_runs(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    other = await system.add_endpoint(f"{receiver.url}/other", holder=endpoint.holder)
    await system.add_events(endpoint, 2)
    system.deliver_due()
    async with system.bank.owner.transaction() as blocking:
        await blocking.execute(
            "SELECT FROM webhooks.deliveries WHERE endpoint_id = $1 FOR UPDATE", endpoint.id
        )
        first = asyncio.create_task(_replay(system, endpoint, ReplayRange(LONG_AGO)))
        await system.bank.until_a_statement_waits()
        with pytest.raises(FinPayError) as refused:
            await _replay(system, endpoint, ReplayRange(LONG_AGO))
        assert refused.value.code == Code.REPLAY_IN_PROGRESS
        assert await _replay(system, other, ReplayRange(LONG_AGO)) == 2
    assert await first == 2
    assert await _replay(system, endpoint, ReplayRange(LONG_AGO)) == 0  # pending already


async def test_worker_records_attempts_while_a_replay_runs(
    system: System, receiver: Receiver
) -> None:
    """A replay locks no delivery that a worker has leased."""
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 2)
    leased = ids.new_uuid()
    await system.bank.app.execute(
        "UPDATE webhooks.deliveries SET status = 'leased', worker_id = $1 WHERE sequence = 1",
        leased,
    )
    async with system.bank.app.transaction() as transaction:
        await transaction.execute(
            queries.load("finpay.webhooks", "redelivery.sql").replay_events,
            endpoint.id, 0, 10, LONG_AGO, datetime.now(UTC) + timedelta(days=1), 100,
        )  # fmt: skip
        await system.bank.owner.execute(
            "SELECT FROM webhooks.deliveries WHERE worker_id = $1 FOR UPDATE NOWAIT", leased
        )


async def test_ping_is_delivered_and_is_no_event(system: System, receiver: Receiver) -> None:
    endpoint = await system.add_endpoint(receiver.url, "account.*")
    user_id = endpoint.holder.user_id
    delivery = await redelivery.ping(system.bank.app, user_id, endpoint.id, "req_1")
    assert delivery is not None
    system.deliver_due()
    (request,) = receiver.requests
    event = json.loads(request.body)
    assert event["type"] == redelivery.PING
    assert event["id"] == request.id
    assert event["data"]["object"]["id"] == ids.encode("whe", endpoint.id)
    assert not await system.bank.count("outbox.events", "true")


async def test_disabled_endpoint_refuses_retry_replay_and_ping(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    row = await system.bank.row("SELECT id FROM webhooks.deliveries")
    await endpoints.update(system.bank.app, endpoint.owner, endpoint.id, {"enabled": False})
    app, user_id = system.bank.app, endpoint.holder.user_id
    for refused in (
        redelivery.retry(app, user_id, row["id"]),
        redelivery.replay(app, user_id, endpoint.id, ReplayRange(LONG_AGO)),
        redelivery.ping(app, user_id, endpoint.id, "req_1"),
    ):
        with pytest.raises(FinPayError, match="disabled"):
            await refused


async def _replay(system: System, endpoint: OwnedEndpoint, wanted: ReplayRange) -> int | None:
    return await redelivery.replay(system.bank.app, endpoint.holder.user_id, endpoint.id, wanted)
