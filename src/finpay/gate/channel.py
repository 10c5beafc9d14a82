"""The way to Redis: concurrent calls gathered into one pipeline, behind a breaker.

A pipeline that is not answered within FLIGHT_TIMEOUT_S opens the breaker, and everything goes on
without Redis at once; a probe in the background closes it again. The client's own retries are
off: a script that is sent twice would meet its own claim.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, cast

from hiredis import pack_command
from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from finpay import log, metrics
from finpay.errors import FinPayError
from finpay.gathering import Gatherer

FLIGHT_TIMEOUT_S: Final = 0.08  # no request waits longer than 100 ms for Redis …
LAST_LOOK_S: Final = 0.01  # … this included
PROBE_EVERY_S: Final = 0.25
PROBE_TIMEOUT_S: Final = 1.0  # a slow answer to the probe is no reason to give up on it
MAX_PIPELINE: Final = 500
MAX_QUEUE: Final = 20_000  # the server's connections are the real bound; this one is the last
MAX_OWED: Final = 10_000  # tombstones kept for Redis' return; each lives as long as a token

# uvloop says RuntimeError of a connection that was closed while it was being opened.
_LOST: Final = (RedisError, OSError, TimeoutError, RuntimeError)
_PROBE_KEY: Final = "fp:probe"
_PROBE_KEY_MS: Final = 1_000
_LOG = log.get()


class RedisAway(Exception):
    """Redis did not answer, or not in time. Whether the call had an effect is unknown."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; Redis knows it by `sha` once `text` was loaded."""

    text: str
    sha: str


class Call(Struct, frozen=True):
    """One script call of a pipeline."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | bytes | int]


class Channel:
    """One process's connection to Redis. `start` it in the event loop, `close` it there."""

    def __init__(self, url: str, scripts: Sequence[Script]) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=PROBE_TIMEOUT_S,
            health_check_interval=0,
        )
        self._scripts = scripts
        self._gatherer: Gatherer[Call, Any] = Gatherer(
            self._fly, flights=1, size=MAX_PIPELINE, queue=MAX_QUEUE
        )
        self._owed: dict[str, tuple[str, float]] = {}
        self._probe: asyncio.Task[None] | None = None
        self.open = True  # no one has heard of Redis yet

    async def start(self) -> None:
        """Tries Redis once; if it is away, goes on trying in the background."""
        if not await self._try():
            self._open_breaker("not reached at start")

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe
        await self._gatherer.land()
        await self._redis.aclose()

    def call(
        self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]
    ) -> Awaitable[Any]:
        """The script's answer to come; calls begun together travel together.

        RedisAway at once while the breaker is open, or from the answer.
        """
        if self.open:
            raise RedisAway
        try:
            return self._gatherer.board(Call(script, keys, args))
        except FinPayError as full:
            raise RedisAway from full

    async def forget(self, key: str) -> None:
        """Deletes a key, if Redis can be told."""
        with contextlib.suppress(RedisAway):
            await self._directly(self._redis.delete(key))

    async def put(self, keys: Sequence[str], value: str, lifetime_ms: int) -> None:
        """Sets keys that must reach Redis: now, or before Redis is used again."""
        for start in range(0, len(keys), MAX_PIPELINE):
            some = keys[start : start + MAX_PIPELINE]
            pipe = self._redis.pipeline(transaction=False)
            for key in some:
                pipe.set(key, value, px=lifetime_ms)
            try:
                await self._directly(pipe.execute())
            except RedisAway:
                until_s = time.monotonic() + lifetime_ms / 1000
                room = MAX_OWED - len(self._owed)
                self._owed.update((key, (value, until_s)) for key in some[:room])

    async def ping(self) -> None:
        """Notices that Redis left, or takes no writes, while nobody asked it anything."""
        with contextlib.suppress(RedisAway):
            await self._directly(self._redis.set(_PROBE_KEY, "1", px=_PROBE_KEY_MS))

    async def _directly(self, command: Awaitable[Any]) -> None:
        """One command beside the pipelines, under the same breaker."""
        if self.open:
            cast("Coroutine[Any, Any, Any]", command).close()
            raise RedisAway
        await self._in_time(command)

    async def _fly(self, calls: Sequence[Call]) -> Sequence[Any]:
        if self.open:
            return [RedisAway()] * len(calls)
        metrics.PIPELINE_SIZE.observe(len(calls))
        try:
            answers: Sequence[Any] = await self._in_time(self._send(calls))
            return answers
        except RedisAway as away:
            return [away] * len(calls)

    async def _in_time(self, work: Awaitable[Any]) -> Any:
        """What `work` comes to. RedisAway, and an open breaker, if Redis is slow or lost."""
        task = asyncio.ensure_future(work)
        try:
            # The answer may lie in the socket, unread because this process was busy. The second
            # wait looks there again: who misses both is not this process.
            await asyncio.wait((task,), timeout=FLIGHT_TIMEOUT_S)
            if not task.done():
                await asyncio.wait((task,), timeout=LAST_LOOK_S)
        finally:
            task.cancel()  # no effect on one that is done
        if not task.done():
            await asyncio.wait((task,))
        lost = asyncio.CancelledError() if task.cancelled() else task.exception()
        if isinstance(lost, (*_LOST, asyncio.CancelledError)):
            self._open_breaker(type(lost).__name__)
            raise RedisAway from lost
        return task.result()

    async def _send(self, calls: Sequence[Call]) -> Sequence[Any]:
        answers = await self._pipeline(calls)
        unknown = [at for at, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # Redis was restarted or its scripts were flushed; an unknown script did nothing.
            await self._load_scripts()
            again = await self._pipeline([calls[at] for at in unknown])
            for at, answer in zip(unknown, again, strict=True):
                answers[at] = answer
        refused = next((answer for answer in answers if isinstance(answer, Exception)), None)
        if refused is not None:
            # Out of memory, read-only, loading: as good as away until the probe can write.
            self._open_breaker(str(refused)[:80])
        return [RedisAway() if isinstance(answer, Exception) else answer for answer in answers]

    async def _pipeline(self, calls: Sequence[Call]) -> list[Any]:
        """One write, then the answers in order. A refusal by Redis is an answer too.

        By hand on the client's connection: its own Pipeline costs twice the CPU for the same bytes.
        """
        pool = self._redis.connection_pool
        connection: AbstractConnection
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            request = b"".join([_packed(call) for call in calls])
            await connection.send_packed_command(request, check_health=False)
            return [await _answer_of(connection) for _ in calls]
        except BaseException:
            # An answer that still comes must never be taken for that of another request.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    async def _load_scripts(self) -> None:
        for script in self._scripts:
            await self._redis.script_load(script.text)

    def _open_breaker(self, reason: str) -> None:
        if self._probe is not None and not self._probe.done():
            return
        self.open = True
        metrics.BREAKER_OPEN.set(1)
        _LOG.warning("redis_away", reason=reason)
        self._probe = asyncio.get_running_loop().create_task(self._keep_trying())

    async def _keep_trying(self) -> None:
        while not await self._try():  # noqa: ASYNC110  what we wait for sends no event
            await asyncio.sleep(PROBE_EVERY_S)
        _LOG.info("redis_back")

    async def _try(self) -> bool:
        """Whether Redis answers, takes writes, and has what we owe it."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await self._load_scripts()
                await self._redis.set(_PROBE_KEY, "1", px=_PROBE_KEY_MS)
                await self._pay_debts()
        except Exception as error:  # noqa: BLE001  nothing but this loop closes the breaker again
            _LOG.debug("redis_probe", reason=repr(error))
            with contextlib.suppress(Exception):  # of lines that are broken already
                await self._redis.connection_pool.disconnect()
            return False
        self.open = False
        metrics.BREAKER_OPEN.set(0)
        return True

    async def _pay_debts(self) -> None:
        while self._owed:  # more may come while one is paid
            key, (value, until_s) = next(iter(self._owed.items()))
            left_ms = int((until_s - time.monotonic()) * 1000)
            if left_ms > 0:
                await self._redis.set(key, value, px=left_ms)
            del self._owed[key]


def _packed(call: Call) -> bytes:
    command = ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)
    packed: bytes = pack_command(command)  # type: ignore[arg-type]  # it knows tuples of one
    return packed


async def _answer_of(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as refusal:
        return refusal


def read_script(name: str) -> Script:
    """A Lua file of this package; one that counts gets limits.lua in front."""
    folder = files("finpay.gate")
    text = (folder / f"{name}.lua").read_text("utf-8")
    if "count(" in text:
        text = (folder / "limits.lua").read_text("utf-8") + text
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()  # as Redis names it
    return Script(text, sha)
