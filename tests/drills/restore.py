"""python -m tests.drills.restore: the data is gone, and comes back from each kind of backup.

* dump: pg_dump and pg_restore into a new cluster.
* point: a base backup and archived WAL, up to a named moment before a mistake.
* latest: the same, as far as the archive goes, after the server was killed under load.

Each restored ledger has to pass `finpay ledger verify`. Redis is ahead of it, and would answer
keys whose money is gone: the drill shows that, flushes it, and shows that the key is done anew.
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
from tests.drills.cluster import DATABASE, Node, Stage, installed, seconds_until, show, stage
from tests.load import Load, Payment, Sent, load, send_all
from tests.servers import create_migrated

ARCHIVE_TIMEOUT_S: Final = 5  # of the drill; a production of 60 loses up to 60 s more
ARCHIVE_LIMIT_S: Final = 60.0
RECOVERY_LIMIT_S: Final = 120.0
TARGET: Final = "before_the_mistake"


@dataclass(frozen=True)
class Result:
    """`rpo_s`: how long before the wanted moment the last transfer is that was kept; the moment is
    the disaster itself, for `point` the one before the mistake. `rto_s`: from the disaster to the
    first transfer on the restored ledger, verification included."""

    method: str
    transfers: int
    lost: int
    rpo_s: float
    rto_s: float
    verify_s: float


@dataclass
class Bank:
    """An API with people on it, and all that was ever acknowledged to them."""

    api: Api
    senders: list[User]
    receiver: User
    acknowledged: list[Sent]
    payments: dict[str, Payment]

    def work(self, transfers: int, during: Callable[[], None] = lambda: None) -> None:
        """So many transfers, then `during` while they go on."""
        with load(self.api, self.senders, self.receiver, clients=4) as running:
            running.wait_for(transfers)
            during()
        self._note(running)

    def _note(self, running: Load) -> None:
        self.acknowledged += [sent for sent in running.sent if sent.status == 201]
        self.payments |= running.payments


def open_bank(drill: Stage, node: Node) -> Bank:
    api = drill.serve(node.running.url(DATABASE))
    return Bank(api, [api.user(1_000_000) for _ in range(4)], api.user(), [], {})


def dump(drill: Stage, transfers: int) -> Result:
    old = drill.node()
    old.start()
    create_migrated(old.running, DATABASE)
    bank = open_bank(drill, old)
    kept = old.place.data_folder("backup")

    def back_up() -> None:
        url = old.running.url
        old.tool("pg_dumpall", "--roles-only", "-d", url(), "-f", kept / "roles.sql")
        old.tool("pg_dump", "-Fc", "-d", url(DATABASE), "-f", kept / "dump")

    bank.work(transfers, back_up)
    bank.work(transfers)
    disaster = time.monotonic()
    old.kill()
    new = drill.node()
    new.start()
    postgres = new.running.url()
    # The superuser is there already, which the script says as an error of one line.
    new.tool("psql", "-Xq", "-d", postgres, "-f", kept / "roles.sql")
    new.tool("pg_restore", "-j", "2", "--exit-on-error", "-C", "-d", postgres, kept / "dump")
    return reopened(drill, "dump", bank, new, target=disaster, noticed=disaster)


def point(drill: Stage, transfers: int) -> Result:
    old, archive, base = archiving(drill)
    bank = open_bank(drill, old)
    bank.work(transfers, lambda: old.copy(old, into=base))
    old.sql(f"SELECT pg_create_restore_point('{TARGET}')")
    good = {sent.key for sent in bank.acknowledged}
    target = time.monotonic()
    bank.work(transfers)  # the mistake
    await_archived(old, archive)
    noticed = time.monotonic()
    old.kill()
    new = recovered(drill, base, archive, recovery_target_name=TARGET)
    assert stored(new, bank) == good, "all that was before the moment, and nothing that was after"
    return reopened(drill, "point", bank, new, target=target, noticed=noticed)


def latest(drill: Stage, transfers: int) -> Result:
    old, archive, base = archiving(drill)
    bank = open_bank(drill, old)
    bank.work(transfers, lambda: old.copy(old, into=base))
    bank.work(transfers)
    await_archived(old, archive)
    moments: list[float] = []

    def disaster() -> None:
        moments.append(time.monotonic())
        old.kill()

    bank.work(transfers, disaster)
    new = recovered(drill, base, archive)
    return reopened(drill, "latest", bank, new, target=moments[0], noticed=moments[0])


def archiving(drill: Stage) -> tuple[Node, Path, Path]:
    """A node that archives its WAL, the archive, and where its base backup will be."""
    node = drill.node(archive_mode="on", archive_timeout=str(ARCHIVE_TIMEOUT_S))
    archive = node.place.data_folder("archive")
    # Never overwrites a file, and never leaves half of one under its name.
    node.settings["archive_command"] = (
        f"test ! -f {archive}/%f && cp %p {archive}/.%f && mv {archive}/.%f {archive}/%f"
    )
    node.start()
    create_migrated(node.running, DATABASE)
    return node, archive, node.place.data_folder("backup") / "base"


def await_archived(node: Node, archive: Path) -> None:
    """Until all that was written so far is in the archive."""
    name = node.sql("SELECT pg_walfile_name(pg_switch_wal())")
    seconds_until("archived", (archive / name).exists, ARCHIVE_LIMIT_S)


def recovered(drill: Stage, base: Path, archive: Path, **target: str) -> Node:
    node = drill.node()
    node.shell("cp", "-a", base, node.data)
    node.shell("touch", node.data / "recovery.signal")
    node.configure(
        restore_command=f"cp {archive}/%f %p", recovery_target_action="promote", **target
    )
    node.start()
    recovering = "SELECT pg_is_in_recovery()"
    seconds_until("recovery", lambda: node.sql(recovering) == "f", RECOVERY_LIMIT_S)
    return node


def reopened(
    drill: Stage, method: str, bank: Bank, node: Node, *, target: float, noticed: float
) -> Result:
    """Verify, flush Redis, then traffic; and why the flush."""
    verify_s = verified(node)
    kept = stored(node, bank)
    lost = [sent for sent in bank.acknowledged if sent.key not in kept]
    api = drill.serve(node.running.url(DATABASE))
    prepared = time.monotonic()
    if lost:
        remembered = answer(api, bank.payments[lost[0].key])
        assert remembered.replayed, "without the flush Redis answers for money that is gone"
    explained_s = time.monotonic() - prepared  # no part of the procedure
    drill.flush_redis()
    if lost:
        anew = answer(api, bank.payments[lost[0].key])
        assert (anew.status, anew.replayed) == (201, False), anew
        assert anew.body != lost[0].body, "a transaction of its own"
    old = answer(api, bank.payments[next(iter(kept))])
    assert old.replayed, "what was kept is still answered from the ledger"
    rto_s = time.monotonic() - noticed - explained_s
    verified(node)
    last = max(sent.at_s + sent.seconds for sent in bank.acknowledged if sent.key in kept)
    rpo_s = max(0.0, target - last)
    return Result(method, len(bank.acknowledged), len(lost), rpo_s, rto_s, verify_s)


def verified(node: Node) -> float:
    """`finpay ledger verify`, as an operator runs it. Seconds; it has to say that all is well."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "finpay", "ledger", "verify", "--json"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": node.running.url(DATABASE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"]
    return time.monotonic() - started


def stored(node: Node, bank: Bank) -> set[str]:
    """Of the acknowledged keys, those that the node's ledger has."""
    found = node.sql("SELECT key FROM ledger.idempotency_keys", DATABASE).splitlines()
    return {sent.key for sent in bank.acknowledged} & set(found)


def answer(api: Api, payment: Payment) -> Sent:
    return send_all(api, [payment])[0]


METHODS: Final = {"dump": dump, "point": point, "latest": latest}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.drills.restore", description=__doc__)
    parser.add_argument("--transfers", type=int, default=1_000, help="in each phase of the load")
    parser.add_argument("--methods", default=",".join(METHODS))
    asked = parser.parse_args()
    binaries = installed()
    results = []
    for method in asked.methods.split(","):
        with stage(binaries) as drill:
            results.append(METHODS[method](drill, asked.transfers))
    show("restore", results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
