"""Servers as child processes: start, wait until ready, stop, kill; none outlives its parent.

A server runs in its own session, so Ctrl-C reaches only the parent, which chooses the order of
stops. A watchdog shell per server holds the other end of a pipe: when the parent is killed
(`kill -9`), the pipe closes and the shell stops the server. A pipe works on every POSIX system;
unlike PR_SET_PDEATHSIG it does not depend on the thread that started the server.
"""

import os
import pwd
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any, Final, Self

START_LIMIT_S: Final = 30.0  # a slow disk with a crash to recover from; normal is 0.1 s
STOP_LIMIT_S: Final = 10.0  # a fast shutdown writes one checkpoint; SIGKILL follows
POLL_S: Final = 0.005
START_ATTEMPTS: Final = 5  # on free ports: losing the race five times in a row has another cause
# PostgreSQL and Valkey log the reason of a failed start in their last lines.
LOG_TAIL_LINES: Final = 40

# $1 the server, $2 the signal, $3 the tenths of a second before SIGKILL. A line on the pipe means
# that the server was stopped in good order. A zombie (unreaped) counts as exited.
_WATCHDOG: Final = """
read -r _ && exit
kill -s "$2" "$1" 2>/dev/null
tenths=$3
while [ "$tenths" -gt 0 ] && kill -0 "$1" 2>/dev/null; do
    grep -qs '^State:.*Z' "/proc/$1/status" && break
    sleep 0.1
    tenths=$((tenths - 1))
done
kill -s KILL -- "-$1" 2>/dev/null
"""


class DevError(Exception):
    """A development server can't start. The message is for the user; the CLI exits with 2."""


@dataclass(frozen=True, slots=True)
class SystemUser:
    """The operating system's account that runs the servers when the parent is root."""

    name: str
    uid: int
    gid: int

    @classmethod
    def for_servers(cls) -> Self | None:
        """None unless the parent is root: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return None
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            raise DevError("as root, the servers run as the account nobody; create it") from None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)


class ChildProcess(ABC):
    """A server run as a child. It can be started again after it was stopped or killed."""

    name: str
    log: Path
    stop_signal = Signals.SIGTERM
    stop_limit_s = STOP_LIMIT_S
    _process: subprocess.Popen[bytes] | None = None
    _watchdog: subprocess.Popen[bytes]
    _terminated = False

    @abstractmethod
    def start(self) -> None:
        """Start it. DevError, with the server's own words, if that fails."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """Its latest run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def await_ready(self, ready: Callable[[], bool], limit_s: float = START_LIMIT_S) -> None:
        """Return as soon as `ready()` is true. Otherwise stop; DevError with the server's log."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if not self.running:
                self.stop()
                raise DevError(f"{self.name} did not start: {self.log_tail()} (log: {self.log})")
            if ready():
                return
            time.sleep(POLL_S)
        self.stop()
        raise DevError(f"{self.name} was not ready after {limit_s:.0f} s (log: {self.log})")

    def terminate(self) -> None:
        """Send the stop signal without waiting, and only once: a second one may skip the drain."""
        if self.running and not self._terminated:
            self._terminated = True
            self.process.send_signal(self.stop_signal)

    def stop(self) -> None:
        """Send the stop signal, wait `stop_limit_s` at most, then kill. Safe to repeat."""
        if self._process is not None:
            self.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(self.stop_limit_s)
            self._kill_group()

    def kill(self) -> None:
        """SIGKILL to its process group, as in a crash. Safe to repeat."""
        self._kill_group()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # exited (macOS: a zombie)
            os.killpg(self.pid, SIGKILL)
        self.process.wait(STOP_LIMIT_S)
        pipe = self._watchdog.stdin
        if pipe is not None and not pipe.closed:
            with suppress(OSError):  # the watchdog was killed
                pipe.write(b"\n")
                pipe.close()
            self._watchdog.wait()

    def log_tail(self) -> str:
        """The lines of the log that most likely name the reason of an exit."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except OSError:
            lines = []
        reasons = [line for line in lines if _is_error(line)] or lines[-1:]
        return "; ".join(line.strip() for line in reasons[:2]) or "its log is empty"

    def _spawn(
        self,
        command: Sequence[str | Path],
        *,
        account: SystemUser | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path = Path("/"),
    ) -> None:
        """Run `command` under `account` (None: the parent's). A restart appends to the log."""
        with self.log.open("wb" if self._process is None else "ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=cwd,
                env=server_environment() if env is None else env,
                **as_account(account),
            )
        self._terminated = False
        signal_name = self.stop_signal.name.removeprefix("SIG")
        arguments = [str(self.pid), signal_name, str(int(self.stop_limit_s * 10))]
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", _WATCHDOG, "finpay-watchdog", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
            env=server_environment(),
        )


class PortServer(ChildProcess):
    """A server at one port of loopback. Port 0 takes a free one at the first start and keeps it."""

    port: int

    @abstractmethod
    def _launch(self) -> None:
        """Start the process at `self.port`."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the process, and no other one, serves at `self.port`."""

    def start(self) -> None:
        chosen = self.port
        if chosen and not port_is_free(chosen):
            raise DevError(f"port {chosen} is taken by another program; choose another port")
        for _ in range(START_ATTEMPTS):
            self.port = chosen or free_port()
            self._launch()
            try:
                return self.await_ready(self._is_ready)
            except DevError as error:
                failure = error
            if chosen or port_is_free(self.port):
                break  # the reason is not another program that took the port first
        self.port = chosen
        raise failure


def run(command: Sequence[str | Path], *, account: SystemUser | None, failure: str) -> str:
    """Run a server's tool to its end and return its output. DevError: `failure` and the reason."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=server_environment(),
        timeout=START_LIMIT_S,
        check=False,
        **as_account(account),
    )
    output = str(done.stdout, errors="replace").strip()
    if done.returncode != 0:
        reasons = [line for line in output.splitlines() if _is_error(line)] or [output]
        raise DevError(f"{failure}: {reasons[0]}")
    return output


def as_account(account: SystemUser | None) -> dict[str, Any]:
    """The arguments of `subprocess` that run a program as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def server_environment() -> dict[str, str]:
    """A server's whole environment: no PGDATA, PGPORT or locale of the user's shell."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now. A host that is not local is not free."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()  # with SO_REUSEADDR, bind alone may miss a listener
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_error(line: str) -> bool:
    """PostgreSQL's DETAIL follows its FATAL."""
    lowered = line.lower()
    return any(word in lowered for word in ("fatal", "panic", "error", "could not", "detail:"))
