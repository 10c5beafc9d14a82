"""`finpay webhooks`: for the developer of a receiver."""

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

from finpay.cli.context import STYLE, AsJson, refuse, run, settings, warn

if TYPE_CHECKING:
    from finpay.client.webhooks import Event
    from finpay.dev.event_forwarder import Forwarded, Source

group = typer.Typer(**STYLE, help="Write a receiver of webhooks: see events, and cause them.")

_ENVIRONMENT: Final = Path(".finpay/env")  # of a running `finpay dev`
_SESSION: Final = Path(".finpay/session")  # of `trigger`
_ANSWER_SHOWN: Final = 100  # characters of the receiver's answer: the rest of a line

_Api = Annotated[
    str | None, typer.Option("--api", metavar="URL", help="The API; the local one unless given.")
]
_Email = Annotated[str, typer.Option(help="A user of the API.")]
_Password = Annotated[str, typer.Option(help="The password of that user.")]


@dataclass(frozen=True, slots=True)
class _User:
    """Whose events, and where they are."""

    api: str | None
    token: str | None
    email: str
    password: str


@group.command()
def listen(
    *,
    forward: Annotated[
        str | None, typer.Option(metavar="URL", help="POST each event there, signed.")
    ] = None,
    types: Annotated[
        str, typer.Option(help="Which events: a type, or a group such as transaction.*")
    ] = "*",
    secret: Annotated[
        str | None, typer.Option(help="Sign with this whsec_…; with a new one unless given.")
    ] = None,
    after_sequence: Annotated[
        int | None, typer.Option(min=0, help="Begin behind this event instead of now.")
    ] = None,
    api: _Api = None,
    token: Annotated[
        str | None, typer.Option(help="An access token, instead of e-mail and password.")
    ] = None,
    email: _Email = "alice@finpay.dev",
    password: _Password = "password123",  # noqa: S107  the seed's, known to everybody
    as_json: AsJson = False,
) -> None:
    """Print events as they come, and forward them signed to a receiver. Ctrl-C ends it.

    Beside a running `finpay dev` (or where DATABASE_URL is set) events are read from its database
    at once. With --api or --token GET /events is asked, as often as the rate limit allows. Whoever
    is away is waited for: FinPay, or the receiver, which gets the events that come next.
    """
    from finpay.errors import FinPayError

    chosen = _checked_secret(secret)
    _check_types(types)
    _greet(forward, chosen, as_json=as_json)
    user = _User(api, token, email, password)
    work = _listen(user, types, forward, chosen, after_sequence, as_json=as_json)
    try:
        run(_until_stopped(work))
    except FinPayError as error:
        refuse(error, as_json=as_json)


@group.command()
def trigger(
    event_type: Annotated[str, typer.Argument(metavar="TYPE", help="Such as account.updated.")],
    *,
    api: _Api = None,
    email: _Email = "alice@finpay.dev",
    password: _Password = "password123",  # noqa: S107  the seed's
) -> None:
    """Cause an event on a development system, really: transaction.completed sends ZAR 1.00.

    Exit code 1: FinPay refused. 2: there is no such event to cause, or this is production.
    """
    from finpay.client import ConnectionFailed, FinPay, UnexpectedResponse
    from finpay.dev.child_process import DevError
    from finpay.dev.triggers import TRIGGERS, CannotTrigger, Stage, keep_login, kept_login
    from finpay.errors import Code, FinPayError

    read = _development()
    if event_type not in TRIGGERS:
        raise DevError(f"{event_type} can't be triggered; there are {', '.join(TRIGGERS)}")
    url = api or _local_api()
    try:
        with FinPay(url, **kept_login(_SESSION, url, email)) as client:
            stage = Stage(client, url, email, password, read.get("FINPAY_DATABASE_OWNER_URL"))
            print(f"{event_type}  {run(TRIGGERS[event_type](stage))}")
            keep_login(_SESSION, stage)
    except (CannotTrigger, ConnectionFailed, UnexpectedResponse) as error:
        raise DevError(str(error)) from None
    except FinPayError as error:
        if error.code is Code.RATE_LIMITED:
            warn("Development has production's limits. FINPAY_RATE_LIMIT_AUTH=1000/900 make dev")
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
    """Ctrl-C and SIGTERM are how it is meant to end, also in the background of a shell script."""
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
                tell=_tell_json if as_json else _tell,
                complain=warn,
            )
    finally:
        if receiver is not None:
            await receiver.close()


@asynccontextmanager
async def _source(user: _User, types: str) -> AsyncIterator["Source"]:
    """The database of the development system beside us, or the API."""
    from finpay.client import AsyncFinPay
    from finpay.dev.event_forwarder import FromApi, FromDatabase
    from finpay.outbox import event_types

    kinds = event_types.matching(types)
    if _database_url() is not None and user.api is None and user.token is None:
        database = FromDatabase(_database_url, user.email, None if types == "*" else kinds)
        try:
            yield database
        finally:
            await database.close()
        return
    login = None if user.token else (user.email, user.password)
    async with AsyncFinPay(user.api or _local_api(), access_token=user.token) as client:
        yield FromApi(client, login, types)


def _servers() -> dict[str, str]:
    """Where the servers are: what the environment says, else what `finpay dev` left beside us."""
    written = _ENVIRONMENT.read_text("utf-8") if _ENVIRONMENT.exists() else ""
    pairs = [line.partition("=") for line in written.splitlines()]
    beside = {name: value for name, _, value in pairs}
    if os.environ.get("DATABASE_URL"):  # not one from here and one from there
        beside = {}
    names = ("DATABASE_URL", "FINPAY_DATABASE_OWNER_URL")
    return beside | {name: os.environ[name] for name in names if os.environ.get(name)}


def _database_url() -> str | None:
    return _servers().get("DATABASE_URL")


def _development() -> dict[str, str]:
    """The servers, if this is no production system."""
    from finpay.dev.child_process import DevError

    if settings().production:
        raise DevError("finpay webhooks trigger moves money: not with FINPAY_ENV=production")
    return _servers()


def _local_api() -> str:
    return f"http://127.0.0.1:{settings().port}"


def _greet(forward: str | None, secret: str, *, as_json: bool) -> None:
    """On stderr with --json, so that stdout has events alone."""
    lines = ["Waiting for events. Ctrl-C ends it."]
    if forward is not None:
        lines = [f"Secret   {secret}", f"Forward  {forward}", *lines]
    print("\n".join(lines), file=sys.stderr if as_json else sys.stdout, flush=True)


def _tell(event: "Event", forwarded: "Forwarded | None") -> None:
    clock = time.strftime("%H:%M:%S")
    line = f"{clock}  {event.sequence:>6}  {event.type:<26}{event.id}"
    if forwarded is not None:
        outcome = forwarded.status or f"no answer ({forwarded.error})"
        # Escaped: what a receiver says must not steer the terminal.
        said = forwarded.answer[:_ANSWER_SHOWN].encode("unicode_escape").decode()
        line += f"  → {outcome} in {forwarded.duration_ms} ms  {said}".rstrip()
    print(line, flush=True)


def _tell_json(event: "Event", forwarded: "Forwarded | None") -> None:
    from dataclasses import asdict

    outcome = None if forwarded is None else asdict(forwarded)
    print(json.dumps({"event": event, "forwarded": outcome}, ensure_ascii=False), flush=True)
