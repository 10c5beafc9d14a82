"""`finpay dev` as a newcomer meets it: one command, a command to paste, Ctrl-C."""

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
from tests.servers import OwnPostgres, OwnValkey, Run

from finpay.dev.child_process import free_port
from finpay.dev.data_dir import remove_data_dir

_LIMIT_S: Final = 30.0
_LAST_LINE: Final = "Ctrl-C stops everything"


@dataclass(frozen=True, slots=True)
class Dev:
    """A running `finpay dev`: what it printed, its process and all that it started."""

    process: subprocess.Popen[str]
    output: str

    @property
    def url(self) -> str:
        return found(r"API +(\S+)/api/v1", self.output)

    @property
    def command(self) -> str:
        """What the newcomer pastes: from TOKEN= to the empty line."""
        return found(r"(?s)(TOKEN=.*?)\n\n", self.output)

    def paste(self) -> Any:
        """The answer to the pasted command."""
        done = subprocess.run(
            ["sh", "-c", self.command], capture_output=True, text=True, check=True, timeout=_LIMIT_S
        )
        return json.loads(done.stdout)

    def family(self) -> list[psutil.Process]:
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
    """Run `finpay dev` in the project until it says that it is ready. Killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def run_it(**environment: str) -> Dev:
        process = _popen(project, environment)
        started.append(process)
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if _LAST_LINE in line:
                return Dev(process, output)
        pytest.fail(f"finpay dev ended with {process.wait()}: {output}")

    yield run_it
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=_LIMIT_S)


@pytest.mark.contract("4.1.1")
def test_the_pasted_command_sends_money_and_a_second_start_remembers_it(
    start: Callable[..., Dev], project: Path
) -> None:
    dev = start()
    first, second = dev.paste(), dev.paste()
    assert (first["status"], first["amount"], first["currency"]) == ("completed", 2500, "ZAR")
    assert first["balance_after"] == 10_000_00 - 2500
    assert second["id"] != first["id"], "each paste is a new payment"
    family = dev.family()
    assert dev.end(signal.SIGINT) == 0
    assert living(family) == [], "Ctrl-C leaves nothing running"
    assert not (project / ".finpay" / "env").exists()

    began = time.monotonic()
    again = start(PORT=dev.url.rpartition(":")[2])
    assert time.monotonic() - began < 5
    assert again.paste()["balance_after"] == 10_000_00 - 3 * 2500


def test_a_kill_leaves_nothing_running(start: Callable[..., Dev]) -> None:
    dev = start()
    family = dev.family()
    dev.process.kill()
    dev.process.wait()

    deadline = time.monotonic() + _LIMIT_S
    while living(family) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert living(family) == []


def test_a_running_one_tells_others_where_its_servers_are(
    start: Callable[..., Dev], project: Path
) -> None:
    first = start()
    path = project / ".finpay" / "env"
    names = dict(line.split("=", 1) for line in path.read_text().splitlines())
    assert set(names) == {"DATABASE_URL", "FINPAY_DATABASE_OWNER_URL", "REDIS_URL"}
    assert path.stat().st_mode & 0o777 == 0o600

    code, said = _run(project)
    assert code == 2
    assert f"already runs in this folder (process {first.process.pid})" in said
    assert path.exists()


@pytest.mark.contract("4.1.1")
def test_a_taken_port_is_told_before_anything_starts(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, said = _run(project, PORT=str(port))
    assert code == 2
    assert f"port {port} is taken" in said
    assert not (project / ".finpay" / "postgres").exists()


def test_a_child_that_dies_ends_all(start: Callable[..., Dev]) -> None:
    dev = start()
    family = dev.family()
    next(process for process in family if "valkey" in process.name()).kill()

    assert dev.process.wait(_LIMIT_S) == 1
    assert dev.process.stdout is not None
    assert "Valkey ended by itself" in dev.process.stdout.read()
    assert living(family) == []


def test_servers_of_ones_own_are_used_and_left_running(
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

    assert postgres.server.child.running
    assert valkey.server.child.running


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    assert match is not None, text
    return match[1]


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [
        process
        for process in processes
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


def _run(project: Path, **environment: str) -> tuple[int, str]:
    process = _popen(project, environment)
    said, _ = process.communicate(timeout=_LIMIT_S)
    return process.returncode, said


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
