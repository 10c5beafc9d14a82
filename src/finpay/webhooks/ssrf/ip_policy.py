"""Which addresses a webhook may be sent to: public ones, and networks that the settings allow.

The networks are listed here because Python's `is_global` misses multicast and some forms of IPv6
that embed an IPv4 address, and differs between releases.
Sources: the IANA special-purpose address registries, RFC 6890, the clouds' manuals.
"""

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

REFUSED_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host; Linux connects 0.0.0.0 to loopback
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; some clouds' metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's own services, public by form
        "169.254.0.0/16",  # link-local: most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
# Global unicast. Everything outside is refused: loopback, unspecified, IPv4-mapped
# (::ffff:0:0/96), compatible (::/96), NAT64 (64:ff9b::/96, 64:ff9b:1::/48), unique local (fc00::/7,
# with AWS' metadata fd00:ec2::254), link-local, site-local, multicast.
PUBLIC_V6: Final = IPv6Network("2000::/3")
REFUSED_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # the old 6bone
        "3fff::/20",  # documentation
    )
)


def parse(text: str) -> Address:
    """An address as a resolver gives it. The zone is dropped: the networks below ignore it."""
    return ip_address(text.partition("%")[0])


def is_allowed(address: Address, allowed_networks: Sequence[Network]) -> bool:
    """Whether a webhook may be sent to the address."""
    return is_within(address, allowed_networks) or is_public(address)


def is_within(address: Address, networks: Sequence[Network]) -> bool:
    """An IPv4-mapped IPv6 address is not within an IPv4 network."""
    return any(address in network for network in networks)


def is_public(address: Address) -> bool:
    """Whether the address is in no refused network; of IPv6, whether it is a global one too."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in REFUSED_V4)
    return address in PUBLIC_V6 and not any(address in network for network in REFUSED_V6)
