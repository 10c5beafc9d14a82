"""PostgreSQL, Valkey, API processes and a worker: started, awaited and stopped together.

`finpay dev`, the tests, the benchmarks, the fault harness and the drills all run this stack.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, Self, TypeVar

from finpay.db import migrate
from finpay.dev.child_process import ChildProcess, free_port
from finpay.dev.postgres import Cluster, Postgres
from finpay.dev.valkey import Valkey

DATABASE: Final = "finpay"
DRAIN_LIMIT_S: Final = 30.0  # longer than `serve` and `worker` allow their work in progress
_READY_TIMEOUT_S: Final = 1.0  # /readyz never waits for a server; a slower answer is not ready


ServiceT = TypeVar("ServiceT", bound="Service")


@dataclass(frozen=True, slots=True)
class ServerUrls:
    """The servers of an API. `owner` logs in with the rights to migrate `database`,
    `operator` as finpay_operator; empty: without the routes of operators.
    """

    database: str = ""
    owner: str = ""
    redis: str = ""
    operator: str = ""


class Service(ChildProcess):
    """`finpay serve` or `finpay worker` (with its options) as production runs it."""

    stop_limit_s = DRAIN_LIMIT_S

    def __init__(self, command: str, environment: Mapping[str, str], log: Path) -> None:
        self.name = f"finpay {command}"
        self.environment = dict(environment)
        self.log = log
        self.command = [sys.executable, "-m", "finpay", *command.split()]

    def start(self) -> None:
        self._spawn(self.command, env=self.environment, cwd=Path.cwd())


class Api(Service):
    """`finpay serve` at one port: the environment's PORT, or a free one where it has none."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        host = environment.get("HOST") or "127.0.0.1"
        self.port = int(environment.get("PORT") or 0) or free_port()
        super().__init__("serve", {**environment, "PORT": str(self.port)}, log)
        # A wildcard is an address to listen on, not one to connect to.
        self._address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104

    @property
    def url(self) -> str:
        address = f"[{self._address}]" if ":" in self._address else self._address
        return f"http://{address}:{self.port}"

    def is_ready(self) -> bool:
        """Whether /readyz answers 200."""
        connection = HTTPConnection(self._address, self.port, timeout=_READY_TIMEOUT_S)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


class Stack:
    """One FinPay on this machine. Leaving the `with` block stops all that it started.

    `urls` names servers that run elsewhere; `postgres` and `valkey` are started instead. Logs of
    the services are in `folder`. `progress` gets a line before each slow step.
    """

    def __init__(
        self,
        folder: Path,
        urls: ServerUrls | None = None,
        *,
        postgres: Postgres | None = None,
        valkey: Valkey | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.urls = urls or ServerUrls()
        self.postgres = postgres
        self.valkey = valkey
        self.services: list[Service] = []
        self._progress = progress

    @property
    def databases(self) -> list[Postgres | Valkey]:
        """Those that this stack runs."""
        return [server for server in (self.postgres, self.valkey) if server is not None]

    @property
    def servers(self) -> list[ChildProcess]:
        """All that this stack runs; in reverse order they can be stopped."""
        return [*self.databases, *self.services]

    def start_databases(self) -> None:
        """Start PostgreSQL and Valkey, and migrate the database. DevError or MigrationError."""
        if self.valkey is not None:
            self._progress("Starting Valkey …")
            self.valkey.start()
            self.urls = replace(self.urls, redis=self.valkey.url)
        if self.postgres is None:
            self._progress("Migrating the database …")
            migrate_database(self.urls.owner)
            return
        created = "" if self.postgres.pgdata.exists() else " (the first start creates its data)"
        self._progress(f"Starting PostgreSQL{created} …")
        self.postgres.start()
        self._progress("Migrating the database …")
        owner = create_database(self.postgres, DATABASE)
        # The API has no right that it lacks in production.
        self.postgres.sql("ALTER ROLE finpay_app LOGIN; ALTER ROLE finpay_operator LOGIN")
        app = self.postgres.url(DATABASE, "finpay_app")
        operator = self.postgres.url(DATABASE, "finpay_operator")
        self.urls = replace(self.urls, database=app, owner=owner, operator=operator)

    def start_api(self, environment: Mapping[str, str], name: str = "serve") -> Api:
        """Start an API without waiting for it."""
        return self._started(Api(self._environment(environment), self._log(name)))

    def start_worker(self, environment: Mapping[str, str], name: str = "worker") -> Service:
        """Start a worker without waiting for it."""
        return self._started(Service("worker", self._environment(environment), self._log(name)))

    def stop(self) -> None:
        """Stop the services, together, then Valkey and PostgreSQL. Safe to repeat."""
        for service in self.services:
            service.terminate()
        for server in reversed(self.servers):
            server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        urls = {"DATABASE_URL": self.urls.database, "REDIS_URL": self.urls.redis}
        if self.urls.operator:
            urls["FINPAY_DATABASE_OPERATOR_URL"] = self.urls.operator
        return {**environment, **urls}

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _started(self, service: ServiceT) -> ServiceT:
        self.services.append(service)
        service.start()
        return service


def create_database(cluster: Cluster, name: str) -> str:
    """A migrated database, created where it is absent; its owner's URL."""
    cluster.ensure_database(name)
    migrate_database(cluster.url(name))
    return cluster.url(name)


def migrate_database(owner_url: str) -> None:
    """Create the roles and apply the migrations. MigrationError."""
    asyncio.run(_migrate(owner_url))


async def _migrate(owner_url: str) -> None:
    await migrate.prepare(owner_url)
    await migrate.apply(owner_url)
