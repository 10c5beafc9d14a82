"""PostgreSQL connections: pooled, bounded in number and time, as the role finpay_app.

A statement that can't be answered in time ends as `Unavailable`; nothing here waits longer than
DEADLINE_S. Whether a lost statement may have taken effect is in `Unavailable.may_have_run`: a
transfer whose COMMIT went unheard must not be taken for a refusal.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import asyncpg

from finpay.db.failover import HostList
from finpay.errors import Code, FinPayError
from finpay.telemetry import metrics

DEADLINE_S: Final = 4.0  # a request has to be answered within 5 s when PostgreSQL hangs
CONNECT_TIMEOUT_S: Final = 2.0
STATEMENT_TIMEOUT_MS: Final = 3_500  # the server gives up before we do, and says so
LOCK_TIMEOUT_MS: Final = 3_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 5_000  # no forgotten transaction keeps its locks
IDLE_CONNECTION_LIFETIME_S: Final = 300.0

# SQLSTATE classes and codes that say "not now" rather than "you have a bug": connection, resources,
# operator intervention (statement timeout and shutdown among them), read-only.
_NOT_NOW_CLASSES: Final = ("08", "53", "57")
_NOT_NOW_CODES: Final = frozenset({"25006"})
# Serialization failure, deadlock, lock timeout: rolled back; the same call may succeed.
_CONFLICT_CODES: Final = frozenset({"40001", "40P01", "55P03"})
_REFUSED_CODES: Final = frozenset({"25006", "57P03", "53300"})  # never ran
# What a server says to a login that will not do, however long we wait: no such role or database,
# a wrong password, a role that this login may not take.
_UNWELCOME: Final = ("22023", "28", "3D", "42")
# The second is what the driver makes of a server's goodbye that comes while we begin to speak.
_BROKEN: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError)

_NO_ANSWER: Final[dict[str, Any]] = {
    "code": Code.UNAVAILABLE,
    "detail": "The database did not answer. Try again with the same idempotency key.",
    "headers": {"Retry-After": "1"},
}

Record: TypeAlias = Any  # asyncpg.Record: a row by name and by position; it has no types


@dataclass(slots=True, eq=False)
class Unavailable(FinPayError):
    """PostgreSQL did not answer. `may_have_run`: the statement's effect is unknown."""

    may_have_run: bool = True


@dataclass(slots=True, eq=False)
class AccessDenied(Unavailable):
    """PostgreSQL answered, and does not let us in: the URL or the migrations are wrong.

    `reason` is what it said, for the operator; a client gets `detail`.
    """

    reason: str = ""


class Conflict(Unavailable):
    """Others held the rows: rolled back whole, worth another try."""


class UniqueViolation(Exception):
    """A unique constraint refused the row."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class Executor(Protocol):
    """What a pool and an open transaction have in common. Arguments are bound as $1, $2, …"""

    async def fetch(self, query: str, *args: object) -> Sequence[Record]: ...

    async def fetch_one(self, query: str, *args: object) -> Record | None: ...

    async def execute(self, query: str, *args: object) -> None: ...


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        """Nothing to reset: no statement of ours leaves state on its connection."""
        return ""


class Transaction:
    """One open transaction; commits when its `async with` ends well."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def fetch(self, query: str, *args: object) -> Sequence[Record]:
        with _translated():
            rows: list[Record] = await self._connection.fetch(query, *args)
            return rows

    async def fetch_one(self, query: str, *args: object) -> Record | None:
        with _translated():
            return await self._connection.fetchrow(query, *args)

    async def execute(self, query: str, *args: object) -> None:
        with _translated():
            await self._connection.execute(query, *args)


class Database:
    """A bounded pool of connections to one database. Built in app.py, closed there.

    `role` is taken with SET ROLE semantics at connect, so direct or session-pooled connections are
    needed. It connects when it is first used and again after every loss: PostgreSQL may come later
    than we do. Without `durable` a commit does not wait for the disk: the last moment before a
    power cut may be undone, but never half of it.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        role: str | None = "finpay_app",
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        durable: bool = True,
    ) -> None:
        settings = {
            "application_name": "finpay",
            "timezone": "UTC",
            "statement_timeout": STATEMENT_TIMEOUT_MS,
            "lock_timeout": lock_timeout_ms,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
            # A generic plan of a page with optional filters reads the whole history and sorts it.
            "plan_cache_mode": "force_custom_plan",
        }
        if not durable:
            settings["synchronous_commit"] = "off"
        if role is not None:
            settings["role"] = role
        # As statements and not as start-up parameters, which session poolers refuse.
        self._settings = "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())
        self._pool: asyncpg.Pool = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=size,
            timeout=CONNECT_TIMEOUT_S,
            max_inactive_connection_lifetime=IDLE_CONNECTION_LIFETIME_S,
            connection_class=_Connection,
            connect=HostList(url).connect,
            init=self._prepare,
        )
        self._opening = asyncio.Lock()
        self._open = False

    async def fetch(self, query: str, *args: object) -> Sequence[Record]:
        """All rows. Unavailable, Conflict or UniqueViolation if it could not be done."""
        async with self._connection() as connection:
            rows: list[Record] = await connection.fetch(query, *args)
            return rows

    async def fetch_one(self, query: str, *args: object) -> Record | None:
        """The first row, or None."""
        async with self._connection() as connection:
            return await connection.fetchrow(query, *args)

    async def execute(self, query: str, *args: object) -> None:
        """Runs a statement for its effect."""
        async with self._connection() as connection:
            await connection.execute(query, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """One transaction on one connection: committed at the end, rolled back on any error."""
        async with self._connection() as connection:
            opened = connection.transaction()
            await opened.start()
            try:
                yield Transaction(connection)
            except asyncio.CancelledError:
                raise  # its time is over: the connection is given up, and ROLLBACK with it
            except BaseException:
                await opened.rollback()
                raise
            else:
                await opened.commit()

    async def close(self) -> None:
        """Ends every connection. Idle ones at once, busy ones when their statement ends."""
        if self._open:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        await connection.execute(self._settings)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        acquired = False
        try:
            async with asyncio.timeout(DEADLINE_S):
                connection = await self._acquire()
                acquired = True
                try:
                    with _translated():
                        yield connection
                except (Unavailable, asyncio.CancelledError):
                    discard(connection)
                    raise
                finally:
                    await self._pool.release(connection)
        except TimeoutError as error:
            raise _unavailable(may_have_run=acquired) from error

    async def _acquire(self) -> asyncpg.Connection:
        started_s = time.perf_counter()
        try:
            if not self._open:
                async with self._opening:
                    await self._pool
                    self._open = True
            return await self._pool.acquire()
        except asyncpg.PostgresError as error:
            if str(error.sqlstate).startswith(_UNWELCOME):
                raise AccessDenied(**_NO_ANSWER, may_have_run=False, reason=str(error)) from error
            raise _unavailable(may_have_run=False) from error
        except (OSError, TimeoutError, *_BROKEN) as error:
            raise _unavailable(may_have_run=False) from error
        finally:
            metrics.POOL_WAIT.observe(time.perf_counter() - started_s)


def discard(connection: asyncpg.Connection) -> None:
    """Ends a connection in an unknown state: at once, as a goodbye could wait for ever."""
    with suppress(asyncpg.InterfaceError):  # the pool has noticed before us that it was lost
        connection.terminate()


@contextmanager
def _translated() -> Iterator[None]:
    """Turns the driver's errors into ours; a bug stays what it is and becomes a 500."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise UniqueViolation(str(error.constraint_name)) from None
    except asyncpg.PostgresError as error:
        error.detail = None  # it quotes rows: e-mails and hashes, and a bug's traceback is logged
        code = str(error.sqlstate)
        if code in _CONFLICT_CODES:
            raise Conflict(**_NO_ANSWER, may_have_run=False) from error
        if code in _NOT_NOW_CODES or code.startswith(_NOT_NOW_CLASSES):
            raise _unavailable(may_have_run=code not in _REFUSED_CODES) from error
        raise
    except (OSError, *_BROKEN) as error:
        raise _unavailable(may_have_run=True) from error


def _unavailable(*, may_have_run: bool) -> Unavailable:
    return Unavailable(**_NO_ANSWER, may_have_run=may_have_run)
