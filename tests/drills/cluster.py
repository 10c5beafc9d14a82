"""What both drills run on: PostgreSQL nodes that can be copied and killed, a Valkey, an API.

Everything runs on free ports, in a folder that is removed at the end.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final

from finpay.dev.child_process import free_port, run
from finpay.dev.data_dir import remove_data_dir
from finpay.dev.postgres import SUPERUSER, Postgres
from finpay.dev.valkey import Valkey
from tests.api_process import Api, await_ready, start_api
from tests.servers import Run
from tests.support.processes import signal_tree
from tests.support.waiting import wait_until

DATABASE: Final = "finpay"
DEBIAN: Final = Path("/usr/lib/postgresql/15/bin")  # the oldest supported version, if installed


class Node(Postgres):
    """One PostgreSQL server. Its data may be replaced while it is stopped."""

    def kill(self) -> None:
        """As in a power cut. No process of it is left when this returns."""
        signal_tree(self.pid, SIGKILL)
        self.stop()

    def tool(self, name: str, *arguments: str | Path) -> str:
        """Run one of PostgreSQL's programs as the servers' account."""
        return self.shell(self.binaries / name, *arguments)

    def shell(self, *command: str | Path) -> str:
        """Run a program as the servers' account."""
        return run(command, account=self.data_dir.account, failure=str(command[0]))

    def copy(self, primary: "Node", *more: str, into: Path | None = None) -> None:
        """A base backup of `primary` as this node's data, or in the folder `into`."""
        target = into or self.pgdata
        shutil.rmtree(target, ignore_errors=True)
        arguments = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", SUPERUSER, "-c", "fast"]
        self.tool("pg_basebackup", "-D", target, *arguments, *more)

    def configure(self, **settings: str) -> None:
        """Written into the data folder, so a running server can reload it, unlike `settings`."""
        with (self.pgdata / "postgresql.auto.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


@dataclass
class DrillCluster:
    """The folder and the servers of one drill."""

    run: Run
    valkey: Valkey
    cleanup: ExitStack
    nodes: list[Node] = field(default_factory=list)

    def node(self, **settings: str) -> Node:
        """A PostgreSQL node that is not started yet. It is stopped at the drill's end."""
        node = Node(
            self.run.data_dir(f"node-{len(self.nodes)}"),
            port=free_port(),
            settings=settings,
            binaries=Path(self.run.postgres_bin) if self.run.postgres_bin else None,
        )
        self.cleanup.callback(node.stop)
        self.nodes.append(node)
        return node

    def serve(self, database_url: str) -> Api:
        """An API with two processes on that database, stopped at the drill's end."""
        api = start_api(Path(self.run.folder), database_url, self.valkey.url, FINPAY_WORKERS="2")
        self.cleanup.callback(api.stop)
        await_ready(api)
        return api


@contextmanager
def drill_cluster(postgres_bin: Path | None = None) -> Iterator[DrillCluster]:
    """`postgres_bin`: another bin folder than the wheel's."""
    folder = Path(tempfile.mkdtemp(prefix="finpay-drill-"))
    folder.chmod(0o755)  # for the servers' account
    run = Run(str(folder), str(postgres_bin) if postgres_bin else None, None)
    with ExitStack() as cleanup:
        cleanup.callback(_remove, folder)
        valkey = run.start_valkey("valkey")
        cleanup.callback(valkey.stop)
        yield DrillCluster(run, valkey, cleanup)


def installed_postgres() -> Path | None:
    """The bin folder of FINPAY_TEST_POSTGRES_BIN, else Debian's PostgreSQL 15, else the wheel's."""
    named = os.environ.pop("FINPAY_TEST_POSTGRES_BIN", None)  # not a setting of the API
    if named:
        return Path(named)
    return DEBIAN if (DEBIAN / "postgres").exists() else None


def seconds_until(what: str, condition: Callable[[], object], limit_s: float) -> float:
    return wait_until(condition, limit_s, what)


def show(title: str, rows: Sequence[Any]) -> None:
    """A table, and the same rows as one line of JSON."""
    names = list(asdict(rows[0]))
    lines = [names, *([_format(value) for value in asdict(row).values()] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
    sys.stdout.write(f"\n{title}\n")
    for line in lines:
        sys.stdout.write("  ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)))
        sys.stdout.write("\n")
    sys.stdout.write(json.dumps({"title": title, "rows": [asdict(row) for row in rows]}) + "\n")
    sys.stdout.flush()


def _format(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _remove(folder: Path) -> None:
    for home in folder.iterdir():
        if home.is_dir():
            remove_data_dir(home)
    shutil.rmtree(folder, ignore_errors=True)
