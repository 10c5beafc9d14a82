"""What operators and auditors are shown. Every field is always present."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from finpay import ids
from finpay.formats import MinorUnits, Timestamp, format_timestamp
from finpay.ids import Prefix
from finpay.ledger import resources as ledger
from finpay.ledger.holds import Hold
from finpay.ledger.withdrawals import Withdrawal
from finpay.operators import accounts, audit, users

Role = Annotated[str, Meta(examples=["user", "operator", "auditor"])]
Status = Annotated[str, Meta(examples=["active", "frozen"])]

_SUBJECTS: Final[dict[str, Prefix]] = {
    "account": "acc",
    "api_key": "key",
    "hold": "hld",
    "payment_request": "prq",
    "schedule": "sch",
    "session": "ses",
    "transaction": "txn",
    "user": "usr",
    "webhook_endpoint": "whe",
    "withdrawal": "wdr",
}


class OperatorUser(Struct, frozen=True):
    """A user as operators see it. `status` is that of the account."""

    id: str
    object: Literal["user"]
    email: str
    email_verified: bool
    second_factor: bool
    name: str | None
    role: Role
    account_id: str
    status: Status
    currency: str
    created_at: Timestamp


class OperatorWithdrawal(Struct, frozen=True):
    """A withdrawal with its destination and the account that it is paid from."""

    id: str
    object: Literal["withdrawal"]
    account_id: str
    status: Annotated[str, Meta(examples=["pending", "completed", "rejected", "canceled"])]
    amount: MinorUnits
    currency: str
    destination: dict[str, str]
    description: str | None
    reference: str | None
    reason: str | None
    transaction_id: str | None
    created_at: Timestamp


class OperatorHold(Struct, frozen=True):
    """A hold with both of its parties."""

    id: str
    object: Literal["hold"]
    status: Annotated[str, Meta(examples=["open", "captured", "voided", "expired"])]
    amount: MinorUnits
    captured_amount: MinorUnits
    remaining: MinorUnits
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    expires_at: Timestamp
    created_at: Timestamp


class StatusChange(Struct, frozen=True):
    """A freeze or its end. `operator_id` is null for the command line."""

    object: Literal["status_change"]
    status: Status
    reason: str
    operator_id: str | None
    created_at: Timestamp


class Leg(Struct, frozen=True):
    """The entry of one of the two accounts of a transaction. `amount` is signed."""

    account_id: str
    amount: MinorUnits
    balance_after: MinorUnits
    version: int


class OperatorTransaction(Struct, frozen=True):
    """A transaction with both of its entries; a failed one has none. `reference` is that of the
    payment outside, of a deposit or a withdrawal."""

    id: str
    object: Literal["transaction"]
    type: Annotated[str, Meta(examples=["transfer", "funding", "deposit", "withdrawal", "refund"])]
    status: Annotated[str, Meta(examples=["completed", "failed", "reversed"])]
    amount: MinorUnits
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    reference: str | None
    failure_code: str | None
    refunded_amount: MinorUnits
    origin: str | None
    scheduled_for: Timestamp | None
    entries: list[Leg]
    created_at: Timestamp


class ApprovalParameters(Struct, frozen=True):
    """What is done once the approval is given. `target`: the withdrawal, or the transaction to
    refund."""

    account_id: str
    target: str | None
    amount: MinorUnits
    currency: str
    reference: str | None
    description: str | None


class Approval(Struct, frozen=True):
    """An action of an operator that waits for a second one."""

    id: str
    object: Literal["approval"]
    status: Annotated[str, Meta(examples=["pending", "approved", "rejected", "expired"])]
    action: Annotated[str, Meta(examples=["deposit", "withdrawal", "refund"])]
    parameters: ApprovalParameters
    requested_by: str
    decided_by: str | None
    transaction_id: str | None
    expires_at: Timestamp
    created_at: Timestamp


class AuditEntry(Struct, frozen=True):
    """Who did what, to what, from where. `id` only rises. `actor_id` is null for the command line,
    for background work and for who was not logged in."""

    id: int
    object: Literal["audit_entry"]
    action: str
    actor_id: str | None
    subject_id: str | None
    request_id: str | None
    address: str | None
    detail: dict[str, Any] | None
    created_at: Timestamp


def user(row: users.OperatorUser) -> OperatorUser:
    return OperatorUser(
        id=ids.encode("usr", row.id),
        object="user",
        email=row.email,
        email_verified=row.email_verified,
        second_factor=row.second_factor,
        name=row.name,
        role=row.role,
        account_id=ids.encode("acc", row.account_id),
        status=row.status,
        currency=row.currency,
        created_at=format_timestamp(row.created_at),
    )


def withdrawal(row: Withdrawal) -> OperatorWithdrawal:
    members = msgspec.structs.asdict(ledger.withdrawal(row))
    return OperatorWithdrawal(account_id=ids.encode("acc", row.account_id), **members)


def hold(row: Hold) -> OperatorHold:
    members = msgspec.structs.asdict(ledger.hold(row, row.sender_id))
    del members["direction"]
    return OperatorHold(**members)


def status_change(row: accounts.StatusChange) -> StatusChange:
    return StatusChange(
        object="status_change",
        status=row.status,
        reason=row.reason,
        operator_id=_optional("usr", row.operator_id),
        created_at=format_timestamp(row.created_at),
    )


def audit_entry(row: audit.AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        object="audit_entry",
        action=row.action,
        actor_id=_optional("usr", row.actor_id),
        subject_id=_optional(_SUBJECTS[row.subject], row.subject_id),
        request_id=row.request_id,
        address=row.address,
        detail=None if row.detail is None else msgspec.json.decode(row.detail),
        created_at=format_timestamp(row.created_at),
    )


def _optional(prefix: Prefix, value: UUID | None) -> str | None:
    return None if value is None else ids.encode(prefix, value)
