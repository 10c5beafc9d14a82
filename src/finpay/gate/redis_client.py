"""Calls to Redis: those of concurrent requests share one EVALSHA, behind a circuit breaker.

A call that is not answered within CALL_TIMEOUT_S opens the breaker, and requests are served without
Redis at once. Calls are never retried: a retry would find the claim of the first attempt.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib.resources import files
from typing import Any, Final, NamedTuple, TypeVar

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ClusterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from finpay.concurrency.micro_batcher import MicroBatcher
from finpay.db.data_state import DataState
from finpay.gate import redis_keys
from finpay.gate.circuit_breaker import CircuitBreaker
from finpay.telemetry import logs, metrics

CALL_TIMEOUT_S: Final = 0.08  # no request waits longer than 100 ms for Redis …
RECHECK_S: Final = 0.01  # … this included
PROBE_TIMEOUT_S: Final = 1.0  # a slow answer to the probe is no reason to give up on it
USUAL_KEYS_PER_EVAL: Final = 60  # about twelve calls; Redis runs them while the next are prepared
MAX_KEYS_PER_EVAL: Final = 300  # of a long queue: above, a script would stop Redis for 1 ms
MAX_EVALS_IN_FLIGHT: Final = 4
LINGER_TICKS: Final = 3  # of the event loop: a third fewer scripts under load; decision 0010
MAX_QUEUED_CALLS: Final = 10_000  # more than one process admits requests
MAX_CONNECTIONS: Final = 32  # of which 16 if all PostgreSQL connections of a process are new
MAX_DEFERRED: Final = 10_000  # tombstones to write when Redis is back; each expires with its token

OTHER_DATA: Final = "OTHERDATA"  # of gate.lua

_PROBE_KEY_TTL_MS: Final = 1_000
# Errors of a server that is reachable but unusable until a probe can write.
_UNAVAILABLE: Final = (OutOfMemoryError, ReadOnlyError, NoPermissionError, ClusterDownError)
_CONNECTION_ERRORS: Final = (OSError, TimeoutError, RuntimeError)  # uvloop: handler is closed
_UNAVAILABLE_CODES: Final = ("MISCONF", "NOREPLICAS", "BUSY")  # redis-py has no class for these

Argument = str | bytes | int
Result = TypeVar("Result")

_LOG = logs.get()


class RedisUnavailable(Exception):
    """Redis did not answer, or not in time. Whether the call had an effect is unknown."""


class Call(NamedTuple):
    """One request's call of gate.lua."""

    operation: str
    keys: Sequence[str]
    arguments: Sequence[Argument]


class RedisClient:
    """One per process. `constants` are the numbers that gate.lua is compiled with.

    `data` is what the keys are made from, set by KnownDatabase. Without it, or when Redis has keys
    of other data, `call` raises RedisUnavailable.
    """

    def __init__(self, url: str, constants: Mapping[str, int]) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=PROBE_TIMEOUT_S,
            socket_timeout=None,  # each call has a deadline; with this one it takes a task more
            driver_info=None,  # naming the library takes as many ticks as connecting
            health_check_interval=0,
            max_connections=MAX_CONNECTIONS,
        )
        self._script = read_script(constants)
        self._sha = hashlib.sha1(self._script.encode(), usedforsecurity=False).hexdigest()
        self._calls: MicroBatcher[Call, Any] = MicroBatcher(
            self._evaluate,
            max_in_flight=MAX_EVALS_IN_FLIGHT,
            max_batch=MAX_KEYS_PER_EVAL,
            usual_batch=USUAL_KEYS_PER_EVAL,
            max_queued=MAX_QUEUED_CALLS,
            max_queued_weight=MAX_QUEUED_CALLS * MAX_KEYS_PER_EVAL,
            weight_of=lambda call: len(call.keys),
            linger_ticks=LINGER_TICKS,
        )
        self._breaker = CircuitBreaker(self._probe, self._drop_connections)
        self._deferred: dict[str, tuple[str, float]] = {}
        self._idle: list[AbstractConnection] = []
        self.data: DataState | None = None

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open: requests are served without Redis."""
        return self._breaker.is_open

    async def start(self) -> None:
        await self._breaker.start()

    async def close(self) -> None:
        await self._breaker.stop()
        await self._drop_connections()
        await self._redis.aclose()

    def call(
        self, operation: str, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Awaitable[Any]:
        """The reply of one operation of gate.lua. RedisUnavailable without one."""
        if self.is_open or self.data is None:
            raise RedisUnavailable
        return self._calls.submit_nowait(Call(operation, keys, arguments))

    async def delete_and_set(self, deleted: str, key: str, ttl_ms: int) -> None:
        """Deletes one key and sets another one to 1, unless Redis is unavailable."""
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.delete(deleted)
        pipeline.set(key, 1, px=ttl_ms)
        with suppress(RedisUnavailable):
            await self._guarded(pipeline.execute)

    async def set_durably(self, keys: Sequence[str], value: str, ttl_ms: int) -> None:
        """Sets keys that must reach Redis: now, or before Redis is used again."""
        until_s = time.monotonic() + ttl_ms / 1000
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.set(key, value, px=ttl_ms)
        try:
            await self._guarded(pipeline.execute)
        except RedisUnavailable:
            for key in keys[: MAX_DEFERRED - len(self._deferred)]:
                self._deferred[key] = (value, until_s)

    async def end_generation(self, caches: Sequence[str], generation: str) -> None:
        """Makes cached reads invalid, whatever data they are of. Not while the breaker is open."""
        pipeline = self._redis.pipeline(transaction=False)
        for cache in caches:
            pipeline.hset(cache, "gen", generation)
            pipeline.pexpire(cache, redis_keys.CACHE_HASH_TTL_MS)
        with suppress(RedisUnavailable):
            await self._guarded(pipeline.execute)

    async def ping(self) -> None:
        """Opens the breaker if Redis is unreachable or takes no writes while no request uses it."""
        with suppress(RedisUnavailable):
            await self._guarded(self._write_probe_key)

    async def run(self, command: Callable[[Redis], Awaitable[Result]]) -> Result:
        """The reply of a command that is not of gate.lua. RedisUnavailable without one."""
        return await self._guarded(partial(command, self._redis))

    async def _evaluate(self, calls: Sequence[Call]) -> list[Any]:
        if self.data is None:
            raise RedisUnavailable
        keys = [redis_keys.DATABASE, *(key for call in calls for key in call.keys)]
        arguments: list[Argument] = [self.data.history]
        for call in calls:
            arguments += (call.operation, len(call.keys), len(call.arguments), *call.arguments)
        metrics.PIPELINE_SIZE.observe(len(calls))
        words: Any = ("EVALSHA", self._sha, len(keys), *keys, *arguments)  # any number of words
        replies = await self._guarded(partial(self._run_script, pack_command(words)))
        return [
            self._unavailable(reply) if isinstance(reply, ResponseError) else reply
            for reply in replies
        ]

    async def _run_script(self, packed: bytes) -> list[Any]:
        try:
            return await self._send(packed)
        except NoScriptError:  # the scripts were flushed; an unknown script did nothing
            await self._redis.script_load(self._script)
            return await self._send(packed)

    async def _send(self, packed: bytes) -> list[Any]:
        """The reply to a command, by a connection: `Redis.evalsha` takes twice the CPU."""
        connection = self._idle.pop() if self._idle else self._new_connection()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            await connection.send_packed_command(packed, check_health=False)
            reply: list[Any] = await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return reply

    def _new_connection(self) -> AbstractConnection:
        """Not connected yet."""
        make: Callable[[], AbstractConnection] = self._redis.connection_pool.make_connection
        return make()

    async def _guarded(self, command: Callable[[], Awaitable[Result]]) -> Result:
        """The reply of a command. Opens the breaker if it fails or takes too long."""
        if self.is_open:
            raise RedisUnavailable
        task = asyncio.ensure_future(command())
        # The caller may be gone, at the end of the process: asyncio would log an error.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait({task}, timeout=CALL_TIMEOUT_S)
        if not done:
            # The reply may be in the socket, unread because this process was busy.
            done, _ = await asyncio.wait({task}, timeout=RECHECK_S)
        if not done:
            task.cancel()
            self._breaker.open("slow")
            raise RedisUnavailable
        try:
            return task.result()
        except ResponseError as error:
            raise self._unavailable(error) from error
        except (*_CONNECTION_ERRORS, RedisError) as error:
            self._breaker.open(f"{type(error).__name__}: {error}"[:80])
            raise RedisUnavailable from error

    def _unavailable(self, error: ResponseError) -> RedisUnavailable:
        reason = str(error)[:80]
        if isinstance(error, _UNAVAILABLE) or reason.startswith(_UNAVAILABLE_CODES):
            self._breaker.open(reason)
        elif reason.startswith(OTHER_DATA):
            self.data = None  # until a health check has read PostgreSQL
        else:
            _LOG.error("redis_error", reason=reason)
        return RedisUnavailable(reason)

    async def _probe(self) -> bool:
        """Whether Redis answers, takes writes, and has the script and the deferred keys."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                async with asyncio.TaskGroup() as tasks:  # ends both if one fails
                    tasks.create_task(self._prepare())
                    tasks.create_task(self._connect())
        except Exception as error:  # noqa: BLE001  only this loop closes the breaker again
            _LOG.debug("redis_probe_failed", reason=repr(error))
            await self._drop_connections()
            return False
        return True

    async def _prepare(self) -> None:
        await self._redis.script_load(self._script)
        await self._write_probe_key()
        await self._write_deferred()

    async def _connect(self) -> None:
        """Before a call needs it: under load connecting takes more ticks than a call may take. All
        at once: one by one it would be more than the probe may take."""
        connections = [self._new_connection() for _ in range(MAX_EVALS_IN_FLIGHT)]
        try:
            async with asyncio.TaskGroup() as tasks:
                for each in connections:
                    tasks.create_task(each.connect())  # type: ignore[no-untyped-call]
        except BaseException:
            await _disconnect(connections)
            raise
        older, self._idle = self._idle, connections
        await _disconnect(older)

    async def _write_probe_key(self) -> None:
        await self._redis.set(redis_keys.PROBE, "1", px=_PROBE_KEY_TTL_MS)

    async def _write_deferred(self) -> None:
        while self._deferred:  # more may be added meanwhile
            key, (value, until_s) = next(iter(self._deferred.items()))
            left_ms = int((until_s - time.monotonic()) * 1000)
            if left_ms > 0:
                await self._redis.set(key, value, px=left_ms)
            del self._deferred[key]

    async def _drop_connections(self) -> None:
        """A late reply must not be read as the reply of another call."""
        idle, self._idle = self._idle, []
        await _disconnect(idle)
        with suppress(RedisError, *_CONNECTION_ERRORS):  # not closed in time, but dropped
            await self._redis.connection_pool.disconnect()


async def _disconnect(connections: Sequence[AbstractConnection]) -> None:
    for each in connections:
        await each.disconnect(nowait=True)


def read_script(constants: Mapping[str, int]) -> str:
    """gate.lua behind its constants."""
    lines = [f"local {name} = {value}\n" for name, value in constants.items()]
    return "".join(lines) + (files("finpay.gate") / "gate.lua").read_text("utf-8")
