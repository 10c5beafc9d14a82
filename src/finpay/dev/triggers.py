"""`finpay webhooks trigger`: causes an event on a development system.

Each trigger does what causes the event in production: requests to the API (it sends a small amount,
logs out, registers), or what only an operator may do. None writes into the tables of events.
"""

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import msgspec

from finpay.client import ApiError, FinPay, Options
from finpay.dev.money_triggers import MONEY_TRIGGERS
from finpay.dev.trigger_context import (
    AMOUNT,
    CannotTrigger,
    Trigger,
    TriggerContext,
    new_key,
)
from finpay.errors import Code
from finpay.ledger import administration
from finpay.money import MAX_AMOUNT

GONE_POLL_S: Final = 0.5
GONE_POLLS: Final = 20  # a running worker needs one or two
_STATUSES: Final[tuple[administration.Status, ...]] = ("frozen", "active")


async def transaction_completed(context: TriggerContext) -> str:
    context.log_in()
    sent = context.client.send(receiver_email=context.partner, amount=AMOUNT)
    return f"{sent.id}: {sent.amount} minor units to {context.partner}"


async def transaction_failed(context: TriggerContext) -> str:
    context.log_in()
    try:
        context.client.send(receiver_email=context.partner, amount=MAX_AMOUNT)
    except ApiError as refused:
        if refused.code is not Code.INSUFFICIENT_FUNDS:
            raise
        return f"{refused.extensions['transaction_id']}: refused for lack of funds"
    raise CannotTrigger(f"{context.email} could afford that.")


async def session_revoked(context: TriggerContext) -> str:
    with FinPay(context.api) as client:  # a session of its own, so that no other ends
        client.login(context.email, context.password)
        client.logout()
    return f"{context.email} logged in and out"


async def account_updated(context: TriggerContext) -> str:
    """Two events: frozen, then active."""
    async with context.as_operator("Freezing an account") as database:
        for status in _STATUSES:
            await administration.set_status(
                database, context.email, status, "finpay webhooks trigger", new_key()
            )
    return f"the account of {context.email} was frozen and unfrozen"


async def registration(context: TriggerContext) -> str:
    """Both events belong to the new user: the first and second of its account."""
    email = f"trigger-{os.urandom(8).hex()}@example.com"
    with FinPay(context.api) as client:
        login = client.register(email, f"trigger {os.urandom(16).hex()}")
    return f"{login.user.id} registered; {login.account.id} is its account, and has the events"


async def webhook_endpoint_disabled(context: TriggerContext) -> str:
    """A local receiver answers a ping with 410 Gone. Needs a running worker."""
    context.log_in()
    with _gone() as url:
        endpoint = context.client.create_webhook_endpoint(url, ["webhook_endpoint.disabled"])
        try:
            context.client.ping_webhook_endpoint(endpoint.id)
            for _ in range(GONE_POLLS):
                await asyncio.sleep(GONE_POLL_S)
                if not context.client.webhook_endpoint(endpoint.id).enabled:
                    return f"{endpoint.id} was created, answered 410, and was deleted"
        finally:
            context.client.delete_webhook_endpoint(endpoint.id)
    raise CannotTrigger("The ping was not delivered: is `finpay worker` running?")


TRIGGERS: Final[Mapping[str, Trigger]] = {
    **MONEY_TRIGGERS,
    "account.created": registration,
    "account.updated": account_updated,
    "session.revoked": session_revoked,
    "transaction.completed": transaction_completed,
    "transaction.failed": transaction_failed,
    "user.registered": registration,
    "webhook_endpoint.disabled": webhook_endpoint_disabled,
}


@contextmanager
def _gone() -> Iterator[str]:
    """A receiver on loopback that answers 410 Gone."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Gone) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Gone(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(HTTPStatus.GONE)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
        """Without output to the terminal."""


def kept_login(file: Path, api: str, email: str) -> Options:
    """The tokens that `keep_login` stored for this user of this API; empty without them."""
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return {}
    if (kept.api, kept.email) != (api, email):
        return {}
    return {"access_token": kept.access_token, "refresh_token": kept.refresh_token}


def keep_login(file: Path, context: TriggerContext) -> None:
    """Stores the login for the next trigger, private to this user, where `finpay dev` ran."""
    client = context.client
    if client.access_token is None or client.refresh_token is None or not file.parent.is_dir():
        file.unlink(missing_ok=True)
        return
    kept = _Kept(context.api, context.email, client.access_token, client.refresh_token)
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(kept))


class _Kept(msgspec.Struct):
    api: str
    email: str
    access_token: str
    refresh_token: str
