"""Every event is delivered, whatever the receiver answers and however often a worker is killed."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from tests.delivery.fixtures import System
from tests.delivery.receiver import DROP, HANG, OK, Behaviour, Receiver, Request, receiving, status

EVENTS: Final = 1_000
KILLS: Final = 20
DELIVERY_LIMIT_S: Final = 90.0


def flaky() -> Behaviour:
    """Fails 30 %, hangs 10 % and drops 10 %, by the request's id and the number of its attempt."""
    seen: Counter[str] = Counter()

    def behave(request: Request) -> bytes:
        seen[request.id] += 1
        choice = hashlib.sha256(f"{request.id} {seen[request.id]}".encode()).digest()[0] % 10
        return {0: HANG, 1: DROP, 2: status(500), 3: status(503), 4: status(404)}.get(choice, OK)

    return behave


@pytest.fixture
def flaky_receiver() -> Iterator[Receiver]:
    with receiving(flaky()) as running:
        yield running


@pytest.mark.contract("3.1.6")
async def test_every_event_is_delivered_although_workers_are_killed(
    system: System, flaky_receiver: Receiver
) -> None:
    settings = {
        "FINPAY_WEBHOOK_TIMEOUT": "1",
        "FINPAY_WEBHOOK_RETRY_SCHEDULE": ",".join(["0"] * 40),
        "FINPAY_WEBHOOK_CONCURRENCY": "32",
    }
    endpoint = await system.add_endpoint(flaky_receiver.url)
    await system.add_many_events(endpoint, EVENTS)
    for n in range(1, KILLS + 1):
        worker = system.start_worker(**settings)
        # Each worker is killed a bit later than the one before.
        flaky_receiver.await_requests(n * EVENTS // (2 * KILLS))
        worker.kill()
    assert (await system.statuses()).get("delivered", 0) < EVENTS
    last = system.start_worker(**settings)
    await system.until_status(DELIVERY_LIMIT_S, delivered=EVENTS)
    assert last.stop() == 0
    assert len(flaky_receiver.ids) == EVENTS
    assert flaky_receiver.most_at_once <= 2 * 32  # with requests of the worker before
    await system.verify()


async def test_leases_of_a_killed_worker_are_reclaimed_at_once(
    system: System, receiver: Receiver
) -> None:
    """Before the leases expire: PostgreSQL no longer has the worker's connection."""
    receiver.behave = lambda _: HANG
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_many_events(endpoint, 3)
    killed = system.start_worker()
    receiver.await_requests(3)
    system.start_worker()
    await system.until_workers(2)
    receiver.behave = lambda _: OK
    killed.kill()
    await system.until_status(3, delivered=3)
    assert Counter(request.id for request in receiver.requests) == dict.fromkeys(receiver.ids, 2)


async def test_stopping_worker_returns_leases_of_hanging_attempts(
    system: System, receiver: Receiver
) -> None:
    receiver.behave = lambda _: HANG
    endpoint = await system.add_endpoint(receiver.url)
    await system.add_many_events(endpoint, 2)
    worker = system.start_worker()
    receiver.await_requests(2)
    worker.process.terminate()
    await asyncio.sleep(0.1)  # the second signal stops it at once
    assert worker.stop() == 0, worker.log.read_text()
    assert await system.statuses() == {"pending": 2}
    assert not await system.bank.count("webhooks.workers", "true")
    assert not await system.attempts(endpoint)


async def test_stopping_worker_finishes_attempts_in_flight(
    system: System, receiver: Receiver
) -> None:
    endpoint = await system.add_endpoint(receiver.url)
    worker = system.start_worker()

    def behave(_: Request) -> bytes:
        worker.process.terminate()
        return OK

    receiver.behave = behave
    await system.add_many_events(endpoint, 1)
    assert worker.wait() == 0
    assert await system.statuses() == {"delivered": 1}
