"""Schemas of the routes of operators.

`checked` of a body checks what types can't say, and returns the command for the handler.
"""

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from finpay.edge.schemas.fields import (
    AccountId,
    Amount,
    Description,
    Email,
    account_id,
    check_description,
    normalised_email,
)
from finpay.edge.schemas.money_requests import Limit
from finpay.edge.schemas.responses import Entry
from finpay.errors import validation_failed
from finpay.formats import MinorUnits, Timestamp
from finpay.identity.resources import User
from finpay.ledger.operator_actions import LimitsChange
from finpay.ledger.resources import Limits
from finpay.operators.resources import (
    Approval,
    AuditEntry,
    OperatorHold,
    OperatorTransaction,
    OperatorUser,
    OperatorWithdrawal,
    StatusChange,
)

Reference = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        description="The name of the payment outside, such as a bank's. Each is used only once.",
        examples=["EFT-20260131-0042"],
    ),
]
Reason = Annotated[str, Meta(min_length=1, max_length=500, examples=["Reported as stolen"])]


class DepositCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """Money that has arrived outside. Name the account by its id or by its owner's e-mail."""

    amount: Amount
    reference: Reference
    account_id: AccountId | None = None
    email: Email | None = None
    description: Description | None = None

    def checked(self) -> "DepositCommand":
        if (self.account_id is None) == (self.email is None):
            raise validation_failed("Give exactly one of account_id and email.")
        check_description(self.description)
        _check_line(self.reference, "#/reference")
        named, email = self.account_id, self.email
        return DepositCommand(
            self.amount,
            self.reference,
            None if named is None else account_id(named, "#/account_id"),
            None if email is None else normalised_email(email, "#/email"),
            self.description,
        )


class DepositCommand(Struct, frozen=True):
    """A checked DepositCreate: one of `account_id` and `email` is set."""

    amount: int
    reference: str
    account_id: UUID | None
    email: str | None
    description: str | None


class WithdrawalCompletion(Struct, frozen=True, forbid_unknown_fields=True):
    """The payment outside that paid a withdrawal."""

    reference: Reference

    def checked(self) -> "WithdrawalCompletion":
        _check_line(self.reference, "#/reference")
        return self


class Reasoned(Struct, frozen=True, forbid_unknown_fields=True):
    """Why an operator does it."""

    reason: Reason

    def checked(self) -> "Reasoned":
        _check_line(self.reason, "#/reason")
        return self


class OperatorRefundCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A refund by an operator. Without `amount`: all that was not refunded yet."""

    amount: Amount | None = None
    description: Description | None = None

    def checked(self) -> "OperatorRefundCreate":
        check_description(self.description)
        return self


class OperatorLimitsUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits to set, and what the owner may raise them to. What is not sent stays."""

    single: Limit | UnsetType | None = UNSET
    daily: Limit | UnsetType | None = UNSET

    def checked(self) -> LimitsChange:
        single, daily = self.single, self.daily
        return LimitsChange(
            single=None if single is UNSET else single,
            daily=None if daily is UNSET else daily,
            has_single=single is not UNSET,
            has_daily=daily is not UNSET,
        )


class OperatorAccount(Struct, frozen=True):
    """An account with its owner, and the newest 20 of what happened to it."""

    id: str
    object: str
    balance: MinorUnits
    available: MinorUnits
    held: MinorUnits
    currency: str
    status: Annotated[str, Meta(examples=["active", "frozen"])]
    version: int
    limits: Limits
    created_at: Timestamp
    user: User
    entries: list[Entry]
    holds: list[OperatorHold]
    freezes: list[StatusChange]


class OperatorUserList(Struct, frozen=True):
    """One page of users."""

    object: str
    data: list[OperatorUser]
    has_more: bool
    next_cursor: str | None


class OperatorWithdrawalList(Struct, frozen=True):
    """One page of withdrawals of all users."""

    object: str
    data: list[OperatorWithdrawal]
    has_more: bool
    next_cursor: str | None


class OperatorTransactionList(Struct, frozen=True):
    """One page of transactions of all users."""

    object: str
    data: list[OperatorTransaction]
    has_more: bool
    next_cursor: str | None


class OperatorHoldList(Struct, frozen=True):
    """One page of holds of an account."""

    object: str
    data: list[OperatorHold]
    has_more: bool
    next_cursor: str | None


class StatusChangeList(Struct, frozen=True):
    """One page of the freezes of an account, and their ends."""

    object: str
    data: list[StatusChange]
    has_more: bool
    next_cursor: str | None


class ApprovalList(Struct, frozen=True):
    """One page of approvals."""

    object: str
    data: list[Approval]
    has_more: bool
    next_cursor: str | None


class AuditList(Struct, frozen=True):
    """One page of the audit log."""

    object: str
    data: list[AuditEntry]
    has_more: bool
    next_cursor: str | None


def _check_line(text: str, pointer: str) -> None:
    """As the command line has it: a reference or reason is read in lists."""
    if not text.isprintable() or not text.strip():
        raise validation_failed("Expected one line of text.", pointer=pointer)
