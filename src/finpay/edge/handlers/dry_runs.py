"""Dry runs (`?dry_run=true`): the outcome that a payment would have now, and no effect."""

from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import msgspec

from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import Code, FinPayError
from finpay.ledger import dry_run
from finpay.ledger.dry_run import Payment
from finpay.ledger.outcome import REFUSALS, Outcome
from finpay.ledger.resources import Limits

_STATUSES = frozenset({Outcome.NOT_FOUND, Outcome.FORBIDDEN})


async def of_payment(
    services: Services, context: Context, mode: Literal["transfer", "hold"]
) -> Response:
    command = context.command
    return await _response(
        services,
        context,
        Payment(
            mode,
            command.amount,
            currency=command.currency,
            receiver_id=command.receiver_id,
            receiver_email=command.receiver_email,
            if_version=command.if_version,
            if_balance_gte=command.if_balance_gte,
        ),
    )


async def of_refund(services: Services, context: Context, target: UUID) -> Response:
    return await _response(
        services, context, Payment("refund", context.command.amount, target=target)
    )


async def _response(services: Services, context: Context, payment: Payment) -> Response:
    found = await dry_run.check(services.database, context.caller.account_id, payment)
    if found.outcome == dry_run.EXHAUSTED:
        raise _exhausted()
    outcome = Outcome(found.outcome)
    if outcome in _STATUSES:
        raise FinPayError(*REFUSALS[outcome])
    body = responses.DryRun(
        object="dry_run",
        outcome=found.outcome,
        amount=found.amount,
        currency=found.currency,
        balance_after=found.balance,
        available_after=found.available,
        limits=msgspec.json.decode(found.limits, type=Limits),
    )
    return Response(200, responses.encode(body))


def _exhausted() -> FinPayError:
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    seconds = int((midnight - now).total_seconds()) + 1
    return FinPayError(
        Code.RATE_LIMITED,
        f"Dry runs named {dry_run.MAX_UNKNOWN_RECEIVERS} unknown receivers today. "
        f"Try again in {seconds} seconds.",
        extensions={"policy": "dry_run"},
        headers={"Retry-After": str(seconds)},
    )
