"""Which PostgreSQL data the keys in Redis belong to.

Redis may outlive the data: a restore, or a failover that lost commits, takes transfers back whose
answers Redis still has. The first process that connects to other data empties `history` in Redis.
From then on no process reads or writes keys until all of them are deleted; each can be restored
from PostgreSQL.
"""

import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis

from finpay.db.data_state import DataState
from finpay.gate.redis_client import RedisClient, RedisUnavailable
from finpay.gate.redis_keys import DATABASE, PROBE
from finpay.telemetry import logs

KEYS_PER_SCAN: Final = 1_000  # deleted in a millisecond or two
ADOPT_S: Final = 0.5  # of deleting at once; the health check that does it has more to do

_LOG: Final = logs.get()
_NO_DATA: Final = DataState("", 0)
_OF_NO_DATA: Final = (DATABASE.encode(), PROBE.encode())

# 1: the keys belong to this data. 0: they belonged to other data, or to a later state of this
# data; now they are marked as belonging to none. ARGV[3] is 1 if PostgreSQL was asked after the
# known state was read: only then can positions be compared.
_CHECK_OWNER: Final = """
local history, position = unpack(redis.call('HMGET', KEYS[1], 'history', 'position'))
if history == ARGV[1] and (ARGV[3] == '0' or tonumber(position) <= tonumber(ARGV[2])) then
    return 1
end
redis.call('HSET', KEYS[1], 'history', '', 'position', 0)
return 0
"""
_RECORD: Final = """
local history, position = unpack(redis.call('HMGET', KEYS[1], 'history', 'position'))
if history == ARGV[1] and tonumber(position) < tonumber(ARGV[2]) then
    redis.call('HSET', KEYS[1], 'position', ARGV[2])
end
"""
# Only while the keys belong to no data: another process may have deleted them all meanwhile. Marks
# of ended sessions stay until their tokens have expired.
_DELETE: Final = """
if redis.call('HGET', KEYS[1], 'history') ~= '' then
    return -1
end
local deleted = {}
for _, key in ipairs(ARGV) do
    if not string.find(key, '}:session:', 1, true) or redis.call('GET', key) ~= 'revoked' then
        deleted[#deleted + 1] = key
    end
end
return #deleted > 0 and redis.call('UNLINK', unpack(deleted)) or 0
"""
# The position is recorded later: another process may have read an earlier one of the same data.
_STORE: Final = """
if redis.call('HGET', KEYS[1], 'history') == '' then
    redis.call('HSET', KEYS[1], 'history', ARGV[1])
end
"""


class KnownDatabase:
    """The data that this process knows, and whether the keys in Redis belong to it.

    Call `read` first, then ask PostgreSQL for its state: then an earlier position means that data
    was restored, and not that another process asked earlier.
    """

    def __init__(self, redis: RedisClient) -> None:
        self._redis = redis

    @property
    def is_known(self) -> bool:
        """Whether the keys belong to the data, as far as this process knows: it uses them."""
        return self._redis.data is not None

    async def read(self) -> DataState | None:
        """What the keys belong to, as far as is known."""
        if self._redis.data is None:
            try:
                return await self._redis.run(read)
            except RedisUnavailable:
                return None
        return self._redis.data

    async def check(self, known: DataState | None, state: DataState) -> bool:
        """Whether the keys belong to this state. If not, no process uses them from now on."""
        if not state.continues(known):
            self._redis.data = None
            compares = known is None or known.history == state.history
            try:
                if not await self._run(_CHECK_OWNER, state.history, state.position, int(compares)):
                    return False
            except RedisUnavailable:
                return False
        self._redis.data = state
        return True

    async def adopt(self, state: DataState) -> bool:
        """Deletes the keys of other data. False without Redis, or as long as some are left."""
        try:
            if not await self._delete_all():
                return False
            await self._run(_STORE, state.history)
        except RedisUnavailable:
            return False
        return await self.check(_NO_DATA, state)

    async def record(self, state: DataState) -> None:
        """Lets a later process notice that the data was restored to an earlier state."""
        with suppress(RedisUnavailable):
            await self._run(_RECORD, state.history, state.position)

    async def _delete_all(self) -> bool:
        """Whether none is left, or another process has deleted them."""
        until_s, deleted, cursor, is_done = time.monotonic() + ADOPT_S, 0, 0, False
        while not is_done and time.monotonic() < until_s:
            cursor, keys = await self._redis.run(partial(_scan, cursor))
            count: int = await self._run(_DELETE, *keys)
            deleted += max(count, 0)
            is_done = cursor == 0 or count < 0
        if deleted:
            _LOG.warning("redis_cleared", keys=deleted, reason="its keys belong to other data")
        return is_done

    async def _run(self, script: str, *arguments: Any) -> Any:
        return await self._redis.run(partial(_evaluate, script, arguments))


async def read(redis: Redis) -> DataState | None:
    """The data that the keys belong to; None: not known."""
    history, position = await redis.hmget(DATABASE, ["history", "position"])
    if history is None or position is None:
        return None
    text = history.decode() if isinstance(history, bytes) else history
    return DataState(text, int(position))


async def _evaluate(script: str, arguments: tuple[Any, ...], redis: Redis) -> Any:
    return await redis.eval(script, 1, DATABASE, *arguments)


async def _scan(cursor: int, redis: Redis) -> tuple[int, list[Any]]:
    cursor, keys = await redis.scan(cursor, match="fp:*", count=KEYS_PER_SCAN)
    return cursor, [key for key in keys if key not in _OF_NO_DATA]
