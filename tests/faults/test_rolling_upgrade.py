"""An upgrade and its way back, process by process under load: nobody outside notices.

docs/operations/upgrades.md tells operators what this proves.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.api_process import Api, User
from tests.delivery.receiver import receiving
from tests.faults.api_probes import await_that, health
from tests.faults.rolling_upgrade import (
    NEXT_VERSION,
    Balancer,
    balanced,
    next_release,
    port_of,
    reading,
)
from tests.load import Load, load, prove, resolve

INSTANCES: Final = 2
MET: Final = 20  # transfers answered after each step, so that every step meets the load
MIGRATE_LIMIT_S: Final = 30.0
END_LIMIT_S: Final = 10.0
DELIVERED_S: Final = 20.0
LOOPBACK: Final = {"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8"}
LIMIT_S: Final = 90.0  # a roll takes 10 s; on a busy machine much longer


def test_a_roll_forth_and_back_fails_no_request(
    fresh_database: Callable[[], str], serve: Callable[..., Api], tmp_path: Path
) -> None:
    """N → N+1 with a migration in between, N+1 → N without one: what was added stays."""
    database = fresh_database()
    newer = next_release(tmp_path / "next")

    def start(**release: str) -> Api:
        return serve(DATABASE_URL=database, FINPAY_WORKERS="1", **LOOPBACK, **release)

    olds = [start() for _ in range(INSTANCES)]
    with balanced(olds) as balancer, receiving() as receiver:
        front = dataclasses.replace(olds[0], url=f"http://127.0.0.1:{balancer.port}")
        payer = front.user(20_000)
        payer.client.create_webhook_endpoint(receiver.url, ["transaction.completed"])
        with working(database, {}) as old_worker, traffic(front, payer) as running:
            running.wait_for(MET)
            assert migrate(database, newer).count("\n") >= 2
            assert shape(front) == 3, "the old release runs on the new shape"
            running.wait_for(MET)
            assert front.user().balance == 0
            news = roll(balancer, olds, lambda: start(**newer), running)
            paid = running.count(201)
            # Of the old worker, which has never heard of the migration.
            await_that("delivered", lambda: len(receiver.ids) >= paid, DELIVERED_S)
        assert {health(api)["version"] for api in news} == {NEXT_VERSION}
        with working(database, newer) as new_worker, traffic(front, payer) as running:
            running.wait_for(MET)
            migrate(database, {})  # as every deployment does; it finds nothing to do
            back = roll(balancer, news, start, running)
            assert front.user().balance == 0
        assert {health(api)["version"] for api in back} == {version("finpay")}
        with working(database, {}):
            owed = "SELECT count(*) FROM ledger.entries WHERE amount = -1"
            paid = int(front.sql(owed)[0]["count"])
            await_that("delivered", lambda: len(receiver.ids) == paid, DELIVERED_S)
    assert (old_worker.returncode, new_worker.returncode) == (0, 0)
    assert shape(front) == 3


@contextmanager
def working(database: str, release: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that delivers, until it is told to stop."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "finpay", "worker"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": database, **LOOPBACK, **release},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield worker
    finally:
        worker.terminate()
        worker.wait(END_LIMIT_S)


@contextmanager
def traffic(front: Api, payer: User) -> Iterator[Load]:
    """Transfers and reads on kept connections. Nothing is repeated, and nothing may fail."""
    with (
        reading(front, payer) as reads,
        load(front, [payer], front.user(), clients=4, pause_s=0.02, limit_s=LIMIT_S) as running,
    ):
        yield running
    failed = [sent for sent in running.sent if sent.status != 201]
    assert failed == []
    assert [outcome for outcome in reads if not outcome.startswith("200 ")] == []
    assert sum("/health" in outcome for outcome in reads) == 2, "both releases answered"
    prove(front, running, resolve(front, running))
    print(f"{len(running.sent)} transfers, {reads.total()} reads, slowest {slowest(running):.2f} s")


def roll(
    balancer: Balancer, leaving: list[Api], start: Callable[[], Api], running: Load
) -> list[Api]:
    """One by one: the successor is ready, then its predecessor is told to stop."""
    coming = []
    for old in leaving:
        new = start()
        coming.append(new)
        balancer.join(port_of(new))
        running.wait_for(MET)
        old.process.terminate()
        assert old.process.wait(END_LIMIT_S) == 0
        balancer.leave(port_of(old))
        running.wait_for(MET)
    return coming


def migrate(database: str, release: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "migrate"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": database, **release},
        capture_output=True,
        text=True,
        timeout=MIGRATE_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shape(api: Api) -> int:
    """How much of what the next release adds is there: two columns, and an index that is valid."""
    rows = api.sql(
        "SELECT (SELECT count(*) FROM pg_attribute WHERE attname = 'reviewed_at') + "
        "(SELECT count(*) FROM pg_index "
        "WHERE indexrelid = to_regclass('ledger.entries_by_time') AND indisvalid) AS found"
    )
    return int(rows[0]["found"])


def slowest(running: Load) -> float:
    return max(sent.seconds for sent in running.sent)
