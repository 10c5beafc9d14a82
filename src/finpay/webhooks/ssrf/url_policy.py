"""Which URLs a webhook endpoint may have, and which addresses its attempts may connect to.

URLs are parsed by stricter rules than a browser's: a spelling that two parsers could read
differently (`http://2130706433/`, `http://0x7f.1/`, `http://a@b/`, `http://localhost./`) is
refused. A URL is checked when it is set and at each attempt, its addresses at each connection.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final
from uuid import UUID

from finpay.concurrency.shares import Shares
from finpay.errors import validation_failed
from finpay.settings import Settings
from finpay.webhooks.ssrf import ip_policy
from finpay.webhooks.ssrf.ip_policy import Address, Network
from finpay.webhooks.ssrf.name_resolver import (
    LOOKUPS_PER_OWNER,
    DnsLookupFailed,
    NameResolver,
)

MAX_URL_LENGTH: Final = 2_048  # common servers refuse longer ones
CREATION_LOOKUP_LIMIT_S: Final = 2.0  # a client waits; an unknown name is accepted anyway

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/[!$-\[\]_a-z~]*)?(?P<query>\?[!$-\[\]_a-z~]*)?",
    re.ASCII | re.IGNORECASE,
)
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
# The WHATWG URL standard reads a host whose last label matches as an IPv4 address.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names of this machine or this network, whatever a resolver answers for them.
_PRIVATE_NAMES: Final = ("localhost", "local", "internal", "home.arpa", "onion")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class UrlRefused(ValueError):
    """The URL may not be called. The message says why, for the owner of the endpoint."""


class AddressRefused(UrlRefused):
    """An address of the host may not be connected to."""


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """The settings that limit URLs and addresses."""

    production: bool
    ports: frozenset[int]
    allowed_networks: tuple[Network, ...]

    @classmethod
    def of(cls, settings: Settings) -> "UrlPolicy":
        """The policy of these settings; development also allows port 80."""
        ports = frozenset(settings.webhook_ports)
        if not settings.production:
            ports |= {80}
        return cls(settings.production, ports, settings.webhook_allowed_networks)


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed URL. `host` is without brackets, `path` with the query, `literal` an IP address."""

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


class EndpointUrls:
    """Checks the URLs that endpoints are given. One per process.

    An owner has LOOKUPS_PER_OWNER look-ups at a time, so that names whose servers never answer
    hold no more requests than that.
    """

    def __init__(self, settings: Settings) -> None:
        self._policy = UrlPolicy.of(settings)
        self._lookups = Shares(None, LOOKUPS_PER_OWNER)

    async def check(self, url: str, owner_id: UUID) -> None:
        """Returns if an endpoint may have this URL. FinPayError (422, `#/url`) says why not.

        A host name without an address is accepted, and one beyond the owner's look-ups: the
        addresses are checked at each attempt.
        """
        policy = self._policy
        try:
            target = parse(url, policy)
            check_addresses(await self._addresses(target, owner_id), target.port, policy)
        except UrlRefused as refused:
            raise validation_failed(str(refused), pointer="#/url") from None
        except (DnsLookupFailed, TimeoutError):
            if target.port not in policy.ports:
                detail = _port_detail(target.port, policy)
                raise validation_failed(detail, pointer="#/url") from None

    async def _addresses(self, target: Target, owner_id: UUID) -> list[Address]:
        if target.literal is not None:
            return [target.literal]
        with self._lookups.share(owner_id) as may_look_up:
            if not may_look_up:
                raise DnsLookupFailed(target.host)
            names = NameResolver()
            try:
                async with asyncio.timeout(CREATION_LOOKUP_LIMIT_S):
                    return await names.addresses(target.host, owner_id)
            finally:
                await names.close()


def parse(url: str, policy: UrlPolicy) -> Target:
    """The URL's parts. UrlRefused unless it is plainly the URL of a public server."""
    match = _URL.fullmatch(url)
    if match is None or len(url) > MAX_URL_LENGTH:
        raise UrlRefused(
            "The URL has to be like https://example.com/path: ASCII, at most 2048 characters, "
            "without user name, fragment, spaces and quotes."
        )
    scheme = match["scheme"].lower()
    if scheme != "https" and policy.production:
        raise UrlRefused("The URL has to begin with https://.")
    port = int(match["port"] or _DEFAULT_PORTS[scheme])
    if port > 65535:
        raise UrlRefused("A port is at most 65535.")
    host = match["host"].lower()
    literal = _literal(host)
    if literal is None:
        _check_name(host, policy)
    path = (match["path"] or "/") + (match["query"] or "")
    return Target(scheme == "https", host.strip("[]"), port, path, literal)


def check_addresses(addresses: Sequence[Address], port: int, policy: UrlPolicy) -> None:
    """AddressRefused if one of the addresses, or this port of it, may not be connected to."""
    networks = policy.allowed_networks
    if not all(ip_policy.is_allowed(address, networks) for address in addresses):
        raise AddressRefused("The URL leads to an address that is not public.")
    if port not in policy.ports and not all(
        ip_policy.is_within(address, networks) for address in addresses
    ):
        raise AddressRefused(_port_detail(port, policy))


def _literal(host: str) -> Address | None:
    """The address that the host spells in canonical form, or None for a name."""
    try:
        if host.startswith("["):
            return IPv6Address(host[1:-1])
        if _NUMBER.fullmatch(host.rpartition(".")[2]):
            return IPv4Address(host)
    except ValueError:
        raise UrlRefused("The URL's host looks like an IP address but is not one.") from None
    return None


def _check_name(host: str, policy: UrlPolicy) -> None:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("The URL's host is not a name of the DNS; write IDNs as xn--….")
    private = len(labels) == 1 or any(
        host == name or host.endswith(f".{name}") for name in _PRIVATE_NAMES
    )
    if private and not policy.allowed_networks:
        raise UrlRefused("The URL's host is not a public name.")


def _port_detail(port: int, policy: UrlPolicy) -> str:
    ports = ", ".join(str(each) for each in sorted(policy.ports))
    return f"The URL's port may be {ports}; it is {port}."
