"""The closed list of event types, with the shape of each.

docs/events, OpenAPI and AsyncAPI are generated from it, the `type` filter reads it, and the tests
validate every event that they cause against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Struct

from finpay.identity.resources import User
from finpay.ledger.resources import Account, Transaction
from finpay.outbox.resources import Session, WebhookEndpoint

COMMON_TYPE: Final = "transaction.completed"
"""The most frequent type. The others have an index of their own."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event.

    `subject` is the shape of `data.object`. `constraints` are JSON Schemas of members of it that
    this type restricts, `previous` those of the members of `data.previous`.
    """

    subject: type[Struct]
    description: str
    constraints: Mapping[str, Any] = field(default_factory=dict)
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
        "The operator froze or unfroze the account. Not sent when only the balance changed: "
        "see transaction.completed.",
        previous={"status": {"enum": ["active", "frozen"]}},
    ),
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
        "FinPay disabled a webhook endpoint: it answered 410, or every attempt failed for days. "
        "Sent to the owner's other endpoints.",
        {"enabled": {"const": False}, "disabled_reason": {"type": "string"}},
        {"enabled": {"const": True}, "disabled_reason": _NULL},
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
