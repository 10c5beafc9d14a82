"""Schemas of payment requests. `checked` returns the command."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta, Struct

from finpay.edge.schemas.fields import (
    Amount,
    Currency,
    Description,
    Email,
    Metadata,
    checked_details,
    normalised_email,
)
from finpay.errors import validation_failed
from finpay.ledger.payment_requests import NewRequest, PaymentRequest

MAX_PAYERS: Final = 50

ExpiresIn = Annotated[
    int, Meta(ge=60, le=31_536_000, description="Seconds until the request expires.")
]
_THIRTY_DAYS_S: Final = 2_592_000


class PaymentRequestCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to be paid by the named payer, or, without one, by any user who has its id."""

    amount: Amount
    currency: Currency | None = None
    payer_email: Email | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    expires_in: ExpiresIn = _THIRTY_DAYS_S

    def checked(self) -> "PaymentRequestCommand":
        payer = self.payer_email
        payer = None if payer is None else normalised_email(payer, "#/payer_email")
        return _command(self, [self.amount], [payer], is_split=False)


class SplitCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """An amount that several payers share: one request for each."""

    amount: Amount
    payer_emails: Annotated[list[Email], Meta(min_length=2, max_length=MAX_PAYERS)]
    include_me: Annotated[
        bool, Meta(description="The caller has a share too, the last one; it makes no request.")
    ] = False
    currency: Currency | None = None
    description: Description | None = None
    metadata: Metadata | None = None
    expires_in: ExpiresIn = _THIRTY_DAYS_S

    def checked(self) -> "PaymentRequestCommand":
        payers = [
            normalised_email(email, f"#/payer_emails/{index}")
            for index, email in enumerate(self.payer_emails)
        ]
        for index, email in enumerate(payers):
            if email in payers[:index]:
                raise validation_failed("Name each payer once.", pointer=f"#/payer_emails/{index}")
        number = len(payers) + self.include_me
        if self.amount < number:
            raise validation_failed(
                f"The amount is less than one minor unit for each of {number} shares.",
                pointer="#/amount",
            )
        amounts = shares(self.amount, number)[: len(payers)]
        return _command(self, amounts, payers, is_split=True)


class PaymentRequestCommand(Struct, frozen=True):
    """A checked PaymentRequestCreate or SplitCreate."""

    COUNTED_AT: ClassVar[str] = "#/payer_emails"

    new: NewRequest

    @property
    def count(self) -> int:
        """Number of requests, as the transaction limit counts them."""
        return len(self.new.amounts)


class PaymentRequestList(Struct, frozen=True):
    """One page of payment requests."""

    object: Literal["list"]
    data: list[PaymentRequest]
    has_more: bool
    next_cursor: str | None


def shares(amount: int, number: int) -> list[int]:
    """Whole minor units that differ by at most one and sum to the amount, larger ones first."""
    least, larger = divmod(amount, number)
    return [least + (index < larger) for index in range(number)]


def _command(
    asked: PaymentRequestCreate | SplitCreate,
    amounts: Sequence[int],
    payers: Sequence[str | None],
    *,
    is_split: bool,
) -> PaymentRequestCommand:
    metadata = checked_details(asked.currency, asked.description, asked.metadata)
    return PaymentRequestCommand(
        NewRequest(
            amounts=amounts,
            payer_emails=payers,
            currency=asked.currency,
            description=asked.description,
            metadata=msgspec.json.encode(metadata).decode(),
            expires_in_s=asked.expires_in,
            is_split=is_split,
        )
    )
