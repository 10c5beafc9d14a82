"""Rate limits of requests without a token: logins by address and e-mail, large bodies, pages.

The limits of `strict`: 100 in 900 s, 4 in 600 s for logins of an address, 20 of an e-mail.
"""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.assertions import problem
from tests.api.conftest import Strict
from tests.api.rate_limit_headers import left_of, tiers_of
from tests.api_process import PASSWORD


@pytest.mark.contract("1.7.1")
def test_logins_are_limited_by_address(strict: Strict, address: str) -> None:
    """Even a correct password is refused: the limit is checked before the password."""
    bob = strict.made_by.user()
    ask = strict.from_address(address)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ask("/auth/login", email="x"), range(8)))
    assert sorted(answer.status for answer in answers) == [422] * 4 + [429] * 4
    refused = ask("/auth/login", email=bob.email, password=PASSWORD)
    assert problem(refused, 429, "rate_limited")["policy"] == "auth_address"
    assert left_of(refused) == {"global": 96, "auth_address": 0, "auth_email": 20}
    register = ask("/auth/register", email=f"{address}@example.com", password=PASSWORD)
    assert register.status == 429
    assert ask("/auth/refresh", refresh_token="x").status == 429


@pytest.mark.contract("1.7.1")
def test_logins_are_limited_by_email_over_many_addresses(strict: Strict) -> None:
    """Five times the limit of one address, counted over all forms of the e-mail address."""
    bob = strict.made_by.user()
    spellings = [bob.email, bob.email.upper(), bob.email.replace("u", "ｕ")]
    for number in range(20):
        ask = strict.from_address(f"203.0.113.{number}")
        email = spellings[number % len(spellings)]
        answer = ask("/auth/login", email=email, password="wrong")
        assert (answer.status, left_of(answer)["auth_email"]) == (401, 19 - number)
    ask = strict.from_address("203.0.113.99")
    refused = ask("/auth/login", email=bob.email, password=PASSWORD)
    assert problem(refused, 429, "rate_limited")["policy"] == "auth_email"
    assert left_of(refused) == {"global": 100, "auth_address": 4, "auth_email": 0}


@pytest.mark.contract("1.7.1")
def test_a_login_resets_the_limit_of_its_email_only(strict: Strict, address: str) -> None:
    bob = strict.made_by.user()
    ask = strict.from_address(address)
    assert left_of(ask("/auth/login", email=bob.email, password="wrong"))["auth_email"] == 19
    assert ask("/auth/login", email=bob.email, password=PASSWORD).status == 200
    after = ask("/auth/login", email=bob.email, password="wrong")
    assert left_of(after) == {"global": 97, "auth_address": 1, "auth_email": 19}


@pytest.mark.fault("D5")
@pytest.mark.contract("1.7.1")
def test_failed_logins_from_other_addresses_do_not_lock_a_user_out(strict: Strict) -> None:
    """An address from which the user logged in before is exempt; a new address is not."""
    bob = strict.made_by.user()
    owner = strict.from_address("198.51.100.1")
    assert owner("/auth/login", email=bob.email, password=PASSWORD).status == 200
    for number in range(20):
        ask = strict.from_address(f"203.0.113.{number}")
        assert ask("/auth/login", email=bob.email, password="wrong").status == 401
    refused = strict.from_address("203.0.113.99")("/auth/login", email=bob.email, password=PASSWORD)
    assert problem(refused, 429, "rate_limited")["policy"] == "auth_email"
    assert owner("/auth/login", email=bob.email, password=PASSWORD).status == 200


@pytest.mark.fault("D7")
def test_over_the_limit_a_large_body_is_refused_before_it_is_read(
    strict: Strict, address: str
) -> None:
    ask = strict.from_address(address)
    for _ in range(4):
        ask("/auth/login", email="x")
    head = (
        f"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\n"
        "Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
    )
    port = int(strict.api.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 429 ")


@pytest.mark.fault("D6")
def test_pages_are_limited_by_address_in_a_tier_of_their_own(strict: Strict, address: str) -> None:
    pages = [strict.page(path, address) for path in ("/docs", "/openapi.json", "/docs/errors")]
    assert [left_of(page) for page in pages] == [{"pages": left} for left in (599, 598, 597)]
    assert tiers_of(pages[0]) == {"pages": (600, 900)}
    login = strict.from_address(address)("/auth/login", email="x")
    assert left_of(login)["global"] == 99
