"""Which events there are: the closed list, and what each is about.

The documents (docs/events, OpenAPI, AsyncAPI) are made from it, the `type` filter reads it, and
every event that a test ever caused is validated against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from finpay.identity.resources import User
from finpay.ledger.resources import Account, Transaction
from finpay.outbox.resources import Session, WebhookEndpoint

COMMON_TYPE: Final = "transaction.completed"
"""The most frequent type. All others stand in an index of their own."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event.

    `subject` is the shape of `data.object`. `narrowed` are members of it that this type fixes, and
    `previous` those of `data.previous`, both as JSON Schemas by name.
    """

    subject: type[Struct]
    told: str
    narrowed: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Any] = field(default_factory=dict)


_NULL: Final = {"type": "null"}

EVENT_TYPES: Final[Mapping[str, EventType]] = {
    "account.created": EventType(
        Account,
        "The user's account was opened, in the same commit.",
        {"status": {"const": "active"}, "balance": {"const": 0}, "version": {"const": 0}},
    ),
    "account.updated": EventType(
        Account,
        "The operator froze or unfroze the account. Not sent for a balance that changed: "
        "transactions tell of those.",
        previous={"status": {"enum": ["active", "frozen"]}},
    ),
    "session.revoked": EventType(
        Session,
        "A session ended before its time: one event for each, by logout, by a change of the "
        "password, or because an old refresh token came back.",
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
        "A transfer was refused for lack of funds, and recorded. Sent to the sender alone; "
        "the balance is unchanged.",
        {
            "status": {"const": "failed"},
            "direction": {"const": "sent"},
            "failure_code": {"const": "insufficient_funds"},
        },
    ),
    "user.registered": EventType(
        User, "A user registered. The first event of every account, to that user alone."
    ),
    "webhook_endpoint.disabled": EventType(
        WebhookEndpoint,
        "FinPay gave up on a webhook endpoint: it answered 410, or nothing but failures for "
        "days. Sent to the owner's other endpoints.",
        {"enabled": {"const": False}, "disabled_reason": {"type": "string"}},
        {"enabled": {"const": True}, "disabled_reason": _NULL},
    ),
}
"""Type → what it is. In alphabetical order; a new one is new code here and in docs/events."""


def patterns() -> list[str]:
    """Everything that `matching` understands: `*`, the groups (`account.*`), the types."""
    groups = {f"{kind.partition('.')[0]}.*" for kind in EVENT_TYPES}
    return ["*", *sorted(groups | EVENT_TYPES.keys())]


def matching(pattern: str) -> tuple[str, ...]:
    """The types that a pattern stands for. ValueError, which lists the patterns, if none do."""
    group = pattern.removesuffix("*")
    if pattern == "*" or (group != pattern and group.endswith(".")):
        found = tuple(kind for kind in EVENT_TYPES if kind.startswith(group))
    else:
        found = (pattern,) if pattern in EVENT_TYPES else ()
    if not found:
        raise ValueError(f"Expected one of: {', '.join(patterns())}.")
    return found
