"""Redis: does it answer, and does it evict keys when it is full, as a cache has to?"""

from typing import Final

from finpay.db.data_state import read_data_state
from finpay.db.pool import Database, Unavailable
from finpay.doctor.checks import CheckResult, failed, is_local_host, ok, warning
from finpay.gate.server_info import RedisInfo, RedisUnusable, inspect
from finpay.settings import Settings

OLDEST: Final = {"redis": 7, "valkey": 8}
SLOW_MS: Final = 5.0  # each request waits for two round trips


async def check(settings: Settings, *, dev_stack: bool) -> list[CheckResult]:
    """Redis can't lose money, so slowness and small sizes are warnings."""
    try:
        facts = await inspect(settings.redis_url)
    except RedisUnusable as error:
        return [
            failed(
                "redis",
                f"it can't be used: {error}",
                "Check REDIS_URL. Without Redis transfers are slower and limits count per process.",
            )
        ]
    memory = ok("redis policy", _bound(facts)) if dev_stack else _memory(facts)
    checks = [_round_trip(facts), _version(facts), _primary(facts), _encryption(facts), memory]
    return [*checks, *await _data(settings, facts)]


async def _data(settings: Settings, facts: RedisInfo) -> list[CheckResult]:
    """Whether its keys belong to the data of this database. Nothing while that can't be read."""
    database = Database(settings.database_url, size=1)
    try:
        state = await read_data_state(database)
    except Unavailable:
        return []
    finally:
        await database.close()
    if state is None:
        return []
    if facts.database is None or state.continues(facts.database):
        return [ok("redis data", "its keys belong to this database")]
    return [
        warning(
            "redis data",
            "its keys belong to other data: a restore, or a failover that lost commits",
            "Restart the API, which deletes them. Don't share Redis with another FinPay.",
        )
    ]


def _round_trip(facts: RedisInfo) -> CheckResult:
    detail = f"{facts.host or 'the local server'} answers, {facts.round_trip_ms:.1f} ms"
    if facts.round_trip_ms <= SLOW_MS:
        return ok("redis", detail)
    return warning(
        "redis", detail, "Run it close to the API: each request waits for two round trips."
    )


def _version(facts: RedisInfo) -> CheckResult:
    detail = f"{facts.kind} {facts.version}"
    major = facts.version.partition(".")[0]
    if major.isdigit() and int(major) >= OLDEST[facts.kind]:
        return ok("redis version", detail)
    return failed("redis version", detail, "Upgrade it: FinPay needs Redis 7 or Valkey 8.")


def _primary(facts: RedisInfo) -> CheckResult:
    if facts.replica:
        return failed("redis primary", "it is a replica", "Set REDIS_URL to the primary.")
    if facts.cluster:
        return failed(
            "redis primary",
            "cluster mode is on",
            "Use one primary: FinPay does not support Cluster.",
        )
    return ok("redis primary", "a primary that accepts writes")


def _encryption(facts: RedisInfo) -> CheckResult:
    if facts.encrypted or is_local_host(facts.host):
        return ok("redis tls", "encrypted" if facts.encrypted else "local connection")
    return warning(
        "redis tls",
        f"the connection to {facts.host} is not encrypted",
        "Use rediss:// if the server has TLS. Ignore this on a private network.",
    )


def _memory(facts: RedisInfo) -> CheckResult:
    """No policy can lose money; with a wrong one a full Redis is slow or killed."""
    if facts.max_memory == 0:
        return warning(
            "redis policy",
            "maxmemory is not set: it grows until the operating system kills it",
            "Set maxmemory (256mb is enough to begin with) and maxmemory-policy allkeys-lru.",
        )
    if facts.policy == "noeviction":
        return warning(
            "redis policy",
            f"{_bound(facts)}: when full it refuses writes, and FinPay runs as without Redis",
            "Set maxmemory-policy allkeys-lru: every key can be restored from PostgreSQL.",
        )
    return ok("redis policy", _bound(facts))


def _bound(facts: RedisInfo) -> str:
    return f"{facts.max_memory // 2**20} MiB, {facts.policy}"
