"""The doors of the worker processes: who is let in, by whom, and who is not."""

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

STOP_LIMIT_S: Final = 10.0
PAUSE_S: Final = 0.02
LIVEZ: Final = b"GET /livez HTTP/1.1\r\nHost: finpay\r\n\r\n"

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere all workers share one door")


@pytest.fixture
def two(serve: Callable[..., Api]) -> Api:
    return serve(FINPAY_WORKERS="2")


def test_new_connections_are_answered_until_the_port_closes(two: Api) -> None:
    """At most one caller per worker meets the moment of the close and is reset."""
    outcomes: list[str] = []
    over = threading.Event()
    callers = [threading.Thread(target=knock, args=(two, outcomes, over)) for _ in range(4)]
    for caller in callers:
        caller.start()
    await_that("they are answered", lambda: outcomes.count("200") > 50)
    two.process.terminate()
    assert two.process.wait(STOP_LIMIT_S) == 0
    over.set()
    for caller in callers:
        caller.join()
    reset = [each for each in outcomes if each not in {"200", "refused"}]
    assert len(reset) <= len(callers), reset
    assert all("reset" in each or "without response" in each for each in reset)


@linux
def test_nobody_waits_for_a_worker_that_is_not_there(two: Api) -> None:
    """One is dead and not replaced yet: the other one answers everybody."""
    await_that("both listen", lambda: len(workers(two)) == 2 and all(map(listens, workers(two))))
    supervisor, dead = psutil.Process(two.process.pid), workers(two)[1]
    supervisor.suspend()
    try:
        dead.kill()
        await_that("it is dead", lambda: dead.status() == psutil.STATUS_ZOMBIE)
        await_that("its other threads too", lambda: threads_of(dead) <= 1)
        assert {ask(two, "/livez").status_code for _ in range(2 * ASKED)} == {200}
    finally:
        supervisor.resume()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_of_two_that_start_together_one_has_the_port(
    serve: Callable[..., Api], workers: str
) -> None:
    """Also while no worker listens yet, and though workers may share it."""
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
    """The first may be gone while others still hold the door."""
    return len(list(Path(f"/proc/{process.pid}/task").iterdir()))


def loser(first: Api, second: Api) -> Api | None:
    for api in (first, second):
        with suppress(subprocess.TimeoutExpired):
            api.process.wait(0)
            return api
    return None


def listens(worker: psutil.Process) -> bool:
    """The first of them to be ready makes the service ready; the other may be a moment behind."""
    return any(line.status == psutil.CONN_LISTEN for line in worker.net_connections("tcp"))


def knock(served: Api, outcomes: list[str], over: threading.Event) -> None:
    """New connections, each for one request: "200", "refused", or what else became of it."""
    port = urlsplit(served.url).port
    while not over.is_set():
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=STOP_LIMIT_S) as line:
                line.sendall(LIVEZ)
                answer = HTTPResponse(line)
                answer.begin()
                outcomes.append(str(answer.status))
        except ConnectionRefusedError:
            outcomes.append("refused")
            over.wait(PAUSE_S)
        except (OSError, HTTPException) as error:
            outcomes.append(repr(error))
