"""Requests generated from a seed: none is 5xx, none stalls the others, memory does not grow.

`make test-hostile` sends 10 000; HOSTILE_REQUESTS and HOSTILE_SEED change number and seed.
"""

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import psutil

from tests.api_process import Api
from tests.hostile.generated_requests import HostileRequests
from tests.support.raw_http import get_status
from tests.support.tcp_proxy import port_of, reset

NUMBER: Final = int(os.environ.get("HOSTILE_REQUESTS", "2000"))
SEED: Final = int(os.environ.get("HOSTILE_SEED", "20261129"))
CLIENTS: Final = 4
LIMIT_S: Final = 10.0  # for all responses to one request, on a busy machine
MAX_STALL_S: Final = 0.1
PROBE_S: Final = 0.02
MAX_GROWTH: Final = 16 * 2**20  # of the second half of the requests
BALANCE: Final = 1_000_000

_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


@dataclass
class Run:
    """Sends the requests over a few connections at a time, each on one of its own."""

    port: int
    worker: psutil.Process
    requests: Iterator[bytes]
    statuses: Counter[int] = field(default_factory=Counter)
    bad: list[tuple[bytes, str]] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    done: bool = False

    async def send_all(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            probe = tasks.create_task(self._probe())
            clients = [tasks.create_task(self._send()) for _ in range(CLIENTS)]
            await asyncio.wait(clients)
            self.done = True
            await probe

    async def _send(self) -> None:
        for request in self.requests:
            try:
                async with asyncio.timeout(LIMIT_S):
                    received = await exchange(self.port, request)
            except TimeoutError:
                self.bad.append((request, "no end"))
                continue
            found = [int(status) for status in _STATUS.findall(received)]
            self.statuses.update(found)
            if any(status >= 500 for status in found):
                self.bad.append((request, received.decode("latin-1")))

    async def _probe(self) -> None:
        """A stall is the server's own if its process was computing for so long."""
        while not self.done:
            started_s, computed_s = time.monotonic(), cpu_s(self.worker)
            status = await get_status(self.port, "/livez", LIMIT_S)
            took_s, computed_s = time.monotonic() - started_s, cpu_s(self.worker) - computed_s
            if status != 200 or min(took_s, computed_s) > MAX_STALL_S:
                self.stalls.append(took_s)
            await asyncio.sleep(PROBE_S)


async def exchange(port: int, request: bytes) -> bytes:
    """All that the server sends until it closes, after a client that sends no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        received = b""
        with suppress(OSError):
            writer.write(request)
            await writer.drain()
            writer.write_eof()
            while chunk := await reader.read(65_536):
                received += chunk
        return received
    finally:
        reset(writer)


def cpu_s(process: psutil.Process) -> float:
    """Of the thread with the event loop: passwords are hashed and metrics merged in others."""
    (main,) = (thread for thread in process.threads() if thread.id == process.pid)
    return float(main.user_time + main.system_time)


def test_generated_requests_do_no_harm(serve: Callable[..., Api]) -> None:
    api = serve(FINPAY_WORKERS="1")
    alice, bob = api.user(BALANCE), api.user()
    (worker,) = api.workers()
    generated = iter(HostileRequests(SEED, alice.token, bob.account_id))
    memory, statuses = [], Counter[int]()
    for half in range(2):
        run = Run(port_of(api.url), worker, islice(generated, NUMBER // 2))
        asyncio.run(run.send_all())
        memory.append(worker.memory_info().rss)
        assert not run.bad, f"seed {SEED}, half {half}: {run.bad[:3]}"
        assert not run.stalls
        statuses += run.statuses
    assert statuses.total() > NUMBER // 2
    assert {200, 201, 204, 400, 401, 404, 405, 415, 422} <= statuses.keys()
    assert memory[1] - memory[0] < MAX_GROWTH
    assert "unhandled_exception" not in api.log.read_text()
    assert alice.balance + bob.balance == BALANCE
    api.verify()


def test_same_seed_generates_the_same_requests() -> None:
    first, second = (HostileRequests(1, "token", "acc_1") for _ in range(2))
    assert [*islice(first, 200)] == [*islice(second, 200)]
    assert [*islice(first, 200)] != [*islice(HostileRequests(2, "token", "acc_1"), 200)]
