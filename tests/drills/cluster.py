"""What both drills stand on: PostgreSQL nodes that can be copied and killed, a Valkey, an API.

Everything is started here, on free ports, in a folder that is removed at the end.
"""

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from finpay.dev.child_process import free_port, run
from finpay.dev.data_dir import DataDir, remove_data_dir
from finpay.dev.postgres import SUPERUSER, Cluster, Postgres
from finpay.dev.valkey import Valkey
from tests.api_process import Api, await_ready, start_api
from tests.servers import Run, signal_tree

DATABASE: Final = "finpay"
DEBIAN: Final = Path("/usr/lib/postgresql/15/bin")  # the oldest we support, where it is installed
TOOL_LIMIT_S: Final = 30.0
_POLL_S: Final = 0.01


@dataclass
class Stage:
    """The folder and the programs of one drill."""

    run: Run
    folder: Path
    valkey: Valkey
    ends: ExitStack
    nodes: list["Node"] = field(default_factory=list)

    def node(self, **settings: str) -> "Node":
        """A PostgreSQL node that is not started yet."""
        name = f"node-{len(self.nodes)}"
        made = Node(self.run, self.run.place(name), free_port(), settings)
        self.nodes.append(made)
        return made

    def serve(self, database_url: str) -> Api:
        """An API with two processes on that database. It ends with the stage."""
        api = start_api(self.folder, database_url, self.valkey.url, FINPAY_WORKERS="2")
        self.ends.callback(api.stop)
        await_ready(api)
        return api

    def stop_nodes(self) -> None:
        for node in self.nodes:
            node.stop()

    def flush_redis(self) -> None:
        with socket.create_connection(("127.0.0.1", self.valkey.port), timeout=5) as line:
            line.sendall(b"FLUSHALL\r\n")
            assert line.recv(64) == b"+OK\r\n"


@dataclass
class Node:
    """One PostgreSQL server, at the same port all its life. Its data may be replaced."""

    run: Run
    place: DataDir
    port: int
    settings: dict[str, str]
    server: Postgres | None = None

    @property
    def data(self) -> Path:
        return self.place.data_folder("postgres") / "data"

    @property
    def running(self) -> Postgres:
        assert self.server is not None
        return self.server

    def start(self) -> None:
        self.server = self.run.start_postgres(self.place, port=self.port, settings=self.settings)

    def kill(self) -> None:
        """As a power cut would. It is dead when this returns."""
        signal_tree(self.running.pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()

    def sql(self, statement: str, database: str = "postgres") -> str:
        return self.running.sql(statement, database)

    def tool(self, name: str, *arguments: str | Path, source: Cluster | None = None) -> str:
        """One of PostgreSQL's programs, as the servers' account."""
        binaries = (source or self.running).binaries
        return run([binaries / name, *arguments], account=self.place.account, failure=name)

    def shell(self, *command: str | Path) -> str:
        """A command of the system, as the servers' account."""
        return run(command, account=self.place.account, failure=str(command[0]))

    def copy(self, primary: "Node", *more: str, into: Path | None = None) -> None:
        """A base backup of `primary` as this node's data, or in a folder of its own."""
        target = into or self.data
        shutil.rmtree(target, ignore_errors=True)
        arguments = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", SUPERUSER, "-c", "fast"]
        self.tool("pg_basebackup", "-D", target, *arguments, *more, source=primary.running)

    def configure(self, **settings: str) -> None:
        """Written into the data folder: may be changed while the server runs, unlike `settings`."""
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


@contextmanager
def stage(postgres_bin: Path | None = None) -> Iterator[Stage]:
    """`postgres_bin`: another bin folder than the wheel's."""
    folder = Path(tempfile.mkdtemp(prefix="finpay-drill-"))
    folder.chmod(0o755)  # the servers' account has to pass through
    run = Run(str(folder), str(postgres_bin) if postgres_bin else None, None)
    with ExitStack() as ends:
        ends.callback(_remove, folder)
        valkey = run.start_valkey(run.place("valkey"))
        ends.callback(valkey.stop)
        made = Stage(run, folder, valkey, ends)
        ends.callback(made.stop_nodes)
        yield made


def installed() -> Path | None:
    """The bin folder of FINPAY_TEST_POSTGRES_BIN, else Debian's PostgreSQL 15, else the wheel's."""
    named = os.environ.pop("FINPAY_TEST_POSTGRES_BIN", None)  # no setting of the API
    if named:
        return Path(named)
    return DEBIAN if (DEBIAN / "postgres").exists() else None


def seconds_until(what: str, is_so: Any, limit_s: float) -> float:
    """How long it took."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < limit_s, f"not within {limit_s} s: {what}"
        time.sleep(_POLL_S)
    return time.monotonic() - started


def show(title: str, rows: Sequence[Any]) -> None:
    """A table for people, and the same as JSON lines when the output is no terminal."""
    names = list(asdict(rows[0]))
    lines = [names, *([_shown(value) for value in asdict(row).values()] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    sys.stdout.write(f"\n{title}\n")
    for line in lines:
        sys.stdout.write("  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)))
        sys.stdout.write("\n")
    sys.stdout.write(json.dumps({"title": title, "rows": [asdict(row) for row in rows]}) + "\n")
    sys.stdout.flush()


def _shown(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _remove(folder: Path) -> None:
    for home in folder.iterdir():
        if home.is_dir():
            remove_data_dir(home)
    shutil.rmtree(folder, ignore_errors=True)
