"""Forty targets that a stranger would like us to call: not one connection is opened.

Each goes through the sender as at an attempt, past the check at creation, as if its name had
changed its mind since.
"""

import asyncio
import socket
from collections.abc import Iterator
from typing import Any, Final

import pytest

from finpay import ids, settings, signing
from finpay.webhooks.sender import Message, Sender
from finpay.webhooks.ssrf.url_policy import UrlPolicy
from tests.delivery.fixtures import Scene
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
# Names whose resolver answers with something inside.
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
    """Every connection that anything in this process begins."""
    begun: list[Any] = []
    loop = asyncio.get_event_loop_policy().new_event_loop()
    plain = type(loop).create_connection
    loop.close()

    async def counted(self: Any, *args: Any, **more: Any) -> Any:
        begun.append(args)
        return await plain(self, *args, **more)

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", counted)
    return begun


@pytest.mark.contract("6.2.4")
@pytest.mark.parametrize("production", [False, True])
async def test_hostile_literals(canary: Receiver, opened: list[Any], *, production: bool) -> None:
    for url in LITERALS:
        attempt = await _send(url.format(port=canary.port), _rules(production=production))
        assert attempt.error in ("url_refused", "address_refused"), url
    assert not opened
    assert not canary.connections


async def test_hostile_names(
    canary: Receiver, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in NAMES:
        for answers in ([address], ["8.8.8.8", address]):
            _resolve_to(monkeypatch, answers)
            attempt = await _send("http://rebound.example.com/", _rules())
            assert attempt.error == "address_refused", address
    assert not opened
    assert not canary.connections


async def test_the_canary_would_sing(canary: Receiver, opened: list[Any]) -> None:
    """The two tests above can fail."""
    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"})
    attempt = await _send(canary.url, UrlPolicy.of(read))
    assert attempt.error is None
    assert len(opened) == canary.connections == 1


@pytest.mark.contract("6.2.4")
async def test_the_name_is_asked_once(
    canary: Receiver, opened: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that changes its answer between the check and the connection changes nothing."""
    asked = _resolve_to(monkeypatch, ["127.0.0.1"])
    read = settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.1/32"})
    attempt = await _send(f"http://rebound.example.com:{canary.port}/", UrlPolicy.of(read))
    assert attempt.error is None
    assert asked == ["rebound.example.com"]
    assert [args[1] for args in opened] == ["127.0.0.1"]
    assert canary.requests[0].headers["host"] == f"rebound.example.com:{canary.port}"


async def test_a_worker_refuses_them_too(scene: Scene, canary: Receiver) -> None:
    """As rows that were there before the rules, with nothing opened."""
    for url in LITERALS:
        hooked = await scene.hook(url.format(port=canary.port))
        await scene.events(hooked, 1)
    scene.drain(FINPAY_WEBHOOK_ALLOWED_CIDRS="10.0.0.0/8")
    assert await scene.statuses() == {"waiting": len(LITERALS)}
    rows = await scene.bank.app.fetch("SELECT DISTINCT error FROM webhooks.attempts")
    assert {row["error"] for row in rows} <= {"url_refused", "address_refused", "dns_failed"}
    assert not canary.connections


def _rules(*, production: bool = False) -> UrlPolicy:
    return UrlPolicy(production=production, ports=frozenset(range(1, 65536)), opened=())


async def _send(url: str, rules: UrlPolicy) -> Any:
    sender = Sender(rules, timeout_s=5)
    try:
        return await sender.send(
            Message(ids.new_uuid(), url, "evt_1", b"{}", [signing.new_secret()])
        )
    finally:
        sender.close()


def _resolve_to(monkeypatch: pytest.MonkeyPatch, answers: list[str]) -> list[str]:
    """Returns the names that were asked for, as they are."""
    asked: list[str] = []

    def getaddrinfo(name: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 0)) for answer in answers]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked
