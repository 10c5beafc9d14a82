"""SSRF: forty hostile URLs and names, and no connection is opened to any of them.

Each goes through the sender, past the check at creation, as if its DNS had changed since.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest

from finpay import ids, settings, signing
from finpay.webhooks.messages import Message
from finpay.webhooks.sender import Sender
from finpay.webhooks.ssrf.name_resolver import NameResolver
from finpay.webhooks.ssrf.url_policy import UrlPolicy
from tests.delivery.fixtures import System
from tests.delivery.names import FixedNames
from tests.delivery.receiver import Receiver, receiving

# {port} is where a canary listens on loopback.
LITERALS: Final = (
    "http://127.0.0.1:{port}/",
    "http://127.0.0.2:{port}/",
    "http://127.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://0x7f000001:{port}/",
    "http://2130706433:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://localhost:{port}/",
    "http://localhost.:{port}/",
    "http://LOCALHOST:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://user@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://127。0。0。1:{port}/",
    "http://[::1%25lo]:{port}/",
)
# Addresses that a resolver could give for a public name.
NAMES: Final = (
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "fd00:ec2::254",
    "fe80::1%lo",
    "fec0::1",
    "224.0.0.1",
    "255.255.255.255",
)


@pytest.fixture
def canary() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The address of every connection that this process begins."""
    begun: list[Any] = []
    loop = asyncio.get_event_loop_policy().new_event_loop()
    plain = type(loop).sock_connect
    loop.close()

    async def recorded(self: Any, sock: Any, address: Any) -> None:
        begun.append(address)
        await plain(self, sock, address)

    monkeypatch.setattr(type(loop), "sock_connect", recorded)
    return begun


@pytest.mark.contract("6.2.4")
@pytest.mark.parametrize("production", [False, True])
async def test_hostile_url_is_refused_without_a_connection(
    canary: Receiver, opened: list[Any], *, production: bool
) -> None:
    for url in LITERALS:
        attempt = await _send(url.format(port=canary.port), _policy(production=production))
        assert attempt.error in ("url_refused", "address_refused"), url
    assert not opened
    assert not canary.connections


async def test_name_with_a_private_address_is_refused_without_a_connection(
    canary: Receiver, opened: list[Any]
) -> None:
    for address in NAMES:
        for answers in ([address], ["8.8.8.8", address]):
            names = FixedNames(*answers)
            attempt = await _send("http://rebound.example.com/", _policy(), names)
            assert attempt.error == "address_refused", address
    assert not opened
    assert not canary.connections


async def test_allowed_url_reaches_the_canary(canary: Receiver, opened: list[Any]) -> None:
    """So the two tests above can fail."""
    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"})
    attempt = await _send(canary.url, UrlPolicy.of(read))
    assert attempt.error is None
    assert len(opened) == canary.connections == 1


@pytest.mark.contract("6.2.4")
async def test_attempt_connects_to_the_checked_address_after_one_lookup(
    canary: Receiver, opened: list[Any]
) -> None:
    """DNS rebinding: a second look-up could give another address than the one that was checked."""
    names = FixedNames("127.0.0.1")
    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.1/32"})
    attempt = await _send(f"http://rebound.example.com:{canary.port}/", UrlPolicy.of(read), names)
    assert attempt.error is None
    assert names.asked == ["rebound.example.com"]
    assert opened == [("127.0.0.1", canary.port)]
    assert canary.requests[0].headers["host"] == f"rebound.example.com:{canary.port}"


async def test_worker_refuses_hostile_urls_that_are_stored(
    system: System, canary: Receiver
) -> None:
    """Stored before a change of the settings, for example."""
    for url in LITERALS:
        endpoint = await system.add_endpoint(url.format(port=canary.port))
        await system.add_events(endpoint, 1)
    system.deliver_due(FINPAY_WEBHOOK_ALLOWED_CIDRS="10.0.0.0/8")
    assert await system.statuses() == {"scheduled": len(LITERALS)}
    rows = await system.bank.app.fetch("SELECT DISTINCT error FROM webhooks.attempts")
    assert {row["error"] for row in rows} <= {"url_refused", "address_refused", "dns_failed"}
    assert not canary.connections


def _policy(*, production: bool = False) -> UrlPolicy:
    return UrlPolicy(production, ports=frozenset(range(1, 65536)), allowed_networks=())


async def _send(url: str, policy: UrlPolicy, names: NameResolver | None = None) -> Any:
    sender = Sender(policy, 5, names)
    try:
        return await sender.send(
            Message(ids.new_uuid(), ids.new_uuid(), url, "evt_1", b"{}", [signing.new_secret()])
        )
    finally:
        await sender.close()
