"""Production refuses unsafe settings, and has no unbounded wait and no unbounded growth."""

import asyncio
import re
import socket
import subprocess
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest

from finpay.db import failover, pool
from finpay.db.pool import Database
from finpay.ledger.batcher import CONNECTIONS
from tests.api_process import PASSWORD, Api
from tests.faults.api_probes import ask, await_that
from tests.load import load, prove, resolve
from tests.servers import OwnPostgres
from tests.support.tcp_proxy import port_of, proxy_before

EXIT_LIMIT_S: Final = 20.0
ANSWER_LIMIT_S: Final = 5.5
PATHS: Final = 10_000
MAX_GROWTH_BYTES: Final = 8 * 1024 * 1024  # the allocator varies; 10 000 stored paths would be more
PRODUCTION: Final = {
    "FINPAY_ENV": "production",
    "FINPAY_JWT_SECRET": "s" * 32,
    "HOST": "127.0.0.1",
}


@pytest.fixture(scope="module", autouse=True)
def _role(postgres: OwnPostgres) -> None:
    postgres.server.sql("CREATE ROLE hasty LOGIN SUPERUSER")


@pytest.mark.contract("4.1.4")
@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_postgres_without_durable_writes_is_refused(
    serve: Callable[..., Api], postgres: OwnPostgres, name: str
) -> None:
    with altered(postgres, f"ALTER SYSTEM SET {name} = off", f"ALTER SYSTEM RESET {name}"):
        assert name in refused_start(serve, DATABASE_URL=postgres.url)


@pytest.mark.contract("4.1.4")
@pytest.mark.parametrize(
    "where", ["SYSTEM", "DATABASE finpay", "ROLE hasty", "ROLE hasty IN DATABASE finpay", "URL"]
)
def test_asynchronous_commit_is_refused_wherever_it_is_set(
    serve: Callable[..., Api], postgres: OwnPostgres, where: str
) -> None:
    url = postgres.server.url("finpay", "hasty")
    if where == "URL":
        assert "synchronous_commit" in refused_start(
            serve, DATABASE_URL=f"{url}?synchronous_commit=off"
        )
        return
    begin, end = (
        f"ALTER {where} {change}"
        for change in ("SET synchronous_commit = off", "RESET synchronous_commit")
    )
    with altered(postgres, begin, end):
        assert "synchronous_commit" in refused_start(serve, DATABASE_URL=url)


@pytest.mark.parametrize("level", ["local", "remote_write", "remote_apply"])
def test_commit_that_waits_for_a_disk_is_accepted(
    serve: Callable[..., Api], postgres: OwnPostgres, level: str
) -> None:
    with altered(
        postgres,
        f"ALTER SYSTEM SET synchronous_commit = '{level}'",
        "ALTER SYSTEM RESET synchronous_commit",
    ):
        serve(DATABASE_URL=postgres.url, **PRODUCTION)


async def test_sessions_and_role_have_time_limits(database_url: str) -> None:
    limits = {
        "statement_timeout": pool.STATEMENT_TIMEOUT_MS,
        "lock_timeout": pool.LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": pool.IDLE_IN_TRANSACTION_TIMEOUT_MS,
    }
    database = Database(database_url, size=1)
    try:
        for name, limit_ms in limits.items():
            found = await database.fetch_one(
                "SELECT setting, unit FROM pg_settings WHERE name = $1", name
            )
            assert found is not None
            assert (found["setting"], found["unit"]) == (str(limit_ms), "ms")
        role = await database.fetch_one(
            "SELECT rolconfig FROM pg_roles WHERE rolname = 'finpay_app'"
        )
        assert role is not None
        assert set(role["rolconfig"]) == {f"{name}={ms}ms" for name, ms in limits.items()}
    finally:
        await database.close()


def test_request_on_a_slow_postgres_is_answered_within_its_limit(
    serve: Callable[..., Api], postgres: OwnPostgres
) -> None:
    """Redis is down, and a response of PostgreSQL takes longer than the limit of a statement."""
    with proxy_before(postgres.url) as (proxy, url):
        api = serve(DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:1/0")
        alice = api.user()
        change = {"current_password": PASSWORD, "new_password": "a better password"}
        proxy.response_delay_s = 6.0
        started = time.monotonic()
        answer = alice.client.request("POST", "/api/v1/auth/password", json=change)
        took_s = time.monotonic() - started
        proxy.response_delay_s = 0
    assert took_s < ANSWER_LIMIT_S
    assert answer.status == 503
    assert answer.json()["retryable"] is True


def test_random_paths_grow_neither_memory_nor_metrics(serve: Callable[..., Api]) -> None:
    api = serve()
    random = Random(7)
    (worker,) = api.workers()

    def visit(times: int) -> None:
        with httpx.Client(base_url=api.url, trust_env=False, timeout=10) as http:
            for _ in range(times):
                name = random.randbytes(12).hex()
                assert http.get(f"/api/v1/{name}?{name}").status_code == 404

    visit(PATHS // 10)  # memory that is allocated once
    before, lines = worker.memory_info().rss, metrics_of(api)
    visit(PATHS)
    assert worker.memory_info().rss - before < MAX_GROWTH_BYTES
    assert metrics_of(api) == lines


def test_connections_reset_under_load_leave_none_behind(
    serve: Callable[..., Api], postgres: OwnPostgres
) -> None:
    """After the resets all clients disconnect, and the pools are within their sizes."""
    with proxy_before(postgres.url) as (proxy, url):
        api = serve(DATABASE_URL=url)
        api.database_url = postgres.url
        senders, receiver = [api.user(1_000) for _ in range(2)], api.user()
        with load(api, senders, receiver) as running:
            for _ in range(5):
                running.wait_for(20)
                proxy.reset_connections()
            running.wait_for(20)
        prove(api, running, resolve(api, running))
        for http in api.connections:
            http.close()
        (worker,) = api.workers()
        await_that("clients are disconnected", lambda: not client_connections(worker, api), 10)
        mine = "FROM pg_stat_activity WHERE application_name = 'finpay'"
        assert int(postgres.server.sql(f"SELECT count(*) {mine}")) <= CONNECTIONS + 8 + 4
        assert postgres.server.sql(f"SELECT count(*) {mine} AND state ~ 'idle in'") == "0"


async def test_host_without_any_answer_leaves_time_for_the_others(
    database_url: str,
) -> None:
    """It does not even refuse connections. Afterwards the host that served is tried first."""
    good = urlsplit(database_url)
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        full = [socket.socket() for _ in range(3)]
        for caller in full:  # its backlog is full, so the kernel drops further connections
            caller.setblocking(False)
            caller.connect_ex(hole.getsockname())
        off = f"127.0.0.1:{hole.getsockname()[1]}"
        url = good._replace(
            netloc=f"{good.username}@{off},127.0.0.1:{good.port}",
            query="target_session_attrs=read-write",
        ).geturl()
        database = Database(url, size=2)
        try:
            started = time.monotonic()
            assert await database.fetch_one("SELECT 1 AS one")
            assert time.monotonic() - started < pool.CONNECT_TIMEOUT_S
            started = time.monotonic()
            await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.05)") for _ in range(2)))
            assert time.monotonic() - started < pool.CONNECT_TIMEOUT_S / 2
        finally:
            await database.close()
            for caller in full:
                caller.close()


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("postgresql://u:p@a:1,b:2/x", [("a", 1), ("b", 2)]),
        ("postgresql://a,b:2/x", [("a", 5432), ("b", 2)]),
        ("postgresql://[::1]:1,[::2]/x", [("::1", 1), ("::2", 5432)]),
        ("postgresql://%2Ftmp/x", [("/tmp", 5432)]),  # noqa: S108
        ("postgresql:///x", []),
    ],
)
def test_hosts_of_a_url_are_those_of_the_driver(url: str, found: list[tuple[str, int]]) -> None:
    assert failover.hosts_of(url) == found


class altered:  # noqa: N801  reads as a word in a with statement
    """Changes a setting of the server until the end of the block."""

    def __init__(self, postgres: OwnPostgres, begin: str, end: str) -> None:
        self._postgres, self._begin, self._end = postgres, begin, end

    def __enter__(self) -> None:
        self._do(self._begin)

    def __exit__(self, *_: object) -> None:
        self._do(self._end)

    def _do(self, statement: str) -> None:
        self._postgres.server.sql(statement)
        self._postgres.server.sql("SELECT pg_reload_conf()")


def refused_start(serve: Callable[..., Api], **settings: str) -> str:
    """The last log line of a production `serve` that exits with 2."""
    api = serve(ready=False, **PRODUCTION, **settings)
    try:
        code = api.process.wait(EXIT_LIMIT_S)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it runs: {api.log.read_text()[-1000:]}")
    said = api.log.read_text()
    assert code == 2, said
    return said.splitlines()[-1]


def metrics_of(api: Api) -> set[str]:
    """The names of all series, without their values."""
    text = ask(api, "/metrics").text
    return {re.sub(r" \S+$", "", line) for line in text.splitlines() if "/metrics" not in line}


def client_connections(worker: Any, api: Api) -> list[Any]:
    """The open connections of clients to this worker."""
    port = port_of(api.url)
    return [
        one
        for one in worker.net_connections("tcp")
        if one.laddr.port == port and one.status == "ESTABLISHED"
    ]
