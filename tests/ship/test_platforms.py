"""DATABASE_URL and REDIS_URL as hosting platforms set them: one login, TLS, their URL forms."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import pytest

from finpay.db import migrate
from finpay.dev.postgres import Cluster
from finpay.dev.valkey import Valkey
from tests.api_process import Api
from tests.servers import Run
from tests.ship.tls import Certificate, ended_tls, make_certificate

INIT_SCRIPT: Final = Path(__file__).parents[2] / "deploy/compose/initdb/10-logins.sh"
_NUMBERS: Final = count(1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def hosted(postgres_server: Cluster, worker_id: str) -> Iterator[str]:
    """An empty database, and its login: with CREATEROLE but no superuser, as on platforms."""
    name = f"hosted_{worker_id}_{next(_NUMBERS)}"
    postgres_server.sql(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'p%40ss'")
    # The roles are the cluster's: who made them first may hand them on.
    postgres_server.sql(f"GRANT finpay_owner, finpay_app TO {name}")
    postgres_server.sql(f"CREATE DATABASE {name} OWNER {name}")
    yield f"{name}:p%40ss@localhost:{{port}}/{name}"
    postgres_server.sql(f"DROP DATABASE {name} WITH (FORCE)")
    postgres_server.sql(f"DROP OWNED BY {name}")
    postgres_server.sql(f"DROP ROLE {name}")


@pytest.fixture
def postgres_tls(postgres_server: Cluster, certificate: Certificate) -> Iterator[int]:
    with ended_tls(postgres_server.port, certificate, postgres=True) as port:
        yield port


@pytest.fixture
def redis_tls(valkey_server: Valkey, certificate: Certificate) -> Iterator[int]:
    with ended_tls(valkey_server.port, certificate) as port:
        yield port


def _migrate(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "finpay", "migrate"],
        env={"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.contract("2.3.5")
def test_one_url_with_tls_migrates_and_serves(
    hosted: str,
    postgres_tls: int,
    redis_tls: int,
    certificate: Certificate,
    serve: Callable[..., Api],
) -> None:
    url = f"postgres://{hosted.format(port=postgres_tls)}?sslmode=require"
    done = _migrate(url)
    assert done.returncode == 0, done.stderr
    assert "up to date" in _migrate(url).stdout, "and again"
    redis_url = f"rediss://default:@localhost:{redis_tls}/0?ssl_ca_certs={certificate.authority}"
    api = serve(DATABASE_URL=url, REDIS_URL=redis_url, FINPAY_DATABASE_OPERATOR_URL="")
    ready = httpx.get(f"{api.url}/readyz", trust_env=False)
    assert ready.json()["status"] == "ok", "ok and not warn: Redis is reached over TLS too"


def test_a_certificate_of_an_unknown_authority_is_not_trusted(
    redis_tls: int, serve: Callable[..., Api]
) -> None:
    api = serve(REDIS_URL=f"rediss://localhost:{redis_tls}/0")
    assert httpx.get(f"{api.url}/readyz", trust_env=False).json()["status"] == "warn"


def test_sslmode_require_refuses_a_server_without_tls(postgres_server: Cluster) -> None:
    """A man in the middle can claim that the server has no TLS."""
    url = f"{postgres_server.url('postgres')}?sslmode=require"
    done = _migrate(url)
    assert done.returncode == 2
    assert "can't connect" in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://finpay:secret@dpg-abc123-a/finpay",  # Render: no port
        "postgresql://postgres:secret@postgres.railway.internal:5432/railway",
        "postgres://u:p%40ss@db.example.com:6543/app?sslmode=require",
    ],
)
def test_dbmate_and_finpay_read_the_same_url(url: str) -> None:
    ours, theirs = urlsplit(url), urlsplit(migrate.dbmate_url(url))
    assert (ours.scheme, ours.netloc, ours.path) == (theirs.scheme, theirs.netloc, theirs.path)
    assert ("sslmode=require" if "require" in url else "sslmode=prefer") in theirs.query


@pytest.mark.contract("2.3.5")
def test_the_logins_of_docker_compose_have_only_the_rights_of_their_roles(
    run: Run, worker_id: str, redis_url: str
) -> None:
    """After the script of initdb and the migrations."""
    server = run.start_postgres(f"compose-{worker_id}-{next(_NUMBERS)}")
    try:
        server.ensure_database("finpay")
        environment = {
            "PATH": f"{server.binaries}:{os.environ['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "POSTGRES_USER": "postgres",
            "POSTGRES_DB": "finpay",
            "FINPAY_APP_PASSWORD": "it's odd",
            "FINPAY_OPERATOR_PASSWORD": "'; --",
        }
        subprocess.run([INIT_SCRIPT], env=environment, check=True, capture_output=True)
        assert _migrate(server.url("finpay")).returncode == 0
        urls = {
            "DATABASE_URL": server.url("finpay", "finpay_app"),
            "FINPAY_DATABASE_OPERATOR_URL": server.url("finpay", "finpay_operator"),
            "FINPAY_DATABASE_OWNER_URL": server.url("finpay"),
            "REDIS_URL": redis_url,
        }
        report = subprocess.run(
            [sys.executable, "-m", "finpay", "doctor"], env=urls, capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert "finpay_app is a member of finpay_app only" in report.stdout
        assert "the routes of operators can connect" in report.stdout
    finally:
        server.stop()
