"""PostgreSQL may stop, die, hang or refuse writes: whoever can't be served is told so in time."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import pytest

from finpay.client import HttpResponse as Answer
from finpay.dev.child_process import DevError
from tests.api_process import PASSWORD, Api, User, running_api
from tests.faults.api_probes import ask, await_that, truth
from tests.faults.tcp_proxy import Proxy, proxy_before
from tests.load import load, prove, resolve
from tests.servers import OwnPostgres, Run

RECOVERY_S: Final = 10.0
ANSWER_S: Final = 5.0
NOTICED_S: Final = 1.5  # the promise is 1 s; the rest is for a busy machine
AT_ONCE_S: Final = 0.5  # the promise is 0.2 s

Fault = Callable[[OwnPostgres], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def postgres(run: Run, worker_id: str) -> Iterator[OwnPostgres]:
    server = OwnPostgres(run, f"faulty-postgres-{worker_id}", {})
    yield server
    server.resume()
    server.stop()


@pytest.fixture(scope="module")
def proxy(postgres: OwnPostgres) -> Iterator[tuple[Proxy, str]]:
    with proxy_before(postgres.url) as made:
        yield made


@pytest.fixture(scope="module")
def api(
    postgres: OwnPostgres,
    proxy: tuple[Proxy, str],
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    """An API whose PostgreSQL these tests spoil and mend. It is never restarted."""
    folder = tmp_path_factory.mktemp("without-postgres")
    with running_api(folder, proxy[1], redis_url) as running:
        running.database_url = postgres.url
        yield running


@contextmanager
def stopped(postgres: OwnPostgres) -> Iterator[None]:
    postgres.stop()
    try:
        with pytest.raises(DevError):
            postgres.server.sql("SELECT 1")
        yield
    finally:
        postgres.start()


@contextmanager
def killed(postgres: OwnPostgres) -> Iterator[None]:
    postgres.kill()
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
    """Somebody takes our role away and ends our connections."""
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
def test_what_needs_the_database_is_503_in_time(
    api: Api, postgres: OwnPostgres, fault: Fault
) -> None:
    alice, bob = api.user(1_000), api.user()
    outcome_known = alice.send(bob, 5, "known")
    warm = alice.get("/accounts")
    assert alice.get("/accounts").body == warm.body
    with fault(postgres):
        assert_told(api)
        assert alice.get("/accounts").body == warm.body
        again = alice.send(bob, 5, "known")
        assert (again.status, again.body) == (201, outcome_known.body)
        for answer, seconds in needing_the_database(alice, bob, outcome_known.json()["id"]):
            assert_unavailable(answer)
            assert seconds < ANSWER_S
        assert_told(api)
    await_that("money moves again", lambda: alice.send(bob, 7, "open").status == 201, RECOVERY_S)
    await_that("ready", lambda: ask(api, "/readyz").status_code == 200, RECOVERY_S)
    assert alice.send(bob, 7, "open").headers["Idempotent-Replayed"] == "true"
    assert (truth(api, alice), truth(api, bob)) == (988, 12)
    api.verify()


@pytest.mark.contract("3.1.4")
@pytest.mark.parametrize("fault", [stopped, killed])
def test_a_restart_under_load_loses_and_doubles_nothing(
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


def test_backends_that_are_killed_in_the_middle_of_a_batch_cost_a_retry(
    api: Api, postgres: OwnPostgres
) -> None:
    senders, receiver = [api.user(1_000) for _ in range(2)], api.user()
    ended = tries = 0
    with load(api, senders, receiver, clients=8, pause_s=0) as running:
        while ended < 8 and tries < 40:  # a killed one may not have been replaced yet
            tries += 1
            running.wait_for(4)
            ended += int(
                postgres.server.sql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE application_name = 'finpay' AND query LIKE '%post_transfers%'"
                )
            )
    assert ended >= 8, "each time there was somebody to kill"
    assert set(running.counts) <= {201, 503}, running.counts
    assert running.count(201) > 30
    prove(api, running, resolve(api, running))


# What the answer to a posted transfer contains, and nothing else that passes the proxy.
_POSTED: Final = b'"status":"completed"'


@pytest.mark.contract("2.2.6")
@pytest.mark.parametrize(("times", "statuses"), [(1, {201}), (200, {503})])
def test_a_commit_whose_answer_is_cut_off_is_found_by_its_key(
    api: Api, proxy: tuple[Proxy, str], times: int, statuses: set[int]
) -> None:
    alice, bob = api.user(1_000), api.user()
    trap = proxy[0].set_trap("answer", _POSTED, "cut", times=times)
    answer = alice.send(bob, 5, "cut")
    assert trap.sprung >= 1, "the money had moved when the line was cut"
    assert truth(api, bob) == 5
    trap.times = 0
    assert {answer.status} == statuses, answer.body
    assert "Idempotent-Replayed" not in answer.headers, "it is this request's own answer"
    if answer.status == 503:
        assert_unavailable(answer)
    again = alice.send(bob, 5, "cut")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert (truth(api, alice), truth(api, bob)) == (995, 5)
    assert alice.balance == 995


@pytest.mark.contract("2.2.6")
def test_a_commit_that_is_never_answered_is_201_or_503_in_time(
    api: Api, proxy: tuple[Proxy, str]
) -> None:
    alice, bob = api.user(1_000), api.user()
    trap = proxy[0].set_trap("answer", _POSTED, "hang")
    started = time.monotonic()
    answer = alice.send(bob, 5, "mute")
    assert time.monotonic() - started < ANSWER_S
    assert (trap.sprung, truth(api, bob)) == (1, 5)
    assert answer.status == 201 or answer.json()["code"] == "unavailable"
    again = alice.send(bob, 5, "mute")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert (truth(api, alice), truth(api, bob)) == (995, 5)


def test_a_batch_that_never_arrived_is_sent_again(api: Api, proxy: tuple[Proxy, str]) -> None:
    alice, bob = api.user(1_000), api.user()
    trap = proxy[0].set_trap("request", b"key-on-the-wire", "cut")
    answer = alice.send(bob, 5, "key-on-the-wire")
    assert (trap.sprung, answer.status, truth(api, bob)) == (1, 201, 5)
    assert "Idempotent-Replayed" not in answer.headers


def test_lines_that_are_cut_under_load_double_nothing(api: Api, proxy: tuple[Proxy, str]) -> None:
    senders, receiver = [api.user(1_000) for _ in range(2)], api.user()
    with load(api, senders, receiver, clients=8) as running:
        for _ in range(12):
            running.wait_for(3)
            proxy[0].cut()
    assert set(running.counts) <= {201, 503}, running.counts
    prove(api, running, resolve(api, running))


def needing_the_database(
    alice: User, bob: User, transaction_id: str
) -> Iterator[tuple[Answer, float]]:
    """One of each kind, all at once, with the seconds that each took."""
    login = {"email": alice.email, "password": PASSWORD}
    refresh = {"refresh_token": alice.client.refresh_token}
    new = {"email": f"new-{time.monotonic_ns()}@example.com", "password": PASSWORD}
    send = {"receiver_id": bob.account_id, "amount": 7}
    asked: list[tuple[str, str, dict[str, Any] | None]] = [
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

    with ThreadPoolExecutor(len(asked)) as threads:
        yield from threads.map(timed, asked)


def assert_told(api: Api) -> None:
    """The process lives, is not ready, and says so without waiting."""
    await_that("not ready", lambda: ask(api, "/readyz").status_code == 503, NOTICED_S)
    started = time.monotonic()
    assert ask(api, "/livez").status_code == 200
    told = ask(api, "/api/v1/health")
    assert time.monotonic() - started < AT_ONCE_S
    assert (told.status_code, told.json()["status"]) == (503, "down")
    assert told.json()["checks"]["postgres"] == "down"
    assert ask(api, "/readyz").json()["status"] == "down"


def assert_unavailable(answer: Answer) -> None:
    assert answer.status == 503, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    problem = answer.json()
    assert (problem["code"], problem["retryable"], problem["status"]) == ("unavailable", True, 503)
    assert "role" not in answer.body.decode(), "what PostgreSQL said is the operator's business"
