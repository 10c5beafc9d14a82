"""`finpay doctor`: checks of the settings, the running API, PostgreSQL and Redis.

Each check names what an operator would otherwise find out during an incident, with advice. Nothing
is changed, except for one key in Redis that expires after a second.
"""

from collections.abc import AsyncIterator

from finpay.doctor import api, postgres, redis
from finpay.doctor import settings as configuration
from finpay.doctor.checks import CheckResult, State, ok
from finpay.settings import Settings

__all__ = ["CheckResult", "State", "run_checks"]


async def run_checks(settings: Settings, *, dev_stack: bool = False) -> AsyncIterator[CheckResult]:
    """All checks, each result as it is known. Each server has a few seconds to answer.

    `dev_stack`: the settings are those of a running `finpay dev`, which is right to use development
    defaults.
    """
    yield ok("settings", "all names are known, all values are valid")
    for result in configuration.check(settings, dev_stack=dev_stack):
        yield result
    for result in await api.check(settings, expected=dev_stack):
        yield result
    async for result in postgres.check(settings):
        yield result
    for result in await redis.check(settings, dev_stack=dev_stack):
        yield result
