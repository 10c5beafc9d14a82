"""PostgreSQL connections: pooled, bounded in number and time, as finpay_app or another given role.

A statement without an answer in time raises `Unavailable`; no call waits longer than DEADLINE_S,
except in `unbounded_transaction`. `Unavailable.may_have_run` is whether a lost statement may have
taken effect: a transfer whose COMMIT got no answer is not a refusal.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

import asyncpg

from finpay.db.failover import HostList
from finpay.errors import Code, FinPayError
from finpay.telemetry import metrics

DEADLINE_S: Final = 4.0  # a request has to be answered within 5 s when PostgreSQL hangs
CONNECT_TIMEOUT_S: Final = 2.0
STATEMENT_TIMEOUT_MS: Final = 3_500  # below DEADLINE_S, so that the server reports the timeout
LOCK_TIMEOUT_MS: Final = 3_000
IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 5_000  # an abandoned transaction releases its locks
IDLE_CONNECTION_LIFETIME_S: Final = 300.0

# SQLSTATE classes and codes of a server that is unavailable, rather than of a bug: connection,
# resources, operator intervention (statement timeout and shutdown among them), read-only.
_UNAVAILABLE_CLASSES: Final = ("08", "53", "57")
_UNAVAILABLE_CODES: Final = frozenset({"25006"})
# Serialization failure, deadlock, lock timeout: rolled back; the same call may succeed.
_CONFLICT_CODES: Final = frozenset({"40001", "40P01", "55P03"})
_REFUSED_CODES: Final = frozenset({"25006", "57P03", "53300"})  # never ran
# Errors of a login that a retry can't correct: an unknown role or database, a wrong password, one
# that this login may not take.
_ACCESS_DENIED: Final = ("22023", "28", "3D", "42")
# The driver raises the second when the server closes the connection during the handshake.
_BROKEN: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError)

_NO_ANSWER: Final[dict[str, Any]] = {
    "code": Code.UNAVAILABLE,
    "detail": "The database did not answer. Try again with the same idempotency key.",
    "headers": {"Retry-After": "1"},
}

Record: TypeAlias = Any  # asyncpg.Record: a row by name and by position; it has no types
Isolation: TypeAlias = Literal["read_committed", "repeatable_read", "serializable"]


@dataclass(slots=True, eq=False)
class Unavailable(FinPayError):
    """PostgreSQL did not answer. `may_have_run`: the statement may have taken effect."""

    may_have_run: bool = True


@dataclass(slots=True, eq=False)
class AccessDenied(Unavailable):
    """PostgreSQL refused the login: the URL or the migrations are wrong.

    `reason` is PostgreSQL's message, for the operator; a client gets `detail`.
    """

    reason: str = ""


class Conflict(Unavailable):
    """Another transaction held the rows: rolled back, a retry may succeed."""


class UniqueViolation(Exception):
    """A unique constraint refused the row."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class Executor(Protocol):
    """A pool or an open transaction. Arguments are bound as $1, $2, …"""

    async def fetch(self, query: str, *args: object) -> Sequence[Record]: ...

    async def fetch_one(self, query: str, *args: object) -> Record | None: ...

    async def execute(self, query: str, *args: object) -> None: ...


class _Connection(asyncpg.Connection):
    def get_reset_query(self) -> str:
        """Empty: no statement of FinPay leaves state on its connection."""
        return ""


class Transaction:
    """One open transaction; commits when its `async with` ends without an error."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def fetch(self, query: str, *args: object) -> Sequence[Record]:
        with _map_errors():
            rows: list[Record] = await self._connection.fetch(query, *args)
            return rows

    async def fetch_one(self, query: str, *args: object) -> Record | None:
        with _map_errors():
            return await self._connection.fetchrow(query, *args)

    async def execute(self, query: str, *args: object) -> None:
        with _map_errors():
            await self._connection.execute(query, *args)


Check: TypeAlias = Callable[[Executor], Awaitable[None]]


class Database:
    """A bounded pool of connections to one database. Built and closed by the composition root.

    `role` is taken with SET ROLE semantics at connect, so direct or session-pooled connections are
    needed. It connects at its first use and after every loss: PostgreSQL may start later than this
    process. Without `durable` a commit does not wait for the disk: a power cut may undo the last
    commits, each of them whole. `session_settings` are what functions of the ledger read.
    `check` runs on each new connection, before its first statement.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        role: str | None = "finpay_app",
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        durable: bool = True,
        session_settings: Mapping[str, str] | None = None,
        check: Check | None = None,
    ) -> None:
        self._check = check
        settings = {
            "application_name": "finpay",
            "timezone": "UTC",
            "statement_timeout": STATEMENT_TIMEOUT_MS,
            "lock_timeout": lock_timeout_ms,
            "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
            # A generic plan of a page with optional filters reads the whole history and sorts it.
            "plan_cache_mode": "force_custom_plan",
        }
        settings |= session_settings or {}
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
        """All rows. Raises Unavailable, Conflict or UniqueViolation."""
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
                raise  # past the deadline: the connection is discarded, which rolls back
            except BaseException:
                await opened.rollback()
                raise
            else:
                await opened.commit()

    @asynccontextmanager
    async def unbounded_transaction(
        self, *, isolation: Isolation = "read_committed", readonly: bool = False
    ) -> AsyncIterator[Transaction]:
        """One transaction without DEADLINE_S, for work on many rows outside of requests.

        The server's statement_timeout stands until the caller changes it with SET LOCAL. An error
        discards the connection, so that the server ends a statement that still runs.
        """
        connection = await self._acquire()
        try:
            with _map_errors():
                async with connection.transaction(isolation=isolation, readonly=readonly):
                    yield Transaction(connection)
        except BaseException:
            discard(connection)
            raise
        finally:
            await self._pool.release(connection)

    async def close(self) -> None:
        """Closes idle connections at once, busy ones when their statement ends."""
        if self._open:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await self._pool.close()
            except TimeoutError:
                self._pool.terminate()

    async def _prepare(self, connection: asyncpg.Connection) -> None:
        await connection.execute(self._settings)
        if self._check is not None:
            await self._check(Transaction(connection))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        acquired = False
        try:
            async with asyncio.timeout(DEADLINE_S):
                connection = await self._acquire()
                acquired = True
                try:
                    with _map_errors():
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
            if str(error.sqlstate).startswith(_ACCESS_DENIED):
                raise AccessDenied(**_NO_ANSWER, may_have_run=False, reason=str(error)) from error
            raise _unavailable(may_have_run=False) from error
        except (OSError, TimeoutError, Unavailable, *_BROKEN) as error:  # Unavailable: of a check
            raise _unavailable(may_have_run=False) from error
        finally:
            metrics.POOL_WAIT.observe(time.perf_counter() - started_s)


def discard(connection: asyncpg.Connection) -> None:
    """Closes a connection in an unknown state, without a closing message, which could block."""
    with suppress(asyncpg.InterfaceError):  # the pool has noticed the loss already
        connection.terminate()


@contextmanager
def _map_errors() -> Iterator[None]:
    """Raises the driver's errors as those of this module; a bug's error is raised as it is."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise UniqueViolation(str(error.constraint_name)) from None
    except asyncpg.PostgresError as error:
        error.detail = None  # it quotes rows (e-mails, hashes), and a bug's traceback is logged
        code = str(error.sqlstate)
        if code in _CONFLICT_CODES:
            raise Conflict(**_NO_ANSWER, may_have_run=False) from error
        if code in _UNAVAILABLE_CODES or code.startswith(_UNAVAILABLE_CLASSES):
            raise _unavailable(may_have_run=code not in _REFUSED_CODES) from error
        raise
    except (OSError, *_BROKEN) as error:
        raise _unavailable(may_have_run=True) from error


def _unavailable(*, may_have_run: bool) -> Unavailable:
    return Unavailable(**_NO_ANSWER, may_have_run=may_have_run)
