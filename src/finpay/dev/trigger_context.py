"""What a trigger of `finpay webhooks trigger` acts on: the API, its user, and the owner's URL."""

import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from finpay.client import ApiError, FinPay
from finpay.db.pool import Database
from finpay.errors import Code

AMOUNT: Final = 100  # ZAR 1.00, of which alice can send ten thousand
PARTNERS: Final = ("bob@finpay.dev", "alice@finpay.dev")


def new_key() -> str:
    """The idempotency key of one operator's command of a trigger."""
    return f"trigger-{os.urandom(16).hex()}"


class CannotTrigger(Exception):
    """The event can't be caused here. The message says what to do instead."""


@dataclass(frozen=True, slots=True)
class TriggerContext:
    """The API, the user that acts, and the owner's URL for what only an operator may do."""

    client: FinPay
    api: str
    email: str
    password: str
    owner_url: str | None

    @property
    def partner(self) -> str:
        """The e-mail address of the other party: bob, or alice if bob acts."""
        return next(email for email in PARTNERS if email != self.email)

    def log_in(self) -> None:
        """Unless the kept login still works: ten logins in a quarter of an hour is the limit."""
        if self.client.access_token is not None:
            try:
                self.client.me()
            except ApiError as refused:
                if refused.code is not Code.UNAUTHENTICATED:
                    raise
            else:
                return
        self.client.login(self.email, self.password)

    @contextmanager
    def as_partner(self) -> Iterator[FinPay]:
        """A client of the other party, which has the same password, for the time of the block."""
        with FinPay(self.api) as client:
            client.login(self.partner, self.password)
            yield client
            client.logout()

    @asynccontextmanager
    async def as_operator(self, action: str) -> AsyncIterator[Database]:
        """The database with the owner's rights, for what users can't do."""
        if self.owner_url is None:
            raise CannotTrigger(
                f"{action} needs the owner's rights: run this in the folder of "
                "`finpay dev`, or set FINPAY_DATABASE_OWNER_URL."
            )
        database = Database(self.owner_url, size=1, role="finpay_owner")
        try:
            yield database
        finally:
            await database.close()


Trigger = Callable[[TriggerContext], Coroutine[Any, Any, str]]
