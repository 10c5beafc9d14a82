"""Which URLs and addresses a webhook may have. No connection is opened."""

from ipaddress import ip_address
from typing import Final

import pytest

from finpay import ids, settings
from finpay.errors import FinPayError
from finpay.webhooks.ssrf import ip_policy, url_policy
from finpay.webhooks.ssrf.url_policy import UrlPolicy
from tests.delivery.names import FixedNames

DEVELOPMENT: Final = UrlPolicy.of(settings.read({}))
PRODUCTION: Final = UrlPolicy(True, ports=frozenset({443, 8443}), allowed_networks=())
LOOPBACK: Final = UrlPolicy.of(
    settings.read({"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8,::1/128"})
)

REFUSED_ADDRESSES: Final = """
0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1
192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 192.175.48.1 198.18.0.1 198.19.255.255
198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
64:ff9b::808:808 64:ff9b:1::7f00:1 100::1 2001::1 2001:0:7f00:1:: 2001:2::1 2001:10::1 2001:20::1
2001:db8::1 2002:7f00:1:: 2002:808:808:: 2620:4f:8000::1 3ffe::1 3fff::1 5f00::1 fc00::1
fd00:ec2::254 fd12:3456::1 fe80::1 fec0::1 ff02::1 ff0e::1
""".split()  # noqa: SIM905  a table
PUBLIC_ADDRESSES: Final = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1
172.15.255.255 172.32.0.1 192.0.1.1 198.17.255.255 198.20.0.1 223.255.255.255
2001:200::1 2400:cb00::1 2606:4700::1111 2620:fe::fe 2a00:1450::1
""".split()  # noqa: SIM905  a table
REFUSED_URLS: Final = (
    "",
    "example.com",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "https:/example.com",
    "https:///example.com",
    "//example.com/",
    " https://example.com/",
    "https://example.com/ ",
    "https://exa mple.com/",
    "https://example.com/\r\nX: y",
    "https://example.com/\x00",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\.evil.com/",
    "https://example.com/#fragment",
    "https://0x7f.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://127.0.0.1./",
    "https://1.2.3.4.5/",
    "https://256.1.1.1/",
    "https://1.1.1.0x1/",
    "https://localhost/",
    "https://localhost./",
    "https://LOCALHOST/",
    "https://a.localhost/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://router.home.arpa/",
    "https://postgres/",
    "https://example.com./",
    "https://.example.com/",
    "https://a..example.com/",
    "https://-a.example.com/",
    "https://a-.example.com/",
    f"https://{'a' * 64}.example.com/",
    "https://exämple.com/",
    "https://ⓔxample.com/",
    "https://1。1。1。1/",
    "https://%31%32%37.0.0.1/",
    "https://[::1",
    "https://::1/",
    "https://[fe80::1%eth0]/",
    "https://[fe80::1%25eth0]/",
    "https://[v1.a]/",
    "https://[]/",
    "https://example.com:0/",
    "https://example.com:00443/",
    "https://example.com:65536/",
    "https://example.com:99999/",
    "https://example.com:443x/",
    "https://example.com:/",
    "https://example.com/" + "a" * 2_048,
)


@pytest.mark.parametrize("text", REFUSED_ADDRESSES)
def test_address_outside_the_public_networks_is_refused(text: str) -> None:
    assert not ip_policy.is_allowed(ip_address(text), ())


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_public_address_is_allowed(text: str) -> None:
    assert ip_policy.is_allowed(ip_address(text), ())


@pytest.mark.parametrize("text", ["::ffff:127.0.0.1", "0.0.0.1", "::", "10.0.0.1", "fe80::1"])
def test_allowing_loopback_allows_no_other_address(text: str) -> None:
    assert not ip_policy.is_allowed(ip_address(text), LOOPBACK.allowed_networks)


def test_allowed_network_is_allowed() -> None:
    assert ip_policy.is_allowed(ip_address("127.0.0.1"), LOOPBACK.allowed_networks)
    assert ip_policy.is_allowed(ip_address("::1"), LOOPBACK.allowed_networks)


def test_zone_of_a_link_local_address_is_ignored() -> None:
    assert not ip_policy.is_allowed(ip_policy.parse("fe80::1%eth0"), ())


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_url_that_parsers_could_read_differently_is_refused(url: str) -> None:
    with pytest.raises(url_policy.UrlRefused):
        url_policy.parse(url, DEVELOPMENT)


@pytest.mark.parametrize("url", ["https://0x7f.1/", "http://2130706433/", "http://localhost./"])
def test_odd_spelling_is_refused_whatever_the_allowed_networks(url: str) -> None:
    with pytest.raises(url_policy.UrlRefused):
        url_policy.parse(url, LOOPBACK)


@pytest.mark.contract("6.2.4")
def test_production_refuses_http() -> None:
    with pytest.raises(url_policy.UrlRefused, match="https"):
        url_policy.parse("http://example.com/", PRODUCTION)
    assert url_policy.parse("https://example.com/", PRODUCTION).tls


def test_url_is_parsed_into_its_parts() -> None:
    target = url_policy.parse("HTTPS://Example.COM:8443/a/b%20c?d=e&f", DEVELOPMENT)
    assert (target.tls, target.host, target.port) == (True, "example.com", 8443)
    assert target.path == "/a/b%20c?d=e&f"
    assert target.authority == "example.com:8443"
    assert url_policy.parse("https://example.com", DEVELOPMENT).authority == "example.com"
    assert url_policy.parse("https://example.com?a", DEVELOPMENT).path == "/?a"
    assert url_policy.parse("http://[2606:4700::1111]:80/", DEVELOPMENT).authority == (
        "[2606:4700::1111]"
    )


@pytest.mark.contract("6.2.4")
def test_one_private_address_of_several_refuses_the_name() -> None:
    addresses = [ip_address("8.8.8.8"), ip_address("10.0.0.1")]
    with pytest.raises(url_policy.AddressRefused):
        url_policy.check_addresses(addresses, 443, DEVELOPMENT)


@pytest.mark.parametrize(
    "answer", ["127.0.0.1", "::ffff:7f00:1", "fe80::1%eth0", "169.254.169.254"]
)
async def test_name_with_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    _resolve_to(monkeypatch, answer)
    with pytest.raises(FinPayError) as refused:
        await check("https://rebound.example.com/")
    assert refused.value.field_errors[0].pointer == "#/url"


async def test_name_without_an_address_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve_to(monkeypatch)
    await check("https://soon.example.com/")


@pytest.mark.parametrize("port", [22, 25, 5432, 6379, 8080])
async def test_other_port_is_refused(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    for found in ([], ["8.8.8.8"]):
        _resolve_to(monkeypatch, *found)
        with pytest.raises(FinPayError, match="port"):
            await check(f"https://example.com:{port}/")


async def test_allowed_network_may_have_any_port() -> None:
    await check("http://127.0.0.1:9000/hook", FINPAY_WEBHOOK_ALLOWED_CIDRS="127.0.0.0/8")


async def check(url: str, **given: str) -> None:
    await url_policy.EndpointUrls(settings.read(given)).check(url, ids.new_uuid())


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    monkeypatch.setattr(url_policy, "NameResolver", lambda: FixedNames(*addresses))
