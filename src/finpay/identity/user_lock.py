"""The lock of a user's row, which every change of a login, a key or a factor takes first.

Of two requests that change the same at once, the second sees what the first one did; what waits
while the user leaves finds that they have left.
"""

from typing import Final
from uuid import UUID

from finpay.db import queries
from finpay.db.pool import Executor, Record
from finpay.errors import Code, FinPayError
from finpay.identity.errors import unauthenticated

_SQL: Final = queries.load("finpay.identity")


async def lock(transaction: Executor, user_id: UUID) -> Record | None:
    """The row, until the commit. None: there is no such user, or they have left."""
    return await transaction.fetch_one(_SQL.lock_user, user_id)


async def require(transaction: Executor, user_id: UUID) -> Record:
    """The row, until the commit. FinPayError `unauthenticated` for a user who has left."""
    user = await lock(transaction, user_id)
    if user is None:
        raise unauthenticated("The account was closed.")
    return user


async def require_operator(transaction: Executor, operator_id: UUID) -> None:
    """FinPayError `forbidden` for who is none any more, whatever the access token says."""
    if await transaction.fetch_one(_SQL.get_operator, operator_id) is None:
        raise FinPayError(Code.FORBIDDEN, "This needs the role operator.")
