"""One owner's names and receivers that hang do not delay other owners' deliveries."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import pytest

from finpay import ids, settings
from finpay.errors import FinPayError
from finpay.webhooks import endpoints
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf import url_policy
from finpay.webhooks.ssrf.name_resolver import LOOKUPS_PER_OWNER, NameResolver
from finpay.webhooks.worker import MAX_PER_OWNER
from tests.delivery.fixtures import System
from tests.delivery.names import DnsServer, dns_server
from tests.delivery.receiver import HANG, Receiver, receiving
from tests.delivery.worker_in_process import until_async, worker_in_process

EVENTS: Final = 20  # for 16 endpoints each: more deliveries than an owner's share
MAX_DELAY_S: Final = 1.0


@pytest.mark.fault("D3")
async def test_hanging_names_of_two_owners_do_not_delay_a_third(
    system: System, receiver: Receiver
) -> None:
    async with dns_server() as dns, worker_in_process(system, _sender(dns)) as worker:
        for owner in range(2):
            holder = await system.bank.open()
            for n in range(endpoints.MAX_PER_USER):
                url = f"http://hang-{n}.owner-{owner}.example.com:{receiver.port}/"
                endpoint = await system.add_endpoint(url, holder=holder)
            await system.add_many_events(endpoint, EVENTS)
        third = await system.add_endpoint(f"http://works.example.com:{receiver.port}/")
        worker.wake()
        await until_async(
            lambda: len({n for n in dns.asked if n.startswith("hang")}) > LOOKUPS_PER_OWNER
        )
        for _ in range(3):
            before = len(receiver.requests)
            await system.add_events(third, 1)
            worker.wake()
            started_s = time.monotonic()
            await until_async(lambda: len(receiver.requests) > before)  # noqa: B023
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
        await until_async(lambda: len(receiver.requests) == 1)
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


def _sender(dns: DnsServer) -> Callable[[url_policy.UrlPolicy, float], Sender]:
    """Senders that look names up at the test's server."""
    return lambda policy, timeout_s: Sender(policy, timeout_s, NameResolver([dns.address]))
