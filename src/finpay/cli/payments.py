"""`finpay deposit`, `withdrawal`, `hold` and `transaction`: commands of operators about money."""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from finpay.cli.arguments import Account, Amount, Key, minor_units, target_of
from finpay.cli.context import STYLE, AsJson, fresh_key, print_result, print_rows, run_as_owner
from finpay.cli.presentation import for_people

if TYPE_CHECKING:
    from finpay.db.pool import Database
    from finpay.ledger.operator_commands import CommandResult

_NOTE = (
    "These commands connect with FINPAY_DATABASE_OWNER_URL and are recorded in the audit log. "
    "They need no second operator."
)
withdrawals = typer.Typer(**STYLE, help=f"List, complete or reject withdrawals.\n\n{_NOTE}")
holds = typer.Typer(**STYLE, help=f"Void a hold.\n\n{_NOTE}")
transactions = typer.Typer(**STYLE, help=f"Refund a transaction.\n\n{_NOTE}")

_STATUSES: Final = ("pending", "completed", "rejected", "canceled", "all")
_Reference = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="Reference of the payment outside FinPay, such as the bank's. Each is used once.",
    ),
]
_Description = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="A text that the account's owner reads in the history."),
]
_PartAmount = Annotated[
    str | None,
    typer.Option("--amount", metavar="AMOUNT", help="Minor units. Default: all that is left."),
]


def deposit(
    account: Account,
    amount: Amount,
    *,
    reference: _Reference,
    description: _Description = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Deposit money that has arrived outside FinPay."""
    from finpay.ledger import operator_commands

    key = key or fresh_key()
    _run(
        lambda db: operator_commands.deposit(
            db, target_of(account), amount, reference, description=description, key=key
        ),
        key,
        as_json=as_json,
    )


@withdrawals.command("list")
def list_(
    *,
    status: Annotated[
        str, typer.Option(help=f"{', '.join(_STATUSES[:-1])}, or {_STATUSES[-1]}.")
    ] = "pending",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List withdrawals with their destinations, newest first."""
    import msgspec

    from finpay.ledger import operator_commands, resources

    if status not in _STATUSES:
        raise typer.BadParameter(f"{status!r} is not one of {', '.join(_STATUSES)}")
    found = run_as_owner(
        lambda db: operator_commands.list_withdrawals(
            db, status=None if status == "all" else status, before=None, limit=limit
        ),
        "",
        as_json=as_json,
    )
    rows = [msgspec.to_builtins(resources.withdrawal(row)) for row in found]
    which = "" if status == "all" else f" {status}"
    print_rows(rows, f"There are no{which} withdrawals.", as_json=as_json)


@withdrawals.command()
def complete(
    withdrawal: Annotated[str, typer.Argument(metavar="WITHDRAWAL", help="wdr_…")],
    *,
    reference: _Reference,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Record that a withdrawal was paid out."""
    from finpay.ledger import operator_commands

    key = key or fresh_key()
    _run(
        lambda db: operator_commands.complete_withdrawal(db, withdrawal, reference, key=key),
        key,
        as_json=as_json,
    )


@withdrawals.command()
def reject(
    withdrawal: Annotated[str, typer.Argument(metavar="WITHDRAWAL", help="wdr_…")],
    *,
    reason: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Why it is rejected. The account's owner reads this."),
    ],
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Reject a withdrawal and release its money."""
    from finpay.ledger import operator_commands

    key = key or fresh_key()
    _run(
        lambda db: operator_commands.reject_withdrawal(db, withdrawal, reason, key=key),
        key,
        as_json=as_json,
    )


@holds.command()
def void(
    hold: Annotated[str, typer.Argument(metavar="HOLD", help="hld_…")],
    *,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Release what is left of a hold."""
    from finpay.ledger import operator_commands

    key = key or fresh_key()
    _run(lambda db: operator_commands.void_hold(db, hold, key=key), key, as_json=as_json)


@transactions.command()
def refund(
    transaction: Annotated[str, typer.Argument(metavar="TRANSACTION", help="txn_…")],
    *,
    amount: _PartAmount = None,
    description: _Description = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Give a transfer back, recall a deposit, or return a withdrawal."""
    from finpay.ledger import operator_commands

    key = key or fresh_key()
    part = None if amount is None else minor_units(amount)
    _run(
        lambda db: operator_commands.refund(
            db, transaction, part, description=description, key=key
        ),
        key,
        as_json=as_json,
    )


def _run(
    command: Callable[["Database"], Coroutine[Any, Any, "CommandResult"]],
    key: str,
    *,
    as_json: bool,
) -> None:
    result = run_as_owner(command, key, as_json=as_json)
    members = result.members if as_json else for_people(result.members)
    print_result({**members, "repeated": result.repeated, "key": key}, as_json=as_json)
