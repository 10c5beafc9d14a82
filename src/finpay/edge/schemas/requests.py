"""Schemas of request bodies. `checked` does what types can't say and returns the command."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Struct

from finpay import ids
from finpay.errors import FieldError, FinPayError, validation_failed
from finpay.identity import emails, passwords
from finpay.money import MAX_AMOUNT, is_currency
from finpay.unicode_text import has_bidi_control, has_default_ignorable

MAX_METADATA_PAIRS = 20
MAX_METADATA_KEY = 40
MAX_METADATA_BYTES = 4_096
MAX_BATCH_ITEMS = 1_000  # one commit, and a response of half a megabyte

Email = Annotated[
    str,
    Meta(
        max_length=320,
        description="At most 254 characters once normalised (NFKC, lower case).",
        examples=["alice@finpay.dev"],
    ),
]
NewPassword = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=128,
        description="8 to 128 characters, and not a very common one.",
        examples=["correct horse battery"],
    ),
]
# Not min_length 8: a short guess is a wrong password, not a malformed request.
Password = Annotated[str, Meta(min_length=1, max_length=128, examples=["password123"])]
Currency = Annotated[
    str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217, upper case.", examples=["ZAR"])
]
Amount = Annotated[
    int,
    Meta(ge=1, le=MAX_AMOUNT, description="Minor units: 2500 is ZAR 25.00.", examples=[2500]),
]

AccountId = Annotated[str, Meta(max_length=64, examples=["acc_01h455vb4pex5vsknk084sn02q"])]
Description = Annotated[str, Meta(max_length=500)]
Metadata = Annotated[
    dict[str, str], Meta(description="At most 20 pairs, keys to 40 characters, 4 KiB as JSON.")
]


class Register(Struct, frozen=True, forbid_unknown_fields=True):
    """A new user with an account in one currency."""

    email: Email
    password: NewPassword
    name: Annotated[str, Meta(max_length=100)] | None = None
    currency: Currency = "ZAR"

    def checked(self) -> "Register":
        check_currency(self.currency)
        email = normalised_email(self.email, "#/email")
        check_name(self.name)
        weakness = passwords.weakness(self.password, email=email, name=self.name)
        if weakness is not None:
            raise validation_failed(weakness, pointer="#/password")
        return msgspec.structs.replace(self, email=email)


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """An e-mail and its password."""

    email: Email
    password: Password

    def checked(self) -> "Login":
        return msgspec.structs.replace(self, email=normalised_email(self.email, "#/email"))


class Refresh(Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token of the newest token pair."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=512)]

    def checked(self) -> "Refresh":
        return self


class PasswordChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Current and new password."""

    current_password: Password
    new_password: NewPassword

    def checked(self) -> "PasswordChange":
        return self  # whether the new one is too weak depends on the user


class PasswordForgotten(Struct, frozen=True, forbid_unknown_fields=True):
    """The e-mail address of the user who forgot the password."""

    email: Email

    def checked(self) -> "PasswordForgotten":
        return msgspec.structs.replace(self, email=normalised_email(self.email, "#/email"))


class PasswordReset(Struct, frozen=True, forbid_unknown_fields=True):
    """The token behind # in the link of the mail, and the new password."""

    token: Annotated[str, Meta(min_length=1, max_length=512)]
    new_password: NewPassword

    def checked(self) -> "PasswordReset":
        return self  # whether the password is too weak depends on the user


class TransferCommand(Struct, frozen=True, gc=False):
    """A checked TransactionCreate: exactly one of `receiver_id` and `receiver_email` is set."""

    receiver_id: UUID | None
    receiver_email: str | None
    amount: int
    currency: str | None
    description: str | None
    metadata: dict[str, str]

    @property
    def count(self) -> int:
        """Number of transfers, as the transaction limit counts them."""
        return 1


class TransferBatchCommand(Struct, frozen=True):
    """A checked TransferBatchCreate."""

    mode: Literal["independent", "atomic"]
    items: Sequence[TransferCommand]

    @property
    def count(self) -> int:
        """Number of transfers, as the transaction limit counts them."""
        return len(self.items)


class TransactionCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """A transfer. Name the receiver by account id or by e-mail."""

    amount: Amount
    receiver_id: AccountId | None = None
    receiver_email: Email | None = None
    currency: Currency | None = None
    description: Description | None = None
    metadata: Metadata | None = None

    def checked(self) -> TransferCommand:
        if (self.receiver_id is None) == (self.receiver_email is None):
            raise validation_failed("Give exactly one of receiver_id and receiver_email.")
        if self.currency is not None:
            check_currency(self.currency)
        check_description(self.description)
        metadata = self.metadata or {}
        check_metadata(metadata)
        return TransferCommand(
            receiver_id=None if self.receiver_id is None else account_id(self.receiver_id),
            receiver_email=(
                None
                if self.receiver_email is None
                else normalised_email(self.receiver_email, "#/receiver_email")
            ),
            amount=self.amount,
            currency=self.currency,
            description=self.description,
            metadata=metadata,
        )


class TransferBatchCreate(Struct, frozen=True, forbid_unknown_fields=True):
    """Up to 1 000 transfers, executed in order: each sees the balances that the one before left."""

    mode: Annotated[
        Literal["independent", "atomic"],
        Meta(
            description="independent: items fail alone. atomic: all items or none; the first "
            "item that fails is the problem."
        ),
    ]
    transactions: Annotated[list[TransactionCreate], Meta(min_length=1, max_length=MAX_BATCH_ITEMS)]

    def checked(self) -> TransferBatchCommand:
        items: list[TransferCommand] = []
        for index, item in enumerate(self.transactions):
            try:
                items.append(item.checked())
            except FinPayError as error:
                raise _inside(f"#/transactions/{index}", error) from None
        return TransferBatchCommand(self.mode, items)


def _inside(pointer: str, error: FinPayError) -> FinPayError:
    """The same error below `pointer`."""
    field_errors = tuple(
        FieldError(each.detail, pointer=pointer + (each.pointer or "#")[1:])
        for each in error.field_errors
    )
    return FinPayError(error.code, error.detail, field_errors=field_errors)


def account_id(text: str) -> UUID:
    try:
        return ids.decode("acc", text)
    except ids.MalformedId as error:
        raise validation_failed(f"Not an account id: {error}.", pointer="#/receiver_id") from None


def normalised_email(text: str, pointer: str) -> str:
    try:
        return emails.normalise(text)
    except ValueError as error:
        raise validation_failed(str(error), pointer=pointer) from None


def check_name(name: str | None) -> None:
    if name is not None and has_default_ignorable(name):
        raise validation_failed("A name has no invisible characters.", pointer="#/name")


def check_description(description: str | None) -> None:
    if description is not None and has_bidi_control(description):
        raise validation_failed(
            "A description has no characters that set the direction of text.",
            pointer="#/description",
        )


def check_currency(code: str) -> None:
    if not is_currency(code):
        raise validation_failed(
            "Expected a currency of ISO 4217 such as ZAR.", pointer="#/currency"
        )


def check_metadata(metadata: dict[str, str]) -> None:
    problem: str | None = None
    if len(metadata) > MAX_METADATA_PAIRS:
        problem = f"At most {MAX_METADATA_PAIRS} pairs."
    elif any(len(name) > MAX_METADATA_KEY for name in metadata):
        problem = f"Keys have at most {MAX_METADATA_KEY} characters."
    elif metadata and len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        problem = f"At most {MAX_METADATA_BYTES} bytes as JSON."
    if problem is not None:
        raise validation_failed(problem, pointer="#/metadata")
