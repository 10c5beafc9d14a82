"""Rate limits: the tiers of each route, what is counted, refusals, exact counts.

The limits of `strict`: 100 in 900 s, 20 in 60 s for money, 4 in 600 s for logins of an address.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psutil
import pytest

from finpay import ids
from tests.api.assertions import UNKNOWN_ACCOUNT, post, problem
from tests.api.conftest import Strict
from tests.api.rate_limit_headers import left_of, parse_report, tiers_of
from tests.api_process import PASSWORD, User
from tests.faults.api_probes import locked

GLOBAL: Final = (100, 900)
TRANSACTION: Final = (20, 60)
ADDRESS: Final = (4, 600)
EMAIL: Final = (20, 600)


def spend(user: User) -> dict[str, int]:
    """What is left for this user after an invalid money POST, which is only counted."""
    return left_of(post(user, b"{}", X_Idempotency_Key="spend"))


@pytest.fixture(scope="module")
def bob(strict: Strict) -> User:
    return strict.made_by.user()


@pytest.mark.contract("1.7.1")
def test_each_route_reports_its_tiers(strict: Strict, bob: User, address: str) -> None:
    alice, ask = strict.user(10), strict.from_address(address)
    login = ask("/auth/login", email=bob.email, password=PASSWORD)
    email = f"new-{address}@example.com"
    register = ask("/auth/register", email=email, password=PASSWORD)
    assert (login.status, register.status) == (200, 201)
    assert tiers_of(login) == {"global": GLOBAL, "auth_address": ADDRESS, "auth_email": EMAIL}
    assert tiers_of(register) == {"global": GLOBAL, "auth_address": ADDRESS}
    assert tiers_of(ask("/auth/refresh", refresh_token="x")) == tiers_of(register)
    sent = alice.send(bob, 1, "tiers")
    assert sent.status == 201
    assert tiers_of(sent) == {"global": GLOBAL, "transaction": TRANSACTION}
    assert left_of(sent) == {"global": 99, "transaction": 19}
    for path in ("/accounts", "/accounts/entries", "/transactions", "/auth/me"):
        assert tiers_of(alice.get(path)) == {"global": GLOBAL}
    assert tiers_of(alice.client.request("POST", "/api/v1/auth/logout")) == {"global": GLOBAL}


TRANSFER: Final = '{"receiver_id":"RECEIVER","amount":1}'
NOTHING: Final = TRANSFER.replace("RECEIVER", UNKNOWN_ACCOUNT)
COUNTED: Final[list[tuple[str, int, str, dict[str, str]]]] = [
    ("a transfer", 201, TRANSFER, {"X_Idempotency_Key": "a"}),
    ("its replay", 201, TRANSFER, {"X_Idempotency_Key": "a"}),
    ("its key again", 422, NOTHING, {"X_Idempotency_Key": "a"}),
    ("lack of funds", 402, TRANSFER.replace("1", "10000"), {"X_Idempotency_Key": "b"}),
    ("the replay of a refusal", 402, TRANSFER.replace("1", "10000"), {"X_Idempotency_Key": "b"}),
    ("an unknown receiver", 404, NOTHING, {"X_Idempotency_Key": "c"}),
    ("no key", 400, TRANSFER, {}),
    ("no JSON", 400, "{", {"X_Idempotency_Key": "d"}),
    ("not valid", 422, "{}", {"X_Idempotency_Key": "d"}),
    ("not called JSON", 415, TRANSFER, {"Content_Type": "text/plain"}),
    ("too large", 413, " " * 65_537, {"X_Idempotency_Key": "d"}),
]


@pytest.mark.contract("1.7.3")
def test_a_money_post_counts_once_in_both_tiers_whatever_its_answer(
    strict: Strict, bob: User
) -> None:
    alice = strict.user(100)
    left = spend(alice)
    for name, status, body, headers in COUNTED:
        answer = post(alice, body.replace("RECEIVER", bob.account_id).encode(), **headers)
        assert answer.status == status, (name, answer.body)
        left = {tier: before - 1 for tier, before in left.items()}
        assert left_of(answer) == left, name
    assert spend(alice) == {tier: before - 1 for tier, before in left.items()}


def test_a_read_counts_once_whatever_its_answer(strict: Strict) -> None:
    alice = strict.user()
    left = 100
    for path, status in {
        "/auth/me": 200,
        "/accounts": 200,
        "/accounts/": 200,  # the same, from the cache
        "/transactions?limit=0": 422,
        "/transactions?cursor=x": 400,
        "/transactions/txn_00000000000000000000000000": 404,
        "/transactions/nonsense": 404,
    }.items():
        answer = alice.get(path)
        left -= 1
        assert (answer.status, left_of(answer)) == (status, {"global": left})
    answer = alice.client.request("HEAD", "/api/v1/accounts")
    assert left_of(answer) == {"global": left - 1}


@pytest.mark.contract("1.7.3")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("POST", "/api/v1/transactions/", 401),
        ("GET", "/api/v1//accounts", 404),
        ("DELETE", "/api/v1/accounts", 405),
        ("OPTIONS", "/api/v1/accounts", 204),
        ("GET", "/api/v1/accounts", 401),
        ("GET", "/api/v1/health", 200),
        ("GET", "/readyz", 200),
        ("GET", "/livez", 200),
    ],
)
def test_uncounted_requests_have_no_limit_headers(
    strict: Strict, address: str, method: str, path: str, status: int
) -> None:
    """They count neither for a user (the token is unread or invalid) nor for the address."""
    alice = strict.user()
    token = "no token" if status == 401 else alice.token
    headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
    answer = strict.anonymous_client().request(method, path, headers=headers)
    assert answer.status == status
    assert not {"RateLimit", "RateLimit-Policy"} & {*answer.headers}
    assert left_of(alice.get("/auth/me")) == {"global": 99}
    assert left_of(strict.from_address(address)("/auth/refresh"))["global"] == 99


def test_anonymous_requests_are_counted_for_their_address(strict: Strict, address: str) -> None:
    ask = strict.from_address(address)
    unknown = ask("/auth/login", email=f"x{address}@example.com", password=PASSWORD)
    assert unknown.status == 401
    assert left_of(unknown) == {"global": 99, "auth_address": 3, "auth_email": 19}
    not_valid = ask("/auth/login", email="no e-mail")
    assert not_valid.status == 422
    assert left_of(not_valid) == {"global": 98, "auth_address": 2}
    refresh = ask("/auth/refresh", refresh_token="unknown")
    assert (refresh.status, left_of(refresh)) == (401, {"global": 97, "auth_address": 1})


@pytest.mark.contract("1.7.3")
def test_the_wrong_current_password_counts_in_the_global_tier_only(strict: Strict) -> None:
    alice = strict.user()
    body = {"current_password": "not this one", "new_password": "another long one"}
    answer = alice.client.request("POST", "/api/v1/auth/password", json=body)
    problem(answer, 401, "invalid_credentials")
    assert left_of(answer) == {"global": 99}


@pytest.mark.contract("1.7.3", "1.7.5")
def test_a_refusal_names_its_tier_and_counts_in_none(strict: Strict, bob: User) -> None:
    alice = strict.user(100)
    for number in range(20):
        assert alice.send(bob, 1, f"k{number}").status == 201
    replay = alice.send(bob, 1, "k0")
    members = problem(replay, 429, "rate_limited")
    budgets = parse_report(replay)
    assert members["policy"] == "transaction"
    assert left_of(replay) == {"global": 80, "transaction": 0}
    assert replay.headers["Retry-After"] == str(budgets["transaction"].reset_s)
    assert left_of(alice.get("/auth/me")) == {"global": 79}
    assert alice.send(bob, 1, "new").status == 429
    assert left_of(alice.get("/auth/me")) == {"global": 78}


@pytest.mark.contract("1.7.5")
def test_of_two_exhausted_tiers_the_one_with_the_later_reset_is_named(strict: Strict) -> None:
    alice = strict.user()
    for _ in range(20):
        spend(alice)
    for _ in range(80):
        assert alice.get("/auth/me").status == 200
    refused = post(alice, b"{}")
    assert left_of(refused) == {"global": 0, "transaction": 0}
    assert problem(refused, 429, "rate_limited")["policy"] == "global"
    assert refused.headers["Retry-After"] == str(parse_report(refused)["global"].reset_s)
    assert int(refused.headers["Retry-After"]) > 60


@pytest.mark.contract("1.7.1")
def test_two_processes_admit_exactly_the_limit(strict: Strict, bob: User) -> None:
    """Forty concurrent requests, one per connection, so that each process gets some."""
    for _ in range(5):
        alice = strict.user(100)
        before = strict.api.log.read_text().count("redis_unavailable")
        answers = send_concurrently(strict, alice, bob, 40)
        if strict.api.log.read_text().count("redis_unavailable") == before:
            break
        # The machine was so busy that Valkey seemed unavailable: limits were counted per process.
    assert all(has_connections(worker) for worker in strict.api.workers())
    assert sorted(answer.status for answer in answers) == [201] * 20 + [429] * 20
    left = [left_of(answer)["transaction"] for answer in answers if answer.status == 201]
    assert sorted(left) == list(range(20))
    moved = strict.made_by.sql(
        "SELECT balance FROM ledger.accounts WHERE id = $1", ids.decode("acc", alice.account_id)
    )
    assert moved[0]["balance"] == 80


def send_concurrently(strict: Strict, sender: User, receiver: User, size: int) -> list[Any]:
    users = [strict.logged_in_here(sender) for _ in range(size)]
    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(lambda at: users[at].send(receiver, 1, f"{at}"), range(size)))


@pytest.mark.contract("1.8.7")
def test_copies_that_wait_for_an_answer_count_once_each(strict: Strict, bob: User) -> None:
    sender = strict.user(100)
    users = [strict.logged_in_here(sender) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads, locked(strict.made_by, sender) as lock:
        sent = [threads.submit(user.send, bob, 1, "copies") for user in users]
        lock.await_waiter()
        time.sleep(0.5)  # the copies look several times whether there is an answer
        lock.release()
        assert [each.result().status for each in sent] == [201] * 8
    assert left_of(sender.get("/auth/me")) == {"global": 91}


def has_connections(worker: psutil.Process) -> bool:
    """Whether this process has accepted a client's connection."""
    connections = worker.net_connections("tcp")
    port = next(each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN)
    return any(
        each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in connections
    )


def test_users_are_counted_separately_and_over_all_addresses(strict: Strict, address: str) -> None:
    alice, carol = strict.user(), strict.user()
    headers = {"X-Forwarded-For": address}
    for left in (99, 98):
        for user in (alice, carol):
            answer = user.client.request("GET", "/api/v1/auth/me", headers=headers)
            assert left_of(answer) == {"global": left}
    elsewhere = alice.client.request(
        "GET", "/api/v1/auth/me", headers={"X-Forwarded-For": "192.0.2.77"}
    )
    assert left_of(elsewhere) == {"global": 97}
    assert left_of(strict.from_address(address)("/auth/refresh"))["global"] == 99
