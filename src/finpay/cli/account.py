"""`finpay account`: what an operator does to an account, with the owner's rights."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from finpay.cli.context import STYLE, AsJson, answer, fresh_key, operate

if TYPE_CHECKING:
    from finpay.ledger.administration import Status

group = typer.Typer(
    **STYLE, help="Operate an account: put money in, freeze it. Needs FINPAY_DATABASE_OWNER_URL."
)

_Target = Annotated[str, typer.Argument(metavar="ACCOUNT", help="acc_… or the owner's e-mail.")]
_Key = Annotated[
    str | None,
    typer.Option(
        help="Idempotency key: the same command with the same key is done once. "
        "Without it a fresh one is made and shown."
    ),
]
_Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]


@group.command()
def fund(
    target: _Target,
    amount: Annotated[int, typer.Argument(help="In minor units: 50000 is ZAR 500.00.")],
    *,
    key: _Key = None,
    as_json: AsJson = False,
) -> None:
    """Move money from the outside world into an account."""
    from finpay.ledger import administration
    from finpay.money import Money

    key = key or fresh_key()
    funding = operate(lambda db: administration.fund(db, target, amount, key), key, as_json=as_json)
    members = asdict(funding) | {"key": key}
    if not as_json:
        members["amount"] = Money(funding.amount, funding.currency)
        members["balance"] = Money(funding.balance, funding.currency)
    answer(members, as_json=as_json)


@group.command()
def freeze(target: _Target, *, reason: _Reason, key: _Key = None, as_json: AsJson = False) -> None:
    """Stop an account: it neither sends nor receives until it is unfrozen."""
    _set_status(target, "frozen", reason, key, as_json=as_json)


@group.command()
def unfreeze(
    target: _Target, *, reason: _Reason, key: _Key = None, as_json: AsJson = False
) -> None:
    """Let a frozen account send and receive again."""
    _set_status(target, "active", reason, key, as_json=as_json)


def _set_status(
    target: str, status: "Status", reason: str, key: str | None, *, as_json: bool
) -> None:
    from finpay.ledger import administration

    key = key or fresh_key()
    change = operate(
        lambda db: administration.set_status(db, target, status, reason, key), key, as_json=as_json
    )
    answer(asdict(change) | {"key": key}, as_json=as_json)
