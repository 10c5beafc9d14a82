"""One owner's names and receivers that hang do not delay other owners' deliveries."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from finpay import ids, settings
from finpay.db.pool import Database
from finpay.errors import FinPayError
from finpay.webhooks import endpoints
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf import url_policy
from finpay.webhooks.ssrf.name_resolver import LOOKUPS_PER_OWNER, NameResolver
from finpay.webhooks.worker import CONNECTIONS, MAX_PER_OWNER, Worker
from tests.delivery.fixtures import LOOPBACK, System
from tests.delivery.names import DnsServer, dns_server
from tests.delivery.receiver import HANG, Receiver, receiving

EVENTS: Final = 20  # for 16 endpoints each: more deliveries than an owner's share
MAX_DELAY_S: Final = 1.0


@pytest.mark.fault("D3")
async def test_hanging_names_of_two_owners_do_not_delay_a_third(
    system: System, receiver: Receiver
) -> None:
    async with dns_server() as dns, _worker(system, dns) as worker:
        for owner in range(2):
            holder = await system.bank.open()
            for n in range(endpoints.MAX_PER_USER):
                url = f"http://hang-{n}.owner-{owner}.example.com:{receiver.port}/"
                endpoint = await system.add_endpoint(url, holder=holder)
            await system.add_many_events(endpoint, EVENTS)
        third = await system.add_endpoint(f"http://works.example.com:{receiver.port}/")
        worker.wake()
        await _until(
            lambda: len({n for n in dns.asked if n.startswith("hang")}) > LOOKUPS_PER_OWNER
        )
        for _ in range(3):
            before = len(receiver.requests)
            await system.add_events(third, 1)
            worker.wake()
            started_s = time.monotonic()
            await _until(lambda: len(receiver.requests) > before)  # noqa: B023
            assert time.monotonic() - started_s < MAX_DELAY_S


async def test_hanging_receivers_of_one_owner_hold_its_share(
    system: System, receiver: Receiver
) -> None:
    """Sixteen endpoints with 64 attempts each would fill two workers."""
    with receiving(lambda _: HANG) as hanging:
        first = await system.add_endpoint(f"{hanging.url}/0")
        for n in range(1, endpoints.MAX_PER_USER):
            await system.add_endpoint(f"{hanging.url}/{n}", holder=first.holder)
        other = await system.add_endpoint(receiver.url)
        await system.add_many_events(first, 100)
        system.start_worker()
        hanging.await_requests(MAX_PER_OWNER)
        started_s = time.monotonic()
        await system.add_events(other, 1)
        await _until(lambda: len(receiver.requests) == 1)
        assert (
            time.monotonic() - started_s < 2 * MAX_DELAY_S
        )  # found by the poll: no NOTIFY was sent
        assert hanging.most_at_once == MAX_PER_OWNER


async def test_lookups_of_one_owner_are_limited_and_of_one_name_shared() -> None:
    owner, other = (ids.new_uuid() for _ in "12")
    async with dns_server() as dns:
        names = NameResolver([dns.address])
        hanging = [
            asyncio.create_task(names.addresses(f"hang-{n}.example.com", owner)) for n in range(20)
        ]
        shared = [
            asyncio.create_task(names.addresses("works.example.com", other)) for _ in range(20)
        ]
        found = await asyncio.gather(*shared)
        assert {str(address) for addresses in found for address in addresses} == {"127.0.0.1"}
        assert dns.asked.count("works.example.com") == 2  # A and AAAA
        await asyncio.sleep(0.2)
        assert len({n for n in dns.asked if n.startswith("hang")}) == LOOKUPS_PER_OWNER
        await names.close()
        assert len(await asyncio.gather(*hanging, return_exceptions=True)) == 20


@pytest.mark.fault("D8")
async def test_requests_with_names_of_one_owner_that_hang_are_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each holds one of the requests that a process works on, until its look-up is given up."""
    owner, other = (ids.new_uuid() for _ in "12")
    urls = url_policy.EndpointUrls(settings.read({}))
    async with dns_server() as dns:
        monkeypatch.setattr(url_policy, "NameResolver", lambda: NameResolver([dns.address]))
        checks = [
            asyncio.create_task(urls.check(f"https://hang-{n}.example.com/", owner))
            for n in range(100)
        ]
        _, waiting = await asyncio.wait(checks, timeout=url_policy.CREATION_LOOKUP_LIMIT_S / 2)
        assert len(waiting) == LOOKUPS_PER_OWNER
        with pytest.raises(FinPayError, match="not public"):
            await urls.check("https://works.example.com/", other)
        await asyncio.gather(*waiting)
        with pytest.raises(FinPayError, match="not public"):
            await urls.check("https://works.example.com/", owner)


@asynccontextmanager
async def _worker(system: System, dns: DnsServer) -> AsyncIterator[Worker]:
    """A worker in this process, with the test's DNS server."""
    database, heartbeat = Database(system.url, size=CONNECTIONS), Database(system.url, size=1)
    worker = Worker(
        database,
        heartbeat,
        settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": LOOPBACK}),
        lambda policy, timeout_s: Sender(policy, timeout_s, NameResolver([dns.address])),
    )
    running = asyncio.create_task(worker.run())
    yield worker
    worker.stop()
    worker.stop()
    await running
    await asyncio.gather(database.close(), heartbeat.close())


async def _until(holds: Callable[[], bool], limit_s: float = 20) -> None:
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.01)
