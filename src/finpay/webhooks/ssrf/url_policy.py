"""From the URL of an endpoint to an address that may be called, and what is refused on the way.

A URL is read by rules stricter than any browser's: what two programs could read differently
(`http://2130706433/`, `http://0x7f.1/`, `http://a@b/`, `http://localhost./`) is no URL here. It is
looked at when an endpoint is made and again at each attempt, and the name is resolved here alone:
the sender connects to the address that was checked.
"""

import asyncio
import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from finpay.errors import validation_failed
from finpay.settings import Settings
from finpay.webhooks.ssrf import ip_policy
from finpay.webhooks.ssrf.ip_policy import Address, Network

MAX_URL_LENGTH: Final = 2_048  # longer ones break receivers' own servers
MAX_ADDRESSES: Final = 32  # a name with more is no receiver of webhooks
LOOKUP_LIMIT_S: Final = 5.0  # of an attempt's time; a resolver that takes longer is down
CREATION_LOOKUP_LIMIT_S: Final = 2.0  # a person waits; a name may also be made later
# getaddrinfo can't be interrupted: names whose servers hang may hold so many threads at once.
LOOKUPS: Final = 32

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[!$-\[\]_a-z~]*)?(?P<query>\?[!$-\[\]_a-z~]*)?",
    re.ASCII | re.IGNORECASE,
)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# A name that ends so is read as an IPv4 address by some: the rule of the URL standard.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names that mean this machine or this network, whatever a resolver says of them.
_PRIVATE_NAMES: Final = ("localhost", "local", "internal", "home.arpa", "onion")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class UrlRefused(ValueError):
    """The URL may not be called. The message says why, for the owner of the endpoint."""


class AddressRefused(UrlRefused):
    """The name leads to an address that may not be called."""


class DnsLookupFailed(Exception):
    """The name leads nowhere."""


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """What the settings say about targets."""

    production: bool
    ports: frozenset[int]
    opened: tuple[Network, ...]

    @classmethod
    def of(cls, settings: Settings) -> "UrlPolicy":
        ports = frozenset(settings.webhook_ports)
        if not settings.production:
            ports |= {80}
        return cls(settings.production, ports, settings.webhook_allowed_networks)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that was taken apart. `host` is without brackets, `path` with the query."""

    tls: bool
    host: str
    port: int
    path: str
    literal: Address | None

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if isinstance(self.literal, IPv6Address) else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


async def check_url(url: str, settings: Settings) -> None:
    """Returns if an endpoint may have this URL. FinPayError (422, `#/url`) says what is wrong.

    A name that leads nowhere yet is let in: it is looked at again before each attempt.
    """
    rules = UrlPolicy.of(settings)
    try:
        target = parse(url, rules)
        async with asyncio.timeout(CREATION_LOOKUP_LIMIT_S):
            await resolve(target, rules)
    except UrlRefused as refused:
        raise validation_failed(str(refused), pointer="#/url") from None
    except (DnsLookupFailed, TimeoutError):
        if target.port not in rules.ports:
            raise validation_failed(_port_sentence(target, rules), pointer="#/url") from None


def parse(url: str, rules: UrlPolicy) -> Target:
    """The URL's parts. UrlRefused for whatever is not plainly the URL of a public server."""
    match = _URL.fullmatch(url)
    if match is None or len(url) > MAX_URL_LENGTH:
        raise UrlRefused(
            "The URL has to be like https://example.com/path: ASCII, at most 2048 characters, "
            "without user name, fragment or odd spellings."
        )
    scheme = match["scheme"].lower()
    if scheme != "https" and rules.production:
        raise UrlRefused("The URL has to begin with https://.")
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    if port > 65535:
        raise UrlRefused("A port is at most 65535.")
    host = match["host"].lower()
    literal = _literal(host)
    if literal is None:
        _check_name(host, rules)
    path = (match["path"] or "/") + (match["query"] or "")
    return Target(scheme == "https", host.strip("[]"), port, path, literal)


async def resolve(target: Target, rules: UrlPolicy) -> list[Address]:
    """Where to connect, in the resolver's order. All of it may be called, or none of it is.

    AddressRefused if one address or the port may not be called, DnsLookupFailed if there is none.
    """
    found = [target.literal] if target.literal else await _LOOKUPS.addresses(target.host)
    if not all(ip_policy.may_be_reached(address, rules.opened) for address in found):
        raise AddressRefused("The URL leads to an address that is not public.")
    if target.port not in rules.ports and not all(
        ip_policy.is_opened(address, rules.opened) for address in found
    ):
        raise AddressRefused(_port_sentence(target, rules))
    return found


def _literal(host: str) -> Address | None:
    """The address that the host spells in the one way that everybody reads alike, or None."""
    try:
        if host.startswith("["):
            return IPv6Address(host[1:-1])
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return IPv4Address(host)
    except ValueError:
        raise UrlRefused("The URL's host looks like an IP address, but is none.") from None
    return None


def _check_name(host: str, rules: UrlPolicy) -> None:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("The URL's host is not a name of the DNS; write IDNs as xn--….")
    private = len(labels) == 1 or any(
        host == name or host.endswith(f".{name}") for name in _PRIVATE_NAMES
    )
    if private and not rules.opened:
        raise UrlRefused("The URL's host is not a public name.")


def _port_sentence(target: Target, rules: UrlPolicy) -> str:
    ports = ", ".join(str(port) for port in sorted(rules.ports))
    return f"The URL's port may be {ports}; it is {target.port}."


class _Lookups:
    """Names to addresses, one lookup per name at a time: a name that hangs holds one thread."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None
        self._running: dict[str, asyncio.Future[list[Address]]] = {}

    async def addresses(self, name: str) -> list[Address]:
        running = self._running.get(name)
        if running is None or running.get_loop() is not asyncio.get_running_loop():
            if self._threads is None:
                self._threads = ThreadPoolExecutor(LOOKUPS, "lookup")
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, _look_up, name)
            self._running[name] = running
            running.add_done_callback(lambda done: self._end(name, done))
        # Whoever is cancelled leaves the lookup to the others that wait for it.
        try:
            async with asyncio.timeout(LOOKUP_LIMIT_S):
                return await asyncio.shield(running)
        except TimeoutError:
            raise DnsLookupFailed(name) from None

    def _end(self, name: str, done: "asyncio.Future[list[Address]]") -> None:
        self._running.pop(name, None)
        if not done.cancelled():
            done.exception()  # seen, even if nobody waits for it any more


def _look_up(name: str) -> list[Address]:
    """Blocks. DnsLookupFailed if the resolver knows no address."""
    try:
        answers: Sequence[tuple[object, ...]] = socket.getaddrinfo(
            name, None, type=socket.SOCK_STREAM
        )
        texts = dict.fromkeys(str(answer[4][0]) for answer in answers)  # type: ignore[index]
        return [ip_policy.parse(text) for text in list(texts)[:MAX_ADDRESSES]]
    except (OSError, ValueError, UnicodeError):
        raise DnsLookupFailed(name) from None


_LOOKUPS: Final = _Lookups()
