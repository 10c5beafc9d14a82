"""Version and configuration of a Redis server, for `finpay doctor`. Requests never read them."""

import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from finpay.db.data_state import DataState
from finpay.gate import known_database

TIMEOUT_S: Final = 3.0  # a person waits
_PROBE_KEY: Final = "fp:doctor"
_PROBE_KEY_MS: Final = 1_000


class RedisUnusable(Exception):
    """Redis can't be reached or takes no writes. The message says why, without the password."""


@dataclass(frozen=True, slots=True)
class RedisInfo:
    """`max_memory` in bytes, 0 without a bound. `kind` is redis or valkey."""

    kind: str
    version: str
    policy: str
    max_memory: int
    cluster: bool
    replica: bool
    encrypted: bool
    host: str
    round_trip_ms: float
    database: DataState | None  # whose keys it has; None: not known


async def inspect(url: str) -> RedisInfo:
    """Connects, writes one key that vanishes by itself, and reads INFO. RedisUnusable if it can't.

    INFO and not CONFIG GET: hosted servers forbid the latter.
    """
    redis: Redis = Redis.from_url(
        url,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=TIMEOUT_S,
        socket_timeout=TIMEOUT_S,
    )
    try:
        info: dict[str, Any] = await redis.info()
        await redis.set(_PROBE_KEY, "1", px=_PROBE_KEY_MS)
        began_s = time.perf_counter()
        await redis.get(_PROBE_KEY)
        round_trip_ms = (time.perf_counter() - began_s) * 1000
        return _facts(url, info, round_trip_ms, await known_database.read(redis))
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisUnusable(str(error) or type(error).__name__) from error
    finally:
        await redis.aclose()


def _facts(
    url: str, info: dict[str, Any], round_trip_ms: float, database: DataState | None
) -> RedisInfo:
    parts = urlsplit(url)
    valkey = info.get("valkey_version")
    return RedisInfo(
        kind="valkey" if valkey else "redis",
        version=str(valkey or info.get("redis_version", "0")),
        policy=str(info.get("maxmemory_policy", "")),
        max_memory=int(info.get("maxmemory", 0)),
        cluster=bool(info.get("cluster_enabled")),
        replica=info.get("role") != "master",
        encrypted=parts.scheme == "rediss",
        host="" if parts.scheme == "unix" else parts.hostname or "localhost",
        round_trip_ms=round_trip_ms,
        database=database,
    )
