"""PostgreSQL stops, crashes, hangs or refuses writes: requests that need it get 503 in time."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import pytest

from finpay.client import HttpResponse as Answer
from finpay.dev.child_process import DevError
from tests.api_process import PASSWORD, Api, User, running_api
from tests.faults.api_probes import ask, await_that, stored_balance
from tests.load import load, prove, resolve
from tests.servers import OwnPostgres
from tests.support.tcp_proxy import TcpProxy

RECOVERY_S: Final = 10.0
ANSWER_S: Final = 5.0
NOTICED_S: Final = 1.5  # promised: 1 s; the rest is for a busy machine
AT_ONCE_S: Final = 0.5  # promised: 0.2 s

Fault = Callable[[OwnPostgres], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def redis_url(other_redis_url: str) -> str:
    return other_redis_url


@pytest.fixture(scope="module")
def api(
    postgres: OwnPostgres,
    postgres_proxy: tuple[TcpProxy, str],
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    """An API behind a proxy before `postgres`. It is never restarted."""
    folder = tmp_path_factory.mktemp("without-postgres")
    with running_api(folder, postgres_proxy[1], redis_url) as running:
        running.database_url = postgres.url
        yield running


@contextmanager
def stopped(postgres: OwnPostgres) -> Iterator[None]:
    postgres.stop()
    with _gone(postgres):
        yield


@contextmanager
def killed(postgres: OwnPostgres) -> Iterator[None]:
    postgres.kill()
    with _gone(postgres):
        yield


@contextmanager
def _gone(postgres: OwnPostgres) -> Iterator[None]:
    """Shows that it does not answer, and starts it after the block."""
    try:
        with pytest.raises(DevError):
            postgres.server.sql("SELECT 1")
        yield
    finally:
        postgres.start()


@contextmanager
def hung(postgres: OwnPostgres) -> Iterator[None]:
    postgres.hang()
    try:
        yield
    finally:
        postgres.resume()


@contextmanager
def read_only(postgres: OwnPostgres) -> Iterator[None]:
    postgres.server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    postgres.server.sql("SELECT pg_reload_conf()")
    try:
        with pytest.raises(DevError):
            postgres.server.sql("CREATE TABLE control ()")
        yield
    finally:
        postgres.server.sql("ALTER SYSTEM RESET default_transaction_read_only")
        postgres.server.sql("SELECT pg_reload_conf()")


@contextmanager
def locked_out(postgres: OwnPostgres) -> Iterator[None]:
    """The app's role is gone and its connections are ended."""
    postgres.server.sql("ALTER ROLE finpay_app RENAME TO finpay_gone")
    postgres.server.sql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'finpay'"
    )
    try:
        yield
    finally:
        postgres.server.sql("ALTER ROLE finpay_gone RENAME TO finpay_app")


@pytest.mark.contract("1.2.14", "3.1.4")
@pytest.mark.parametrize("fault", [stopped, killed, hung, read_only, locked_out])
def test_request_that_needs_postgres_during_a_fault_is_503_in_time(
    api: Api, postgres: OwnPostgres, fault: Fault
) -> None:
    alice, bob = api.user(1_000), api.user()
    first = alice.send(bob, 5, "known")
    warm = alice.get("/accounts")
    assert alice.get("/accounts").body == warm.body
    with fault(postgres):
        assert_reported(api)
        assert alice.get("/accounts").body == warm.body
        replay = alice.send(bob, 5, "known")
        assert (replay.status, replay.body) == (201, first.body)
        for answer, seconds in needing_the_database(alice, bob, first.json()["id"]):
            assert_unavailable(answer)
            assert seconds < ANSWER_S
        assert_reported(api)
    await_that("money moves again", lambda: alice.send(bob, 7, "open").status == 201, RECOVERY_S)
    await_that("ready", lambda: ask(api, "/readyz").status_code == 200, RECOVERY_S)
    assert alice.send(bob, 7, "open").headers["Idempotent-Replayed"] == "true"
    assert (stored_balance(api, alice), stored_balance(api, bob)) == (988, 12)
    api.verify()


@pytest.mark.contract("3.1.4")
@pytest.mark.parametrize("fault", [stopped, killed])
def test_postgres_restart_under_load_loses_and_doubles_no_transfer(
    api: Api, postgres: OwnPostgres, fault: Fault
) -> None:
    senders, receiver = [api.user(1_000) for _ in range(2)], api.user()
    with load(api, senders, receiver) as running:
        running.wait_for(20)
        with fault(postgres):
            running.wait_for(4, status=503)
        healed = time.monotonic()
        running.wait_for(20, limit_s=RECOVERY_S)
    assert set(running.counts) == {201, 503}, running.counts
    first = min(one.at_s for one in running.sent if one.at_s > healed and one.status == 201)
    assert first - healed < RECOVERY_S
    prove(api, running, resolve(api, running))


def test_backend_terminated_in_a_commit_batch_costs_a_retry(
    api: Api, postgres: OwnPostgres
) -> None:
    senders, receiver = [api.user(1_000) for _ in range(2)], api.user()
    ended = tries = 0
    with load(api, senders, receiver, clients=8, pause_s=0) as running:
        while ended < 8 and tries < 40:  # a new connection may not exist yet
            tries += 1
            running.wait_for(4)
            ended += int(
                postgres.server.sql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE application_name = 'finpay' AND query LIKE '%post_transfers%'"
                )
            )
    assert ended >= 8, "there was a backend to terminate"
    assert set(running.counts) <= {201, 503}, running.counts
    assert running.count(201) > 30
    prove(api, running, resolve(api, running))


# In the response to a posted transfer, and in no other bytes that pass the proxy.
_POSTED: Final = b'"status":"completed"'


@pytest.mark.contract("2.2.6")
@pytest.mark.parametrize(("times", "statuses"), [(1, {201}), (200, {503})])
def test_commit_with_a_lost_response_is_found_by_its_key(
    api: Api, postgres_proxy: tuple[TcpProxy, str], times: int, statuses: set[int]
) -> None:
    alice, bob = api.user(1_000), api.user()
    trap = postgres_proxy[0].set_trap("response", _POSTED, "cut", times=times)
    answer = alice.send(bob, 5, "cut")
    assert trap.sprung >= 1, "the transfer was committed before the connection was cut"
    assert stored_balance(api, bob) == 5
    trap.times = 0
    assert {answer.status} == statuses, answer.body
    assert "Idempotent-Replayed" not in answer.headers, "it is the answer of this request"
    if answer.status == 503:
        assert_unavailable(answer)
    replay = alice.send(bob, 5, "cut")
    assert (replay.status, replay.headers["Idempotent-Replayed"]) == (201, "true")
    assert (stored_balance(api, alice), stored_balance(api, bob)) == (995, 5)
    assert alice.balance == 995


@pytest.mark.contract("2.2.6")
def test_commit_without_a_response_is_201_or_503_in_time(
    api: Api, postgres_proxy: tuple[TcpProxy, str]
) -> None:
    alice, bob = api.user(1_000), api.user()
    trap = postgres_proxy[0].set_trap("response", _POSTED, "hang")
    started = time.monotonic()
    answer = alice.send(bob, 5, "mute")
    assert time.monotonic() - started < ANSWER_S
    assert (trap.sprung, stored_balance(api, bob)) == (1, 5)
    assert answer.status == 201 or answer.json()["code"] == "unavailable"
    replay = alice.send(bob, 5, "mute")
    assert (replay.status, replay.headers["Idempotent-Replayed"]) == (201, "true")
    assert (stored_balance(api, alice), stored_balance(api, bob)) == (995, 5)


def test_commit_batch_that_never_arrived_is_retried(
    api: Api, postgres_proxy: tuple[TcpProxy, str]
) -> None:
    alice, bob = api.user(1_000), api.user()
    trap = postgres_proxy[0].set_trap("request", b"key-on-the-wire", "cut")
    answer = alice.send(bob, 5, "key-on-the-wire")
    assert (trap.sprung, answer.status, stored_balance(api, bob)) == (1, 201, 5)
    assert "Idempotent-Replayed" not in answer.headers


def test_connections_reset_under_load_double_no_transfer(
    api: Api, postgres_proxy: tuple[TcpProxy, str]
) -> None:
    senders, receiver = [api.user(1_000) for _ in range(2)], api.user()
    with load(api, senders, receiver, clients=8) as running:
        for _ in range(12):
            running.wait_for(3)
            postgres_proxy[0].reset_connections()
    assert set(running.counts) <= {201, 503}, running.counts
    prove(api, running, resolve(api, running))


def needing_the_database(
    alice: User, bob: User, transaction_id: str
) -> Iterator[tuple[Answer, float]]:
    """One request of each kind, all at once, with their durations in seconds."""
    login = {"email": alice.email, "password": PASSWORD}
    refresh = {"refresh_token": alice.client.refresh_token}
    new = {"email": f"new-{time.monotonic_ns()}@example.com", "password": PASSWORD}
    send = {"receiver_id": bob.account_id, "amount": 7}
    requests: list[tuple[str, str, dict[str, Any] | None]] = [
        ("GET", f"/transactions/{transaction_id}", None),
        ("GET", "/transactions?limit=7", None),
        ("GET", "/accounts/entries", None),
        ("GET", "/auth/me", None),
        ("POST", "/auth/login", login),
        ("POST", "/auth/refresh", refresh),
        ("POST", "/auth/register", new),
        ("POST", "/transactions", send),
    ]

    def timed(request: tuple[str, str, dict[str, Any] | None]) -> tuple[Answer, float]:
        method, path, body = request
        started = time.monotonic()
        answer = alice.client.request(
            method, f"/api/v1{path}", json=body, headers={"X-Idempotency-Key": "open"}
        )
        return answer, time.monotonic() - started

    with ThreadPoolExecutor(len(requests)) as threads:
        yield from threads.map(timed, requests)


def assert_reported(api: Api) -> None:
    """The process runs, is not ready, and reports that at once."""
    await_that("not ready", lambda: ask(api, "/readyz").status_code == 503, NOTICED_S)
    started = time.monotonic()
    assert ask(api, "/livez").status_code == 200
    health = ask(api, "/api/v1/health")
    assert time.monotonic() - started < AT_ONCE_S
    assert (health.status_code, health.json()["status"]) == (503, "down")
    assert health.json()["checks"]["postgres"] == "down"
    assert ask(api, "/readyz").json()["status"] == "down"


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    problem = answer.json()
    assert (problem["code"], problem["retryable"], problem["status"]) == ("unavailable", True, 503)
    assert "role" not in answer.body.decode(), "PostgreSQL's message is not shown to clients"
