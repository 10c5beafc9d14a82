"""A service that is stopped or killed: every request that it accepted is answered."""

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
KEY_PAUSE_S: Final = 0.1
CLIENTS: Final = 8
LIVEZ: Final = b"GET /livez HTTP/1.1\r\nHost: finpay\r\n\r\n"


@pytest.fixture
def drained(serve: Callable[..., Api]) -> Api:
    """Two workers that a test will stop."""
    return serve(FINPAY_WORKERS="2")


def test_drain_under_load_loses_no_transfer(api: Api, drained: Api) -> None:
    """Clients reconnect until the port is closed. A request sent while its connection is closed has
    no answer, as with any HTTP server; its retry has the one effect."""
    senders, receiver = [api.user(2_000) for _ in range(2)], api.user()
    with load(drained, senders, receiver, clients=CLIENTS) as running:
        running.wait_for(40)
        stopped_s = time.monotonic()
        drained.process.terminate()
        await_that("not ready", lambda: not_ready(drained), NOTICED_S + 0.5)
        noticed_s = time.monotonic() - stopped_s
        assert drained.process.wait(STOP_LIMIT_S) == 0
    assert noticed_s < NOTICED_S + 0.5, "the promise is 1 s; the rest is for a busy machine"
    draining = [one for one in running.sent if one.at_s > stopped_s + noticed_s]
    assert sum(one.status == 201 for one in draining) > 20, "requests during the drain are answered"
    assert set(running.counts) <= {201, 0}
    assert len([one for one in running.sent if one.error.startswith("Read")]) <= CLIENTS
    closing = [one for one in draining if one.headers.get("connection") == "close"]
    assert len(closing) > 20
    prove(api, running, resolve(api, running))
    await_that("no process is left", lambda: not left_behind(drained))


def test_requests_in_flight_are_finished(api: Api, drained: Api) -> None:
    """One waits for a lock, another has sent half of its body; both take longer than the drain."""
    alice, bob, poor = api.user(1_000), api.user(), api.user()
    with (
        slow_transfer(api, drained, alice, bob) as (answers, release),
        half_sent(drained, poor, bob) as (connection, rest),
        idle_connections(drained) as idle,
    ):
        drained.process.terminate()
        for unused in idle:
            while unused.recv(65_536):
                continue  # until the server closes the idle connection
        release()
        connection.sendall(rest)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 402 ")
    assert drained.process.wait(STOP_LIMIT_S) == 0
    assert [answer.status for answer in answers] == [201]
    assert stored_balance(api, bob) == 1
    await_that("no process is left", lambda: not left_behind(drained))


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_finishes_requests_in_flight(api: Api, drained: Api, times: int) -> None:
    """A terminal sends SIGINT to the supervisor and to its workers at the same time."""
    alice, bob = api.user(1_000), api.user()
    with slow_transfer(api, drained, alice, bob) as (answers, release):
        pids = [*(worker.pid for worker in workers(drained)), drained.process.pid]
        for _ in range(times):
            for pid in pids:
                os.kill(pid, signal.SIGINT)
            time.sleep(KEY_PAUSE_S)
        await_that("the port is closed", lambda: refused(drained), STOP_LIMIT_S)
        release()
    assert drained.process.wait(STOP_LIMIT_S) == 0
    assert [answer.status for answer in answers] == [201]
    assert "Traceback" not in drained.log.read_text()
    await_that("no process is left", lambda: not left_behind(drained))


def test_workers_of_a_killed_supervisor_finish_and_exit(api: Api, drained: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    left = workers(drained)
    assert len(left) == 2
    with slow_transfer(api, drained, alice, bob) as (answers, release):
        drained.process.kill()
        drained.process.wait()
        await_that("not ready", lambda: not_ready(drained), NOTICED_S)
        release()
    assert [answer.status for answer in answers] == [201], "the request in flight is finished"
    psutil.wait_procs(left, STOP_LIMIT_S)
    assert [worker.pid for worker in left if worker.is_running()] == []
    assert refused(drained), "the port is free for a successor"


@contextmanager
def slow_transfer(
    api: Api, served: Api, alice: User, bob: User
) -> Iterator[tuple[list[Sent], Callable[[], None]]]:
    """A transfer of 1 in flight on `served` until the release of the sender's lock."""
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
    """A connection that has sent half of a request, and the other half."""
    body = f'{{"receiver_id":"{receiver.account_id}","amount":1}}'.encode()
    head = (
        "POST /api/v1/transactions HTTP/1.1\r\nHost: finpay\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {sender.token}\r\nX-Idempotency-Key: half\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with connected(served) as connection:
        connection.sendall(head.encode() + body[:10])
        ask(served, "/livez")  # every worker that answers has accepted the connection before
        yield connection, body[10:]


@contextmanager
def idle_connections(served: Api) -> Iterator[list[socket.socket]]:
    """Keep-alive connections to each worker, without a request in flight."""
    with ExitStack() as stack:
        connections = []
        for _ in range(ASKED):
            connection = stack.enter_context(connected(served))
            connection.sendall(LIVEZ)
            assert status_of(connection) == 200
            connections.append(connection)
        yield connections


def not_ready(api: Api) -> bool:
    return ask(api, "/readyz").status_code == 503


def refused(api: Api) -> bool:
    """Whether a new connection is refused or not answered."""
    port = int(api.url.rpartition(":")[2])
    with socket.socket() as probe:
        probe.settimeout(0.1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def left_behind(api: Api) -> list[int]:
    """Processes of this API that still run: they have its port as a variable."""
    port = api.url.rpartition(":")[2]
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PORT") == port:
                found.append(process.pid)
    return found
