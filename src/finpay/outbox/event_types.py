"""The closed list of event types, with the shape of each.

docs/events, OpenAPI and AsyncAPI are generated from it, the `type` filter reads it, and the tests
validate every event that they cause against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from finpay.identity.resources import User
from finpay.ledger.payment_requests import PaymentRequest
from finpay.ledger.resources import Account, Hold, Transaction, Withdrawal
from finpay.ledger.schedules import Schedule
from finpay.outbox.resources import Session, WebhookEndpoint

FREQUENT_TYPES: Final = frozenset({
    "hold.captured", "hold.created", "hold.expired", "hold.voided", "transaction.completed",
    "transaction.refunded",
})  # fmt: skip
"""The others have an index of their own: see outbox.events."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event.

    `subject` is the shape of `data.object`. `constraints` are JSON Schemas of members of it that
    this type restricts, `previous` those of the members of `data.previous`, `optional_previous`
    those of members that are there only if they changed.
    """

    subject: type[Struct]
    description: str
    constraints: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Any] = field(default_factory=dict)
    optional_previous: Mapping[str, Any] = field(default_factory=dict)


_NULL: Final = {"type": "null"}
_AMOUNT: Final = {"type": "integer", "minimum": 0}

_OPEN: Final = {"status": {"const": "open"}}
_UNPAID: Final = {"transaction_id": _NULL}
_ID: Final = {"type": "string"}
_TIME: Final = {"type": ["string", "null"]}

_PAYMENT_REQUEST_EVENTS: Final = {
    "payment_request.canceled": EventType(
        PaymentRequest,
        "The requester canceled a payment request. Sent to both sides.",
        {"status": {"const": "canceled"}, **_UNPAID},
        _OPEN,
    ),
    "payment_request.created": EventType(
        PaymentRequest,
        "A user asked for money. Sent to the requester, and to the payer who was named by an "
        "e-mail address.",
        {**_OPEN, **_UNPAID},
    ),
    "payment_request.declined": EventType(
        PaymentRequest,
        "The payer declined a payment request. Sent to both sides.",
        {"status": {"const": "declined"}, **_UNPAID},
        _OPEN,
    ),
    "payment_request.expired": EventType(
        PaymentRequest,
        "A payment request was open until its time was over. Sent to both sides.",
        {"status": {"const": "expired"}, **_UNPAID},
        _OPEN,
    ),
    "payment_request.paid": EventType(
        PaymentRequest,
        "A payment request was paid. Sent to both sides, after transaction.completed of its "
        "transfer.",
        {"status": {"const": "paid"}, "transaction_id": _ID},
        {**_OPEN, **_UNPAID},
    ),
}
_SCHEDULE_EVENTS: Final = {
    "schedule.created": EventType(
        Schedule,
        "The user created a schedule.",
        {"status": {"const": "active"}, "runs": {"const": 0}},
    ),
    "schedule.ended": EventType(
        Schedule,
        "A schedule has ended: after its last run, or canceled by the user.",
        {"status": {"const": "ended"}, "next_at": _NULL},
        {"status": {"enum": ["active", "paused"]}, "next_at": _TIME},
    ),
    "schedule.failed": EventType(
        Schedule,
        "A run of a schedule was refused; last_failure_code says why. The next one is tried when "
        "it is due.",
        {"status": {"const": "active"}, "last_failure_code": {"type": "string"}},
        {
            "runs": {"type": "integer"},
            "failures_in_a_row": {"type": "integer"},
            "last_failure_code": {"type": ["string", "null"]},
            "last_transaction_id": {"type": ["string", "null"]},
            "next_at": _TIME,
        },
    ),
    "schedule.paused": EventType(
        Schedule,
        "A schedule was paused: by the user, after three failures in a row, or after 366 late runs "
        "in a row.",
        {"status": {"const": "paused"}, "next_at": _NULL},
        {"status": {"const": "active"}, "next_at": _TIME},
    ),
    "schedule.resumed": EventType(
        Schedule,
        "The user resumed a schedule. Occurrences that were due meanwhile are skipped.",
        {"status": {"const": "active"}, "failures_in_a_row": {"const": 0}},
        {
            "status": {"const": "paused"},
            "next_at": _NULL,
            "failures_in_a_row": {"type": "integer"},
        },
    ),
}

EVENT_TYPES: Final[Mapping[str, EventType]] = {
    "account.created": EventType(
        Account,
        "The user's account was opened, in the same commit.",
        {"status": {"const": "active"}, "balance": {"const": 0}, "version": {"const": 0}},
    ),
    "account.updated": EventType(
        Account,
        "The operator froze or unfroze the account, or its limits changed. Not sent when only the "
        "balance changed: see transaction.completed.",
        optional_previous={
            "status": {"enum": ["active", "frozen"]},
            "limits": {"type": "object"},
        },
    ),
    "hold.captured": EventType(
        Hold,
        "The receiver captured money of a hold. transaction.completed of the same commit comes "
        "before it. The status is open if the capture was not final.",
        {"status": {"enum": ["open", "captured"]}},
        {"captured_amount": _AMOUNT, "remaining": _AMOUNT},
        {"status": {"const": "open"}},
    ),
    "hold.created": EventType(
        Hold,
        "Money was reserved. Sent to the sender and the receiver, as all events of a hold.",
        {"status": {"const": "open"}, "captured_amount": {"const": 0}},
    ),
    "hold.expired": EventType(
        Hold,
        "A hold expired; what was left of it is released.",
        {"status": {"const": "expired"}, "remaining": {"const": 0}},
        {"status": {"const": "open"}, "remaining": _AMOUNT},
    ),
    "hold.voided": EventType(
        Hold,
        "The receiver, or an operator, released what was left of a hold.",
        {"status": {"const": "voided"}, "remaining": {"const": 0}},
        {"status": {"const": "open"}, "remaining": _AMOUNT},
    ),
    **_PAYMENT_REQUEST_EVENTS,
    **_SCHEDULE_EVENTS,
    "session.revoked": EventType(
        Session,
        "A session was revoked before it expired: by logout, by a change of the password, "
        "from the list of sessions, or because a refresh token was used a second time. "
        "One event for each session.",
        {"ended_at": {"type": "string"}, "reason": {"type": "string"}},
        {"ended_at": _NULL, "reason": _NULL},
    ),
    "transaction.completed": EventType(
        Transaction,
        "Money moved. The sender and the receiver each get an event of their own, with the "
        "balance of their own account after it.",
        {"status": {"const": "completed"}, "failure_code": _NULL},
    ),
    "transaction.failed": EventType(
        Transaction,
        "A transfer or refund was refused for lack of funds, and recorded. Sent to the sender "
        "alone; the balance is unchanged.",
        {
            "status": {"const": "failed"},
            "direction": {"const": "sent"},
            "failure_code": {"const": "insufficient_funds"},
        },
    ),
    "transaction.refunded": EventType(
        Transaction,
        "Money of the transaction was given back. transaction.completed of the refund comes "
        "before it. The status is reversed when all of it was refunded.",
        {"status": {"enum": ["completed", "reversed"]}},
        {"refunded_amount": {"type": "integer"}, "status": {"const": "completed"}},
    ),
    "user.registered": EventType(
        User, "A user registered. The first event of every account, to that user alone."
    ),
    "webhook_endpoint.disabled": EventType(
        WebhookEndpoint,
        "FinPay disabled a webhook endpoint: it answered 410, or every attempt failed for days. "
        "Sent to the owner's other endpoints.",
        {"enabled": {"const": False}, "disabled_reason": {"type": "string"}},
        {"enabled": {"const": True}, "disabled_reason": _NULL},
    ),
    "withdrawal.canceled": EventType(
        Withdrawal,
        "The owner canceled a withdrawal; its money is released. No event of a withdrawal has its "
        "destination.",
        {"status": {"const": "canceled"}},
        {"status": {"const": "pending"}},
    ),
    "withdrawal.completed": EventType(
        Withdrawal,
        "An operator paid the money out. transaction.completed of the same commit comes before it.",
        {"status": {"const": "completed"}, "transaction_id": {"type": "string"}},
        {"status": {"const": "pending"}, "reference": _NULL, "transaction_id": _NULL},
    ),
    "withdrawal.created": EventType(
        Withdrawal, "Money is held to be paid out.", {"status": {"const": "pending"}}
    ),
    "withdrawal.rejected": EventType(
        Withdrawal,
        "An operator rejected a withdrawal, for a reason; its money is released.",
        {"status": {"const": "rejected"}, "reason": {"type": "string"}},
        {"status": {"const": "pending"}, "reason": _NULL},
    ),
}
"""By name, in alphabetical order. A new type needs an entry here and in docs/events."""


def patterns() -> list[str]:
    """The arguments that `matching` accepts: `*`, the groups (`account.*`), the types."""
    groups = {f"{name.partition('.')[0]}.*" for name in EVENT_TYPES}
    return ["*", *sorted(groups | EVENT_TYPES.keys())]


def matching(pattern: str) -> tuple[str, ...]:
    """The types that match a pattern. ValueError, which lists the patterns, if there is none."""
    group = pattern.removesuffix("*")
    if pattern == "*" or (group != pattern and group.endswith(".")):
        found = tuple(name for name in EVENT_TYPES if name.startswith(group))
    else:
        found = (pattern,) if pattern in EVENT_TYPES else ()
    if not found:
        raise ValueError(f"Expected one of: {', '.join(patterns())}.")
    return found
