"""python -m tests.drills.failover: the primary is killed under load, again and again.

Two nodes with streaming replication, an API that knows both by one URL. Each round: load, SIGKILL
of the primary, promotion of the standby once the old primary is dead, and the old one rebuilt as
the new standby. With synchronous replication no acknowledged transfer may be lost; with
asynchronous replication the drill counts what is.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from finpay.dev.child_process import port_is_free
from tests.api_process import Api
from tests.drills.cluster import DATABASE, Stage, installed, seconds_until, show, stage
from tests.faults.tcp_proxy import Proxy, proxy_before
from tests.load import Load, Sent, load, prove, resolve, send_all
from tests.servers import create_migrated

BACK_LIMIT_S: Final = 15.0
REPLICATION_LIMIT_S: Final = 30.0
BEFORE: Final = 100  # acknowledged transfers that a round has at least when the primary dies
STALL_S: Final = 0.5
CLIENTS: Final = 8
_SAFE: Final = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
_STREAMING: Final = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


@dataclass(frozen=True)
class Round:
    """`acknowledged` before the kill, and how many of these the new primary does not have."""

    mode: str
    round: int
    acknowledged: int
    lost: int
    replays_of_lost: int
    promoted_s: float
    back_s: float


class Pair:
    """Two nodes, one of them the primary."""

    def __init__(self, drill: Stage, mode: str) -> None:
        self.primary = drill.node(wal_keep_size="256MB", hot_standby="on")
        self.standby = drill.node(wal_keep_size="256MB", hot_standby="on")
        self._mode = mode
        self._links = ExitStack()
        self._link: Proxy | None = None
        drill.ends.callback(self.end)
        self.primary.start()
        create_migrated(self.primary.running, DATABASE)
        self.join()

    @property
    def url(self) -> str:
        hosts = sorted(f"127.0.0.1:{node.port}" for node in (self.primary, self.standby))
        return f"postgresql://postgres@{','.join(hosts)}/{DATABASE}?target_session_attrs=read-write"

    def join(self) -> None:
        """The standby begins anew, as a copy of the primary; from then on commits wait for it."""
        self.standby.copy(self.primary, "-R")
        # What is copied from the primary would make it wait for a standby that it has not got yet.
        self.standby.configure(synchronous_standby_names="")
        if self._mode == "lagging":
            self._links.close()
            self._link, url = self._links.enter_context(proxy_before(self.primary.running.url()))
            self.standby.configure(primary_conninfo=url)
        self.standby.start()
        self._await(_STREAMING)
        if self._mode == "synchronous":
            self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.primary.sql("SELECT pg_reload_conf()")
            self._await(_SAFE)

    def promote(self) -> float:
        """Only when the old primary is dead: two that take writes could not be joined again.

        Seconds until the new primary takes writes.
        """
        assert port_is_free(self.primary.port), "the old primary still listens"
        started = time.monotonic()
        self.standby.sql("SELECT pg_promote(true, 30)")
        self.primary, self.standby = self.standby, self.primary
        return time.monotonic() - started

    def stall(self) -> None:
        """From now on a lagging standby hears nothing more: what is sent to it gets lost."""
        if self._link is not None:
            self._link.mute = True

    def end(self) -> None:
        self._links.close()

    def _await(self, query: str) -> None:
        seconds_until(
            "the standby follows", lambda: self.primary.sql(query) == "1", REPLICATION_LIMIT_S
        )


def drill(postgres: Stage, mode: str, rounds: int) -> list[Round]:
    """`mode`: synchronous, asynchronous, or lagging (asynchronous, over a link that loses the last
    half second)."""
    pair = Pair(postgres, mode)
    api = postgres.serve(pair.url)
    return [one_round(postgres, pair, api, mode, number + 1) for number in range(rounds)]


def one_round(drill: Stage, pair: Pair, api: Api, mode: str, number: int) -> Round:
    senders, receiver = [api.user(100_000) for _ in range(4)], api.user()
    with load(api, senders, receiver, clients=CLIENTS) as running:
        running.wait_for(BEFORE)
        pair.stall()
        time.sleep(STALL_S)  # of load, in every mode
        killed = time.monotonic()
        pair.primary.kill()
        dead = time.monotonic()
        promoted_s = pair.promote()
        seconds_until("service", lambda: first_after(running, dead), BACK_LIMIT_S)
        back_s = first_after(running, dead) - killed
        running.wait_for(20)
    acknowledged = [one for one in running.sent if one.status == 201 and ended(one) <= dead]
    lost = missing(api, acknowledged)
    ghosts = replayed(api, running, lost)
    drill.flush_redis()  # before traffic, where anything may have been lost
    if mode == "synchronous":
        assert not lost, f"{len(lost)} acknowledged transfers are gone"
        prove(api, running, resolve(api, running))
    else:
        assert not replayed(api, running, lost), "a lost key is executed anew"
        api.verify()
    pair.join()
    return Round(mode, number, len(acknowledged), len(lost), ghosts, promoted_s, back_s)


def first_after(running: Load, moment: float) -> float:
    """When the first transfer that was sent after `moment` was acknowledged; 0 if none was."""
    found = [ended(one) for one in list(running.sent) if one.status == 201 and one.at_s > moment]
    return min(found, default=0.0)


def ended(sent: Sent) -> float:
    return sent.at_s + sent.seconds


def missing(api: Api, acknowledged: list[Sent]) -> list[str]:
    """The keys that the ledger has not heard of."""
    keys = [sent.key for sent in acknowledged]
    rows = api.sql("SELECT key FROM ledger.idempotency_keys WHERE key = ANY($1)", keys)
    return sorted(set(keys) - {row["key"] for row in rows})


def replayed(api: Api, running: Load, keys: list[str]) -> int:
    """How many of these are answered from memory when they are sent again."""
    again = send_all(api, [running.payments[key] for key in keys[:CLIENTS]])
    return sum(sent.replayed for sent in again)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.drills.failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--modes", default="synchronous,asynchronous,lagging")
    asked = parser.parse_args()
    binaries = installed()
    total: list[Round] = []
    for mode in asked.modes.split(","):
        with stage(binaries) as postgres:
            total += drill(postgres, mode, asked.rounds)
        show(f"failover, {mode} replication", [one for one in total if one.mode == mode])
    slow = [one for one in total if one.back_s > BACK_LIMIT_S]
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
