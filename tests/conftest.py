"""Fixtures for tests that need servers. A run without such tests starts none.

Two environment variables belong to the tests alone: FINPAY_TEST_POSTGRES_BIN (a bin folder) and
FINPAY_TEST_REDIS_SERVER (a program) replace the servers of the wheels.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import settings

from finpay.dev.data_dir import remove_data_dir
from finpay.dev.postgres import Cluster
from finpay.dev.valkey import Valkey
from tests.api.statement_accounts import WriteHistory, histories
from tests.api_process import PUBLIC_URL, Api, await_ready, running_api, start_api
from tests.servers import (
    OwnPostgres,
    OwnValkey,
    Run,
    clone_template,
    drop_database,
    shared_postgres,
)

# The same examples each time in CI: new ones are found on a developer's machine, not in a release.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

_RUN: Final = pytest.StashKey[Run]()
_SERVER_SETTINGS: Final = ("DATABASE_URL", "REDIS_URL", "PORT", "HOST")


def pytest_configure(config: pytest.Config) -> None:
    """One folder per run, created by the main process and passed to its workers.

    The developer's own settings are removed: no test may reach a server that it did not start.
    """
    workerinput: dict[str, Any] | None = getattr(config, "workerinput", None)
    if workerinput is not None:
        run = Run(*workerinput["finpay_run"])
    else:
        run = Run(
            tempfile.mkdtemp(prefix="finpay-test-"),
            os.environ.get("FINPAY_TEST_POSTGRES_BIN"),
            os.environ.get("FINPAY_TEST_REDIS_SERVER"),
        )
        Path(run.folder).chmod(0o755)  # for the servers' account
    for name in list(os.environ):
        if name.startswith("FINPAY_") or name in _SERVER_SETTINGS:
            del os.environ[name]
    config.stash[_RUN] = run


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the run to a pytest-xdist worker."""
    node.workerinput["finpay_run"] = tuple(node.config.stash[_RUN])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the run's folder, and data outside of it where root's servers can't enter it."""
    if hasattr(config, "workerinput") or _RUN not in config.stash:
        return
    folder = Path(config.stash[_RUN].folder)
    for home in folder.iterdir():
        if home.is_dir():
            remove_data_dir(home)
    remove_data_dir(folder)


@pytest.fixture(scope="session")
def run(request: pytest.FixtureRequest) -> Run:
    return request.config.stash[_RUN]


@pytest.fixture(scope="session")
def postgres_server(run: Run) -> Iterator[Cluster]:
    """The run's cluster: `.port`, `.url(database, login)`, `.sql(statement, database)`."""
    with shared_postgres(run) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def database_url(postgres_server: Cluster, worker_id: str) -> Iterator[str]:
    """The database of this pytest worker, migrated. Its login, a superuser, is owner and app."""
    name = f"finpay_{worker_id}"
    yield clone_template(postgres_server, name)
    drop_database(postgres_server, name)


@pytest.fixture
def fresh_database(postgres_server: Cluster, worker_id: str) -> Iterator[Callable[[], str]]:
    """Call it for the URL of a migrated, empty database that is dropped after the test."""
    made: list[str] = []

    def create() -> str:
        name = f"fresh_{worker_id}_{next(_NUMBERS)}"
        made.append(name)
        return clone_template(postgres_server, name)

    yield create
    for name in made:
        drop_database(postgres_server, name)


@pytest.fixture(scope="session")
def valkey_server(run: Run, worker_id: str) -> Iterator[Valkey]:
    """The Valkey of this pytest worker."""
    server = run.start_valkey(f"valkey-{worker_id}")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_url(valkey_server: Valkey) -> str:
    return valkey_server.url


@pytest.fixture(scope="session")
def other_redis_url(valkey_server: Valkey) -> str:
    """For what has other data than `database_url`: two of them must not share keys."""
    return f"{valkey_server.url.rpartition('/')[0]}/15"


@pytest.fixture
def own_postgres(run: Run, worker_id: str) -> Iterator[Callable[..., OwnPostgres]]:
    """Call it for a cluster that the test may stop, kill, hang, resume and start.

    Keyword arguments are settings of PostgreSQL.
    """
    made: list[OwnPostgres] = []

    def start(**settings: str) -> OwnPostgres:
        made.append(OwnPostgres(run, f"postgres-{worker_id}-{next(_NUMBERS)}", settings))
        return made[-1]

    yield start
    for server in made:
        server.resume()
        server.stop()


@pytest.fixture
def own_valkey(run: Run, worker_id: str) -> Iterator[Callable[..., OwnValkey]]:
    """Call it for a Valkey that the test may stop, hang, resume, start and flush.

    Keyword arguments are settings of Valkey, with `_` for `-`.
    """
    made: list[OwnValkey] = []

    def start(**settings: str) -> OwnValkey:
        options = {name.replace("_", "-"): value for name, value in settings.items()}
        made.append(OwnValkey(run, f"own-valkey-{worker_id}-{next(_NUMBERS)}", options))
        return made[-1]

    yield start
    for server in made:
        server.resume()
        server.stop()


_NUMBERS: Final = count(1)


@pytest.fixture(scope="session")
def api(
    database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """The API of this pytest worker, with rate limits off."""
    settings = {"FINPAY_PUBLIC_URL": PUBLIC_URL}
    folder = tmp_path_factory.mktemp("api")
    with running_api(folder, database_url, redis_url, **settings) as running:
        yield running


@pytest.fixture
def serve(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Call it for another API, stopped after the test: `serve(FINPAY_WORKERS="2")`.

    Settings may include DATABASE_URL and REDIS_URL; `ready=False` does not wait. Another database
    has a database of its own in Redis: an API that starts deletes the keys of other data.
    """
    made: list[Api] = []

    def start(*, ready: bool = True, **settings: str) -> Api:
        own_redis = f"{redis_url.rpartition('/')[0]}/{1 + next(_NUMBERS) % 14}"
        redis = own_redis if "DATABASE_URL" in settings else redis_url
        urls = {"DATABASE_URL": database_url, "REDIS_URL": redis} | settings
        made.append(start_api(tmp_path, urls.pop("DATABASE_URL"), urls.pop("REDIS_URL"), **urls))
        if ready:
            await_ready(made[-1])
        return made[-1]

    yield start
    for running in made:
        running.stop()


@pytest.fixture(scope="module")
def write_history(database_url: str) -> Iterator[WriteHistory]:
    with histories(database_url) as write:
        yield write
