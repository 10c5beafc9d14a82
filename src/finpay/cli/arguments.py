"""Arguments and options that several commands of operators share."""

import re
from typing import Annotated, Final

import typer

_DIGITS: Final = re.compile(r"[0-9]{1,19}")  # more digits than any 64-bit integer has are refused


def minor_units(text: str) -> int:
    """Not int(), which reads 1_000, +5, surrounding spaces and digits of other scripts."""
    if not _DIGITS.fullmatch(text):
        raise typer.BadParameter(
            f"{text!r} is not an amount in minor units: write digits only, 50000 for ZAR 500.00"
        )
    return int(text)


Account = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="An account id (acc_…) or its owner's e-mail.")
]
Amount = Annotated[
    int,
    typer.Argument(
        metavar="AMOUNT",
        parser=minor_units,
        help="Minor units, digits only: 50000 for ZAR 500.00.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Idempotency key. Repeating a command with the same key does it once. "
        "Default: a new key, which is printed.",
    ),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="The reason, for the audit log.")]


def target_of(account: str) -> str:
    """The account id, or the e-mail address as it is stored."""
    if "@" not in account.replace("＠", "@"):
        return account
    return stored_email(account)


def stored_email(text: str) -> str:
    """An e-mail address in the form in which it is stored."""
    from finpay.errors import validation_failed
    from finpay.identity import emails

    try:
        return emails.normalise(text.strip())
    except ValueError as error:
        raise validation_failed(str(error)) from None
