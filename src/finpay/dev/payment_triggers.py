"""Triggers of the events of holds, refunds, withdrawals, payment requests and schedules."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from finpay.client import Hold, PaymentRequest, Schedule, Withdrawal
from finpay.dev.trigger_context import AMOUNT, Trigger, TriggerContext
from finpay.ledger import operator_commands
from finpay.money import MAX_AMOUNT

SHORTEST_S: Final = 60  # that a hold or a payment request can be open
_SOON: Final = timedelta(seconds=2)
_NEXT_YEAR: Final = timedelta(days=365)


async def hold_created(context: TriggerContext) -> str:
    hold = _hold(context)
    return f"{hold.id}: {AMOUNT} minor units are held for {context.partner}"


async def hold_captured(context: TriggerContext) -> str:
    hold = _hold(context)
    with context.partner_client() as partner:
        paid = partner.capture_hold(hold.id)
    return f"{hold.id}: {context.partner} captured {paid.amount} minor units"


async def hold_voided(context: TriggerContext) -> str:
    hold = _hold(context)
    with context.partner_client() as partner:
        partner.void_hold(hold.id)
    return f"{hold.id}: {context.partner} voided it"


async def hold_expired(context: TriggerContext) -> str:
    hold = _hold(context, SHORTEST_S)
    return f"{hold.id} expires at {hold.expires_at}; a running worker sends the event then"


async def transaction_refunded(context: TriggerContext) -> str:
    sent = context.log_in().send(receiver_email=context.partner, amount=AMOUNT)
    with context.partner_client() as partner:
        partner.refund(sent.id)
    return f"{sent.id}: {context.partner} gave it back"


async def withdrawal_created(context: TriggerContext) -> str:
    withdrawal = _withdrawal(context)
    return f"{withdrawal.id}: {AMOUNT} minor units wait for an operator"


async def withdrawal_canceled(context: TriggerContext) -> str:
    withdrawal = context.client.cancel_withdrawal(_withdrawal(context).id)
    return f"{withdrawal.id} was made and canceled"


async def withdrawal_completed(context: TriggerContext) -> str:
    withdrawal = _withdrawal(context)
    reference = f"trigger {os.urandom(8).hex()}"
    await context.as_operator(
        lambda database, key: operator_commands.complete_withdrawal(
            database, withdrawal.id, reference, key=key
        )
    )
    return f"{withdrawal.id} was completed"


async def withdrawal_rejected(context: TriggerContext) -> str:
    withdrawal = _withdrawal(context)
    await context.as_operator(
        lambda database, key: operator_commands.reject_withdrawal(
            database, withdrawal.id, "finpay webhooks trigger", key=key
        )
    )
    return f"{withdrawal.id} was rejected"


async def request_created(context: TriggerContext) -> str:
    request = _request(context)
    return f"{request.id} asks {context.partner} for {AMOUNT} minor units"


async def request_paid(context: TriggerContext) -> str:
    request = _request(context)
    with context.partner_client() as partner:
        partner.pay_request(request.id)
    return f"{request.id}: {context.partner} paid it"


async def request_declined(context: TriggerContext) -> str:
    request = _request(context)
    with context.partner_client() as partner:
        partner.decline_request(request.id)
    return f"{request.id}: {context.partner} declined it"


async def request_canceled(context: TriggerContext) -> str:
    request = context.client.cancel_request(_request(context).id)
    return f"{request.id} was made and canceled"


async def request_expired(context: TriggerContext) -> str:
    request = _request(context, SHORTEST_S)
    return f"{request.id} expires at {request.expires_at}; a running worker sends the event then"


async def schedule_created(context: TriggerContext) -> str:
    schedule = _schedule(context)
    return f"{schedule.id}: {AMOUNT} minor units to {context.partner}, in a year"


async def schedule_paused(context: TriggerContext) -> str:
    schedule = context.client.pause_schedule(_schedule(context).id)
    return f"{schedule.id} was made and paused"


async def schedule_resumed(context: TriggerContext) -> str:
    schedule = context.client.pause_schedule(_schedule(context).id)
    context.client.resume_schedule(schedule.id)
    return f"{schedule.id} was made, paused and resumed"


async def schedule_ended(context: TriggerContext) -> str:
    schedule = context.client.cancel_schedule(_schedule(context).id)
    return f"{schedule.id} was made and canceled"


async def schedule_failed(context: TriggerContext) -> str:
    """Two events: without an interval the schedule has ended then."""
    schedule = _schedule(context, MAX_AMOUNT, _SOON)
    return f"{schedule.id} is due in two seconds; a running worker sends the event then"


TRIGGERS: Final[Mapping[str, Trigger]] = {
    "hold.captured": hold_captured,
    "hold.created": hold_created,
    "hold.expired": hold_expired,
    "hold.voided": hold_voided,
    "payment_request.canceled": request_canceled,
    "payment_request.created": request_created,
    "payment_request.declined": request_declined,
    "payment_request.expired": request_expired,
    "payment_request.paid": request_paid,
    "schedule.created": schedule_created,
    "schedule.ended": schedule_ended,
    "schedule.failed": schedule_failed,
    "schedule.paused": schedule_paused,
    "schedule.resumed": schedule_resumed,
    "transaction.refunded": transaction_refunded,
    "withdrawal.canceled": withdrawal_canceled,
    "withdrawal.completed": withdrawal_completed,
    "withdrawal.created": withdrawal_created,
    "withdrawal.rejected": withdrawal_rejected,
}


def _hold(context: TriggerContext, expires_in: int | None = None) -> Hold:
    return context.log_in().create_hold(
        receiver_email=context.partner, amount=AMOUNT, expires_in=expires_in
    )


def _withdrawal(context: TriggerContext) -> Withdrawal:
    return context.log_in().withdraw(AMOUNT, {"bank": "Example Bank", "account": "62001234567"})


def _request(context: TriggerContext, expires_in: int | None = None) -> PaymentRequest:
    return context.log_in().request_payment(
        payer_email=context.partner, amount=AMOUNT, expires_in=expires_in
    )


def _schedule(
    context: TriggerContext, amount: int = AMOUNT, ahead: timedelta = _NEXT_YEAR
) -> Schedule:
    return context.log_in().create_schedule(
        receiver_email=context.partner, amount=amount, start_at=datetime.now(UTC) + ahead
    )
