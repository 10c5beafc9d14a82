"""An upgrade and a downgrade, process by process under load: no request fails.

docs/operations/upgrades.md documents this for operators.
"""

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from finpay.dev.stack import ServerUrls, Stack
from tests.api_process import Api, User
from tests.faults.api_probes import await_that, health
from tests.faults.rolling_upgrade import (
    NEXT_VERSION,
    Balancer,
    balanced,
    next_release,
    reading,
)
from tests.load import Load, load, prove, resolve
from tests.support.environment import LOOPBACK_WEBHOOKS, clean_environment
from tests.support.tcp_proxy import port_of
from tests.support.webhook_receiver import receiving

INSTANCES: Final = 2
STEP_TRANSFERS: Final = 20  # answered after each step, so that every step has load
MIGRATE_LIMIT_S: Final = 30.0
END_LIMIT_S: Final = 10.0
DELIVERED_S: Final = 20.0
LIMIT_S: Final = 90.0  # a rolling upgrade takes 10 s; on a busy machine much longer


def test_rolling_upgrade_and_downgrade_fail_no_request(
    fresh_database: Callable[[], str], serve: Callable[..., Api], tmp_path: Path
) -> None:
    """N → N+1 with a migration in between, N+1 → N without one: the schema stays expanded."""
    database = fresh_database()
    newer = next_release(tmp_path / "next")

    def start(**release: str) -> Api:
        return serve(DATABASE_URL=database, FINPAY_WORKERS="1", **LOOPBACK_WEBHOOKS, **release)

    olds = [start() for _ in range(INSTANCES)]
    with balanced(olds) as balancer, receiving() as receiver:
        front = dataclasses.replace(olds[0], url=f"http://127.0.0.1:{balancer.port}")
        payer = front.user(20_000)
        payer.client.create_webhook_endpoint(receiver.url, ["transaction.completed"])
        with working(tmp_path, database, {}) as old_worker, traffic(front, payer) as running:
            running.wait_for(STEP_TRANSFERS)
            assert migrate(database, newer).count("\n") >= 2
            assert expanded(front) == 3, "the old release runs on the new schema"
            running.wait_for(STEP_TRANSFERS)
            assert front.user().balance == 0
            upgraded = roll(balancer, olds, lambda: start(**newer), running)
            paid = running.count(201)
            # By the old worker, which does not have the migration.
            await_that("delivered", lambda: len(receiver.ids) >= paid, DELIVERED_S)
        assert {health(api)["version"] for api in upgraded} == {NEXT_VERSION}
        with working(tmp_path, database, newer) as new_worker, traffic(front, payer) as running:
            running.wait_for(STEP_TRANSFERS)
            migrate(database, {})  # as in every deployment; it has nothing to do
            back = roll(balancer, upgraded, start, running)
            assert front.user().balance == 0
        assert {health(api)["version"] for api in back} == {version("finpay")}
        with working(tmp_path, database, {}):
            sent = "SELECT count(*) FROM ledger.entries WHERE amount = -1"
            paid = int(front.sql(sent)[0]["count"])
            await_that("delivered", lambda: len(receiver.ids) == paid, DELIVERED_S)
    assert (old_worker.returncode, new_worker.returncode) == (0, 0)
    assert expanded(front) == 3


@contextmanager
def working(
    folder: Path, database: str, release: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A delivery worker, stopped at the end of the block."""
    with Stack(folder, ServerUrls(database, database)) as stack:
        worker = stack.start_worker(clean_environment(**LOOPBACK_WEBHOOKS) | release)
        yield worker.process


@contextmanager
def traffic(front: Api, payer: User) -> Iterator[Load]:
    """Transfers and reads on keep-alive connections. They are not retried, and none may fail."""
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
    """One by one: the new process is ready before the old one is stopped."""
    started = []
    for old in leaving:
        new = start()
        started.append(new)
        balancer.join(port_of(new.url))
        running.wait_for(STEP_TRANSFERS)
        old.process.terminate()
        assert old.process.wait(END_LIMIT_S) == 0
        balancer.leave(port_of(old.url))
        running.wait_for(STEP_TRANSFERS)
    return started


def migrate(database: str, release: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "migrate"],
        env=clean_environment(DATABASE_URL=database) | release,
        capture_output=True,
        text=True,
        timeout=MIGRATE_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def expanded(api: Api) -> int:
    """How many of the additions of the next release exist: two columns and a valid index."""
    rows = api.sql(
        "SELECT (SELECT count(*) FROM pg_attribute WHERE attname = 'reviewed_at') + "
        "(SELECT count(*) FROM pg_index "
        "WHERE indexrelid = to_regclass('ledger.entries_by_time') AND indisvalid) AS found"
    )
    return int(rows[0]["found"])


def slowest(running: Load) -> float:
    return max(sent.seconds for sent in running.sent)
