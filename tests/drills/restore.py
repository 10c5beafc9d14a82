"""python -m tests.drills.restore: the data is lost, and restored from each kind of backup.

* dump: pg_dump and pg_restore into a new cluster.
* point: a base backup and archived WAL, up to a named moment before a mistake.
* latest: the same, up to the end of the archive, after the server was killed under load.

Each restored ledger has to pass `finpay ledger verify`. Redis is ahead of it, and replays answers
of transfers that the ledger lost: the drill shows that, flushes Redis, and shows that the key is
executed again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.api_process import Api, User
from tests.drills.cluster import (
    DATABASE,
    DrillCluster,
    Node,
    drill_cluster,
    installed_postgres,
    seconds_until,
    show,
)
from tests.load import Load, Payment, Sent, load, send_all
from tests.servers import create_migrated

LOAD_LIMIT_S: Final = 120.0  # for --transfers on a slow machine
ARCHIVE_TIMEOUT_S: Final = 5  # of the drill; a production of 60 loses up to 60 s more
ARCHIVE_LIMIT_S: Final = 60.0
RECOVERY_LIMIT_S: Final = 120.0
TARGET: Final = "before_the_mistake"


@dataclass(frozen=True)
class Result:
    """`rpo_s`: from the last restored transfer to the target moment, which is the disaster, or for
    `point` the moment before the mistake. `rto_s`: from the disaster to the first transfer on the
    restored ledger, verification included."""

    method: str
    transfers: int
    lost: int
    rpo_s: float
    rto_s: float
    verify_s: float


@dataclass
class Workload:
    """An API with users, and every transfer that was acknowledged to them."""

    api: Api
    senders: list[User]
    receiver: User
    acknowledged: list[Sent]
    payments: dict[str, Payment]

    def run(self, transfers: int, during: Callable[[], None] = lambda: None) -> None:
        """That many transfers, then `during` while more follow."""
        with load(
            self.api, self.senders, self.receiver, clients=4, limit_s=LOAD_LIMIT_S
        ) as running:
            running.wait_for(transfers, limit_s=LOAD_LIMIT_S)
            during()
        self._record(running)

    def _record(self, running: Load) -> None:
        self.acknowledged += [sent for sent in running.sent if sent.status == 201]
        self.payments |= running.payments


def start_workload(drill: DrillCluster, node: Node) -> Workload:
    api = drill.serve(node.url(DATABASE))
    return Workload(api, [api.user(1_000_000) for _ in range(4)], api.user(), [], {})


def dump(drill: DrillCluster, transfers: int) -> Result:
    old = drill.node()
    old.start()
    create_migrated(old, DATABASE)
    workload = start_workload(drill, old)
    backup = old.data_dir.data_folder("backup")

    def back_up() -> None:
        old.tool("pg_dumpall", "--roles-only", "-d", old.url(), "-f", backup / "roles.sql")
        old.tool("pg_dump", "-Fc", "-d", old.url(DATABASE), "-f", backup / "dump")

    workload.run(transfers, back_up)
    workload.run(transfers)
    disaster = time.monotonic()
    old.kill()
    new = drill.node()
    new.start()
    postgres = new.url()
    # The superuser exists already: the script prints one error line about that.
    new.tool("psql", "-Xq", "-d", postgres, "-f", backup / "roles.sql")
    new.tool("pg_restore", "-j", "2", "--exit-on-error", "-C", "-d", postgres, backup / "dump")
    return reopen(drill, "dump", workload, new, target=disaster, noticed=disaster)


def point(drill: DrillCluster, transfers: int) -> Result:
    old, archive, base = archiving(drill)
    workload = start_workload(drill, old)
    workload.run(transfers, lambda: old.copy(old, into=base))
    old.sql(f"SELECT pg_create_restore_point('{TARGET}')")
    before = {sent.key for sent in workload.acknowledged}
    target = time.monotonic()
    workload.run(transfers)  # the mistake
    await_archived(old, archive)
    noticed = time.monotonic()
    old.kill()
    new = recovered(drill, base, archive, recovery_target_name=TARGET)
    assert stored(new, workload) == before, "all before the target moment, nothing after"
    return reopen(drill, "point", workload, new, target=target, noticed=noticed)


def latest(drill: DrillCluster, transfers: int) -> Result:
    old, archive, base = archiving(drill)
    workload = start_workload(drill, old)
    workload.run(transfers, lambda: old.copy(old, into=base))
    workload.run(transfers)
    await_archived(old, archive)
    moments: list[float] = []

    def disaster() -> None:
        moments.append(time.monotonic())
        old.kill()

    workload.run(transfers, disaster)
    new = recovered(drill, base, archive)
    return reopen(drill, "latest", workload, new, target=moments[0], noticed=moments[0])


def archiving(drill: DrillCluster) -> tuple[Node, Path, Path]:
    """A node that archives its WAL, the archive, and the folder of its base backup."""
    node = drill.node(archive_mode="on", archive_timeout=str(ARCHIVE_TIMEOUT_S))
    archive = node.data_dir.data_folder("archive")
    # Never overwrites a file, and never leaves a partial file under its final name.
    node.settings["archive_command"] = (
        f"test ! -f {archive}/%f && cp %p {archive}/.%f && mv {archive}/.%f {archive}/%f"
    )
    node.start()
    create_migrated(node, DATABASE)
    return node, archive, node.data_dir.data_folder("backup") / "base"


def await_archived(node: Node, archive: Path) -> None:
    """Until all WAL written so far is in the archive."""
    name = node.sql("SELECT pg_walfile_name(pg_switch_wal())")
    seconds_until("archived", (archive / name).exists, ARCHIVE_LIMIT_S)


def recovered(drill: DrillCluster, base: Path, archive: Path, **target: str) -> Node:
    node = drill.node()
    node.shell("cp", "-a", base, node.pgdata)
    node.shell("touch", node.pgdata / "recovery.signal")
    node.configure(
        restore_command=f"cp {archive}/%f %p", recovery_target_action="promote", **target
    )
    node.start()
    recovering = "SELECT pg_is_in_recovery()"
    seconds_until("recovery", lambda: node.sql(recovering) == "f", RECOVERY_LIMIT_S)
    return node


def reopen(
    drill: DrillCluster,
    method: str,
    workload: Workload,
    node: Node,
    *,
    target: float,
    noticed: float,
) -> Result:
    """Verify, then traffic, with the Redis of before: the server drops what it has of lost data."""
    verify_s = verified(node)
    kept = stored(node, workload)
    lost = [sent for sent in workload.acknowledged if sent.key not in kept]
    api = drill.serve(node.url(DATABASE))
    if lost:
        repeated = answer(api, workload.payments[lost[0].key])
        assert (repeated.status, repeated.replayed) == (201, False), repeated
        assert repeated.body != lost[0].body, "another transaction"
    old = answer(api, workload.payments[next(iter(kept))])
    assert old.replayed, "a restored key is still answered from the ledger"
    rto_s = time.monotonic() - noticed
    verified(node)
    last = max(sent.at_s + sent.seconds for sent in workload.acknowledged if sent.key in kept)
    rpo_s = max(0.0, target - last)
    return Result(method, len(workload.acknowledged), len(lost), rpo_s, rto_s, verify_s)


def verified(node: Node) -> float:
    """Seconds of `finpay ledger verify`, run as by an operator. AssertionError unless it is ok."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "ledger", "verify", "--json"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": node.url(DATABASE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"]
    return time.monotonic() - started


def stored(node: Node, workload: Workload) -> set[str]:
    """Of the acknowledged keys, those that the node's ledger has."""
    found = node.sql("SELECT key FROM ledger.idempotency_keys", DATABASE).splitlines()
    return {sent.key for sent in workload.acknowledged} & set(found)


def answer(api: Api, payment: Payment) -> Sent:
    return send_all(api, [payment])[0]


METHODS: Final = {"dump": dump, "point": point, "latest": latest}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.drills.restore", description=__doc__)
    parser.add_argument("--transfers", type=int, default=1_000, help="in each phase of the load")
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args()
    binaries = installed_postgres()
    results = []
    for method in options.methods.split(","):
        with drill_cluster(binaries) as drill:
            results.append(METHODS[method](drill, options.transfers))
    show("restore", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
