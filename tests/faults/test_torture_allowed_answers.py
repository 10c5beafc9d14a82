"""The harness reads answers strictly: any that the documents don't allow is a violation."""

import os
import subprocess
import sys
from typing import Any

import pytest

from finpay.app import api
from finpay.app.worker import JOB_CONNECTIONS
from finpay.errors import ERROR_SPECS, Code
from finpay.ledger import batcher
from finpay.webhooks import worker
from tests.faults.corrupted_run import answer
from tests.support.raw_http import Response
from torture import allowed_answers, cluster, workload
from torture.history import Item, Read
from torture.ledger_snapshot import LedgerMonitor

TRANSFER = workload.single("k", 0, Item("k.0", "acc_1", 5))
TOO_MUCH = workload.single("k", 0, Item("k.0", "acc_1", 5), refused=Code.INSUFFICIENT_FUNDS)
BATCH = workload.batch("k", 0, [Item("k.0", "acc_1", 5), Item("k.1", "acc_1", 6)], "independent")
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
def test_documented_refusal_is_allowed(code: Code) -> None:
    assert not allowed_answers.violation(TRANSFER, answer(ERROR_SPECS[code].status, code=code))


@pytest.mark.parametrize(
    "undocumented",
    [
        answer(500, code="internal_error"),
        answer(401, code="unauthenticated"),
        answer(404, code="receiver_not_found"),  # its receiver exists
        answer(402, code="unavailable"),
        answer(503),
        Response(503, b'{"code":"unavailable"}', {"content-type": "application/json"}),
        Response(502, b"Bad Gateway", {"content-type": "text/plain"}),
        Response(201, b"not json", {"content-type": "application/json"}),
        answer(200, id="txn_1"),
    ],
)
def test_undocumented_answer_is_a_violation(undocumented: Response) -> None:
    assert allowed_answers.violation(TRANSFER, undocumented)


def test_success_where_a_refusal_is_due_is_a_violation() -> None:
    assert allowed_answers.violation(TOO_MUCH, DONE)
    assert not allowed_answers.violation(TRANSFER, DONE)


def test_read_may_only_be_refused_for_later() -> None:
    assert not allowed_answers.read_violation(READ, answer(200, balance=1))
    assert not allowed_answers.read_violation(READ, answer(503, code="unavailable"))
    assert allowed_answers.read_violation(READ, answer(402, code="insufficient_funds"))
    assert allowed_answers.read_violation(READ, answer(500, code="internal_error"))


@pytest.mark.parametrize(("balance", "possible"), [(0, True), (10, True), (11, False), (-1, False)])
def test_balance_outside_of_the_total_is_impossible(balance: int, *, possible: bool) -> None:
    assert possible is not any(
        allowed_answers.impossible_balances(answer(200, balance=balance), 10)
    )
    page = answer(200, data=[{"balance_after": 3}, {"balance_after": balance}])
    assert possible is not any(allowed_answers.impossible_balances(page, 10))


@pytest.mark.parametrize(
    ("read", "possible"),
    [
        ((10, 0, 0, 0), True), ((9, 0, 0, 0), False), ((10, 1, 0, 0), False),
        ((10, 0, -1, 0), False), ((12, 0, 0, 2), True), ((10, 0, 0, 2), False),
    ],
)  # fmt: skip
def test_totals_that_are_not_conserved_are_impossible(
    read: tuple[int, int, int, int], *, possible: bool
) -> None:
    monitor = LedgerMonitor(None, total=10)  # type: ignore[arg-type]  # not used here
    monitor.check_totals(*read)
    assert possible is not any(monitor.impossible)


def test_batch_answer_is_read_item_by_item() -> None:
    done: dict[str, Any] = {"index": 0, "status": "completed", "error": None}
    done["transaction"] = {"id": "txn_1", "status": "completed"}
    poor = {"index": 1, "status": "failed", "transaction": None}
    poor["error"] = {"code": "insufficient_funds", "transaction_id": "txn_2"}
    whole = answer(200, object="batch", data=[done, poor])
    assert list(allowed_answers.acknowledged(BATCH, whole)) == [
        ("k.0", "txn_1", "completed"),
        ("k.1", "txn_2", "failed"),
    ]
    assert list(allowed_answers.refused(BATCH, whole)) == ["k.1"]
    assert not allowed_answers.violation(BATCH, whole)
    none = answer(402, code="insufficient_funds", transaction_id=None)
    assert list(allowed_answers.acknowledged(BATCH, none)) == []
    assert list(allowed_answers.refused(BATCH, none)) == ["k.0", "k.1"]


def test_allowed_connections_are_the_sizes_of_the_pools() -> None:
    health = notify = heartbeat = listener = runs = 1
    served = api.READ_POOL_SIZE + api.OPERATOR_POOL_SIZE + batcher.CONNECTIONS
    assert served + health + notify == cluster.API_CONNECTIONS
    jobs = JOB_CONNECTIONS + runs
    expected = worker.CONNECTIONS + heartbeat + listener + jobs
    assert expected == cluster.WORKER_CONNECTIONS


@pytest.mark.parametrize(
    ("environment", "arguments", "sentence"),
    [
        ({"FINPAY_ENV": "production", "FINPAY_JWT_SECRET": "s" * 32}, [], "FINPAY_ENV=production"),
        ({}, ["--only", "earthquake"], "unknown fault earthquake"),
    ],
)
def test_command_refuses_production_and_unknown_faults(
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
