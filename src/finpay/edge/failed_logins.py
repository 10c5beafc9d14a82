"""Counts wrong passwords and codes outside of the login as failed logins of the user's e-mail.

A right one neither counts nor sets the count back: only a completed login does.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from finpay.edge.authentication import raise_for
from finpay.edge.request.model import Context
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.gate.rate_limits import Tiers

_FAILURES: Final = frozenset({Code.INVALID_CREDENTIALS, Code.SECOND_FACTOR_INVALID})


@asynccontextmanager
async def counted(services: Services, context: Context, email: str) -> AsyncIterator[None]:
    """429 if no more failed logins are left, before anything is compared."""
    tiers = Tiers(services.settings).for_email(email, context.client_ip)
    raise_for(await services.gate.peek(tiers))
    try:
        yield
    except FinPayError as error:
        if error.code in _FAILURES:
            await services.gate.admit_anonymous(tiers)
        raise


async def forget(services: Services, context: Context, email: str) -> None:
    """After a completed login."""
    tiers = Tiers(services.settings).for_email(email, context.client_ip)
    await services.gate.forget_failed_logins(tiers)
