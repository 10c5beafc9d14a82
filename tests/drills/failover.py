"""python -m tests.drills.failover: the primary is killed under load, several times.

Two nodes with streaming replication, an API with one URL for both. Each round: load, SIGKILL of the
primary, promotion of the standby once the old primary has exited, and the old primary rebuilt as
the new standby. With synchronous replication no acknowledged transfer may be lost; with
asynchronous replication the drill counts the lost ones.
"""

import argparse
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from finpay.dev.child_process import port_is_free
from tests.api_process import Api
from tests.drills.cluster import (
    DATABASE,
    DrillCluster,
    drill_cluster,
    installed_postgres,
    seconds_until,
    show,
)
from tests.load import Load, Sent, load, prove, resolve, send_all
from tests.servers import create_migrated
from tests.support.tcp_proxy import TcpProxy, proxy_before

BACK_LIMIT_S: Final = 15.0
REPLICATION_LIMIT_S: Final = 30.0
MIN_TRANSFERS: Final = 100  # acknowledged in each round before the primary is killed
STALL_S: Final = 0.5
CLIENTS: Final = 8
_SYNCHRONOUS: Final = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
_STREAMING: Final = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


@dataclass(frozen=True)
class Round:
    """Transfers `acknowledged` before the kill, and those of them that the new primary lost."""

    mode: str
    round: int
    acknowledged: int
    lost: int
    replays_of_lost: int
    promoted_s: float
    back_s: float


class Pair:
    """Two nodes, one of them the primary."""

    def __init__(self, drill: DrillCluster, mode: str) -> None:
        self.primary = drill.node(wal_keep_size="256MB", hot_standby="on")
        self.standby = drill.node(wal_keep_size="256MB", hot_standby="on")
        self._mode = mode
        self._links = ExitStack()
        self._link: TcpProxy | None = None
        drill.cleanup.callback(self._links.close)
        self.primary.start()
        create_migrated(self.primary, DATABASE)
        self.rebuild_standby()

    @property
    def url(self) -> str:
        hosts = sorted(f"127.0.0.1:{node.port}" for node in (self.primary, self.standby))
        return f"postgresql://postgres@{','.join(hosts)}/{DATABASE}?target_session_attrs=read-write"

    def rebuild_standby(self) -> None:
        """From a copy of the primary. In synchronous mode, commits wait for it from then on."""
        self.standby.copy(self.primary, "-R")
        # The copied setting would make the standby wait for a standby of its own.
        self.standby.configure(synchronous_standby_names="")
        if self._mode == "lagging":
            self._links.close()
            self._link, url = self._links.enter_context(proxy_before(self.primary.url()))
            self.standby.configure(primary_conninfo=url)
        self.standby.start()
        self._await(_STREAMING)
        if self._mode == "synchronous":
            self.primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.primary.sql("SELECT pg_reload_conf()")
            self._await(_SYNCHRONOUS)

    def promote(self) -> float:
        """Seconds until the standby takes writes as the new primary.

        Only after the old primary has exited: two primaries would diverge.
        """
        assert port_is_free(self.primary.port), "the old primary still listens"
        started = time.monotonic()
        self.standby.sql("SELECT pg_promote(true, 30)")
        self.primary, self.standby = self.standby, self.primary
        return time.monotonic() - started

    def stall(self) -> None:
        """Drop all WAL that is sent to a lagging standby from now on."""
        if self._link is not None:
            self._link.drop_responses = True

    def _await(self, query: str) -> None:
        seconds_until(
            "the standby replicates", lambda: self.primary.sql(query) == "1", REPLICATION_LIMIT_S
        )


def drill(cluster: DrillCluster, mode: str, rounds: int) -> list[Round]:
    """`mode`: synchronous, asynchronous, or lagging (asynchronous, over a link that loses the last
    half second)."""
    pair = Pair(cluster, mode)
    api = cluster.serve(pair.url)
    return [one_round(cluster, pair, api, mode, number + 1) for number in range(rounds)]


def one_round(cluster: DrillCluster, pair: Pair, api: Api, mode: str, number: int) -> Round:
    senders, receiver = [api.user(100_000) for _ in range(4)], api.user()
    with load(api, senders, receiver, clients=CLIENTS) as running:
        running.wait_for(MIN_TRANSFERS)
        pair.stall()
        time.sleep(STALL_S)  # of load, in every mode
        killed = time.monotonic()
        pair.primary.kill()
        exited = time.monotonic()
        promoted_s = pair.promote()
        seconds_until("service", lambda: first_after(running, exited), BACK_LIMIT_S)
        back_s = first_after(running, exited) - killed
        running.wait_for(20)
    acknowledged = [one for one in running.sent if one.status == 201 and ended(one) <= exited]
    lost = missing(api, acknowledged)
    replays_of_lost = replayed(api, running, lost)  # executes them
    if mode == "synchronous":
        assert not lost, f"{len(lost)} acknowledged transfers are gone"
        prove(api, running, resolve(api, running))
    else:
        assert not replays_of_lost, "Redis answers for money that is gone"
        api.verify()
    pair.rebuild_standby()
    return Round(mode, number, len(acknowledged), len(lost), replays_of_lost, promoted_s, back_s)


def first_after(running: Load, moment: float) -> float:
    """When the first transfer sent after `moment` was acknowledged; 0 if none was."""
    found = [ended(one) for one in list(running.sent) if one.status == 201 and one.at_s > moment]
    return min(found, default=0.0)


def ended(sent: Sent) -> float:
    return sent.at_s + sent.seconds


def missing(api: Api, acknowledged: list[Sent]) -> list[str]:
    """The keys that the ledger does not have."""
    keys = [sent.key for sent in acknowledged]
    rows = api.sql("SELECT key FROM ledger.idempotency_keys WHERE key = ANY($1)", keys)
    return sorted(set(keys) - {row["key"] for row in rows})


def replayed(api: Api, running: Load, keys: list[str]) -> int:
    """The number of these keys whose retry is answered from Redis."""
    resent = send_all(api, [running.payments[key] for key in keys[:CLIENTS]])
    return sum(sent.replayed for sent in resent)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.drills.failover", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--modes", default="synchronous,asynchronous,lagging")
    options = parser.parse_args()
    binaries = installed_postgres()
    total: list[Round] = []
    for mode in options.modes.split(","):
        with drill_cluster(binaries) as cluster:
            total += drill(cluster, mode, options.rounds)
        show(f"failover, {mode} replication", [one for one in total if one.mode == mode])
    slow = [one for one in total if one.back_s > BACK_LIMIT_S]
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
