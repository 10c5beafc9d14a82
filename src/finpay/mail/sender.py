"""Sends due mails: leases them, sends each over SMTP without an open transaction, records it.

Without FINPAY_SMTP_URL development writes them to .finpay/mail, and production sends none.
"""

import hashlib
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from secrets import token_urlsafe
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib

from finpay.db import queries
from finpay.db.pool import Database, Record, Unavailable
from finpay.identity import emails
from finpay.mail import texts
from finpay.settings import Settings
from finpay.telemetry import logs

POLL_S: Final = 2.0  # a person waits for some of these mails
LEASE_S: Final = 120.0  # longer than MAX_PER_RUN mails can take
MAX_PER_RUN: Final = 5
SMTP_TIMEOUT_S: Final = 20.0
RETRY_AFTER_S: Final = (10, 60, 300, 1_800, 7_200, 28_800)  # then given up: half a day
DEV_FOLDER: Final = Path(".finpay/mail")
DEV_FROM: Final = "finpay@localhost"

Transport = Callable[[EmailMessage], Awaitable[object]]

_SQL: Final = queries.load("finpay.mail")
_LOG: Final = logs.get()


class Sender:
    """One per worker."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._from = settings.mail_from or DEV_FROM
        self._base_url = settings.public_url or f"http://127.0.0.1:{settings.port}"
        self._transport = _transport(settings)

    async def send_due(self) -> int:
        """Sends at most MAX_PER_RUN mails, and returns how many were sent."""
        rows = await self._database.fetch(_SQL.lease_due_messages, MAX_PER_RUN, LEASE_S)
        sent = 0
        for row in rows:
            sent += await self._send(row)
        return sent

    async def _send(self, row: Record) -> bool:
        try:
            mail = await self._compose(row)
            if mail is None:
                return False
            await self._transport(mail)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, other mails are sent
            await self._retry(row["id"], row["attempts"], error)
            return False
        await self._database.execute(_SQL.record_sent_message, row["id"])
        _LOG.info("mail_sent", mail_id=str(row["id"]), kind=row["kind"])
        return True

    async def _compose(self, row: Record) -> EmailMessage | None:
        """None: the mail was voided meanwhile."""
        token, kind = None, row["kind"]
        if texts.TEXTS[kind].path:
            token, ttl_s = token_urlsafe(32), texts.TEXTS[kind].token_ttl_s
            if not await self._database.fetch(_SQL.replace_token, row["id"], hash_of(token), ttl_s):
                return None
        return texts.compose(
            kind,
            message_id=str(row["id"]),
            sender=self._from,
            receiver=emails.for_delivery(row["email"]),
            base_url=self._base_url,
            token=token,
        )

    async def _retry(self, message_id: UUID, attempts: int, error: Exception) -> None:
        """A refusal for ever (5xx) is retried too: mail servers use it for full mailboxes."""
        given_up = attempts > len(RETRY_AFTER_S)
        _LOG.warning(
            "mail_failed",
            mail_id=str(message_id),
            attempts=attempts,
            given_up=given_up,
            reason=type(error).__name__,
        )
        if given_up:
            await self._database.execute(_SQL.record_failed_message, message_id)
        else:
            await self._database.execute(
                _SQL.retry_message, message_id, RETRY_AFTER_S[attempts - 1]
            )


def hash_of(token: str) -> bytes:
    """The stored hash of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def is_configured(settings: Settings) -> bool:
    """Whether mails go anywhere."""
    return settings.smtp_url is not None or not settings.production


def _transport(settings: Settings) -> Transport:
    if settings.smtp_url is None:
        return _write_to_folder
    url = urlsplit(settings.smtp_url)

    async def send(mail: EmailMessage) -> object:
        return await aiosmtplib.send(
            mail,
            hostname=url.hostname,
            port=url.port,
            username=None if url.username is None else unquote(url.username),
            password=None if url.password is None else unquote(url.password),
            use_tls=url.scheme == "smtps",
            start_tls=None,  # if the server offers it
            timeout=SMTP_TIMEOUT_S,
        )

    return send


async def _write_to_folder(mail: EmailMessage) -> None:
    """Development. The newest file is the newest mail."""
    DEV_FOLDER.mkdir(parents=True, exist_ok=True)
    name = str(mail["Message-ID"]).strip("<>").partition("@")[0]
    (DEV_FOLDER / f"{name}.eml").write_bytes(mail.as_bytes())
