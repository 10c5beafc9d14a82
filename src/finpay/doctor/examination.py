"""All questions, in the order in which one would ask them."""

from collections.abc import AsyncIterator

from finpay.doctor import postgres, redis
from finpay.doctor import settings as configuration
from finpay.doctor.checks import CheckResult, ok
from finpay.settings import Settings


async def run_checks(settings: Settings) -> AsyncIterator[CheckResult]:
    """Findings as they are made. Bounded: each server gets a few seconds to answer."""
    yield ok("settings", "every FINPAY_* name is known, every value is good")
    for finding in configuration.check(settings):
        yield finding
    async for finding in postgres.check(settings):
        yield finding
    for finding in await redis.check(settings):
        yield finding
