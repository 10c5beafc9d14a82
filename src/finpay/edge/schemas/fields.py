"""Types and checks that several request bodies share."""

from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from finpay import ids
from finpay.errors import FieldError, FinPayError, validation_failed
from finpay.identity import emails
from finpay.money import MAX_AMOUNT, is_currency
from finpay.unicode_text import has_bidi_control, has_control, has_default_ignorable

MAX_METADATA_PAIRS = 20
MAX_METADATA_KEY = 40
MAX_METADATA_BYTES = 4_096

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


def inside(pointer: str, error: FinPayError) -> FinPayError:
    """The same error below `pointer`."""
    field_errors = tuple(
        FieldError(each.detail, pointer=pointer + (each.pointer or "#")[1:])
        for each in error.field_errors
    )
    return FinPayError(error.code, error.detail, field_errors=field_errors)


def account_id(text: str, pointer: str = "#/receiver_id") -> UUID:
    try:
        return ids.decode("acc", text)
    except ids.MalformedId as error:
        raise validation_failed(f"Not an account id: {error}.", pointer=pointer) from None


def normalised_email(text: str, pointer: str) -> str:
    try:
        return emails.normalise(text)
    except ValueError as error:
        raise validation_failed(str(error), pointer=pointer) from None


def checked_details(
    currency: str | None, description: str | None, metadata: dict[str, str] | None
) -> dict[str, str]:
    """The metadata, once all three are checked."""
    if currency is not None:
        check_currency(currency)
    check_description(description)
    metadata = metadata or {}
    check_metadata(metadata)
    return metadata


def check_currency(code: str) -> None:
    if not is_currency(code):
        raise validation_failed(
            "Expected a currency of ISO 4217 such as ZAR.", pointer="#/currency"
        )


def check_metadata(
    metadata: dict[str, str], pointer: str = "#/metadata", max_pairs: int = MAX_METADATA_PAIRS
) -> None:
    problem: str | None = None
    if len(metadata) > max_pairs:
        problem = f"At most {max_pairs} pairs."
    elif any(len(name) > MAX_METADATA_KEY for name in metadata):
        problem = f"Keys have at most {MAX_METADATA_KEY} characters."
    elif metadata and len(msgspec.json.encode(metadata)) > MAX_METADATA_BYTES:
        problem = f"At most {MAX_METADATA_BYTES} bytes as JSON."
    if problem is not None:
        raise validation_failed(problem, pointer=pointer)


def check_description(text: str | None) -> None:
    if text is not None and has_bidi_control(text):
        raise validation_failed(
            "A description has no characters that set the direction of text.",
            pointer="#/description",
        )


def check_name(name: str | None) -> None:
    if name is not None and (has_default_ignorable(name) or has_control(name)):
        raise validation_failed(
            "A name is one line without invisible characters.", pointer="#/name"
        )
