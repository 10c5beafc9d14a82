"""A worker with failing receivers, slow receivers, and other workers."""

import asyncio
import json
import signal
import statistics
from collections import Counter
from typing import Final

import asyncpg
import pytest

from tests.delivery.fixtures import OwnedEndpoint, System
from tests.delivery.receiver import HANG, OK, Receiver, receiving, status, until

WAITS: Final = 60


async def test_failed_attempt_is_retried_with_the_same_id(
    system: System, receiver: Receiver
) -> None:
    receiver.behave = lambda _: OK if len(receiver.requests) > 2 else status(500, body="broken")
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    system.start_worker(FINPAY_WEBHOOK_RETRY_SCHEDULE="0,1,1")
    await system.until_status(delivered=1)
    first, second, third = receiver.requests
    assert first.id == second.id == third.id
    assert first.body == second.body == third.body
    assert first.headers["webhook-timestamp"] <= second.headers["webhook-timestamp"]
    assert 0.8 <= third.at_s - second.at_s < 4
    attempts = [(a["number"], a["http_status"], a["error"], a["answer"])
            for a in await system.attempts(endpoint)]  # fmt: skip
    assert attempts == [(1, 500, "bad_status", "broken"), (2, 500, "bad_status", "broken"),
                    (3, 200, None, "ok")]  # fmt: skip
    assert (await system.endpoint_row(endpoint))["failures_in_row"] == 0


async def test_delivery_fails_at_the_end_of_the_retry_schedule(
    system: System, receiver: Receiver
) -> None:
    receiver.behave = lambda _: status(500)
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    system.start_worker(FINPAY_WEBHOOK_RETRY_SCHEDULE="0,0")
    await system.until_status(failed=1)
    assert len(receiver.requests) == 3
    assert (await system.endpoint_row(endpoint))["first_failing_at"] is not None


async def test_retry_after_is_honoured(system: System, receiver: Receiver) -> None:
    receiver.behave = lambda _: status(503, "Retry-After: 3000")
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    system.deliver_due(FINPAY_WEBHOOK_RETRY_SCHEDULE="0,0")
    row = await system.bank.row(
        "SELECT status, due_at - clock_timestamp() AS wait FROM webhooks.deliveries"
    )
    assert row["status"] == "scheduled"
    assert 2_900 < row["wait"].total_seconds() <= 3_000


@pytest.mark.contract("6.3.5")
async def test_410_disables_the_endpoint_and_records_an_event(
    system: System, receiver: Receiver
) -> None:
    receiver.behave = lambda request: status(410) if "/gone" in request.line else OK
    endpoint = await system.add_endpoint(f"{receiver.url}/gone")
    await system.add_endpoint(f"{receiver.url}/other", "webhook_endpoint.*", holder=endpoint.holder)
    await system.add_events(endpoint, 2)
    system.start_worker()
    until(lambda: any("/other" in request.line for request in receiver.requests))
    row = await system.endpoint_row(endpoint)
    assert (row["enabled"], row["disabled_reason"]) == (False, "gone")
    received = [json.loads(r.body) for r in receiver.requests if "/other" in r.line]
    assert [event["type"] for event in received] == ["webhook_endpoint.disabled"]
    assert received[0]["data"]["object"]["disabled_reason"] == "gone"
    assert received[0]["data"]["previous"] == {"enabled": True, "disabled_reason": None}
    assert received[0]["actor"] is None
    assert await system.bank.count("audit.log", "action = 'webhook_endpoint.disabled'") == 1
    await system.verify()


@pytest.mark.contract("6.3.5")
async def test_endpoint_that_fails_for_days_is_disabled(system: System, receiver: Receiver) -> None:
    """The first failure doesn't disable it, nor does one before the end of the five days."""
    receiver.behave = lambda _: status(500)
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    system.deliver_due()
    assert (await system.endpoint_row(endpoint))["enabled"]
    await _failing_since(system, minutes=-1)
    await system.add_events(endpoint, 1)
    system.deliver_due()
    assert (await system.endpoint_row(endpoint))["enabled"]
    await _failing_since(system, minutes=1)
    await system.add_events(endpoint, 1)
    system.deliver_due()
    row = await system.endpoint_row(endpoint)
    assert (row["enabled"], row["disabled_reason"]) == (False, "failing")
    assert await system.bank.count("audit.log", "action = 'webhook_endpoint.disabled'") == 1


async def test_deliveries_of_a_disabled_endpoint_are_canceled(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_many_events(endpoint, 1_500)
    await system.bank.app.execute(
        "UPDATE webhooks.endpoints SET enabled = false, disabled_at = now(), "
        "disabled_reason = 'owner'"
    )
    system.deliver_due()
    assert await system.statuses() == {"canceled": 1_500}
    assert not receiver.requests


async def test_attempts_in_flight_to_an_endpoint_are_limited(
    system: System, receiver: Receiver
) -> None:
    """The limit counts both workers."""
    receiver.behave = lambda _: HANG
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_many_events(endpoint, 50)
    settings = {"FINPAY_WEBHOOK_CONCURRENCY": "5", "FINPAY_WEBHOOK_TIMEOUT": "1"}
    system.start_worker(**settings)
    system.start_worker(**settings)
    receiver.await_requests(10)
    assert receiver.most_at_once <= 5


async def test_hanging_endpoint_does_not_delay_another(system: System, receiver: Receiver) -> None:
    """It has a backlog that would fill every worker, and the other endpoint's p95 stays."""
    with receiving(lambda _: HANG) as hanging:
        hanging_endpoint = await system.add_endpoint(hanging.url)
        endpoint = await system.add_endpoint(receiver.url)
        system.start_worker(FINPAY_WEBHOOK_TIMEOUT="5")
        await _p95_ms(system, receiver, endpoint)  # connections, plans
        alone = await _p95_ms(system, receiver, endpoint)
        await system.add_many_events(hanging_endpoint, 5_000)
        hanging.await_requests(64)
        loaded = await _p95_ms(system, receiver, endpoint)
    # 50 ms for pauses of a busy machine.
    assert loaded < alone * 1.2 + 50, (alone, loaded)


async def test_two_workers_deliver_each_event_once(system: System, receiver: Receiver) -> None:
    endpoints = [await system.add_endpoint(receiver.url) for _ in range(4)]
    system.start_worker()
    system.start_worker()
    await system.until_workers(2)
    for _ in range(5):
        for one in endpoints:
            await system.add_many_events(one, 20)
    await system.until_status(delivered=400)
    assert Counter(request.id for request in receiver.requests) == dict.fromkeys(receiver.ids, 1)
    workers = await system.bank.app.fetch("SELECT id FROM webhooks.workers")
    assert len(workers) == 2


async def test_notification_wakes_the_worker_at_once(system: System, receiver: Receiver) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    system.start_worker()
    await system.add_events(endpoint, 1)
    receiver.await_requests(1)
    connection = await asyncpg.connect(system.url)
    waits = []
    for n in range(2, 12):
        await system.add_events(endpoint, 1)
        await connection.execute("NOTIFY finpay_webhooks")
        notified_s = asyncio.get_running_loop().time()
        receiver.await_requests(n)
        waits.append(receiver.requests[-1].at_s - notified_s)
    await connection.close()
    assert statistics.median(waits) < 0.3  # by the poll alone it would be half a second


async def test_leases_of_a_hanging_worker_are_reclaimed(system: System, receiver: Receiver) -> None:
    """Its process and its connections exist, but its heartbeat stops."""
    receiver.behave = lambda _: HANG
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_events(endpoint, 1)
    frozen = system.start_worker()
    receiver.await_requests(1)
    frozen.process.send_signal(signal.SIGSTOP)
    receiver.behave = lambda _: OK
    system.start_worker()
    await system.until_status(10, delivered=1)
    frozen.process.send_signal(signal.SIGCONT)


async def _p95_ms(system: System, receiver: Receiver, endpoint: OwnedEndpoint) -> float:
    """From notification to arrival, one event at a time."""
    connection = await asyncpg.connect(system.url)
    waits = []
    for _ in range(WAITS):
        before = len(receiver.requests)
        await system.add_events(endpoint, 1)
        await connection.execute("NOTIFY finpay_webhooks")
        notified_s = asyncio.get_running_loop().time()
        receiver.await_requests(before + 1)
        waits.append((receiver.requests[before].at_s - notified_s) * 1_000)
    await connection.close()
    return statistics.quantiles(waits, n=20)[-1]


async def _failing_since(system: System, *, minutes: int) -> None:
    """Sets the first failure to five days and `minutes` ago."""
    await system.bank.app.execute(
        "UPDATE webhooks.endpoints SET first_failing_at = "
        "clock_timestamp() - make_interval(days => 5, mins => $1)",
        minutes,
    )
