"""Schemas of request bodies that move or reserve money.

`checked` of a body checks what types can't say, and returns the command for the handler.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from finpay.edge.schemas.fields import (
    AccountId,
    Amount,
    Currency,
    Description,
    Email,
    Metadata,
    account_id,
    check_description,
    check_metadata,
    checked_details,
    inside,
    normalised_email,
)
from finpay.errors import FinPayError, validation_failed
from finpay.money import MAX_AMOUNT

MAX_BATCH_ITEMS = 1_000  # one commit, and a response of half a megabyte
MAX_DOMAINS = 100  # of receivers, that are not ASCII: reading each costs 0.1 ms
MAX_DESTINATION_PAIRS = 10
DEFAULT_HOLD_S = 604_800  # a week

IfVersion = Annotated[
    int, Meta(ge=0, le=MAX_AMOUNT, description="Refuse unless the account has this version.")
]
IfBalance = Annotated[
    int, Meta(ge=0, le=MAX_AMOUNT, description="Refuse unless the balance is at least this.")
]


Limit = Annotated[int, Meta(ge=1, le=MAX_AMOUNT, description="Minor units; null: no limit.")]


class TransferCommand(Struct, frozen=True, gc=False):
    """A checked transfer or hold: exactly one of `receiver_id` and `receiver_email` is set.

    `expires_in_s` is None for a transfer.
    """

    receiver_id: UUID | None
    receiver_email: str | None
    amount: int
    currency: str | None
    description: str | None
    metadata: dict[str, str]
    if_version: int | None = None
    if_balance_gte: int | None = None
    expires_in_s: int | None = None

    @property
    def has_precondition(self) -> bool:
        return self.if_version is not None or self.if_balance_gte is not None

    @property
    def count(self) -> int:
        """Number of transfers, as the transaction limit counts them."""
        return 1


class TransferBatchCommand(Struct, frozen=True):
    """A checked TransferBatchCreate."""

    COUNTED_AT: ClassVar[str] = "#/transactions"

    mode: Literal["independent", "atomic"]
    items: Sequence[TransferCommand]

    @property
    def count(self) -> int:
        """Number of transfers, as the transaction limit counts them."""
        return len(self.items)


class BatchTransferCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A transfer of a batch. Name the receiver by account id or by e-mail."""

    amount: Amount
    receiver_id: AccountId | None = None
    receiver_email: Email | None = None
    currency: Currency | None = None
    description: Description | None = None
    metadata: Metadata | None = None

    def checked(self) -> TransferCommand:
        return _transfer(self)


class TransactionCreate(BatchTransferCreate, frozen=True, forbid_unknown_fields=True):
    """A transfer. Name the receiver by account id or by e-mail."""

    if_version: IfVersion | None = None
    if_balance_gte: IfBalance | None = None

    def checked(self) -> TransferCommand:
        return _transfer(self, self.if_version, self.if_balance_gte)


class HoldCreate(TransactionCreate, frozen=True, forbid_unknown_fields=True):
    """A hold. `expires_in`: seconds until what was not captured is released."""

    expires_in: Annotated[int, Meta(ge=60, le=2_592_000)] = DEFAULT_HOLD_S

    def checked(self) -> TransferCommand:
        return _transfer(self, self.if_version, self.if_balance_gte, self.expires_in)


class TransferBatchCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1 000 transfers, executed in order: each sees the balances that the one before left."""

    mode: Annotated[
        Literal["independent", "atomic"],
        Meta(
            description="independent: items fail alone. atomic: all items or none; the first "
            "item that fails is the problem."
        ),
    ]
    transactions: Annotated[
        list[BatchTransferCreate], Meta(min_length=1, max_length=MAX_BATCH_ITEMS)
    ]

    def checked(self) -> TransferBatchCommand:
        items: list[TransferCommand] = []
        domains: set[str] = set()
        for index, item in enumerate(self.transactions):
            try:
                items.append(item.checked())
                _count_domain(domains, items[-1].receiver_email)
            except FinPayError as error:
                raise inside(f"#/transactions/{index}", error) from None
        return TransferBatchCommand(self.mode, items)


class CaptureCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A capture. Without `amount`: all that is left. `final` releases the rest of the hold."""

    amount: Amount | None = None
    final: bool = True

    @property
    def count(self) -> int:
        return 1

    def checked(self) -> "CaptureCreate":
        return self


class RefundCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A refund. Without `amount`: all that was not refunded yet."""

    amount: Amount | None = None
    description: Description | None = None
    metadata: Metadata | None = None

    @property
    def count(self) -> int:
        return 1

    def checked(self) -> "RefundCreate":
        check_description(self.description)
        check_metadata(self.metadata or {})
        return self


class NoMembers(Struct, frozen=True, forbid_unknown_fields=True):
    """An empty object."""

    @property
    def count(self) -> int:
        return 1

    def checked(self) -> "NoMembers":
        return self


class WithdrawalCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """Money to be paid out to a destination outside, such as a bank account."""

    amount: Amount
    destination: Annotated[
        dict[str, str],
        Meta(description="At most 10 pairs, keys to 40 characters, 4 KiB as JSON."),
    ]
    description: Description | None = None

    @property
    def count(self) -> int:
        return 1

    def checked(self) -> "WithdrawalCreate":
        check_description(self.description)
        check_metadata(self.destination, "#/destination", MAX_DESTINATION_PAIRS)
        return self


class LimitsChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Limits to change: what is not sent stays."""

    single: Limit | UnsetType | None = UNSET
    daily: Limit | UnsetType | None = UNSET


class AccountUpdate(Struct, frozen=True, forbid_unknown_fields=True):
    """What may be changed of an account. Lower limits count at once, higher ones after a day."""

    limits: LimitsChange

    def checked(self) -> LimitsChange:
        return self.limits


def _count_domain(domains: set[str], email: str | None) -> None:
    """Adds the domain of a receiver, where it is not ASCII. 422 for more than MAX_DOMAINS."""
    if email is None or email.isascii():
        return
    domain = email.rpartition("@")[2]
    if not domain.isascii():
        domains.add(domain)
    if len(domains) > MAX_DOMAINS:
        raise validation_failed(
            f"A transfer batch has at most {MAX_DOMAINS} different domains that are not ASCII. "
            "Name receivers by receiver_id, or send another batch.",
            pointer="#/receiver_email",
        )


def _transfer(
    body: BatchTransferCreate,
    if_version: int | None = None,
    if_balance_gte: int | None = None,
    expires_in_s: int | None = None,
) -> TransferCommand:
    if (body.receiver_id is None) == (body.receiver_email is None):
        raise validation_failed("Give exactly one of receiver_id and receiver_email.")
    metadata = checked_details(body.currency, body.description, body.metadata)
    email = body.receiver_email
    return TransferCommand(
        receiver_id=None if body.receiver_id is None else account_id(body.receiver_id),
        receiver_email=None if email is None else normalised_email(email, "#/receiver_email"),
        amount=body.amount,
        currency=body.currency,
        description=body.description,
        metadata=metadata,
        if_version=if_version,
        if_balance_gte=if_balance_gte,
        expires_in_s=expires_in_s,
    )
