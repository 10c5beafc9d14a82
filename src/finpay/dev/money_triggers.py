"""Triggers of events of holds, refunds, withdrawals, payment requests and schedules."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from finpay.client import FinPay, Schedule, Withdrawal
from finpay.dev.trigger_context import AMOUNT, Trigger, TriggerContext, new_key
from finpay.ledger import operator_commands
from finpay.money import MAX_AMOUNT

SHORTEST_S: Final = 60  # the shortest time of a hold and a payment request
SOON: Final = timedelta(seconds=2)
FAR: Final = timedelta(days=365)
DESTINATION: Final = {"bank": "Bank of Triggers", "account": "1"}

End: TypeAlias = Callable[[FinPay, str], str]
"""What the partner does with the object of an id; returns what was done."""


def of_hold(end: End | None, expires_in: int | None = None) -> Trigger:
    """The user reserves money for the partner; then the end."""

    async def trigger(context: TriggerContext) -> str:
        context.log_in()
        made = context.client.create_hold(
            receiver_email=context.partner, amount=AMOUNT, expires_in=expires_in
        )
        return f"{made.id} {_ended(context, made.id, end, expires_in)}"

    return trigger


def of_request(end: End | None, expires_in: int | None = None) -> Trigger:
    """The user asks the partner for money; then the end."""

    async def trigger(context: TriggerContext) -> str:
        context.log_in()
        made = context.client.request_payment(
            payer_email=context.partner, amount=AMOUNT, expires_in=expires_in
        )
        return f"{made.id} {_ended(context, made.id, end, expires_in)}"

    return trigger


def _ended(context: TriggerContext, made: str, end: End | None, expires_in: int | None) -> str:
    if end is not None:
        with context.as_partner() as partner:
            return end(partner, made)
    if expires_in is not None:
        return f"expires in {expires_in} s, if `finpay worker` runs"
    return f"was made for {context.partner}"


def _captured(partner: FinPay, hold_id: str) -> str:
    return f"was captured: {partner.capture_hold(hold_id).id}"


def _voided(partner: FinPay, hold_id: str) -> str:
    return f"is {partner.void_hold(hold_id).status}"


def _paid(partner: FinPay, request_id: str) -> str:
    return f"was paid: {partner.pay_request(request_id).id}"


def _declined(partner: FinPay, request_id: str) -> str:
    return f"is {partner.decline_request(request_id).status}"


async def payment_request_canceled(context: TriggerContext) -> str:
    context.log_in()
    made = context.client.request_payment(payer_email=context.partner, amount=AMOUNT)
    return f"{made.id} is {context.client.cancel_request(made.id).status}"


async def transaction_refunded(context: TriggerContext) -> str:
    context.log_in()
    paid = context.client.send(receiver_email=context.partner, amount=AMOUNT)
    with context.as_partner() as partner:
        return f"{paid.id} was refunded: {partner.refund(paid.id).id}"


def _withdraw(context: TriggerContext) -> Withdrawal:
    context.log_in()
    return context.client.withdraw(AMOUNT, DESTINATION)


async def withdrawal_created(context: TriggerContext) -> str:
    return f"{_withdraw(context).id} waits for an operator"


async def withdrawal_canceled(context: TriggerContext) -> str:
    made = _withdraw(context)
    return f"{made.id} is {context.client.cancel_withdrawal(made.id).status}"


async def withdrawal_completed(context: TriggerContext) -> str:
    async with context.as_operator("Completing a withdrawal") as database:
        made = _withdraw(context)
        key = new_key()
        await operator_commands.complete_withdrawal(database, made.id, key, key=key)
    return f"{made.id} was completed"


async def withdrawal_rejected(context: TriggerContext) -> str:
    async with context.as_operator("Rejecting a withdrawal") as database:
        made = _withdraw(context)
        key = new_key()
        await operator_commands.reject_withdrawal(
            database, made.id, "finpay webhooks trigger", key=key
        )
    return f"{made.id} was rejected"


def of_schedule(*verbs: str) -> Trigger:
    """A schedule of a year later, paused, resumed and at last canceled."""

    async def trigger(context: TriggerContext) -> str:
        made = _plan(context, AMOUNT, FAR)
        changes: Mapping[str, Callable[[str], Schedule]] = {
            "paused": context.client.pause_schedule,
            "resumed": context.client.resume_schedule,
            "canceled": context.client.cancel_schedule,
        }
        for verb in (*verbs, "canceled"):
            changes[verb](made.id)
        return f"{made.id} was " + ", ".join(("created", *verbs, "canceled"))

    return trigger


async def schedule_failed(context: TriggerContext) -> str:
    """Its one run has an amount that no account has."""
    made = _plan(context, MAX_AMOUNT, SOON)
    return f"{made.id} fails in {SOON.seconds} s, if `finpay worker` runs"


def _plan(context: TriggerContext, amount: int, later: timedelta) -> Schedule:
    context.log_in()
    return context.client.create_schedule(
        receiver_email=context.partner, amount=amount, start_at=datetime.now(UTC) + later
    )


MONEY_TRIGGERS: Final[Mapping[str, Trigger]] = {
    "hold.captured": of_hold(_captured),
    "hold.created": of_hold(None),
    "hold.expired": of_hold(None, SHORTEST_S),
    "hold.voided": of_hold(_voided),
    "payment_request.canceled": payment_request_canceled,
    "payment_request.created": of_request(None),
    "payment_request.declined": of_request(_declined),
    "payment_request.expired": of_request(None, SHORTEST_S),
    "payment_request.paid": of_request(_paid),
    "schedule.created": of_schedule(),
    "schedule.ended": of_schedule(),
    "schedule.failed": schedule_failed,
    "schedule.paused": of_schedule("paused"),
    "schedule.resumed": of_schedule("paused", "resumed"),
    "transaction.refunded": transaction_refunded,
    "withdrawal.canceled": withdrawal_canceled,
    "withdrawal.completed": withdrawal_completed,
    "withdrawal.created": withdrawal_created,
    "withdrawal.rejected": withdrawal_rejected,
}
