"""What tests of mails share: a mailbox behind an SMTP server, and the way to a new password."""

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any, Final

from finpay import settings
from finpay.db.pool import Database
from finpay.identity.password_reset import Ended
from finpay.mail.sender import Sender
from tests.sql.identity_fixtures import People, fresh_origin

PUBLIC_URL: Final = "https://pay.example"
NEW_PASSWORD: Final = "a better horse battery"


class Mailbox:
    """Keeps what arrives, and answers `answer` to it."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.receivers: list[str] = []
        self.answer = "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.mails.append(parsed(envelope.content))
            self.receivers += envelope.rcpt_tos
        return self.answer

    def text(self, number: int = -1) -> str:
        body = self.mails[number].get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    def token(self, number: int = -1) -> str:
        found = re.search(rf"{PUBLIC_URL}/reset-password#token=([\w-]+)", self.text(number))
        assert found is not None, self.text(number)
        return found[1]


def parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=default)


def sender_of(database: Database, **more: str) -> Sender:
    environment = {
        "FINPAY_MAIL_FROM": "FinPay <no-reply@pay.example>",
        "FINPAY_PUBLIC_URL": PUBLIC_URL,
    }
    return Sender(database, settings.read(environment | more))


async def forget(people: People, email: str) -> None:
    await people.identity.password_reset.request(email, fresh_origin())


async def redeem(people: People, token: str, password: str = NEW_PASSWORD) -> Ended:
    return await people.identity.password_reset.redeem(token, password, fresh_origin(), _nothing)


async def _nothing(*_: object) -> None:
    """Ends no access: these users have set up none."""
