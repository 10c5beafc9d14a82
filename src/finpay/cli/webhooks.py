"""`finpay webhooks`: for developers of webhook receivers."""

import json
import os
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from finpay.cli.context import STYLE, AsJson, dev_environment, refuse, run, settings, warn

if TYPE_CHECKING:
    from finpay.client.webhooks import Event
    from finpay.dev.event_forwarder import Forwarded, Source

group = typer.Typer(**STYLE, help="Develop a webhook receiver: watch events, trigger events.")

_URL: Final = Path(".finpay/url")  # of a running `finpay dev`
_SESSION: Final = Path(".finpay/session")  # the login of `trigger`
_MAX_SHOWN_CHARACTERS: Final = 100  # of a receiver's response: the rest of a line

_Api = Annotated[
    str | None,
    typer.Option(
        "--api",
        metavar="URL",
        help="URL of the API. Default: this machine at PORT, or else `finpay dev` here.",
    ),
]
_Email = Annotated[
    str,
    typer.Option(
        metavar="TEXT", help="E-mail address of the user whose events are listened to or triggered."
    ),
]
_Password = Annotated[str, typer.Option(metavar="TEXT", help="Password of that user.")]


@dataclass(frozen=True, slots=True)
class _User:
    """The user whose events are read, and the API to read them from."""

    api: str | None
    token: str | None
    email: str
    password: str


@group.command()
def listen(
    *,
    forward: Annotated[
        str | None, typer.Option(metavar="URL", help="POST each event to this URL, signed.")
    ] = None,
    types: Annotated[
        str,
        typer.Option(metavar="TYPES", help="Event type, or a group of them: transaction.*"),
    ] = "*",
    secret: Annotated[
        str | None,
        typer.Option(metavar="SECRET", help="Sign with this whsec_…. Default: a new secret."),
    ] = None,
    after_sequence: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help="Start after the event with this sequence. Default: only new events.",
        ),
    ] = None,
    api: _Api = None,
    token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="Access token, instead of e-mail and password."),
    ] = None,
    email: _Email = "alice@finpay.dev",
    password: _Password = "password123",  # noqa: S107  of the seed user
    as_json: AsJson = False,
) -> None:
    """Print events and forward them, signed, to a receiver.

    In the folder of a running `finpay dev`, or with DATABASE_URL set, events are read from the
    database as soon as they are committed. With --api or --token GET /events is polled, as often as
    the rate limit allows.

    If FinPay or the receiver can't be reached, the command goes on as soon as it can. Events that
    the receiver missed are not redelivered. Ctrl-C stops it.
    """
    from finpay.errors import FinPayError

    chosen = _checked_secret(secret)
    _check_types(types)
    _print_header(forward, chosen, as_json=as_json)
    user = _User(api, token, email, password)
    work = _listen(user, types, forward, chosen, after_sequence, as_json=as_json)
    try:
        run(_until_stopped(work))
    except FinPayError as error:
        refuse(error, as_json=as_json)


@group.command()
def trigger(
    event_type: Annotated[
        str,
        typer.Argument(
            metavar="TYPE",
            help="Event type, such as account.updated. A wrong one prints those that can be "
            "triggered.",
        ),
    ],
    *,
    api: _Api = None,
    email: _Email = "alice@finpay.dev",
    password: _Password = "password123",  # noqa: S107  of the seed user
) -> None:
    """Trigger an event on a development system.

    The event is real: transaction.completed, for example, sends ZAR 1.00 from alice to bob.

    Exit code 1: the API refused. 2: the type can't be triggered, or FINPAY_ENV is production.
    """
    from finpay.client import ConnectionFailed, FinPay, UnexpectedResponse
    from finpay.dev.child_process import DevError
    from finpay.dev.trigger_context import CannotTrigger, TriggerContext
    from finpay.dev.triggers import TRIGGERS, keep_login, kept_login
    from finpay.errors import Code, FinPayError

    read = _development()
    if event_type not in TRIGGERS:
        raise DevError(f"{event_type} can't be triggered; these can: {', '.join(sorted(TRIGGERS))}")
    url = api or _local_api()
    try:
        with FinPay(url, **kept_login(_SESSION, url, email)) as client:
            context = TriggerContext(
                client, url, email, password, read.get("FINPAY_DATABASE_OWNER_URL")
            )
            print(f"{event_type}  {run(TRIGGERS[event_type](context))}")
            keep_login(_SESSION, context)
    except (CannotTrigger, ConnectionFailed, UnexpectedResponse) as error:
        raise DevError(str(error)) from None
    except FinPayError as error:
        if error.code is Code.RATE_LIMITED:
            warn(
                "Development has the rate limits of production. To raise one, start it with: "
                "FINPAY_RATE_LIMIT_AUTH=1000/900 make dev"
            )
        refuse(error, as_json=False)


def _checked_secret(secret: str | None) -> str:
    from finpay import signing

    if secret is None:
        return signing.new_secret()
    try:
        signing.sign([secret], "", 0, b"")
    except signing.InvalidSecret as error:
        raise typer.BadParameter(str(error), param_hint="--secret") from None
    return secret


def _check_types(types: str) -> None:
    from finpay.outbox import event_types

    try:
        event_types.matching(types)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--types") from None


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Ctrl-C and SIGTERM end it without an error, in the background of a shell script too."""
    import asyncio
    import signal

    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


async def _listen(
    user: _User,
    types: str,
    forward: str | None,
    secret: str,
    after_sequence: int | None,
    *,
    as_json: bool,
) -> None:
    from finpay.dev.event_forwarder import Receiver, listen

    receiver = None if forward is None else Receiver(forward, secret)
    try:
        async with _source(user, types) as source:
            await listen(
                source,
                receiver,
                after=after_sequence,
                on_event=_print_event_json if as_json else _print_event,
                warn=warn,
            )
    finally:
        if receiver is not None:
            await receiver.close()


@asynccontextmanager
async def _source(user: _User, types: str) -> AsyncIterator["Source"]:
    """The database of the development system, or the API."""
    from finpay.client import AsyncFinPay
    from finpay.dev.event_forwarder import ApiSource, DatabaseSource
    from finpay.outbox import event_types

    kinds = event_types.matching(types)
    if _database_url() is not None and user.api is None and user.token is None:
        database = DatabaseSource(_database_url, user.email, None if types == "*" else kinds)
        try:
            yield database
        finally:
            await database.close()
        return
    login = None if user.token else (user.email, user.password)
    async with AsyncFinPay(user.api or _local_api(), access_token=user.token) as client:
        yield ApiSource(client, login, types)


def _servers() -> dict[str, str]:
    """The URLs of the environment; without DATABASE_URL those of a running `finpay dev`."""
    dev = {} if os.environ.get("DATABASE_URL") else dev_environment()  # both from one source
    names = ("DATABASE_URL", "FINPAY_DATABASE_OWNER_URL")
    return dev | {name: os.environ[name] for name in names if os.environ.get(name)}


def _database_url() -> str | None:
    return _servers().get("DATABASE_URL")


def _development() -> dict[str, str]:
    """The URLs of a development system. DevError in production."""
    from finpay.dev.child_process import DevError

    if settings().production:
        raise DevError("finpay webhooks trigger moves money, so FINPAY_ENV=production refuses it")
    return _servers()


def _local_api() -> str:
    """That of the `finpay dev` in this folder, unless PORT names another one."""
    if _URL.exists() and not os.environ.get("PORT"):
        return _URL.read_text("utf-8").strip()
    return f"http://127.0.0.1:{settings().port}"


def _print_header(forward: str | None, secret: str, *, as_json: bool) -> None:
    """On stderr with --json, so that stdout has events only."""
    lines = ["Waiting for events. Ctrl-C stops."]
    if forward is not None:
        lines = [f"Secret   {secret}", f"Forward  {forward}", *lines]
    print("\n".join(lines), file=sys.stderr if as_json else sys.stdout, flush=True)


def _print_event(event: "Event", forwarded: "Forwarded | None") -> None:
    clock = time.strftime("%H:%M:%S")
    line = f"{clock}  {event.sequence:>6}  {event.type:<26}{event.id}"
    if forwarded is not None:
        outcome = forwarded.status or f"no response ({forwarded.error})"
        # Escaped, so that a receiver can't send control sequences to the terminal.
        body = forwarded.answer[:_MAX_SHOWN_CHARACTERS].encode("unicode_escape").decode()
        line += f"  → {outcome} in {forwarded.duration_ms} ms  {body}".rstrip()
    print(line, flush=True)


def _print_event_json(event: "Event", forwarded: "Forwarded | None") -> None:
    from dataclasses import asdict

    outcome = None if forwarded is None else asdict(forwarded)
    print(json.dumps({"event": event, "forwarded": outcome}, ensure_ascii=False), flush=True)
