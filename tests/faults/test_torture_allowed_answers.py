"""The harness reads answers strictly: what the documents don't allow is strange."""

import os
import subprocess
import sys
from typing import Any

import pytest

from finpay.app import api
from finpay.errors import ERROR_SPECS, Code
from finpay.ledger import batcher
from finpay.webhooks import worker
from tests.faults.corrupted_run import answer
from torture import allowed_answers, cluster, workload
from torture.history import Item, Read
from torture.ledger_snapshot import Watch
from torture.raw_http import Answer

TRANSFER = workload.single("k", 0, Item("k.0", "acc_1", 5))
TOO_MUCH = workload.single("k", 0, Item("k.0", "acc_1", 5), refused=Code.INSUFFICIENT_FUNDS)
BULK = workload.batch("k", 0, [Item("k.0", "acc_1", 5), Item("k.1", "acc_1", 6)], "independent")
READ = Read("/api/v1/accounts", 0)
DONE = answer(201, id="txn_1", status="completed")


@pytest.mark.parametrize(
    "code",
    [
        Code.INSUFFICIENT_FUNDS,
        Code.IDEMPOTENCY_KEY_REUSE,
        Code.REQUEST_IN_PROGRESS,
        Code.RATE_LIMITED,
        Code.UNAVAILABLE,
        Code.OVERLOADED,
    ],
)
def test_documented_refusals_are_no_faults(code: Code) -> None:
    assert not allowed_answers.fault_of(TRANSFER, answer(ERROR_SPECS[code].status, code=code))


@pytest.mark.parametrize(
    "strange",
    [
        answer(500, code="internal_error"),
        answer(401, code="unauthenticated"),
        answer(404, code="receiver_not_found"),  # it was sent to somebody who is there
        answer(402, code="unavailable"),
        answer(503),
        Answer(503, b'{"code":"unavailable"}', {"content-type": "application/json"}),
        Answer(502, b"Bad Gateway", {"content-type": "text/plain"}),
        Answer(201, b"not json", {"content-type": "application/json"}),
        answer(200, id="txn_1"),
    ],
)
def test_everything_else_is(strange: Answer) -> None:
    assert allowed_answers.fault_of(TRANSFER, strange)


def test_what_has_to_be_refused_must_not_succeed() -> None:
    assert allowed_answers.fault_of(TOO_MUCH, DONE)
    assert not allowed_answers.fault_of(TRANSFER, DONE)


def test_reads_are_answered_or_put_off() -> None:
    assert not allowed_answers.fault_of_read(READ, answer(200, balance=1))
    assert not allowed_answers.fault_of_read(READ, answer(503, code="unavailable"))
    assert allowed_answers.fault_of_read(READ, answer(402, code="insufficient_funds"))
    assert allowed_answers.fault_of_read(READ, answer(500, code="internal_error"))


@pytest.mark.parametrize(("balance", "possible"), [(0, True), (10, True), (11, False), (-1, False)])
def test_a_wallet_has_no_more_than_there_is(balance: int, *, possible: bool) -> None:
    assert possible is not any(allowed_answers.impossible(answer(200, balance=balance), 10))
    page = answer(200, data=[{"balance_after": 3}, {"balance_after": balance}])
    assert possible is not any(allowed_answers.impossible(page, 10))


@pytest.mark.parametrize(
    ("read", "possible"),
    [((10, 0, 0), True), ((9, 0, 0), False), ((10, 1, 0), False), ((10, 0, -1), False)],
)
def test_the_bank_is_read_as_a_whole(read: tuple[int, int, int], *, possible: bool) -> None:
    watch = Watch(None, total=10)  # type: ignore[arg-type]  # it is only asked to judge
    watch.judge(*read)
    assert possible is not any(watch.impossible)


def test_a_bulk_tells_of_each_item() -> None:
    done: dict[str, Any] = {"index": 0, "status": "completed", "error": None}
    done["transaction"] = {"id": "txn_1", "status": "completed"}
    poor = {"index": 1, "status": "failed", "transaction": None}
    poor["error"] = {"code": "insufficient_funds", "transaction_id": "txn_2"}
    told = answer(200, object="batch", data=[done, poor])
    assert list(allowed_answers.acknowledged(BULK, told)) == [
        ("k.0", "txn_1", "completed"),
        ("k.1", "txn_2", "failed"),
    ]
    assert list(allowed_answers.refused(BULK, told)) == ["k.1"]
    assert not allowed_answers.fault_of(BULK, told)
    none = answer(402, code="insufficient_funds", transaction_id=None)
    assert list(allowed_answers.acknowledged(BULK, none)) == []
    assert list(allowed_answers.refused(BULK, none)) == ["k.0", "k.1"]


def test_the_allowance_for_connections_is_what_the_pools_hold() -> None:
    watch = bell = pulse = listener = 1
    assert api.READ_POOL_SIZE + batcher.CONNECTIONS + watch + bell == cluster.API_CONNECTIONS
    assert worker.CONNECTIONS + pulse + listener == cluster.WORKER_CONNECTIONS


@pytest.mark.parametrize(
    ("environment", "arguments", "sentence"),
    [
        ({"FINPAY_ENV": "production", "FINPAY_JWT_SECRET": "s" * 32}, [], "FINPAY_ENV=production"),
        ({}, ["--only", "earthquake"], "earthquake is no fault"),
    ],
)
def test_it_refuses_what_it_must_not_do(
    environment: dict[str, str], arguments: list[str], sentence: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "torture", *arguments],
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
