"""The service is told to stop, politely or not: what it accepted is answered."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

import psutil
import pytest

from tests.api_process import Api, User
from tests.faults.api_probes import (
    ASKED,
    ask,
    await_that,
    connected,
    locked,
    status_of,
    stored_balance,
    workers,
)
from tests.load import Payment, Sent, load, prove, resolve, send_all

STOP_LIMIT_S: Final = 10.0
NOTICED_S: Final = 1.0
CLIENTS: Final = 8
LIVEZ: Final = b"GET /livez HTTP/1.1\r\nHost: finpay\r\n\r\n"


@pytest.fixture
def drained(serve: Callable[..., Api]) -> Api:
    """Two workers that a test will stop."""
    return serve(FINPAY_WORKERS="2")


def test_a_drain_under_load_loses_nothing(api: Api, drained: Api) -> None:
    """Clients reconnect until nobody listens. A request that crosses the close of its connection
    has no answer, as with any HTTP server; its retry has the one effect."""
    senders, receiver = [api.user(2_000) for _ in range(2)], api.user()
    with load(drained, senders, receiver, clients=CLIENTS) as running:
        running.wait_for(40)
        told = time.monotonic()
        drained.process.terminate()
        await_that("not ready", lambda: not_ready(drained), NOTICED_S + 0.5)
        noticed_s = time.monotonic() - told
        assert drained.process.wait(STOP_LIMIT_S) == 0
    assert noticed_s < NOTICED_S + 0.5, "the promise is 1 s; the rest is for a busy machine"
    draining = [one for one in running.sent if one.at_s > told + noticed_s]
    assert sum(one.status == 201 for one in draining) > 20, "whoever still asked was served"
    assert set(running.counts) <= {201, 0}
    assert len([one for one in running.sent if one.error.startswith("Read")]) <= CLIENTS
    closing = [one for one in draining if one.headers.get("connection") == "close"]
    assert len(closing) > 20
    prove(api, running, resolve(api, running))
    await_that("nothing is left", lambda: not left_behind(drained))


def test_requests_in_flight_are_finished(api: Api, drained: Api) -> None:
    """One waits for a lock, of another half the body has come; both outlast the drain itself."""
    alice, bob, poor = api.user(1_000), api.user(), api.user()
    with (
        slow_transfer(api, drained, alice, bob) as (answers, release),
        half_sent(drained, poor, bob) as (line, rest),
        idle_lines(drained) as idle,
    ):
        drained.process.terminate()
        for unused in idle:
            while unused.recv(65_536):
                continue  # until the server stops, and lets go of who asks nothing
        release()
        line.sendall(rest)
        assert line.recv(65_536).startswith(b"HTTP/1.1 402 ")
    assert drained.process.wait(STOP_LIMIT_S) == 0
    assert [answer.status for answer in answers] == [201]
    assert stored_balance(api, bob) == 1
    await_that("nothing is left", lambda: not left_behind(drained))


def test_ctrl_c_finishes_too(api: Api, drained: Api) -> None:
    """A terminal sends SIGINT to the supervisor and to its workers at the same time."""
    alice, bob = api.user(1_000), api.user()
    with slow_transfer(api, drained, alice, bob) as (answers, release):
        for pid in [drained.process.pid, *(worker.pid for worker in workers(drained))]:
            os.kill(pid, signal.SIGINT)
        await_that("nobody listens", lambda: refused(drained), STOP_LIMIT_S)
        release()
    assert drained.process.wait(STOP_LIMIT_S) == 0
    assert [answer.status for answer in answers] == [201]
    assert "Traceback" not in drained.log.read_text()
    await_that("nothing is left", lambda: not left_behind(drained))


def test_a_supervisor_that_is_killed_leaves_no_worker_behind(api: Api, drained: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    left = workers(drained)
    assert len(left) == 2
    with slow_transfer(api, drained, alice, bob) as (answers, release):
        drained.process.kill()
        drained.process.wait()
        await_that("not ready", lambda: not_ready(drained), NOTICED_S)
        release()
    assert [answer.status for answer in answers] == [201], "what was in flight is finished"
    psutil.wait_procs(left, STOP_LIMIT_S)
    assert [worker.pid for worker in left if worker.is_running()] == []
    assert refused(drained), "the port is free for a successor"


@contextmanager
def slow_transfer(
    api: Api, served: Api, alice: User, bob: User
) -> Iterator[tuple[list[Sent], Callable[[], None]]]:
    """A transfer of 1 that `served` works on until the release: somebody has locked the sender."""
    answers: list[Sent] = []
    payment = Payment(alice, bob, f"slow-{alice.email}")
    sending = threading.Thread(target=lambda: answers.extend(send_all(served, [payment])))
    with locked(api, alice) as lock:
        sending.start()
        lock.await_waiter()
        yield answers, lock.release
    sending.join()


@contextmanager
def half_sent(served: Api, sender: User, receiver: User) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection with half a request on it, and the other half."""
    body = f'{{"receiver_id":"{receiver.account_id}","amount":1}}'.encode()
    head = (
        "POST /api/v1/transactions HTTP/1.1\r\nHost: finpay\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {sender.token}\r\nX-Idempotency-Key: half\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with connected(served) as line:
        line.sendall(head.encode() + body[:10])
        ask(served, "/livez")  # whoever has answered this has seen the other connection too
        yield line, body[10:]


@contextmanager
def idle_lines(served: Api) -> Iterator[list[socket.socket]]:
    """Connections to each worker that have had their answer and are kept for later."""
    with ExitStack() as stack:
        lines = []
        for _ in range(ASKED):
            line = stack.enter_context(connected(served))
            line.sendall(LIVEZ)
            assert status_of(line) == 200
            lines.append(line)
        yield lines


def not_ready(api: Api) -> bool:
    return ask(api, "/readyz").status_code == 503


def refused(api: Api) -> bool:
    """Whether nobody is let in any more: refused, or left without a word."""
    port = int(api.url.rpartition(":")[2])
    with socket.socket() as probe:
        probe.settimeout(0.1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def left_behind(api: Api) -> list[int]:
    """Processes that still run in the name of this API: they have its port as a variable."""
    port = api.url.rpartition(":")[2]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PORT") == port:
                found.append(process.pid)
    return found
