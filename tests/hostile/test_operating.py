"""What an operator reads when something is missing: what it is, and what to do, once."""

import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from finpay.db import migrate
from finpay.dev.child_process import free_port
from finpay.dev.postgres import Cluster
from tests.api_process import Api, User
from tests.servers import OwnPostgres, clone_template, drop_database
from tests.support.waiting import wait_until

LIMIT_S: Final = 20.0
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def lines_of(api: Api, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in api.log.read_text().splitlines()]
    return [line for line in lines if line["event"] == event]


def await_line(api: Api, event: str) -> dict[str, Any]:
    wait_until(lambda: lines_of(api, event), LIMIT_S, event)
    return lines_of(api, event)[0]


@pytest.mark.fault("O1")
@pytest.mark.parametrize(
    ("authority", "reason"),
    [
        ("127.0.0.1:{closed}", "refused|Connect call failed"),
        ("no-such-host.invalid:5432", "Name or service|not known|resolution|nodename"),
        ("127.0.0.1:{open}/postgres?sslmode=require", "(?i)ssl"),
    ],
    ids=["closed port", "unknown host", "TLS that the server has not"],
)
def test_serve_says_what_it_is_and_what_it_misses(
    serve: Callable[..., Api], postgres_server: Cluster, authority: str, reason: str
) -> None:
    url = "postgresql://postgres@" + authority.format(closed=free_port(), open=postgres_server.port)
    api = serve(ready=False, DATABASE_URL=url)
    started = await_line(api, "server_started")
    assert started["version"]
    assert started["workers"] == 1
    assert started["address"].endswith(f":{api.url.rpartition(':')[2]}")
    missing = await_line(api, "postgres_unavailable")
    assert re.search(reason, missing["reason"]), missing
    assert api.stop() == 0
    assert await_line(api, "server_stopping")
    assert await_line(api, "server_stopped")
    times = [json.loads(line)["time"] for line in api.log.read_text().splitlines()]
    assert all(TIME.fullmatch(each) for each in times)


@pytest.mark.fault("O1")
def test_serve_names_an_outage_once(
    serve: Callable[..., Api], own_postgres: Callable[..., OwnPostgres], fresh_database: Any
) -> None:
    api = serve(ready=False, DATABASE_URL=f"postgresql://x@127.0.0.1:{free_port()}/x")
    await_line(api, "postgres_unavailable")
    time.sleep(2)
    assert len(lines_of(api, "postgres_unavailable")) == 1


@pytest.mark.fault("O2")
def test_log_of_a_request_names_code_and_transaction(api: Api, alice: User, bob: User) -> None:
    """One status has many causes."""
    requests = {
        "validation_failed": {"amount": 0},
        "same_account": {"receiver_id": alice.account_id, "amount": 1},
        "insufficient_funds": {"receiver_id": bob.account_id, "amount": 10**9},
        "": {"receiver_id": bob.account_id, "amount": 1},
    }
    for code, body in requests.items():
        request_id = f"log-{code or 'ok'}-{time.monotonic_ns()}"
        headers = {"X-Request-Id": request_id, "X-Idempotency-Key": request_id}
        answer = alice.client.request("POST", "/api/v1/transactions", json=body, headers=headers)

        def logged(request_id: str = request_id) -> list[dict[str, Any]]:
            return [each for each in lines_of(api, "request") if each["request_id"] == request_id]

        wait_until(logged, LIMIT_S, request_id)
        (line,) = logged()
        assert line.get("code", "") == code
        transaction = answer.json().get("transaction_id" if code else "id")
        assert line.get("transaction_id") == transaction
        assert (transaction is not None) is (code in {"", "insufficient_funds"})


@pytest.mark.fault("O5")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_migrate_says_to_create_the_database_in_utf8(
    postgres_server: Cluster, worker_id: str, encoding: str
) -> None:
    name = f"{encoding.lower()}_{worker_id}"
    postgres_server.sql(
        f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    try:
        with pytest.raises(migrate.MigrationError, match=r"create it in UTF8"):
            await migrate.prepare(postgres_server.url(name))
    finally:
        drop_database(postgres_server, name)


@pytest.mark.fault("O6")
def test_serve_without_a_migration_says_so_once(
    serve: Callable[..., Api], postgres_server: Cluster, worker_id: str
) -> None:
    name = f"older_{worker_id}"
    url = clone_template(postgres_server, name)
    last = migrate.names()[-1]
    postgres_server.sql(
        f"DELETE FROM finpay.schema_migrations WHERE version = '{last.partition('_')[0]}'", name
    )
    api = serve(ready=False, DATABASE_URL=url, FINPAY_WORKERS="2")
    try:
        assert api.process.wait(LIMIT_S) == 2
    except subprocess.TimeoutExpired:
        pytest.fail(api.log.read_text())
    finally:
        drop_database(postgres_server, name)
    said = [line for line in api.log.read_text().splitlines() if last in line]
    assert len(said) == 2, said  # the log, and the command
    assert "finpay migrate" in said[-1]
