"""Roles: who operates FinPay. Granted on the command line, with the rights of finpay_owner.

finpay_app may read the roles and can't write them, so stolen credentials of the API make no
operators. A change ends the user's sessions: the role stands in the access token.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from finpay import ids
from finpay.db import queries
from finpay.db.pool import Database
from finpay.errors import Code, FinPayError
from finpay.identity.access_tokens import Role
from finpay.identity.models import RequestOrigin
from finpay.identity.sessions import revoke_all

_SQL: Final = queries.load("finpay.identity", "roles.sql")
_UNKNOWN: Final = (
    "There is no user with the e-mail address {email}. Where FINPAY_SMTP_URL is set, the user also "
    "has to have verified it."
)


@dataclass(frozen=True, slots=True)
class RoleChange:
    """A user's role now and before. `sessions` have ended."""

    user_id: UUID
    role: Role
    previous: Role
    sessions: list[UUID]

    @property
    def user(self) -> str:
        return ids.encode("usr", self.user_id)


async def set_role(database: Database, email: str, role: Role) -> RoleChange:
    """Gives a user a role. Nothing happens if the user has it already.

    `database` is the owner's. FinPayError `not_found` for an unknown e-mail address.
    """
    origin = RequestOrigin(ids.new_request_id(), None)
    async with database.transaction() as transaction:
        user = await transaction.fetch_one(_SQL.lock_user_by_email, email, role)
        if user is None:
            raise FinPayError(Code.NOT_FOUND, _UNKNOWN.format(email=email))
        user_id, previous = user["id"], user["role"]
        if previous == role:
            return RoleChange(user_id, role, previous, [])
        await transaction.execute(_SQL.set_user_role, user_id, role)
        await transaction.execute(_SQL.insert_audit_row, user_id, previous, role)
        ended = await revoke_all(transaction, user_id, "role_changed", origin, actor_id=None)
    return RoleChange(user_id, role, previous, ended)
