"""The way to Redis: the calls of concurrent requests on one line, behind a breaker.

Commands that are not answered within CALL_TIMEOUT_S open the breaker, and everything goes on
without Redis at once; a probe in the background closes it again. Nothing is ever sent twice: a
script that is would meet its own claim.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from finpay.gate.pipelined_connection import ConnectionLost, PipelinedConnection, pack
from finpay.telemetry import logs, metrics

CALL_TIMEOUT_S: Final = 0.08  # no call that left waits longer than 100 ms for Redis …
RECHECK_S: Final = 0.01  # … this included
PROBE_EVERY_S: Final = 0.25
PROBE_TIMEOUT_S: Final = 1.0  # a slow answer to the probe is no reason to give up on it
MAX_OWED: Final = 10_000  # tombstones kept for Redis' return; each lives as long as a token

_PROBE: Final = ("SET", "fp:probe", "1", "PX", 1_000)  # can it be reached, and does it write
# What Redis says when it is as good as away, until the probe can write again.
_UNABLE: Final = (
    "OOM", "READONLY", "LOADING", "MASTERDOWN", "MISCONF", "NOREPLICAS", "NOAUTH", "NOPERM",
    "BUSY", "CLUSTERDOWN",
)  # fmt: skip
_LOG = logs.get()


class RedisUnavailable(Exception):
    """Redis did not answer, or not in time. Whether the call had an effect is unknown."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; Redis knows it by `sha` once `text` was loaded."""

    text: str
    sha: str


class RedisClient:
    """One process's connection to Redis. `start` it in the event loop, `close` it there."""

    def __init__(self, url: str, scripts: Sequence[Script]) -> None:
        self._redis: Redis = Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=PROBE_TIMEOUT_S,
            health_check_interval=0,
        )
        self._scripts = scripts
        self._line: PipelinedConnection | None = None
        self._watch: asyncio.TimerHandle | None = None
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
        self.open = True
        self._hang_up()
        await self._redis.aclose()

    async def call(
        self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | int]
    ) -> Any:
        """The script's answer; calls begun together travel by the dozen. RedisUnavailable without one."""
        try:
            answer = await self._open_line().call(script.sha, keys, args)
            if isinstance(answer, hiredis.ReplyError) and str(answer).startswith("NOSCRIPT"):
                # Its scripts were flushed; an unknown script did nothing.
                await self._load_scripts()
                answer = await self._open_line().call(script.sha, keys, args)
        except ConnectionLost as lost:
            raise RedisUnavailable from lost
        return self._checked(answer)

    async def forget(self, key: str) -> None:
        """Deletes a key, if Redis can be told."""
        with contextlib.suppress(RedisUnavailable):
            await self._command("DEL", key)

    async def put(self, keys: Sequence[str], value: str, lifetime_ms: int) -> None:
        """Sets keys that must reach Redis: now, or before Redis is used again."""
        until_s = time.monotonic() + lifetime_ms / 1000
        setting = (self._command("SET", key, value, "PX", lifetime_ms) for key in keys)
        answers = await asyncio.gather(*setting, return_exceptions=True)
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, RedisUnavailable):
                self._owe(key, value, until_s)
            elif isinstance(answer, BaseException):
                raise answer

    async def ping(self) -> None:
        """Notices that Redis left, or takes no writes, while nobody asked it anything."""
        with contextlib.suppress(RedisUnavailable):
            await self._command(*_PROBE)

    async def _command(self, *words: str | int) -> Any:
        try:
            answer = await self._open_line().ask(pack(*words))
        except ConnectionLost as lost:
            raise RedisUnavailable from lost
        return self._checked(answer)

    def _open_line(self) -> PipelinedConnection:
        """The line, watched. RedisUnavailable at once while the breaker is open."""
        if self.open or self._line is None:
            raise RedisUnavailable
        if self._watch is None:
            self._look_in(CALL_TIMEOUT_S, last=False)
        return self._line

    def _checked(self, answer: Any) -> Any:
        if isinstance(answer, hiredis.ReplyError):
            self._refused(answer)
            raise RedisUnavailable from answer
        return answer

    def _look_in(self, seconds: float, *, last: bool) -> None:
        self._watch = asyncio.get_running_loop().call_later(seconds, self._look, last)

    def _look(self, last: bool) -> None:  # noqa: FBT001  a callback's argument
        """One timer for all calls: is the oldest of them overdue?"""
        self._watch = None
        since_s = None if self._line is None else self._line.waits_since_s
        if since_s is None:
            return
        waited_s = asyncio.get_running_loop().time() - since_s
        if waited_s < CALL_TIMEOUT_S:
            self._look_in(CALL_TIMEOUT_S - waited_s, last=False)
        elif not last:
            # The answer may lie in the socket, unread because this process was busy. The second
            # look comes after it was read: who misses both is not this process.
            self._look_in(RECHECK_S, last=True)
        else:
            self._open_breaker("slow")

    def _refused(self, answer: hiredis.ReplyError) -> None:
        reason = str(answer)[:80]
        if reason.startswith(_UNABLE):
            self._open_breaker(reason)
        else:
            _LOG.error("redis_refused", reason=reason)

    async def _load_scripts(self) -> None:
        for script in self._scripts:
            await self._command("SCRIPT", "LOAD", script.text)

    def _open_breaker(self, reason: str) -> None:
        if self._probe is not None and not self._probe.done():
            return
        self.open = True
        self._hang_up()
        metrics.BREAKER_OPEN.set(1)
        _LOG.warning("redis_away", reason=reason)
        self._probe = asyncio.get_running_loop().create_task(self._keep_trying())

    def _hang_up(self) -> None:
        """An answer that still comes must never be taken for that of another request."""
        line, self._line = self._line, None
        if line is not None:
            line.hang_up()

    async def _keep_trying(self) -> None:
        while not await self._try():  # noqa: ASYNC110  what we wait for sends no event
            await asyncio.sleep(PROBE_EVERY_S)
        _LOG.info("redis_back")

    async def _try(self) -> bool:
        """Whether Redis answers, takes writes, and has what we owe it."""
        self._hang_up()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                line = PipelinedConnection(await self._connected())
                self._line = line
                for script in self._scripts:
                    await _told(line, "SCRIPT", "LOAD", script.text)
                await _told(line, *_PROBE)
                await self._pay_debts(line)
        except Exception as error:  # noqa: BLE001  nothing but this loop closes the breaker again
            _LOG.debug("redis_probe", reason=repr(error))
            self._hang_up()
            return False
        self.open = False
        line.lost.add_done_callback(lambda _: self._lost(line))
        metrics.BREAKER_OPEN.set(0)
        return True

    def _lost(self, line: PipelinedConnection) -> None:
        """Redis hung up: at once back to it, whether somebody waits for an answer or not."""
        if line is self._line:
            self._open_breaker("line lost")

    async def _connected(self) -> AbstractConnection:
        pool = self._redis.connection_pool
        connection: AbstractConnection
        connection = pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()  # type: ignore[no-untyped-call]
        return connection

    def _owe(self, key: str, value: str, until_s: float) -> None:
        if len(self._owed) < MAX_OWED:
            self._owed[key] = (value, until_s)

    async def _pay_debts(self, line: PipelinedConnection) -> None:
        while self._owed:  # more may come while one is paid
            key, (value, until_s) = next(iter(self._owed.items()))
            left_ms = int((until_s - time.monotonic()) * 1000)
            if left_ms > 0:
                await _told(line, "SET", key, value, "PX", left_ms)
            del self._owed[key]


async def _told(line: PipelinedConnection, *words: str | int) -> None:
    answer = await line.ask(pack(*words))
    if isinstance(answer, hiredis.ReplyError):
        raise answer


def read_script(name: str) -> Script:
    """A script of scripts/ with what it calls: multi_call.lua, and rate_limit.lua if it counts."""
    folder = files("finpay.gate") / "scripts"
    crowd, limits, own = (
        (folder / f"{each}.lua").read_text("utf-8") for each in ("multi_call", "rate_limit", name)
    )
    text = crowd + (limits if "count(" in own else "") + own
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()  # as Redis names it
    return Script(text, sha)
