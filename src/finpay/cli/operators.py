"""`finpay operator`: who may operate FinPay, with the rights of finpay_owner."""

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

import typer

from finpay.cli.context import STYLE, AsJson, print_result, run_as_owner, settings, warn

if TYPE_CHECKING:
    from finpay.db.pool import Database
    from finpay.identity.access_tokens import Role
    from finpay.identity.roles import RoleChange

group = typer.Typer(
    **STYLE,
    help="Grant or revoke the role of an operator or auditor.\n\n"
    "These commands connect with FINPAY_DATABASE_OWNER_URL and are recorded in the audit log.",
)

_Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The user's e-mail address.")]
_Role = Annotated[
    str, typer.Option("--role", metavar="operator|auditor", help="An auditor only reads.")
]


@group.command()
def grant(email: _Email, *, role: _Role = "operator", as_json: AsJson = False) -> None:
    """Give a user a role, instead of the one that they have. Their sessions end."""
    if role not in {"operator", "auditor"}:
        raise typer.BadParameter(f"{role!r} is not a role; use operator or auditor")
    _set_role(email, "auditor" if role == "auditor" else "operator", as_json=as_json)


@group.command()
def revoke(email: _Email, *, as_json: AsJson = False) -> None:
    """Make an operator or auditor an ordinary user. Their sessions end."""
    _set_role(email, "user", as_json=as_json)


def _set_role(email: str, role: "Role", *, as_json: bool) -> None:
    from finpay.cli.arguments import stored_email

    address = stored_email(email)
    change = run_as_owner(lambda db: _change(db, address, role), "", as_json=as_json)
    print_result(
        {
            "user_id": change.user,
            "role": change.role,
            "previous": change.previous,
            "ended_sessions": len(change.sessions),
            "repeated": False,
        },
        as_json=as_json,
    )


async def _change(database: "Database", email: str, role: "Role") -> "RoleChange":
    """The commit, then the tombstones in Redis: until then a process may know old sessions."""
    from finpay import ids
    from finpay.gate.gate import Gate
    from finpay.identity import roles

    change = await roles.set_role(database, email, role)
    if change.sessions:
        gate = Gate(settings(), _never)
        with redirect_stdout(sys.stderr):  # where the gate logs; the result may be JSON
            await gate.start()
            await gate.end_sessions(
                change.user, [ids.encode("ses", each) for each in change.sessions]
            )
        if gate.redis_down:
            warn("Redis can't be reached: the user's sessions end within 60 seconds.")
        await gate.close()
    return change


async def _never(*_: object) -> bool:
    """Confirms no session: this gate only ends sessions."""
    return False
