"""For rolling upgrades: the next release, a load balancer with readiness checks, and readers."""

import asyncio
import itertools
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from tests.api_process import Api, User
from tests.faults.api_probes import await_that
from tests.load import TIMEOUT_S, http_client
from tests.support.loop_thread import served_in_thread
from tests.support.raw_http import get_status
from tests.support.tcp_proxy import TcpProxy, port_of

NEXT_VERSION: Final = "99.0.0"
CHECK_EVERY_S: Final = 0.1  # far more often than the 1 s that a draining process still listens
READ_PAUSE_S: Final = 0.02  # leaves the processor to the servers
MAX_READS: Final = 20_000
_HEADER: Final = """\
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';
"""
# Expand: what a release may add while the previous one runs.
_MIGRATIONS: Final = {
    "29990101000001_expand.sql": f"""\
-- migrate:up
{_HEADER}
ALTER TABLE ledger.accounts ADD COLUMN reviewed_at timestamptz;
ALTER TABLE ledger.transactions ADD COLUMN reviewed_at timestamptz;
CREATE TABLE ledger.reviews (id bigint NOT NULL, CONSTRAINT reviews_pkey PRIMARY KEY (id));
GRANT SELECT ON ledger.reviews TO finpay_app;
CREATE OR REPLACE FUNCTION ledger.format_timestamp(moment timestamptz) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT replace(to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US"Z"'), ' ', 'T')
$$;

-- migrate:down
""",
    "29990101000002_index.sql": """\
-- migrate:up transaction:false
-- squawk-ignore require-lock-timeout, require-statement-timeout, prefer-robust-stmts
CREATE INDEX CONCURRENTLY entries_by_time ON ledger.entries (created_at);

-- migrate:down transaction:false
""",
}


def next_release(folder: Path) -> dict[str, str]:
    """A copy of the package with another version and two more migrations; the environment for it.

    The folder must not exist.
    """
    import finpay

    package = Path(finpay.__file__).parent
    shutil.copytree(package, folder / "finpay", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in _MIGRATIONS.items():
        (folder / "finpay/db/migrations" / name).write_text(text, "utf-8")
    dist_info = folder / f"finpay-{NEXT_VERSION}.dist-info"
    dist_info.mkdir()
    metadata = f"Metadata-Version: 2.4\nName: finpay\nVersion: {NEXT_VERSION}\n"
    (dist_info / "METADATA").write_text(metadata, "utf-8")
    return {"PYTHONPATH": str(folder)}


class Balancer(TcpProxy):
    """Distributes new connections over the upstreams that are ready.

    It retries nothing: a connection that its upstream refuses fails for the client. `members` are
    ports, changed by the test.
    """

    def __init__(self, members: list[int]) -> None:
        super().__init__(0)
        self.members = members
        self.ready: list[int] = []
        self._next = itertools.count()

    def join(self, port: int) -> None:
        """Returns when the new member was seen to be ready."""
        self.members.append(port)
        await_that("it is ready", lambda: port in self.ready)

    def leave(self, port: int) -> None:
        self.members.remove(port)

    def choose_upstream(self) -> int:
        return self.ready[next(self._next) % len(self.ready)]

    async def open(self) -> None:
        await super().open()
        self._checking = asyncio.create_task(self._check())

    async def close(self) -> None:
        self._checking.cancel()
        await super().close()

    async def _check(self) -> None:
        while True:
            members = list(self.members)
            statuses = await asyncio.gather(
                *(get_status(port, "/readyz", TIMEOUT_S) for port in members)
            )
            self.ready = [
                port for port, status in zip(members, statuses, strict=True) if status == 200
            ]
            await asyncio.sleep(CHECK_EVERY_S)


@contextmanager
def balanced(members: Sequence[Api]) -> Iterator[Balancer]:
    """A balancer before them that has seen all of them ready."""
    with served_in_thread(Balancer([port_of(api.url) for api in members])) as balancer:
        await_that("all are ready", lambda: len(balancer.ready) == len(members))
        yield balancer


@contextmanager
def reading(api: Api, user: User, *, clients: int = 3) -> Iterator[Counter[str]]:
    """Reads on keep-alive connections until the block ends; the outcomes, as "200 /path"."""
    outcomes: Counter[str] = Counter()
    stopping = threading.Event()

    async def loop(http: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {user.token}"}
        for path in itertools.cycle(("/accounts", "/transactions", "/health")):
            if stopping.is_set():
                return
            assert outcomes.total() < MAX_READS
            outcomes[await _outcome(http, f"/api/v1{path}", headers)] += 1
            await asyncio.sleep(READ_PAUSE_S)

    async def run() -> None:
        async with http_client(api, clients) as http:
            await asyncio.gather(*(loop(http) for _ in range(clients)))

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        yield outcomes
    finally:
        stopping.set()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


async def _outcome(http: httpx.AsyncClient, path: str, headers: dict[str, str]) -> str:
    try:
        answer = await http.get(path, headers=headers)
    except httpx.HTTPError as error:
        return f"{error!r} {path}"
    version = f" {answer.json()['version']}" if path.endswith("/health") else ""
    return f"{answer.status_code} {path}{version}"
