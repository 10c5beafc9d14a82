"""All questions, in the order in which one would ask them."""

from collections.abc import AsyncIterator

from finpay.doctor import postgres, redis
from finpay.doctor import settings as configuration
from finpay.doctor.checks import Finding, ok
from finpay.settings import Settings


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Findings as they are made. Bounded: each server gets a few seconds to answer."""
    yield ok("settings", "every FINPAY_* name is known, every value is good")
    for finding in configuration.look(settings):
        yield finding
    async for finding in postgres.look(settings):
        yield finding
    for finding in await redis.look(settings):
        yield finding
