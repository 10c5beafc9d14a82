"""The client's address: X-Forwarded-For is read only as far as proxies are trusted."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finpay.edge.request.client_ip import CACHED_ADDRESSES, ClientIp
from finpay.settings import Network

PEER = "203.0.113.9"


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


INSIDE = networks("10.0.0.0/8", "fd00::/8")

# trusted, peer, X-Forwarded-For, the client's address
CASES: list[tuple[tuple[Network, ...] | int, str, str | None, str]] = [
    # No proxy is trusted: the header is ignored.
    ((), PEER, None, PEER),
    ((), PEER, "1.1.1.1", PEER),
    (0, PEER, "1.1.1.1", PEER),
    # Networks: the rightmost address outside of them.
    (INSIDE, PEER, "1.1.1.1", PEER),
    (INSIDE, "10.1.1.1", None, "10.1.1.1"),
    (INSIDE, "10.1.1.1", "1.1.1.1", "1.1.1.1"),
    (INSIDE, "10.1.1.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
    (INSIDE, "10.1.1.1", "6.6.6.6, 1.1.1.1, 10.2.2.2", "1.1.1.1"),
    (INSIDE, "10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
    (INSIDE, "fd00::1", "1.1.1.1", "1.1.1.1"),
    (INSIDE, "::ffff:10.1.1.1", "1.1.1.1", "1.1.1.1"),
    # A hop that is not an address: hops before it are not trusted, and the peer's address is used.
    (INSIDE, "10.1.1.1", "1.1.1.1, garbage", "10.1.1.1"),
    (INSIDE, "10.1.1.1", "garbage, 1.1.1.1", "1.1.1.1"),
    (INSIDE, "10.1.1.1", "1.1.1.1,", "10.1.1.1"),
    # A count: that many hops from the right.
    (1, "10.1.1.1", "6.6.6.6, 1.1.1.1", "1.1.1.1"),
    (2, "10.1.1.1", "6.6.6.6, 1.1.1.1, 10.2.2.2", "1.1.1.1"),
    (2, "10.1.1.1", "1.1.1.1", "1.1.1.1"),
    (1, "10.1.1.1", None, "10.1.1.1"),
    (9, "10.1.1.1", "6.6.6.6, 1.1.1.1", "6.6.6.6"),
    # One form per client.
    (1, PEER, " 1.1.1.1:4711 ", "1.1.1.1"),
    (1, PEER, "[2001:db8:1:2:3::4]:80", "2001:db8:1:2::/64"),
    (1, PEER, "2001:DB8:1:2:ffff::", "2001:db8:1:2::/64"),
    (1, PEER, "2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"),
    (1, PEER, "::ffff:1.1.1.1", "1.1.1.1"),
    (1, PEER, "01.1.1.1", PEER),
    (1, PEER, "1.1.1", PEER),
    (1, PEER, "", PEER),
    ((), "unknown", None, "unknown"),
]


@pytest.mark.parametrize(("trusted", "peer", "forwarded", "address"), CASES)
def test_address_of_the_client(
    trusted: tuple[Network, ...] | int, peer: str, forwarded: str | None, address: str
) -> None:
    assert ClientIp(trusted).resolve(peer, forwarded) == address


@given(st.text(max_size=80), st.sampled_from([INSIDE, (), 1, 3]))
def test_any_header_resolves_to_an_address_or_unknown(
    forwarded: str, trusted: tuple[Network, ...] | int
) -> None:
    address = ClientIp(trusted).resolve("10.1.1.1", forwarded)
    if address != "unknown":
        ip_network(address)


@given(st.text(alphabet="0123456789abcdef.:, []", max_size=60))
def test_hops_that_a_client_forges_are_ignored(forged: str) -> None:
    for trusted in (INSIDE, 1):
        address = ClientIp(trusted).resolve("10.1.1.1", f"{forged}, 198.51.100.7")
        assert address == "198.51.100.7"


def test_the_cache_of_addresses_is_bounded() -> None:
    addresses = ClientIp(1)
    for number in range(CACHED_ADDRESSES + 500):
        addresses.resolve(PEER, f"10.0.{number // 256}.{number % 256}")
    assert addresses._cached.cache_info().currsize == CACHED_ADDRESSES


def test_a_header_without_a_trusted_proxy_is_not_cached() -> None:
    addresses = ClientIp(())
    for number in range(10):
        addresses.resolve(PEER, f"{number}" * 100_000)
    assert addresses._cached.cache_info().currsize == 1


def test_only_the_end_of_a_long_header_is_read() -> None:
    assert ClientIp(1).resolve("10.1.1.1", "6.6.6.6, " * 10_000 + "1.1.1.1") == "1.1.1.1"
