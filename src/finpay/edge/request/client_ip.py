"""Where a request comes from: the peer, or what trusted proxies say of it."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from finpay.settings import Network

UNKNOWN: Final = "unknown"
CACHED_ADDRESSES: Final = 10_000
MAX_FORWARDED: Final = 512  # the last ten hops; what lies before them could be anybody's words


class ClientIp:
    """Reads X-Forwarded-For only as far as proxies are trusted.

    `trusted` is a list of networks, or how many proxies stand before us.
    """

    def __init__(self, trusted: Sequence[Network] | int) -> None:
        self._trusted = trusted
        self._remembered = lru_cache(CACHED_ADDRESSES)(self._of)

    def of(self, peer: str, forwarded: str | None) -> str:
        """The rightmost address that no trusted proxy could have been told by its client.

        The peer's own where nothing is trusted, or what the proxies say is no address.
        """
        if not self._trusted or forwarded is None:
            return self._remembered(peer, None)
        address = self._remembered(peer, forwarded[-MAX_FORWARDED:])
        return self._remembered(peer, None) if address == UNKNOWN else address

    def _of(self, peer: str, forwarded: str | None) -> str:
        hops = [peer, *reversed(forwarded.split(","))] if forwarded else [peer]
        hops = [_bare(hop) for hop in hops]
        if isinstance(self._trusted, int):
            return _grouped(hops[min(self._trusted, len(hops) - 1)])
        for hop in hops:
            if not self._is_trusted(hop):
                return _grouped(hop)
        return _grouped(hops[-1])

    def _is_trusted(self, hop: str) -> bool:
        assert not isinstance(self._trusted, int)  # noqa: S101
        address = _read(hop)
        return address is not None and any(address in network for network in self._trusted)


def _bare(hop: str) -> str:
    """Without brackets and port: `[::1]:80`, `192.0.2.1:80`."""
    text = hop.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _grouped(hop: str) -> str:
    """One spelling per client: an IPv6 client owns its whole /64."""
    address = _read(hop)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), 64), strict=False))
    return UNKNOWN if address is None else str(address)


def _read(hop: str) -> IPv4Address | IPv6Address | None:
    """The address; as IPv4 when it is one within IPv6, which is how dual-stack sockets tell it."""
    try:
        address = ip_address(hop)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
