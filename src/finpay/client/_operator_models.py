"""What operators and auditors read with the client: see _models.py."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from finpay.client._models import Entry, Limits, User


class OperatorUser(Struct, frozen=True):
    """A user as operators see it. `role`: user, operator or auditor; `status` of the account."""

    id: str
    email: str
    email_verified: bool
    second_factor: bool
    name: str | None
    role: str
    account_id: str
    status: str
    currency: str
    created_at: datetime


class Leg(Struct, frozen=True):
    """The entry of one of the two accounts of a transaction. `amount` is signed."""

    account_id: str
    amount: int
    balance_after: int
    version: int


class OperatorTransaction(Struct, frozen=True, tag_field="object", tag="transaction"):
    """A transaction with both of its entries. `reference`: of the payment outside."""

    id: str
    type: str
    status: str
    amount: int
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    reference: str | None
    failure_code: str | None
    refunded_amount: int
    origin: str | None
    scheduled_for: datetime | None
    entries: tuple[Leg, ...]
    created_at: datetime


class ApprovalParameters(Struct, frozen=True):
    """What is done once the approval is given."""

    account_id: str
    target: str | None
    amount: int
    currency: str
    reference: str | None
    description: str | None


class Approval(Struct, frozen=True, tag_field="object", tag="approval"):
    """What waits for a second operator. `status`: pending, approved, rejected or expired."""

    id: str
    status: str
    action: str
    parameters: ApprovalParameters
    requested_by: str
    decided_by: str | None
    transaction_id: str | None
    expires_at: datetime
    created_at: datetime


class OperatorWithdrawal(Struct, frozen=True):
    """A withdrawal with its destination and the account that it is paid from."""

    id: str
    account_id: str
    status: str
    amount: int
    currency: str
    destination: dict[str, str]
    description: str | None
    reference: str | None
    reason: str | None
    transaction_id: str | None
    created_at: datetime


class OperatorHold(Struct, frozen=True):
    """A hold with both of its parties."""

    id: str
    status: str
    amount: int
    captured_amount: int
    remaining: int
    currency: str
    sender_id: str
    receiver_id: str
    description: str | None
    metadata: dict[str, str]
    expires_at: datetime
    created_at: datetime


class StatusChange(Struct, frozen=True):
    """A freeze or its end. `operator_id` is None for the command line."""

    status: str
    reason: str
    operator_id: str | None
    created_at: datetime


class OperatorAccount(Struct, frozen=True):
    """An account with its owner, and the newest 20 of what happened to it."""

    id: str
    balance: int
    available: int
    held: int
    currency: str
    status: str
    version: int
    limits: Limits
    created_at: datetime
    user: User
    entries: tuple[Entry, ...]
    holds: tuple[OperatorHold, ...]
    freezes: tuple[StatusChange, ...]


class AuditEntry(Struct, frozen=True):
    """Who did what, to what, from where."""

    id: int
    action: str
    actor_id: str | None
    subject_id: str | None
    request_id: str | None
    address: str | None
    detail: dict[str, Any] | None
    created_at: datetime
