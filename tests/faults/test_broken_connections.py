"""Lines that break in the worst places: in a COMMIT's answer, in both directions, at the client.

Each fault alone, with what DESIGN promises for it; `python -m torture` mixes them.
"""

import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import pytest

from tests.api_process import Api, User, running_api
from tests.faults.api_probes import ask, await_redis, await_that, stored_balance
from tests.load import load, percentile, prove, resolve
from tests.servers import OwnPostgres
from tests.support.tcp_proxy import TcpProxy

RECOVERY_S: Final = 10.0
ANSWER_S: Final = 5.0
CUT_CLIENTS: Final = 50
HOLE_S: Final = 4.0  # longer than a statement may take
# What the answer to a posted transfer contains, and nothing else that passes the proxy.
_POSTED: Final = b'"status":"completed"'
_POSTING: Final = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'finpay' "
    "AND query LIKE '%post_transfers%' ORDER BY query_start DESC LIMIT 1"
)


@pytest.fixture(scope="module")
def redis_url(other_redis_url: str) -> str:
    return other_redis_url


@pytest.fixture(scope="module")
def api(
    postgres: OwnPostgres,
    postgres_proxy: tuple[TcpProxy, str],
    redis_proxy: tuple[TcpProxy, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("cut-connections")
    with running_api(folder, postgres_proxy[1], redis_proxy[1]) as running:
        running.database_url = postgres.url
        yield running


def test_commit_with_a_torn_response_is_found_by_its_key(
    api: Api, postgres_proxy: tuple[TcpProxy, str]
) -> None:
    alice, bob = api.user(1_000), api.user()
    trap = postgres_proxy[0].set_trap("response", _POSTED, "tear")
    answer = alice.send(bob, 5, "torn")
    assert trap.sprung == 1, "the transfer was committed before the connection was cut"
    assert (answer.status, stored_balance(api, bob)) == (201, 5), answer.body
    assert "Idempotent-Replayed" not in answer.headers, "it is the answer of this request"
    replayed = alice.send(bob, 5, "torn")
    assert (replayed.status, replayed.body) == (201, answer.body)
    assert (stored_balance(api, alice), stored_balance(api, bob)) == (995, 5)


def test_killed_backends_lose_no_transfer(api: Api, postgres: OwnPostgres) -> None:
    """PostgreSQL then ends its other processes too, and recovers from its WAL."""
    senders, receiver = [api.user(3_000) for _ in range(2)], api.user()
    with load(api, senders, receiver, clients=8, pause_s=0) as running:
        for _ in range(3):
            running.wait_for(20)
            os.kill(int(postgres.server.sql(_POSTING)), signal.SIGKILL)
            running.wait_for(1, limit_s=RECOVERY_S)
            await_that("ready", lambda: ask(api, "/readyz").status_code == 200, RECOVERY_S)
    assert set(running.counts) <= {201, 503}, running.counts
    prove(api, running, resolve(api, running))


def test_statements_delayed_by_a_black_hole_double_no_transfer(
    api: Api, postgres_proxy: tuple[TcpProxy, str]
) -> None:
    """PostgreSQL gets the statements after their requests were answered with 503."""
    senders, receiver = [api.user(3_000) for _ in range(2)], api.user()
    with load(api, senders, receiver, clients=8) as running:
        running.wait_for(20)
        postgres_proxy[0].start_black_hole()
        running.wait_for(2, status=503)
        await_that("not ready", lambda: ask(api, "/readyz").status_code == 503, ANSWER_S)
        time.sleep(HOLE_S)
        postgres_proxy[0].end_black_hole()
        running.wait_for(20, limit_s=RECOVERY_S)
    assert set(running.counts) == {201, 503}, running.counts
    assert max(one.seconds for one in running.sent) < ANSWER_S
    prove(api, running, resolve(api, running))


@pytest.mark.contract("3.1.1")
def test_transfers_are_fast_although_redis_does_not_respond(
    api: Api, redis_proxy: tuple[TcpProxy, str]
) -> None:
    senders, receiver = [api.user(3_000) for _ in range(2)], api.user()
    with load(api, senders, receiver, clients=4) as running:
        running.wait_for(20)
        redis_proxy[0].start_black_hole()
        since = time.monotonic()
        await_redis(api, "down")
        running.wait_for(50)
        redis_proxy[0].end_black_hole()
        await_redis(api, "ok")
    assert set(running.counts) == {201}, running.counts
    during = [one for one in running.sent if one.at_s > since]
    assert percentile(during, 0.99) < 0.5
    prove(api, running, resolve(api, running))


def test_clients_disconnected_after_the_commit_get_the_answer_by_key(api: Api) -> None:
    alice, bob = api.user(1_000), api.user()
    keys = [f"cut-{number}" for number in range(CUT_CLIENTS)]
    for key in keys:
        send_and_vanish(api, alice, bob, key)
    assert stored_balance(api, bob) == CUT_CLIENTS, (
        "all were committed before their clients disconnected"
    )
    answers = [alice.send(bob, 1, key) for key in keys]
    assert {answer.status for answer in answers} == {201}
    assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in answers)
    assert len({answer.json()["id"] for answer in answers}) == CUT_CLIENTS
    assert (stored_balance(api, alice), stored_balance(api, bob)) == (
        1_000 - CUT_CLIENTS,
        CUT_CLIENTS,
    )
    api.verify()


def send_and_vanish(api: Api, sender: User, receiver: User, key: str) -> None:
    """Reads one byte of the answer, then resets the connection."""
    at = urlsplit(api.url)
    body = json.dumps({"receiver_id": receiver.account_id, "amount": 1})
    request = (
        f"POST /api/v1/transactions HTTP/1.1\r\nHost: {at.netloc}\r\n"
        f"Authorization: Bearer {sender.token}\r\nX-Idempotency-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    with socket.create_connection((at.hostname, at.port or 80), timeout=ANSWER_S) as raw:
        raw.sendall(request.encode())
        assert raw.recv(1) == b"H"
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
