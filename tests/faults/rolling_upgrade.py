"""What a roll needs: the next release, a load balancer that asks who is ready, and readers."""

import asyncio
import contextlib
import itertools
import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from tests.api_process import Api, User
from tests.faults.api_probes import await_that
from tests.load import TIMEOUT_S, http_client

NEXT_VERSION: Final = "99.0.0"
CHECK_EVERY_S: Final = 0.1  # far more often than the 1 s for which a draining process still listens
READ_PAUSE_S: Final = 0.02  # leaves the processor to the servers
CHUNK_BYTES: Final = 64 * 1024
MAX_READS: Final = 20_000
START_LIMIT_S: Final = 5.0
_HEADER: Final = """\
SET LOCAL ROLE finpay_owner;
SET LOCAL lock_timeout = '2s';
SET LOCAL statement_timeout = '60s';
"""
# Expand: what a release may add while the one before it runs.
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
    told = folder / f"finpay-{NEXT_VERSION}.dist-info"
    told.mkdir()
    metadata = f"Metadata-Version: 2.4\nName: finpay\nVersion: {NEXT_VERSION}\n"
    (told / "METADATA").write_text(metadata, "utf-8")
    return {"PYTHONPATH": str(folder)}


@dataclass(eq=False)
class Balancer:
    """Shares new connections out between those upstreams that say that they are ready.

    It repeats nothing: a connection that its upstream does not take ends, and the client sees it.
    `members` are ports, changed by the test; `port` is where clients come.
    """

    members: list[int]
    port: int = 0

    def __post_init__(self) -> None:
        self.ready: list[int] = []
        self._turns = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._work: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def join(self, port: int) -> None:
        """Returns when the newcomer is seen to be ready."""
        self.members.append(port)
        await_that("it is ready", lambda: port in self.ready)

    def leave(self, port: int) -> None:
        self.members.remove(port)

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(START_LIMIT_S)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(START_LIMIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._keep(asyncio.create_task(self._check()))

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._work):
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _check(self) -> None:
        while True:
            members = list(self.members)
            answers = await asyncio.gather(*map(_is_ready, members))
            self.ready = [port for port, ok in zip(members, answers, strict=True) if ok]
            await asyncio.sleep(CHECK_EVERY_S)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._keep(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._carry(reader, writer)
        writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = self.ready[next(self._turns) % len(self.ready)]
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        ways = [asyncio.ensure_future(_copy(reader, forth)),
                asyncio.ensure_future(_copy(back, writer))]  # fmt: skip
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            forth.close()
            await asyncio.gather(*ways, return_exceptions=True)


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK_BYTES):
        target.write(chunk)
        await target.drain()


async def _is_ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: finpay\r\nConnection: close\r\n\r\n")
        async with asyncio.timeout(TIMEOUT_S):
            return (await reader.read(CHUNK_BYTES)).startswith(b"HTTP/1.1 200 ")
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


@contextmanager
def balanced(members: Sequence[Api]) -> Iterator[Balancer]:
    """A balancer in front of them, when it has seen that all are ready."""
    made = Balancer([port_of(api) for api in members])
    made.start()
    try:
        await_that("all are ready", lambda: len(made.ready) == len(members))
        yield made
    finally:
        made.stop()


def port_of(api: Api) -> int:
    return int(api.url.rpartition(":")[2])


@contextmanager
def reading(api: Api, user: User, *, clients: int = 3) -> Iterator[Counter[str]]:
    """Reads on kept connections while the block lasts: what each came to, as "200 /path"."""
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
