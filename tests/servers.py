"""The servers that tests run on: real ones, on free ports, away from `.finpay/`.

One PostgreSQL cluster serves all pytest-xdist workers of a run: the first worker that needs it
starts it, the others join. Tests that stop, hang or flush a server start their own.
"""

import fcntl
import json
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from finpay.dev.data_dir import DataDir, open_data_dir
from finpay.dev.postgres import Cluster, Postgres
from finpay.dev.stack import create_database
from finpay.dev.valkey import Valkey
from tests.support.processes import signal_tree

TEMPLATE: Final = "finpay_template"


class Run(NamedTuple):
    """What all workers of a pytest run share: a folder, and binaries instead of the wheels'.

    Plain strings, because pytest hands it to its workers.
    """

    folder: str
    postgres_bin: str | None
    redis_server: str | None

    def data_dir(self, name: str) -> DataDir:
        return open_data_dir(Path(self.folder, name))

    def postgres(
        self, data_dir: DataDir, *, port: int = 0, settings: Mapping[str, str] | None = None
    ) -> Postgres:
        binaries = Path(self.postgres_bin) if self.postgres_bin else None
        return Postgres(data_dir, port=port, settings=settings, binaries=binaries)

    def valkey(
        self, data_dir: DataDir, *, port: int = 0, settings: Mapping[str, str] | None = None
    ) -> Valkey:
        binary = Path(self.redis_server) if self.redis_server else None
        return Valkey(data_dir, port=port, settings=settings, binary=binary)

    def start_postgres(self, name: str, settings: Mapping[str, str] | None = None) -> Postgres:
        """A running cluster with its data in the folder `name` of this run."""
        server = self.postgres(self.data_dir(name), settings=settings)
        server.start()
        return server

    def start_valkey(self, name: str, settings: Mapping[str, str] | None = None) -> Valkey:
        """A running Valkey with its log in the folder `name` of this run."""
        server = self.valkey(self.data_dir(name), settings=settings)
        server.start()
        return server


@contextmanager
def shared_postgres(run: Run) -> Iterator[Cluster]:
    """The cluster of this run, with a migrated TEMPLATE.

    Every worker that uses the cluster holds a shared lock on the file `users`; the worker that
    stops it waits for an exclusive one. The file `start-stop` is locked while the cluster starts or
    stops, so a late worker finds either a running cluster or none, and then starts another.
    """
    state, start_stop = Path(run.folder, "cluster.json"), Path(run.folder, "start-stop")
    with Path(run.folder, "users").open("w") as users:
        with _locked(start_stop):
            own = None if state.exists() else _start_shared(run, state)
            fcntl.flock(users, fcntl.LOCK_SH)
        running = json.loads(state.read_text())
        try:
            yield Cluster(running["port"], Path(running["binaries"]))
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            if own is not None:
                with _locked(start_stop):
                    fcntl.flock(users, fcntl.LOCK_EX)
                    state.unlink()
                    own.stop()


class OwnPostgres:
    """A cluster for one test, with a migrated database `finpay`. Restarts keep its port."""

    def __init__(self, run: Run, name: str, settings: Mapping[str, str]) -> None:
        self.server = run.start_postgres(name, settings)
        create_migrated(self.server, "finpay")

    @property
    def url(self) -> str:
        return self.server.url("finpay")

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        """As in a power cut: no checkpoint, and recovery at the next start."""
        signal_tree(self.server.pid, signal.SIGKILL)
        self.server.stop()

    def hang(self) -> None:
        """The kernel still accepts connections, but no answer comes."""
        signal_tree(self.server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        signal_tree(self.server.pid, signal.SIGCONT)


class OwnValkey:
    """A Valkey for one test. Restarts keep its port and lose its keys."""

    def __init__(self, run: Run, name: str, settings: Mapping[str, str]) -> None:
        self.server = run.start_valkey(name, settings)

    @property
    def url(self) -> str:
        return self.server.url

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def hang(self) -> None:
        signal_tree(self.server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        signal_tree(self.server.pid, signal.SIGCONT)


def in_thread(work: Callable[[], object]) -> None:
    """Run `work` in another thread: a sync fixture of an async test may not start a loop here."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(work).result()


def create_migrated(cluster: Cluster, database: str) -> None:
    in_thread(lambda: create_database(cluster, database))


def clone_template(cluster: Cluster, database: str) -> str:
    """A migrated database without data; returns its URL."""
    cluster.sql(f'CREATE DATABASE "{database}" TEMPLATE {TEMPLATE}')
    return cluster.url(database)


def drop_database(cluster: Cluster, database: str) -> None:
    cluster.sql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def _start_shared(run: Run, state: Path) -> Postgres:
    server = run.start_postgres("shared", {"max_connections": "300"})
    create_migrated(server, TEMPLATE)
    state.write_text(json.dumps({"port": server.port, "binaries": str(server.binaries)}))
    return server


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
