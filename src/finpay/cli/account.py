"""`finpay account`: operator commands on one account, with the rights of finpay_owner."""

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from finpay.cli.context import STYLE, AsJson, fresh_key, print_result, run_as_owner

if TYPE_CHECKING:
    from finpay.ledger.administration import Status

group = typer.Typer(
    **STYLE,
    help="Fund, freeze or unfreeze an account (operators).\n\n"
    "These commands connect with FINPAY_DATABASE_OWNER_URL and are recorded in the audit log.",
)

_DIGITS: Final = re.compile(r"[0-9]{1,19}")  # more digits than any 64-bit integer has are refused


def _minor_units(text: str) -> int:
    """Not int(), which reads 1_000, +5, surrounding spaces and digits of other scripts."""
    if not _DIGITS.fullmatch(text):
        raise typer.BadParameter(
            f"{text!r} is not an amount in minor units: write digits only, 50000 for ZAR 500.00"
        )
    return int(text)


_Account = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="An account id (acc_…) or its owner's e-mail.")
]
_Amount = Annotated[
    int,
    typer.Argument(
        metavar="AMOUNT",
        parser=_minor_units,
        help="Minor units, digits only: 50000 for ZAR 500.00.",
    ),
]
_Key = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Idempotency key. Repeating a command with the same key does it once. "
        "Default: a new key, which is printed.",
    ),
]
_Reason = Annotated[str, typer.Option(metavar="TEXT", help="The reason, for the audit log.")]


@group.command()
def fund(account: _Account, amount: _Amount, *, key: _Key = None, as_json: AsJson = False) -> None:
    """Deposit money into an account.

    The account receives AMOUNT minor units of its currency from the system account of that
    currency, which stands for money outside FinPay.
    """
    from finpay.ledger import administration
    from finpay.money import Money

    key = key or fresh_key()
    funding = run_as_owner(
        lambda db: administration.fund(db, _target(account), amount, key), key, as_json=as_json
    )
    members = asdict(funding) | {"key": key}
    if not as_json:
        members["amount"] = Money(funding.amount, funding.currency)
        members["balance"] = Money(funding.balance, funding.currency)
    print_result(members, as_json=as_json)


@group.command()
def freeze(
    account: _Account, *, reason: _Reason, key: _Key = None, as_json: AsJson = False
) -> None:
    """Freeze an account: it can neither send nor receive."""
    _set_status(account, "frozen", reason, key, as_json=as_json)


@group.command()
def unfreeze(
    account: _Account, *, reason: _Reason, key: _Key = None, as_json: AsJson = False
) -> None:
    """Unfreeze an account: it can send and receive again."""
    _set_status(account, "active", reason, key, as_json=as_json)


def _set_status(
    account: str, status: "Status", reason: str, key: str | None, *, as_json: bool
) -> None:
    from finpay.ledger import administration

    key = key or fresh_key()
    change = run_as_owner(
        lambda db: administration.set_status(db, _target(account), status, reason, key),
        key,
        as_json=as_json,
    )
    print_result(asdict(change) | {"key": key}, as_json=as_json)


def _target(account: str) -> str:
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
