"""`finpay doctor` finds each planted fault, and none in a correct installation."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from finpay.db.pool import Database
from finpay.dev.child_process import free_port
from finpay.dev.postgres import Cluster
from finpay.doctor.postgres import clock
from tests.servers import OwnPostgres, OwnValkey, drop_database

_LIMIT_S: Final = 30.0
_NUMBERS: Final = count(1)
_PRODUCTION: Final = {
    "FINPAY_ENV": "production",
    "FINPAY_JWT_SECRET": "a-secret-of-the-test-that-is-long-enough",
    "FINPAY_TRUSTED_PROXIES": "1",
    "FINPAY_METRICS_TOKEN": "token",
    "FINPAY_WORKERS": "1",
}


@dataclass(frozen=True, slots=True)
class Report:
    """The output of `finpay doctor --json`."""

    exit_code: int
    ok: bool
    states: dict[str, str]
    details: dict[str, str] = field(repr=False)

    def not_ok(self) -> dict[str, str]:
        return {name: state for name, state in self.states.items() if state != "ok"}


@dataclass(frozen=True, slots=True)
class Installation:
    """A database with a login for the app and one for the owner, and a well configured Redis."""

    cluster: Cluster
    owner_url: str
    app_url: str
    redis_url: str

    def environment(self, **changed: str) -> dict[str, str]:
        urls = {
            "DATABASE_URL": self.app_url,
            "FINPAY_DATABASE_OWNER_URL": self.owner_url,
            "REDIS_URL": self.redis_url,
        }
        port = {"PORT": str(free_port())}  # where no API answers
        return {"PATH": os.environ["PATH"], **_PRODUCTION, **port, **urls, **changed}

    def report(self, **changed: str) -> Report:
        done = _doctor("--json", environment=self.environment(**changed))
        output: dict[str, Any] = json.loads(done.stdout)
        checks = output["checks"]
        return Report(
            done.returncode,
            output["ok"],
            {check["name"]: check["state"] for check in checks},
            {check["name"]: f"{check['detail']} → {check['advice']}" for check in checks},
        )

    def sql(self, statement: str) -> None:
        self.cluster.sql(statement, self.owner_url.rpartition("/")[2])


def _doctor(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "finpay", "doctor", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )


@pytest.fixture(scope="session")
def healthy_valkey(run: Any, worker_id: str) -> Iterator[str]:
    server = run.start_valkey(
        f"doctor-valkey-{worker_id}", settings={"maxmemory-policy": "allkeys-lru"}
    )
    yield server.url
    server.stop()


@pytest.fixture
def installation(
    postgres_server: Cluster,
    fresh_database: Callable[[], str],
    healthy_valkey: str,
    worker_id: str,
) -> Iterator[Installation]:
    login = f"doctor_{worker_id}_{next(_NUMBERS)}"
    owner_url = fresh_database()
    postgres_server.sql(f"CREATE ROLE {login} LOGIN IN ROLE finpay_app")
    database = owner_url.rpartition("/")[2]
    yield Installation(
        postgres_server, owner_url, postgres_server.url(database, login), healthy_valkey
    )
    postgres_server.sql(f"DROP ROLE {login}")


def test_correct_production_has_no_findings(installation: Installation) -> None:
    report = installation.report()
    assert (report.exit_code, report.ok, report.not_ok()) == (0, True, {}), report.details
    assert len(report.states) > 20


def test_text_output_ends_with_a_count(installation: Installation) -> None:
    done = _doctor(environment=installation.environment(FINPAY_RATE_LIMIT_AUTH="off"))
    assert done.returncode == 1
    assert "FAILED  limits" in done.stdout
    assert "→ Without limits passwords can be guessed" in done.stdout
    assert done.stdout.endswith("checks: 1 failed, 0 warnings.\n")


@pytest.mark.parametrize(
    ("name", "state", "changed"),
    [
        ("settings", "failed", {"FINPAY_RATE_LIMITS": "1"}),
        ("settings", "failed", {"FINPAY_JWT_SECRET": "short"}),
        ("environment", "warning", {"FINPAY_ENV": "development"}),
        ("limits", "warning", {"FINPAY_RATE_LIMIT_GLOBAL": "off"}),
        ("limits", "failed", {"FINPAY_RATE_LIMIT_AUTH": "off"}),
        ("proxies", "warning", {"FINPAY_TRUSTED_PROXIES": ""}),
        ("metrics", "warning", {"FINPAY_METRICS_TOKEN": ""}),
        ("workers", "warning", {"FINPAY_WORKERS": "256"}),
        ("postgres connections", "warning", {"FINPAY_WORKERS": "256"}),
        ("webhook networks", "failed", {"FINPAY_WEBHOOK_ALLOWED_CIDRS": "10.0.0.0/8"}),
        ("postgres", "failed", {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/finpay"}),
        ("owner", "failed", {"FINPAY_DATABASE_OWNER_URL": "postgresql://x@127.0.0.1:1/finpay"}),
        (
            "operators",
            "failed",
            {"FINPAY_DATABASE_OPERATOR_URL": "postgresql://x@127.0.0.1:1/finpay"},
        ),
        ("redis", "failed", {"REDIS_URL": "redis://127.0.0.1:1/0"}),
    ],
)
def test_wrong_setting_is_found(
    installation: Installation, name: str, state: str, changed: dict[str, str]
) -> None:
    report = installation.report(**changed)
    assert report.states[name] == state, report.details
    assert report.ok is ("failed" not in report.states.values())
    assert report.exit_code == (0 if report.ok else 1)
    assert not report.details[name].endswith("→ "), "each finding comes with advice"


@pytest.mark.parametrize(
    ("name", "said", "plant"),
    [
        ("rights", "ledger.entries", "GRANT INSERT ON ledger.entries TO finpay_app"),
        ("rights", "ledger.fund", "GRANT EXECUTE ON FUNCTION ledger.fund TO finpay_app"),
        (
            "rights",
            "ledger.format_timestamp",
            "GRANT EXECUTE ON FUNCTION ledger.format_timestamp TO PUBLIC",
        ),
        (
            "rights",
            "ledger.accounts",
            "GRANT UPDATE (balance) ON ledger.accounts TO finpay_app",
        ),
        (
            "migrations",
            "20261129000003_ledger.sql",
            "DELETE FROM finpay.schema_migrations WHERE version = '20261129000003'",
        ),
    ],
)
def test_wrong_rights_and_missing_migrations_are_found(
    installation: Installation, name: str, said: str, plant: str
) -> None:
    installation.sql(plant)
    report = installation.report()
    assert report.states[name] == "failed", report.details
    assert said in report.details[name]
    assert report.exit_code == 1


def test_newer_database_is_a_warning(installation: Installation) -> None:
    installation.sql("INSERT INTO finpay.schema_migrations VALUES ('29990101000000')")
    report = installation.report()
    assert (report.exit_code, report.not_ok()) == (0, {"migrations": "warning"})


def test_app_with_the_owners_login_is_found(installation: Installation) -> None:
    report = installation.report(DATABASE_URL=installation.owner_url)
    assert report.not_ok() == {"logins": "warning", "login": "failed"}, report.details
    both = installation.report(DATABASE_URL=installation.owner_url, FINPAY_DATABASE_OWNER_URL="")
    assert both.not_ok() == {"logins": "warning", "login": "warning"}, both.details


def test_refused_login_is_found(installation: Installation) -> None:
    unknown_login = installation.app_url.replace("://", "://unknown_").replace("doctor_", "")
    report = installation.report(DATABASE_URL=unknown_login)
    assert report.states["postgres"] == "failed"
    assert "refuses the login" in report.details["postgres"]


@pytest.mark.fault("O5")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_database_that_is_not_in_utf8_is_found(
    installation: Installation, worker_id: str, encoding: str
) -> None:
    name = f"{encoding.lower()}_{worker_id}"
    installation.cluster.sql(
        f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
        " LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    base = installation.app_url.rpartition("/")[0]
    report = installation.report(DATABASE_URL=f"{base}/{name}")
    drop_database(installation.cluster, name)
    assert report.states["postgres encoding"] == "failed", report.details
    assert encoding in report.details["postgres encoding"]
    assert "ENCODING 'UTF8'" in report.details["postgres encoding"]
    assert report.exit_code == 1


def test_server_without_fsync_is_found(
    own_postgres: Callable[..., OwnPostgres], redis_url: str
) -> None:
    server = own_postgres(fsync="off")
    installation = Installation(server.server, server.url, server.url, redis_url)
    report = installation.report(FINPAY_DATABASE_OWNER_URL="")
    assert report.states["postgres durability"] == "failed"
    assert "fsync off" in report.details["postgres durability"]
    development = installation.report(FINPAY_DATABASE_OWNER_URL="", FINPAY_ENV="development")
    assert development.states["postgres durability"] == "warning"


@pytest.mark.parametrize(
    ("settings", "state", "said"),
    [
        ({"maxmemory_policy": "noeviction"}, "warning", "refuses writes"),
        ({"maxmemory": "0"}, "warning", "grows until"),
        ({"maxmemory_policy": "volatile-lfu"}, "ok", "256 MiB, volatile-lfu"),
    ],
)
def test_redis_that_does_not_evict_is_found(
    installation: Installation,
    own_valkey: Callable[..., OwnValkey],
    settings: dict[str, str],
    state: str,
    said: str,
) -> None:
    report = installation.report(REDIS_URL=own_valkey(**settings).url)
    assert report.states["redis policy"] == state
    assert said in report.details["redis policy"]


@pytest.mark.parametrize(("skew_s", "state"), [(0.5, "ok"), (-2.0, "warning"), (9.0, "failed")])
async def test_clock_skew_is_found(database_url: str, skew_s: float, state: str) -> None:
    database = Database(database_url, size=1)
    try:
        result = await clock(database, lambda: time.time() - skew_s)
    finally:
        await database.close()
    assert result.state == state, result.detail


def test_passwords_are_never_shown(installation: Installation) -> None:
    hidden = "hush-hush-hush"
    report = installation.report(
        DATABASE_URL=f"postgresql://app:{hidden}@127.0.0.1:1/finpay",
        FINPAY_DATABASE_OWNER_URL=f"postgresql://owner:{hidden}@127.0.0.1:1/finpay",
        REDIS_URL=f"redis://default:{hidden}@127.0.0.1:1/0",
    )
    assert report.exit_code == 1
    assert hidden not in json.dumps(report.details)
    assert "a-secret-of-the-test" not in json.dumps(report.details)


def test_help_explains_the_exit_codes(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "doctor", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Exit code 0" in done.stdout
