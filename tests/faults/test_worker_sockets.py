"""The listening sockets of the workers: which worker accepts a connection, and until when."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
import pytest

from tests.api_process import Api, await_ready
from tests.faults.api_probes import ASKED, ask, await_that, workers

WORKERS: Final = 2
STOP_LIMIT_S: Final = 10.0
PAUSE_S: Final = 0.02
LIVEZ: Final = b"GET /livez HTTP/1.1\r\nHost: finpay\r\n\r\n"

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all workers share one socket")


@pytest.fixture
def two(serve: Callable[..., Api]) -> Api:
    return serve(FINPAY_WORKERS=str(WORKERS))


def test_new_connections_are_answered_until_the_port_closes(two: Api) -> None:
    """Each worker closes its socket once, which resets at most one connection per caller."""
    outcomes: list[str] = []
    stopping = threading.Event()
    callers = [threading.Thread(target=connect, args=(two, outcomes, stopping)) for _ in range(4)]
    for caller in callers:
        caller.start()
    await_that("they are answered", lambda: outcomes.count("200") > 50)
    two.process.terminate()
    assert two.process.wait(STOP_LIMIT_S) == 0
    stopping.set()
    for caller in callers:
        caller.join()
    reset = [each for each in outcomes if each not in {"200", "refused"}]
    assert len(reset) <= WORKERS * len(callers), reset
    assert all("reset" in each or "without response" in each for each in reset)


@linux
def test_connections_are_not_queued_for_a_killed_worker(two: Api) -> None:
    """It is not replaced yet: the other worker answers every connection."""
    await_that("both listen", lambda: len(workers(two)) == 2 and all(map(listens, workers(two))))
    supervisor, killed = psutil.Process(two.process.pid), workers(two)[1]
    supervisor.suspend()
    try:
        killed.kill()
        await_that("it has exited", lambda: killed.status() == psutil.STATUS_ZOMBIE)
        await_that("its other threads have exited", lambda: threads_of(killed) <= 1)
        assert {ask(two, "/livez").status_code for _ in range(2 * ASKED)} == {200}
    finally:
        supervisor.resume()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_second_api_on_a_port_is_refused(serve: Callable[..., Api], workers: str) -> None:
    """Even before a worker of the first listens, and although workers of one API share the port."""
    first = serve(ready=False, FINPAY_WORKERS=workers)
    second = serve(ready=False, FINPAY_WORKERS=workers, PORT=str(urlsplit(first.url).port))
    await_that("one has given up", lambda: loser(first, second), STOP_LIMIT_S)
    lost = loser(first, second)
    assert lost is not None
    assert lost.process.returncode == 2
    assert "can't listen on 127.0.0.1:" in lost.log.read_text()
    winner = second if lost is first else first
    winner.url = first.url
    await_ready(winner)


def threads_of(process: psutil.Process) -> int:
    """The first one may have exited while others still have the socket."""
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


def loser(first: Api, second: Api) -> Api | None:
    for api in (first, second):
        with suppress(subprocess.TimeoutExpired):
            api.process.wait(0)
            return api
    return None


def listens(worker: psutil.Process) -> bool:
    """One ready worker makes the API ready; the other one may be later."""
    return any(each.status == psutil.CONN_LISTEN for each in worker.net_connections("tcp"))


def connect(served: Api, outcomes: list[str], stopping: threading.Event) -> None:
    """One request per new connection. Appends "200", "refused" or another error to `outcomes`."""
    port = urlsplit(served.url).port
    while not stopping.is_set():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=STOP_LIMIT_S) as connection:
                connection.sendall(LIVEZ)
                answer = HTTPResponse(connection)
                answer.begin()
                outcomes.append(str(answer.status))
        except ConnectionRefusedError:
            outcomes.append("refused")
            stopping.wait(PAUSE_S)
        except (OSError, HTTPException) as error:
            outcomes.append(repr(error))
