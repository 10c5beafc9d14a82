"""Redis: is it there, and does it leave when it is full, as a cache has to?"""

from typing import Final

from finpay.doctor.checks import CheckResult, failed, is_own_host, ok, warning
from finpay.gate.server_info import RedisInfo, RedisUnusable, inspect
from finpay.settings import Settings

OLDEST: Final = {"redis": 7, "valkey": 8}
SLOW_MS: Final = 5.0  # every request waits for it twice


async def check(settings: Settings) -> list[CheckResult]:
    """Nothing here can lose money, so what is only slow or small is a warning."""
    try:
        facts = await inspect(settings.redis_url)
    except RedisUnusable as error:
        return [
            failed(
                "redis",
                f"it can't be used: {error}",
                "Check REDIS_URL. Money moves without it, slower, and limits are per process.",
            )
        ]
    return [_reached(facts), _version(facts), _primary(facts), _encryption(facts), _memory(facts)]


def _reached(facts: RedisInfo) -> CheckResult:
    detail = f"{facts.host or 'the local server'} answers, {facts.round_trip_ms:.1f} ms"
    if facts.round_trip_ms <= SLOW_MS:
        return ok("redis", detail)
    return warning("redis", detail, "Run it beside the API: each request waits for it twice.")


def _version(facts: RedisInfo) -> CheckResult:
    detail = f"{facts.kind} {facts.version}"
    major = facts.version.partition(".")[0]
    if major.isdigit() and int(major) >= OLDEST[facts.kind]:
        return ok("redis version", detail)
    return failed("redis version", detail, "FinPay needs Redis 7 or Valkey 8, or newer.")


def _primary(facts: RedisInfo) -> CheckResult:
    if facts.replica:
        return failed("redis primary", "it is a replica", "REDIS_URL has to lead to the primary.")
    if facts.cluster:
        return failed(
            "redis primary", "cluster mode is on", "Use one primary: FinPay does not do Cluster."
        )
    return ok("redis primary", "one primary that takes writes")


def _encryption(facts: RedisInfo) -> CheckResult:
    if facts.encrypted or is_own_host(facts.host):
        return ok("redis tls", "encrypted" if facts.encrypted else "this machine")
    return warning(
        "redis tls",
        f"the connection to {facts.host} is not encrypted",
        "Use rediss:// where the server has TLS; fine as it is on a private network.",
    )


def _memory(facts: RedisInfo) -> CheckResult:
    """Any policy keeps money right; what differs is what a full Redis costs."""
    if facts.max_memory == 0:
        return warning(
            "redis policy",
            "maxmemory is not set: it grows until the machine kills it",
            "Set maxmemory (256mb is plenty to begin with) and maxmemory-policy allkeys-lru.",
        )
    bound = f"{facts.max_memory // 2**20} MiB, {facts.policy}"
    if facts.policy == "noeviction":
        return warning(
            "redis policy",
            f"{bound}: full, it refuses writes, and FinPay goes on as if it were away",
            "Set maxmemory-policy allkeys-lru: everything in it can be had again.",
        )
    return ok("redis policy", bound)
