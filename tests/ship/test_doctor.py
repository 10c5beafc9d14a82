"""`finpay doctor` finds what was broken on purpose, and nothing where all is well."""

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
from finpay.dev.postgres import Cluster
from finpay.doctor.postgres import clock
from tests.servers import OwnPostgres, OwnValkey

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
    """What `finpay doctor --json` said."""

    exit_code: int
    ok: bool
    states: dict[str, str]
    details: dict[str, str] = field(repr=False)

    def not_ok(self) -> dict[str, str]:
        return {name: state for name, state in self.states.items() if state != "ok"}


@dataclass(frozen=True, slots=True)
class Patient:
    """A database with one login for the app and one for the owner, and an orderly Redis."""

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
        return {"PATH": os.environ["PATH"], **_PRODUCTION, **urls, **changed}

    def examined(self, **changed: str) -> Report:
        done = _doctor("--json", environment=self.environment(**changed))
        told: dict[str, Any] = json.loads(done.stdout)
        checks = told["checks"]
        return Report(
            done.returncode,
            told["ok"],
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
        run.place(f"doctor-valkey-{worker_id}"), settings={"maxmemory-policy": "allkeys-lru"}
    )
    yield server.url
    server.stop()


@pytest.fixture
def patient(
    postgres_server: Cluster,
    fresh_database: Callable[[], str],
    healthy_valkey: str,
    worker_id: str,
) -> Iterator[Patient]:
    login = f"doctor_{worker_id}_{next(_NUMBERS)}"
    owner_url = fresh_database()
    postgres_server.sql(f"CREATE ROLE {login} LOGIN IN ROLE finpay_app")
    database = owner_url.rpartition("/")[2]
    yield Patient(postgres_server, owner_url, postgres_server.url(database, login), healthy_valkey)
    postgres_server.sql(f"DROP ROLE {login}")


def test_all_is_well_in_a_good_production(patient: Patient) -> None:
    report = patient.examined()
    assert (report.exit_code, report.ok, report.not_ok()) == (0, True, {}), report.details
    assert len(report.states) > 20


def test_the_words_for_people_end_with_a_count(patient: Patient) -> None:
    done = _doctor(environment=patient.environment(FINPAY_RATE_LIMIT_AUTH="off"))
    assert done.returncode == 1
    assert "FAILED  limits" in done.stdout
    assert "→ Without limits passwords can be guessed" in done.stdout
    assert done.stdout.endswith("checks, 1 failed, 0 warnings.\n")


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
        ("redis", "failed", {"REDIS_URL": "redis://127.0.0.1:1/0"}),
    ],
)
def test_a_bad_setting_is_found(
    patient: Patient, name: str, state: str, changed: dict[str, str]
) -> None:
    report = patient.examined(**changed)
    assert report.states[name] == state, report.details
    assert report.ok is ("failed" not in report.states.values())
    assert report.exit_code == (0 if report.ok else 1)
    assert not report.details[name].endswith("→ "), "each finding comes with an advice"


@pytest.mark.parametrize(
    ("name", "said", "plant"),
    [
        ("rights", "ledger.entries", "GRANT INSERT ON ledger.entries TO finpay_app"),
        ("rights", "ledger.fund", "GRANT EXECUTE ON FUNCTION ledger.fund TO finpay_app"),
        ("rights", "ledger.wire_time", "GRANT EXECUTE ON FUNCTION ledger.wire_time TO PUBLIC"),
        (
            "rights",
            "ledger.accounts",
            "GRANT UPDATE (balance) ON ledger.accounts TO finpay_app",
        ),
        (
            "migrations",
            "20261122000003_ledger.sql",
            "DELETE FROM finpay.schema_migrations WHERE version = '20261122000003'",
        ),
    ],
)
def test_a_broken_database_is_found(patient: Patient, name: str, said: str, plant: str) -> None:
    patient.sql(plant)
    report = patient.examined()
    assert report.states[name] == "failed", report.details
    assert said in report.details[name]
    assert report.exit_code == 1


def test_a_newer_database_is_only_mentioned(patient: Patient) -> None:
    patient.sql("INSERT INTO finpay.schema_migrations VALUES ('29990101000000')")
    report = patient.examined()
    assert (report.exit_code, report.not_ok()) == (0, {"migrations": "warning"})


def test_an_app_that_logs_in_as_the_owner_is_found(patient: Patient) -> None:
    report = patient.examined(DATABASE_URL=patient.owner_url)
    assert report.not_ok() == {"logins": "warning", "login": "failed"}, report.details
    both = patient.examined(DATABASE_URL=patient.owner_url, FINPAY_DATABASE_OWNER_URL="")
    assert both.not_ok() == {"logins": "warning", "login": "warning"}, both.details


def test_a_database_that_knows_no_roles_is_told_to_migrate(patient: Patient) -> None:
    unwelcome = patient.app_url.replace("://", "://stranger_to_").replace("doctor_", "")
    report = patient.examined(DATABASE_URL=unwelcome)
    assert report.states["postgres"] == "failed"
    assert "does not let us in" in report.details["postgres"]


def test_a_server_that_may_lose_commits_is_found(
    own_postgres: Callable[..., OwnPostgres], redis_url: str
) -> None:
    server = own_postgres(fsync="off")
    patient = Patient(server.server, server.url, server.url, redis_url)
    report = patient.examined(FINPAY_DATABASE_OWNER_URL="")
    assert report.states["postgres durability"] == "failed"
    assert "fsync off" in report.details["postgres durability"]
    lenient = patient.examined(FINPAY_DATABASE_OWNER_URL="", FINPAY_ENV="development")
    assert lenient.states["postgres durability"] == "warning"


@pytest.mark.parametrize(
    ("settings", "state", "said"),
    [
        ({"maxmemory_policy": "noeviction"}, "warning", "refuses writes"),
        ({"maxmemory": "0"}, "warning", "grows until"),
        ({"maxmemory_policy": "volatile-lfu"}, "ok", "256 MiB, volatile-lfu"),
    ],
)
def test_redis_has_to_make_room(
    patient: Patient,
    own_valkey: Callable[..., OwnValkey],
    settings: dict[str, str],
    state: str,
    said: str,
) -> None:
    report = patient.examined(REDIS_URL=own_valkey(**settings).url)
    assert report.states["redis policy"] == state
    assert said in report.details["redis policy"]


@pytest.mark.parametrize(("skew_s", "state"), [(0.5, "ok"), (-2.0, "warning"), (9.0, "failed")])
async def test_clocks_that_differ_are_found(database_url: str, skew_s: float, state: str) -> None:
    database = Database(database_url, size=1)
    try:
        finding = await clock(database, lambda: time.time() - skew_s)
    finally:
        await database.close()
    assert finding.state == state, finding.detail


def test_no_password_is_ever_shown(patient: Patient) -> None:
    hidden = "hush-hush-hush"
    report = patient.examined(
        DATABASE_URL=f"postgresql://app:{hidden}@127.0.0.1:1/finpay",
        FINPAY_DATABASE_OWNER_URL=f"postgresql://owner:{hidden}@127.0.0.1:1/finpay",
        REDIS_URL=f"redis://default:{hidden}@127.0.0.1:1/0",
    )
    assert report.exit_code == 1
    assert hidden not in json.dumps(report.details)
    assert "a-secret-of-the-test" not in json.dumps(report.details)


def test_help_says_what_the_exit_codes_mean(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "doctor", "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Exit code 0" in done.stdout
