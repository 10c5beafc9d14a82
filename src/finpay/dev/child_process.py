"""What PostgreSQL and Valkey have in common as children of ours: start, wait, stop, never leak.

A server runs in a session of its own, so that Ctrl-C reaches only us and we choose the order in
which things stop. Beside each server waits a tiny shell that holds the other end of a pipe: when
we vanish without a word (`kill -9`), the pipe closes and it stops the server. A pipe works on
every POSIX system, and unlike PR_SET_PDEATHSIG it does not care which thread started the server.
"""

import os
import pwd
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any, Final, Self

START_LIMIT_S: Final = 30.0  # a slow disk with a crash to recover from; normal is 0.1 s
STOP_LIMIT_S: Final = 10.0  # a fast shutdown writes one checkpoint; after that we kill
POLL_S: Final = 0.005
# PostgreSQL's and Valkey's own words when they find no way to start are on the last lines.
LOG_TAIL_LINES: Final = 40

# $1 the server, $2 the signal, $3 how many tenths of a second it has to stop. A line on the pipe
# means that the server was stopped in good order. A zombie, where nobody reaps, is not running.
_WATCH: Final = """
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
    """The development servers can't start. The message is for the person; the CLI exits with 2."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's account that the servers run as when we are root."""

    name: str
    uid: int
    gid: int

    @classmethod
    def for_servers(cls) -> Self | None:
        """None unless we are root: PostgreSQL refuses to run as root, and Valkey need not."""
        if os.geteuid() != 0:
            return None
        try:
            entry = pwd.getpwnam("nobody")
        except KeyError:
            raise DevError("as root, the servers run as the account nobody; create it") from None
        return cls(entry.pw_name, entry.pw_uid, entry.pw_gid)


@dataclass(frozen=True, slots=True)
class Child:
    """A server that we started. `stop_signal` asks it to end in good order."""

    name: str
    process: subprocess.Popen[bytes]
    watcher: subprocess.Popen[bytes]
    stop_signal: Signals
    stop_limit_s: float
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def await_ready(self, ready: Callable[[], bool]) -> None:
        """Return as soon as `ready()`. DevError, with the server's own words, if it never is."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if not self.running:
                self.stop()
                raise DevError(f"{self.name} did not start: {self.last_words()} (log: {self.log})")
            if ready():
                return
            time.sleep(POLL_S)
        self.stop()
        raise DevError(f"{self.name} was not ready after {START_LIMIT_S:.0f} s (log: {self.log})")

    def stop(self) -> None:
        """Ask, wait at most `stop_limit_s`, then kill. Harmless when it has stopped already."""
        if self.running:
            self.process.send_signal(self.stop_signal)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(self.stop_limit_s)
        self.kill()
        self._dismiss_watcher()

    def kill(self) -> None:
        """SIGKILL to all that is left of it, as a crash would. `stop` lets go of the watcher."""
        with suppress(ProcessLookupError, PermissionError):  # nothing left (macOS: a zombie)
            os.killpg(self.pid, SIGKILL)
        self.process.wait(STOP_LIMIT_S)

    def last_words(self) -> str:
        """The line of the log that most likely says why."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except OSError:
            lines = []
        told = [line for line in lines if _tells(line)] or lines[-1:]
        return "; ".join(line.strip() for line in told[:2]) or "it said nothing"

    def _dismiss_watcher(self) -> None:
        pipe = self.watcher.stdin
        if pipe is None or pipe.closed:
            return
        with suppress(OSError):  # it was killed before us: nothing to dismiss
            pipe.write(b"\n")
            pipe.close()
        self.watcher.wait()


def start(
    name: str,
    command: Sequence[str | Path],
    *,
    log: Path,
    stop_signal: Signals,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path = Path("/"),
    stop_limit_s: float = STOP_LIMIT_S,
) -> Child:
    """Start a server with its output in a fresh `log`, under `account` (None: as ourselves)."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=cwd,
            env=environment() if env is None else env,
            **as_account(account),
        )
    watcher = _watch(process.pid, stop_signal, stop_limit_s)
    return Child(name, process, watcher, stop_signal, stop_limit_s, log)


def run(command: Sequence[str | Path], *, account: Account | None, failure: str) -> str:
    """Run a server's tool to its end and return its output. DevError: `failure` and why."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=environment(),
        timeout=START_LIMIT_S,
        check=False,
        **as_account(account),
    )
    output = str(done.stdout, errors="replace").strip()
    if done.returncode != 0:
        told = [line for line in output.splitlines() if _tells(line)] or [output]
        raise DevError(f"{failure}: {told[0]}")
    return output


def as_account(account: Account | None) -> dict[str, Any]:
    """The arguments of `subprocess` that run a program as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """A server's whole environment: nobody's PGDATA, PGPORT or locale may leak into it."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "HOME": "/"}


def port_is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen there now. A host that is no address of ours is not free."""
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


def ports_to_try(port: int) -> Iterator[int]:
    """The port asked for, or (0) a few that were free a moment ago: another process may be faster.

    DevError when the port asked for is taken.
    """
    if port == 0:
        for _ in range(5):  # losing the race five times in a row means something else is wrong
            yield free_port()
    elif port_is_free(port):
        yield port
    else:
        raise DevError(f"port {port} is taken by another program; stop it or choose another port")


def _watch(pid: int, stop_signal: Signals, limit_s: float) -> subprocess.Popen[bytes]:
    signal_name = stop_signal.name.removeprefix("SIG")
    tenths = str(int(limit_s * 10))
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, "finpay-watch", str(pid), signal_name, tenths],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
        env=environment(),
    )


def _tells(line: str) -> bool:
    lowered = line.lower()
    return any(word in lowered for word in ("fatal", "panic", "error", "could not", "can't"))
