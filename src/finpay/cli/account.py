"""`finpay account`: operator commands on one account, with the rights of finpay_owner."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finpay.cli.arguments import Account, Amount, Key, Reason, minor_units, target_of
from finpay.cli.context import (
    STYLE,
    AsJson,
    fresh_key,
    print_result,
    print_rows,
    run_as_owner,
)
from finpay.cli.presentation import for_people

if TYPE_CHECKING:
    from finpay.db.pool import Database
    from finpay.ledger.administration import Status

group = typer.Typer(
    **STYLE,
    help="Show, fund, freeze or limit an account (operators).\n\n"
    "These commands connect with FINPAY_DATABASE_OWNER_URL and are recorded in the audit log.",
)

_Limit = Annotated[
    str | None,
    typer.Option(metavar="AMOUNT|none", help="Minor units, or none for no limit."),
]


@group.command()
def fund(account: Account, amount: Amount, *, key: Key = None, as_json: AsJson = False) -> None:
    """Fund an account. A payment that has a reference of its own is a `finpay deposit`.

    The account receives AMOUNT minor units of its currency from the system account of that
    currency, which stands for money outside FinPay.
    """
    from finpay.ledger import administration
    from finpay.money import Money

    key = key or fresh_key()
    funding = run_as_owner(
        lambda db: administration.fund(db, target_of(account), amount, key), key, as_json=as_json
    )
    members = asdict(funding) | {"key": key}
    if not as_json:
        members["amount"] = Money(funding.amount, funding.currency)
        members["balance"] = Money(funding.balance, funding.currency)
    print_result(members, as_json=as_json)


@group.command()
def freeze(account: Account, *, reason: Reason, key: Key = None, as_json: AsJson = False) -> None:
    """Freeze an account: it can neither send nor receive."""
    _set_status(account, "frozen", reason, key, as_json=as_json)


@group.command()
def unfreeze(account: Account, *, reason: Reason, key: Key = None, as_json: AsJson = False) -> None:
    """Unfreeze an account: it can send and receive again."""
    _set_status(account, "active", reason, key, as_json=as_json)


def _set_status(
    account: str, status: "Status", reason: str, key: str | None, *, as_json: bool
) -> None:
    from finpay.ledger import administration

    key = key or fresh_key()
    change = run_as_owner(
        lambda db: administration.set_status(db, target_of(account), status, reason, key),
        key,
        as_json=as_json,
    )
    print_result(asdict(change) | {"key": key}, as_json=as_json)


@group.command()
def show(account: Account, *, as_json: AsJson = False) -> None:
    """Show an account: balance, what is held, limits."""
    import msgspec

    from finpay.ledger import operator_commands, resources

    found = run_as_owner(
        lambda db: operator_commands.account(db, target_of(account)), "", as_json=as_json
    )
    members = msgspec.to_builtins(resources.account(found))
    print_result(members if as_json else for_people(members), as_json=as_json)


@group.command()
def limits(
    account: Account,
    *,
    single: _Limit = None,
    daily: _Limit = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Set the limits of an account.

    Of one payment, and of all payments of a day (UTC). The owner can lower them, and raise them up
    to these.
    """
    from finpay.ledger import operator_commands

    if single is None or daily is None:
        raise typer.BadParameter(
            "give both --single and --daily, each as minor units or as the word none for no limit"
        )
    key = key or fresh_key()
    result = run_as_owner(
        lambda db: operator_commands.set_limits(
            db, target_of(account), _limit(single), _limit(daily), key=key
        ),
        key,
        as_json=as_json,
    )
    members = result.members if as_json else for_people(result.members)
    print_result({**members, "repeated": result.repeated, "key": key}, as_json=as_json)


@group.command()
def entries(
    account: Account,
    *,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the entries of an account, newest first."""
    import msgspec

    from finpay.edge.schemas import responses
    from finpay.ledger import operator_commands

    async def read(database: "Database") -> list[dict[str, Any]]:
        found = await operator_commands.account(database, target_of(account))
        rows = await operator_commands.entries(database, found.id, limit)
        return [msgspec.to_builtins(responses.entry(row, found.currency)) for row in rows]

    print_rows(run_as_owner(read, "", as_json=as_json), "No entries.", as_json=as_json)


def _limit(text: str) -> int | None:
    return None if text == "none" else minor_units(text)
