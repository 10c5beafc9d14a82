"""`finpay dev` for a new user: one command, a command to paste, Ctrl-C."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from finpay.dev.child_process import free_port
from finpay.dev.data_dir import remove_data_dir
from tests.servers import OwnPostgres, OwnValkey, Run

_LIMIT_S: Final = 30.0
_LAST_LINE: Final = "Ctrl-C stops everything"


@dataclass(frozen=True, slots=True)
class Dev:
    """A running `finpay dev` and its output."""

    process: subprocess.Popen[str]
    output: str

    @property
    def url(self) -> str:
        return found(r"API +(\S+)/api/v1", self.output)

    @property
    def command(self) -> str:
        """The command to paste: from TOKEN= to the empty line."""
        return found(r"(?s)(TOKEN=.*?)\n\n", self.output)

    def paste(self) -> Any:
        """The answer to the pasted command."""
        done = subprocess.run(
            ["sh", "-c", self.command], capture_output=True, text=True, check=True, timeout=_LIMIT_S
        )
        return json.loads(done.stdout)

    def processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def end(self, number: signal.Signals) -> int:
        """As a terminal does: the signal goes to the whole foreground group."""
        os.killpg(self.process.pid, number)
        return self.process.wait(_LIMIT_S)


@pytest.fixture
def project(run: Run) -> Iterator[Path]:
    """An empty folder to run in."""
    path = Path(run.folder, f"project-{os.getpid()}-{next(_NUMBERS)}")
    path.mkdir()
    yield path
    remove_data_dir(path / ".finpay")


@pytest.fixture
def start(project: Path) -> Iterator[Callable[..., Dev]]:
    """Call it to run `finpay dev` in the project and wait for its last line. Stopped at the end."""
    started: list[subprocess.Popen[str]] = []

    def start_it(**environment: str) -> Dev:
        process = _popen(project, environment)
        started.append(process)
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if _LAST_LINE in line:
                return Dev(process, output)
        pytest.fail(f"finpay dev ended with {process.wait()}: {output}")

    yield start_it
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=_LIMIT_S)


@pytest.mark.contract("4.1.1")
def test_pasted_command_sends_money_that_the_next_start_remembers(
    start: Callable[..., Dev], project: Path
) -> None:
    dev = start()
    first, second = dev.paste(), dev.paste()
    assert (first["status"], first["amount"], first["currency"]) == ("completed", 2500, "ZAR")
    assert first["balance_after"] == 10_000_00 - 2500
    assert second["id"] != first["id"], "each paste is a new payment"
    processes = dev.processes()
    assert dev.end(signal.SIGINT) == 0
    assert running(processes) == [], "Ctrl-C leaves nothing running"
    assert not (project / ".finpay" / "env").exists()

    began = time.monotonic()
    second_start = start(PORT=dev.url.rpartition(":")[2])
    assert time.monotonic() - began < 5
    assert second_start.paste()["balance_after"] == 10_000_00 - 3 * 2500


def test_sigkill_stops_every_server(start: Callable[..., Dev]) -> None:
    dev = start()
    processes = dev.processes()
    dev.process.kill()
    dev.process.wait()

    deadline = time.monotonic() + _LIMIT_S
    while running(processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running(processes) == []


def test_second_start_in_the_same_folder_names_the_running_process(
    start: Callable[..., Dev], project: Path
) -> None:
    first = start()
    assert (project / ".finpay" / "url").read_text() == f"{first.url}\n"
    path = project / ".finpay" / "env"
    names = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert set(names) == {
        "DATABASE_URL", "FINPAY_DATABASE_OPERATOR_URL", "FINPAY_DATABASE_OWNER_URL", "REDIS_URL",
    }  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600

    code, output = _run(project)
    assert code == 2
    assert f"already runs in this folder (process {first.process.pid})" in output
    assert path.exists()


@pytest.mark.contract("4.1.1")
def test_taken_port_is_an_error_before_any_server_starts(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = _run(project, PORT=str(port))
    assert code == 2
    assert f"port {port} is taken" in output
    assert not (project / ".finpay" / "postgres").exists()


def test_server_that_exits_stops_the_others(start: Callable[..., Dev]) -> None:
    dev = start()
    processes = dev.processes()
    next(process for process in processes if "valkey" in process.name()).kill()

    assert dev.process.wait(_LIMIT_S) == 1
    assert dev.process.stdout is not None
    assert "Valkey ended by itself" in dev.process.stdout.read()
    assert running(processes) == []


def test_servers_of_the_environment_are_used_and_left_running(
    start: Callable[..., Dev],
    project: Path,
    own_postgres: Callable[[], OwnPostgres],
    own_valkey: Callable[[], OwnValkey],
) -> None:
    postgres, valkey = own_postgres(), own_valkey()
    dev = start(DATABASE_URL=postgres.url, REDIS_URL=valkey.url)
    assert dev.paste()["status"] == "completed"
    assert not (project / ".finpay" / "postgres").exists()
    dev.end(signal.SIGTERM)

    assert postgres.server.running
    assert valkey.server.running


@pytest.mark.fault("O3")
def test_database_of_the_environment_that_is_gone_is_an_error_with_the_way_out(
    project: Path,
) -> None:
    """As in a shell that loaded .finpay/env of a `finpay dev` that was stopped."""
    gone = f"postgresql://finpay_app@127.0.0.1:{free_port()}/finpay"
    code, output = _run(project, DATABASE_URL=gone, REDIS_URL="redis://127.0.0.1:1/0")
    assert code == 2
    assert "can't connect to PostgreSQL" in output
    assert "unset DATABASE_URL FINPAY_DATABASE_OWNER_URL FINPAY_DATABASE_OPERATOR_URL" in output


@pytest.mark.fault("O3")
def test_commands_in_its_folder_find_it_at_another_port(
    start: Callable[..., Dev], project: Path
) -> None:
    start()
    environment = {name: value for name, value in os.environ.items() if name != "PORT"}
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "webhooks", "trigger", "transaction.completed"],
        cwd=project, env=environment, capture_output=True, text=True,
        timeout=_LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("transaction.completed  txn_")


def test_balances_of_the_output_are_those_of_the_ledger(start: Callable[..., Dev]) -> None:
    dev = start()
    assert "ZAR 10,000.00" in dev.output
    dev.paste()
    dev.end(signal.SIGTERM)
    second_start = start()
    assert "ZAR 9,975.00" in second_start.output
    assert "ZAR 5,025.00" in second_start.output


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if _is_running(process)]


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def _run(project: Path, **environment: str) -> tuple[int, str]:
    process = _popen(project, environment)
    output, _ = process.communicate(timeout=_LIMIT_S)
    return process.returncode, output


def _popen(project: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "finpay", "dev"],
        cwd=project,
        env={**os.environ, "PORT": str(free_port()), "FINPAY_WORKERS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


_NUMBERS: Final = count(1)
