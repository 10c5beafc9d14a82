"""Starts with servers that are unavailable, not migrated, or not durable."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import pytest

from finpay.db import migrate
from tests.api_process import PASSWORD, Api, await_ready
from tests.faults.api_probes import ask, await_that
from tests.servers import OwnPostgres

RECOVERY_S: Final = 10.0
EXIT_LIMIT_S: Final = 15.0
LOGIN: Final = {"email": "alice@example.com", "password": PASSWORD}


@pytest.fixture
def refused_start(serve: Callable[..., Api]) -> Callable[..., str]:
    """Call it for the last log line of a `serve` that exits with 2."""

    def run(**settings: str) -> str:
        api = serve(ready=False, **settings)
        try:
            code = api.process.wait(EXIT_LIMIT_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it runs: {api.log.read_text()[-1000:]}")
        said = api.log.read_text()
        assert code == 2, said
        assert "Traceback" not in said
        return said.splitlines()[-1]

    return run


@pytest.mark.contract("4.1.5")
def test_api_started_before_postgres_is_ready_when_postgres_is(
    api: Api, serve: Callable[..., Api], postgres: OwnPostgres
) -> None:
    """It listens, reports that it is not ready, and works when PostgreSQL has started."""
    postgres.stop()
    try:
        early = serve(ready=False, DATABASE_URL=postgres.url)
        await_that("it listens", lambda: listens(early), EXIT_LIMIT_S)
        assert ask(early, "/readyz").json()["status"] == "down"
        assert ask(early, "/api/v1/health").status_code == 503
        refused = early.client().request("POST", "/api/v1/auth/login", json=LOGIN)
        assert (refused.status, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
    finally:
        postgres.start()
    await_ready(early, RECOVERY_S)
    alice, bob = early.user(1_000), early.user()
    assert alice.send(bob, 5, "late").status == 201


@pytest.mark.contract("4.1.5")
def test_start_without_a_migration_names_it(
    refused_start: Callable[..., str], postgres: OwnPostgres
) -> None:
    last = migrate.names()[-1]
    postgres.server.sql("CREATE DATABASE older TEMPLATE finpay")
    version = last.partition("_")[0]
    postgres.server.sql(
        f"DELETE FROM finpay.schema_migrations WHERE version = '{version}'", "older"
    )
    said = refused_start(DATABASE_URL=postgres.server.url("older"), FINPAY_WORKERS="2")
    assert last in said
    assert "finpay migrate" in said


def test_start_with_metrics_in_a_folder_that_is_missing_names_it(
    refused_start: Callable[..., str], tmp_path: Path
) -> None:
    """The first workers can't load the API: to replace them would never end."""
    missing = tmp_path / "missing"
    assert str(missing) in refused_start(PROMETHEUS_MULTIPROC_DIR=str(missing), FINPAY_WORKERS="2")


def test_start_on_an_empty_database_says_to_migrate(
    refused_start: Callable[..., str], postgres: OwnPostgres
) -> None:
    postgres.server.sql("CREATE DATABASE empty")
    assert "finpay migrate" in refused_start(DATABASE_URL=postgres.server.url("empty"))


def test_start_without_the_roles_says_to_migrate(
    refused_start: Callable[..., str], postgres: OwnPostgres
) -> None:
    postgres.server.sql("ALTER ROLE finpay_app RENAME TO finpay_gone")
    try:
        assert "finpay migrate" in refused_start(DATABASE_URL=postgres.url)
    finally:
        postgres.server.sql("ALTER ROLE finpay_gone RENAME TO finpay_app")


def test_start_in_production_without_durability_names_the_settings(
    refused_start: Callable[..., str], postgres: OwnPostgres
) -> None:
    production = {"FINPAY_ENV": "production", "FINPAY_JWT_SECRET": "s" * 32, "HOST": "127.0.0.1"}
    postgres.server.sql("CREATE DATABASE hasty TEMPLATE finpay")
    postgres.server.sql("ALTER DATABASE hasty SET synchronous_commit = off")
    for name in ("fsync", "full_page_writes"):
        postgres.server.sql(f"ALTER SYSTEM SET {name} = off")
    postgres.server.sql("SELECT pg_reload_conf()")
    try:
        said = refused_start(DATABASE_URL=postgres.server.url("hasty"), **production)
    finally:
        for name in ("fsync", "full_page_writes"):
            postgres.server.sql(f"ALTER SYSTEM RESET {name}")
        postgres.server.sql("SELECT pg_reload_conf()")
    assert "fsync, full_page_writes, synchronous_commit off" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [("REDIS_URL", "localhost:6379"), ("DATABASE_URL", "user:secret@localhost/finpay")],
)
def test_start_with_a_bad_url_names_the_variable_without_its_value(
    refused_start: Callable[..., str], name: str, value: str
) -> None:
    said = refused_start(**{name: value})
    assert name in said
    assert value not in said


def listens(api: Api) -> bool:
    assert api.process.poll() is None, api.log.read_text()
    try:
        return ask(api, "/livez").status_code == 200
    except httpx.TransportError:
        return False
