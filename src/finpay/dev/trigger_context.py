"""What the triggers of `finpay webhooks trigger` share: who acts, the other side, the operator."""

import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from finpay.client import ApiError, FinPay
from finpay.db.pool import Database
from finpay.dev.seed import PASSWORD
from finpay.errors import Code

AMOUNT: Final = 100  # ZAR 1.00, of which alice can send ten thousand
PARTNERS: Final = ("bob@finpay.dev", "alice@finpay.dev")


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
        """The other side: bob, or alice if bob acts."""
        return next(email for email in PARTNERS if email != self.email)

    def log_in(self) -> FinPay:
        """Unless the kept login still works: ten logins in a quarter of an hour is the limit."""
        if self.client.access_token is not None:
            try:
                self.client.me()
            except ApiError as refused:
                if refused.code is not Code.UNAUTHENTICATED:
                    raise
            else:
                return self.client
        self.client.login(self.email, self.password)
        return self.client

    @contextmanager
    def partner_client(self) -> Iterator[FinPay]:
        """A client of the partner, with the password of the seed. Each is a login."""
        with FinPay(self.api) as client:
            client.login(self.partner, PASSWORD)
            yield client

    async def as_operator(self, work: Callable[[Database, str], Awaitable[object]]) -> None:
        """Does what a command of an operator does, under a new key."""
        if self.owner_url is None:
            raise CannotTrigger(
                "An operator's command needs the owner's rights: run this in the folder of "
                "`finpay dev`, or set FINPAY_DATABASE_OWNER_URL."
            )
        database = Database(self.owner_url, size=1, role="finpay_owner")
        try:
            await work(database, f"trigger-{os.urandom(16).hex()}")
        finally:
            await database.close()


Trigger = Callable[[TriggerContext], Coroutine[Any, Any, str]]
