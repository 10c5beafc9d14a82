"""The end of a worker process, so that nobody who was let in is sent away.

It is a layer over uvicorn's own end, which closes its socket whenever it gets to it: whoever had
connected by then and was not accepted yet would see a reset. Accepting them first is not enough,
as others connect between that and the close; so the door is locked before it is shut.
"""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from types import FrameType
from typing import Any, Final

from finpay.edge.health_monitor import HealthMonitor

DRAIN_S: Final = 1.0  # long enough for a load balancer to read 503 from /readyz
LOCKED_S: Final = 0.2  # a long way there and back: who has begun to connect gets through

# Linux's SO_ATTACH_FILTER with a program of classic BPF for what reaches a listening socket: a SYN
# is dropped, anything else passes. A caller sends his SYN again after a second, and whoever listens
# by then (another worker, the next release) has him; a closed port refuses him.
_ATTACH_FILTER: Final = 26
_DROP_SYN: Final = b"".join(
    struct.pack("HBBI", *step)
    for step in (
        (0x30, 0, 0, 13),  # load the flags of TCP's header
        (0x54, 0, 0, 0x12),  # of which SYN and ACK
        (0x15, 0, 1, 0x02),  # only SYN: the next step, else the last
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # pass all of it
    )
)


class GracefulShutdown:
    """What a SIGTERM begins: at once /readyz is 503 and every answer closes its connection.

    DRAIN_S later nobody new is let in, and the server stops, which answers those who are. So does
    a second signal, at once. Built in the event loop, when the server has set its own handlers.
    """

    def __init__(self, probe: HealthMonitor) -> None:
        self._probe = probe
        self._loop = asyncio.get_running_loop()
        self._stop: Any = signal.getsignal(signal.SIGTERM)  # a method of uvicorn's Server
        self._ending: asyncio.Task[None] | None = None

    def prepare(self) -> None:
        """Also for the supervisor's death: nobody would replace this process, or ever stop it."""
        signal.signal(signal.SIGTERM, self._begin)
        supervisor = multiprocessing.parent_process()
        if supervisor is not None:
            self._loop.add_reader(supervisor.sentinel, self._leave, supervisor.sentinel)

    def _leave(self, sentinel: int) -> None:
        self._loop.remove_reader(sentinel)
        signal.raise_signal(signal.SIGTERM)

    def _begin(self, number: int, frame: FrameType | None) -> None:
        if self._probe.draining:
            self._stop(number, frame)
            return
        self._probe.draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, DRAIN_S, self._lock_the_door)

    def _lock_the_door(self) -> None:
        for door in self._stop.__self__.servers:
            for at in door.sockets:
                _lock(at)
        self._loop.call_later(LOCKED_S, self._close_the_door)

    def _close_the_door(self) -> None:
        doors = self._stop.__self__.servers
        callers = [caller for door in doors for at in door.sockets for caller in _callers(at)]
        for door in doors:
            door.close()
        self._ending = self._loop.create_task(self._end(callers))

    async def _end(self, callers: list[socket.socket]) -> None:
        server = self._stop.__self__

        def protocol() -> asyncio.Protocol:
            connection: asyncio.Protocol = server.config.http_protocol_class(
                server.config, server.server_state, server.lifespan.state
            )
            return connection

        entering = [self._loop.connect_accepted_socket(protocol, caller) for caller in callers]
        # Before the server looks whom it has to wait for. One who has left again is no matter.
        await asyncio.gather(*entering, return_exceptions=True)
        self._stop(signal.SIGTERM, None)


def _lock(door: socket.socket) -> None:
    """Nobody begins to connect any more; elsewhere than on Linux the last ones may be reset."""
    if sys.platform != "linux":
        return
    steps = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    program = struct.pack("HP", len(_DROP_SYN) // 8, ctypes.addressof(steps))
    with socket.socket(fileno=os.dup(door.fileno())) as listening, suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)


def _callers(door: socket.socket) -> list[socket.socket]:
    """Those who knocked while this process was busy. The kernel would reset them."""
    found = []
    with socket.socket(fileno=os.dup(door.fileno())) as listening, suppress(OSError):
        while True:  # the backlog is its bound; at its end accept would block, which is an error
            caller, _ = listening.accept()
            caller.setblocking(False)
            found.append(caller)
    return found
