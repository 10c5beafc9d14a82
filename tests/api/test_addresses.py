"""The client's address: the peer's, or the one that trusted proxies report."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.api.conftest import Strict
from tests.api.rate_limit_headers import parse_report
from tests.api_process import Api, User, running_api

CLIENT: Final = "198.51.100.7"
LIMITS: Final = {
    "FINPAY_RATE_LIMIT_AUTH": "90000/600",
    "FINPAY_RATE_LIMIT_TRANSACTION": "30/60",
}


def left(api: Api, forwarded: str | None) -> int:
    """What is left for the address after an invalid login, which is counted."""
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    answer = api.client().request("POST", "/api/v1/auth/login", json={}, headers=headers)
    assert answer.status in {422, 429}
    return parse_report(answer)["auth_address"].left


def assert_same(api: Api, one: str | None, other: str | None) -> None:
    first = left(api, one)
    assert left(api, other) == first - 1, (one, other)


def assert_apart(api: Api, one: str | None, other: str | None) -> None:
    first, second = left(api, one), left(api, other)
    assert left(api, one) == first - 1
    assert left(api, other) == second - 1


class TestOneTrustedProxy:
    """FINPAY_TRUSTED_PROXIES=1: the rightmost entry is the address that the proxy saw."""

    @pytest.mark.contract("1.7.6")
    def test_each_client_of_the_proxy_is_counted_separately(self, strict: Strict) -> None:
        api = strict.api
        assert (left(api, "198.18.250.1"), left(api, "198.18.250.2")) == (3, 3)
        assert left(api, "198.18.250.1") == 2

    def test_entries_that_a_client_forges_are_ignored(self, strict: Strict) -> None:
        spoofs = ["192.0.2.1, ", "127.0.0.1, 10.0.0.1, ", "garbage, ", ", "]
        taken = [left(strict.api, f"{spoof}198.18.250.3") for spoof in spoofs]
        assert taken == [3, 2, 1, 0]

    def test_a_port_is_removed_from_an_address(self, strict: Strict) -> None:
        taken = [left(strict.api, f"198.18.250.4{port}") for port in ("", ":1024", ":65535")]
        assert taken == [3, 2, 1]

    @pytest.mark.contract("1.7.6")
    def test_an_ipv6_client_is_counted_by_its_64(self, strict: Strict) -> None:
        one_network = ["2001:db8:1:2::1", "2001:DB8:1:2:ffff:ffff:ffff:ffff", "[2001:db8:1:2::9]:1"]
        assert [left(strict.api, each) for each in one_network] == [3, 2, 1]
        assert left(strict.api, "2001:db8:1:3::1") == 3

    def test_an_ipv4_mapped_ipv6_address_is_the_ipv4_address(self, strict: Strict) -> None:
        """Otherwise a client would have two limits, and all such clients would share one /64."""
        assert left(strict.api, "198.18.250.5") == 3
        assert left(strict.api, "::ffff:198.18.250.5") == 2
        assert left(strict.api, "::ffff:198.18.250.6") == 3

    def test_two_headers_are_one_list(self, strict: Strict) -> None:
        assert left(strict.api, "198.18.250.7") == 3
        strict.api.client()
        answer = strict.api.connections[-1].post(
            f"{strict.api.url}/api/v1/auth/login",
            json={},
            headers=[("X-Forwarded-For", "192.0.2.2"), ("X-Forwarded-For", "198.18.250.7")],
        )
        assert '"auth_address";r=2' in answer.headers["RateLimit"]


@pytest.fixture(scope="module")
def proxied(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    proxies = "127.0.0.0/8, 10.0.0.0/8, fd00::/8"
    with running_api(
        tmp_path_factory.mktemp("cidrs"),
        database_url,
        redis_url,
        FINPAY_TRUSTED_PROXIES=proxies,
        **LIMITS,
    ) as running:
        yield running


class TestProxiesByNetwork:
    """FINPAY_TRUSTED_PROXIES=CIDRs: the rightmost entry outside of these networks."""

    @pytest.mark.contract("1.7.6")
    @pytest.mark.parametrize(
        "chain",
        [
            f"{CLIENT}, 10.0.0.1",
            f"{CLIENT}, 10.1.2.3, 10.255.255.255",
            f"{CLIENT}, fd00::1",
            f"{CLIENT}, ::ffff:10.0.0.1",
            f"{CLIENT}:5000,10.0.0.1:80",
            f"192.0.2.66, {CLIENT}, 10.0.0.1",
            f"10.0.0.9, {CLIENT}, 10.0.0.1",
            f"garbage, {CLIENT}",
        ],
    )
    def test_the_rightmost_untrusted_address_is_the_clients(self, proxied: Api, chain: str) -> None:
        assert_same(proxied, CLIENT, chain)

    @pytest.mark.parametrize("chain", ["11.0.0.1", f"{CLIENT}, 11.0.0.1", "10.0.0.1", "fe00::1"])
    def test_other_addresses_are_counted_separately(self, proxied: Api, chain: str) -> None:
        assert_apart(proxied, CLIENT, chain)

    def test_without_the_header_the_peer_is_the_client(self, proxied: Api) -> None:
        assert_same(proxied, None, "127.0.0.1")
        assert_apart(proxied, None, CLIENT)

    @pytest.mark.contract("1.7.4")
    def test_a_tier_that_is_off_appears_in_neither_header(self, proxied: Api) -> None:
        login = proxied.client().request(
            "POST", "/api/v1/auth/login", json={"email": "a@b.example"}
        )
        assert list(parse_report(login)) == ["auth_address"]
        alice = proxied.user(10)
        assert list(parse_report(alice.send(alice, 1, "off"))) == ["transaction"]
        assert not {"RateLimit", "RateLimit-Policy"} & {*alice.get("/auth/me").headers}


@pytest.mark.contract("1.7.6")
def test_without_trusted_proxies_the_header_is_ignored(serve: Callable[..., Api]) -> None:
    api = serve(**LIMITS)
    assert_same(api, None, CLIENT)
    assert_same(api, CLIENT, "2001:db8::1, 127.0.0.1")


def test_with_all_limits_off_there_are_no_limit_headers(api: Api) -> None:
    alice: User = api.user(10)
    answers: list[Any] = [alice.send(alice, 1, "off"), alice.get("/accounts")]
    answers.append(alice.client.request("POST", "/api/v1/auth/login", json={}))
    for answer in answers:
        assert not {"RateLimit", "RateLimit-Policy"} & {*answer.headers}
