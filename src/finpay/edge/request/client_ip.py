"""The address of a client: the peer's, or the one that trusted proxies put in X-Forwarded-For."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from finpay.settings import Network

UNKNOWN: Final = "unknown"
CACHED_ADDRESSES: Final = 10_000
MAX_FORWARDED: Final = 512  # last bytes read: about ten hops; those before may be the client's own


class ClientIp:
    """Reads X-Forwarded-For from its end, as far as the proxies are trusted.

    `trusted` is a list of the proxies' networks, or the number of proxies.
    """

    def __init__(self, trusted: Sequence[Network] | int) -> None:
        self._trusted = trusted
        self._cached = lru_cache(CACHED_ADDRESSES)(self._resolve)

    def resolve(self, peer: str, forwarded: str | None) -> str:
        """The rightmost address that is not a trusted proxy's; the peer's if that is not valid."""
        if not self._trusted or forwarded is None:
            return self._cached(peer, None)
        address = self._cached(peer, forwarded[-MAX_FORWARDED:])
        return self._cached(peer, None) if address == UNKNOWN else address

    def _resolve(self, peer: str, forwarded: str | None) -> str:
        hops = [peer, *reversed(forwarded.split(","))] if forwarded else [peer]
        hops = [_strip_port(hop) for hop in hops]
        if isinstance(self._trusted, int):
            return _normalise(hops[min(self._trusted, len(hops) - 1)])
        for hop in hops:
            if not self._is_trusted(hop):
                return _normalise(hop)
        return _normalise(hops[-1])

    def _is_trusted(self, hop: str) -> bool:
        assert not isinstance(self._trusted, int)  # noqa: S101
        address = _parse(hop)
        return address is not None and any(address in network for network in self._trusted)


def _strip_port(hop: str) -> str:
    """Without brackets and port: `[::1]:80`, `192.0.2.1:80`."""
    text = hop.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _normalise(hop: str) -> str:
    """One form per client: an IPv6 client is its /64, because it can use every address in it."""
    address = _parse(hop)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), 64), strict=False))
    return UNKNOWN if address is None else str(address)


def _parse(hop: str) -> IPv4Address | IPv6Address | None:
    """The address; a mapped IPv4 address, as dual-stack sockets report it, as IPv4."""
    try:
        address = ip_address(hop)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
