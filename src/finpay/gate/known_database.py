"""Which PostgreSQL data the keys in Redis belong to.

Redis may outlive the data: a restore, or a failover that lost commits, takes transfers back whose
answers Redis still has. Then all keys are deleted; each can be restored from PostgreSQL.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from msgspec import Struct
from redis.asyncio import Redis

from finpay.gate.redis_keys import DATABASE, PROBE
from finpay.telemetry import logs

KEYS_PER_SCAN: Final = 1_000  # deleted in a millisecond or two

_LOG: Final = logs.get()
_OF_NO_DATA: Final = (DATABASE.encode(), PROBE.encode())
_Result = TypeVar("_Result")

# Whether Redis knows this data, as it is now or as it was. If so, its position is stored.
_RECORD: Final = """
local known = redis.call('HMGET', KEYS[1], 'history', 'position')
if known[1] ~= ARGV[1] or tonumber(known[2]) > tonumber(ARGV[2]) then
    return 0
end
redis.call('HSET', KEYS[1], 'position', ARGV[2])
return 1
"""


class DatabaseState(Struct, frozen=True):
    """One history of commits, and how far it has come: bytes of WAL. It only grows."""

    history: str
    position: int

    def continues(self, earlier: "DatabaseState | None") -> bool:
        """Whether every commit of `earlier` is in it."""
        return (
            earlier is not None
            and self.history == earlier.history
            and self.position >= earlier.position
        )


class Runner(Protocol):
    """Runs a command with the deadline and the circuit breaker of the gate."""

    async def run(self, command: Callable[[Redis], Awaitable[_Result]]) -> _Result: ...


async def record(redis: Runner, state: DatabaseState) -> bool:
    """Stores the position. False if the keys belong to other data, or to a later state of it."""
    known = await redis.run(partial(_record, state))
    return bool(known)


async def adopt(redis: Runner, state: DatabaseState) -> None:
    """From now on the keys belong to this data: those of any other are deleted first."""
    if await record(redis, state):
        return
    deleted = await _delete_all(redis)
    await redis.run(partial(_store, state))
    if deleted:
        _LOG.warning("redis_cleared", keys=deleted, reason="its keys belong to other data")


async def read(redis: Redis) -> DatabaseState | None:
    """The data that the keys belong to; None: not known."""
    history, position = await redis.hmget(DATABASE, ["history", "position"])
    if history is None or position is None:
        return None
    text = history.decode() if isinstance(history, bytes) else history
    return DatabaseState(text, int(position))


async def _delete_all(redis: Runner) -> int:
    deleted = cursor = 0
    while True:  # ends: a scan visits each key that exists throughout once
        cursor, keys = await redis.run(partial(_scan, cursor))
        if keys:
            deleted += await redis.run(partial(_unlink, keys))
        if cursor == 0:
            return deleted


async def _record(state: DatabaseState, redis: Redis) -> Any:
    return await redis.eval(_RECORD, 1, DATABASE, state.history, str(state.position))


async def _store(state: DatabaseState, redis: Redis) -> None:
    await redis.hset(DATABASE, mapping={"history": state.history, "position": state.position})


async def _scan(cursor: int, redis: Redis) -> tuple[int, list[Any]]:
    cursor, keys = await redis.scan(cursor, match="fp:*", count=KEYS_PER_SCAN)
    return cursor, [key for key in keys if key not in _OF_NO_DATA]


async def _unlink(keys: list[Any], redis: Redis) -> int:
    return await redis.unlink(*keys)
