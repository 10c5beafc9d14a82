"""`finpay webhooks trigger`: makes an event happen, really, on a development system.

Each trigger does what a person would do: sends a small amount, logs out, registers. Nothing is
written into the tables of events.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec

from finpay.client import ApiError, FinPay, Options
from finpay.db.pool import Database
from finpay.errors import Code
from finpay.ledger import administration
from finpay.money import MAX_AMOUNT

GONE_POLL_S: Final = 0.5
GONE_POLLS: Final = 20  # a worker that runs needs one or two
AMOUNT: Final = 100  # ZAR 1.00: alice can be asked ten thousand times
PARTNERS: Final = ("bob@finpay.dev", "alice@finpay.dev")


_THERE_AND_BACK: Final[tuple[administration.Status, ...]] = ("frozen", "active")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where it happens: the API, who acts, and the owner's rights where an operator has to act."""

    client: FinPay
    api: str
    email: str
    password: str
    owner_url: str | None

    def log_in(self) -> None:
        """Unless a login that was kept still works: ten in a quarter of an hour is the limit."""
        if self.client.access_token is not None:
            try:
                self.client.me()
            except ApiError as refused:
                if refused.code is not Code.UNAUTHENTICATED:
                    raise
            else:
                return
        self.client.login(self.email, self.password)


class CannotTrigger(Exception):
    """The event can't be caused here. The message says what to do instead."""


Trigger = Callable[[Stage], Coroutine[Any, Any, str]]


async def transaction_completed(stage: Stage) -> str:
    stage.log_in()
    sent = stage.client.send(receiver_email=_partner(stage), amount=AMOUNT)
    return f"{sent.id}: {sent.amount} minor units to {_partner(stage)}"


async def transaction_failed(stage: Stage) -> str:
    stage.log_in()
    try:
        stage.client.send(receiver_email=_partner(stage), amount=MAX_AMOUNT)
    except ApiError as refused:
        if refused.code is not Code.INSUFFICIENT_FUNDS:
            raise
        return f"{refused.extensions['transaction_id']}: refused for lack of funds"
    raise CannotTrigger(f"{stage.email} could afford that.")


async def session_revoked(stage: Stage) -> str:
    with FinPay(stage.api) as client:  # a session of its own: the others may be in use
        client.login(stage.email, stage.password)
        client.logout()
    return f"{stage.email} logged in and out"


async def account_updated(stage: Stage) -> str:
    """Two events: frozen, and active again."""
    if stage.owner_url is None:
        raise CannotTrigger(
            "Freezing an account needs the owner's rights: run this beside `finpay dev`, or set "
            "FINPAY_DATABASE_OWNER_URL."
        )
    database = Database(stage.owner_url, size=1, role="finpay_owner")
    try:
        for status in _THERE_AND_BACK:
            key = f"trigger-{os.urandom(16).hex()}"
            await administration.set_status(
                database, stage.email, status, "finpay webhooks trigger", key
            )
    finally:
        await database.close()
    return f"the account of {stage.email} was frozen and unfrozen"


async def registration(stage: Stage) -> str:
    """The events are the new user's own, first and second of that account."""
    email = f"trigger-{os.urandom(8).hex()}@example.com"
    with FinPay(stage.api) as client:
        login = client.register(email, f"trigger {os.urandom(16).hex()}")
    return f"{login.user.id} registered; {login.account.id} is its account, and has the events"


async def webhook_endpoint_disabled(stage: Stage) -> str:
    """By a receiver of our own, which answers 410 Gone to a ping. It takes a worker to notice."""
    stage.log_in()
    with _gone() as url:
        endpoint = stage.client.create_webhook_endpoint(url, ["webhook_endpoint.disabled"])
        try:
            stage.client.ping_webhook_endpoint(endpoint.id)
            for _ in range(GONE_POLLS):
                await asyncio.sleep(GONE_POLL_S)
                if not stage.client.webhook_endpoint(endpoint.id).enabled:
                    return f"{endpoint.id} was made, answered 410, and is deleted again"
        finally:
            stage.client.delete_webhook_endpoint(endpoint.id)
    raise CannotTrigger("Nobody delivered a ping: is `finpay worker` running?")


TRIGGERS: Final[Mapping[str, Trigger]] = {
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
    """A receiver on this machine that wants nothing any more."""
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
        """Not into the terminal."""


def kept_login(file: Path, api: str, email: str) -> Options:
    """The tokens that `keep_login` left for this user of this API; empty without."""
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return {}
    if (kept.api, kept.email) != (api, email):
        return {}
    return {"access_token": kept.access_token, "refresh_token": kept.refresh_token}


def keep_login(file: Path, stage: Stage) -> None:
    """For the next trigger, where there is a folder of a development system; readable by us."""
    client = stage.client
    if client.access_token is None or client.refresh_token is None or not file.parent.is_dir():
        file.unlink(missing_ok=True)
        return
    kept = _Kept(stage.api, stage.email, client.access_token, client.refresh_token)
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode(kept))


class _Kept(msgspec.Struct):
    api: str
    email: str
    access_token: str
    refresh_token: str


def _partner(stage: Stage) -> str:
    """Who gets the money: bob, or alice if bob sends."""
    return next(email for email in PARTNERS if email != stage.email)
