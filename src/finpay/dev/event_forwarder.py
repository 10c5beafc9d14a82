"""`finpay webhooks listen`: events as they come, forwarded to a receiver that is being written.

Two sources give the same bytes. Beside a development database the events are read from it, twice a
second. Anywhere else GET /events is asked, as often as the rate limit leaves room for other work.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httpx
import msgspec

from finpay import signing
from finpay.client import ApiError, AsyncFinPay, ConnectionFailed, UnexpectedResponse
from finpay.client.webhooks import Event
from finpay.db.pool import Database, Unavailable
from finpay.errors import Code, FinPayError
from finpay.outbox import events

PAGE: Final = 100  # as many as GET /events gives at once
POLL_S: Final = 0.5
MAX_POLL_S: Final = 60.0
RESERVED_REQUESTS: Final = 40  # of each window, for what the developer does beside us
RETRY_S: Final = 2.0  # how soon we look again for who was away
FORWARD_TIMEOUT_S: Final = 20.0  # as long as a real delivery waits
SHOWN_BYTES: Final = 2_048  # of the receiver's answer, as the deliveries API keeps

_GLOBAL: Final = re.compile(r'"global";r=(\d+);t=(\d+)')
_ACCOUNT: Final = """
SELECT a.id, a.sequence FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
WHERE u.email = $1"""
_AWAY: Final = (Unavailable, ConnectionFailed, UnexpectedResponse)


class Source(Protocol):
    """Where events come from. Raises what `_AWAY` lists, or an ApiError, if it can't answer."""

    async def latest(self) -> int:
        """The newest number there is; 0 before the first."""

    async def after(self, sequence: int) -> list[bytes]:
        """Oldest first, at most PAGE, each as a webhook would bring it."""

    @property
    def pause_s(self) -> float:
        """How long to wait before asking again."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What the receiver made of it: a status, or the error by name."""

    status: int | None
    error: str | None
    duration_ms: int
    answer: str


Tell = Callable[[Event, Forwarded | None], None]
Complain = Callable[[str], None]


async def listen(
    source: Source,
    receiver: "Receiver | None",
    *,
    after: int | None,
    tell: Tell,
    complain: Complain,
) -> None:
    """Tells of each event once, until it is cancelled. Whoever is away is waited for.

    `after` is the sequence to begin behind; None is now. FinPayError for a login that is refused.
    """
    reached = after
    away = False
    while True:  # until Ctrl-C
        try:
            if reached is None:
                reached = await source.latest()
            bodies = await source.after(reached)
        except ApiError as error:
            if not error.retryable:
                raise
            complain(f"FinPay says: {error.detail}")
            await asyncio.sleep(error.retry_after_s or RETRY_S)
            continue
        except _AWAY as error:
            if not away:
                why = "its database does not answer" if isinstance(error, Unavailable) else error
                complain(f"FinPay is away, and waited for: {why}")
            away = True
            await asyncio.sleep(RETRY_S)
            continue
        if away:
            complain("FinPay is back.")
        away = False
        for body in bodies:
            event = Event(msgspec.json.decode(body))
            tell(event, None if receiver is None else await receiver.send(event.id, body))
            reached = int(event["sequence"])
        if len(bodies) < PAGE:
            await asyncio.sleep(source.pause_s)


class Receiver:
    """Somebody's webhook handler, called as FinPay's worker would call it."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret
        self._http = httpx.AsyncClient(timeout=FORWARD_TIMEOUT_S, trust_env=False)

    async def send(self, message_id: str, body: bytes) -> Forwarded:
        """One attempt; a receiver that is away is an answer too."""
        timestamp = int(time.time())
        headers = {
            "content-type": "application/json",
            "user-agent": "FinPay-Webhooks",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signing.sign([self._secret], message_id, timestamp, body),
        }
        started = time.perf_counter()
        status, error, answer = None, None, b""
        try:
            async with asyncio.timeout(FORWARD_TIMEOUT_S):
                status, answer = await self._post(body, headers)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as fault:
            error = type(fault).__name__
        took_ms = round((time.perf_counter() - started) * 1_000)
        return Forwarded(status, error, took_ms, answer.decode(errors="replace"))

    async def close(self) -> None:
        await self._http.aclose()

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        request = self._http.stream("POST", self._url, content=body, headers=headers)
        async with request as reply:
            answer = b""
            async for part in reply.aiter_bytes():
                answer += part
                if len(answer) >= SHOWN_BYTES:
                    break
            return reply.status_code, answer[:SHOWN_BYTES]


class FromDatabase:
    """The events of one user, read where they are written. For development."""

    pause_s: Final = POLL_S

    def __init__(
        self, find: Callable[[], str | None], email: str, types: Sequence[str] | None
    ) -> None:
        self._find = find
        self._url = ""
        self._database: Database | None = None
        self._email = email
        self._filters = events.Filters(types)

    async def latest(self) -> int:
        return int((await self._account(await self._reached()))["sequence"])

    async def after(self, sequence: int) -> list[bytes]:
        database = await self._reached()
        account = await self._account(database)
        found = await events.list_after(
            database, account["id"], self._filters, after=sequence, limit=PAGE
        )
        return [events.encode_event(event) for event in found]

    async def close(self) -> None:
        if self._database is not None:
            await self._database.close()

    async def _reached(self) -> Database:
        """Looked for each time: `finpay dev` comes back on another port."""
        url = self._find() or self._url
        if self._database is None or url != self._url:
            await self.close()
            self._url, self._database = url, Database(url, size=1)
        return self._database

    async def _account(self, database: Database) -> Any:
        """Asked each time: a development database may be made anew below us."""
        account = await database.fetch_one(_ACCOUNT, self._email)
        if account is None:
            raise FinPayError(
                Code.NOT_FOUND, f"There is no user {self._email} here; finpay seed makes alice."
            )
        return account


class _Page(msgspec.Struct):
    """As much of GET /events as is needed: what each event says stays as it came."""

    data: list[msgspec.Raw]


class FromApi:
    """The events of whoever is logged in, by GET /events."""

    def __init__(self, client: AsyncFinPay, login: tuple[str, str] | None, pattern: str) -> None:
        self.pause_s = POLL_S
        self._client = client
        self._login = login
        self._pattern = pattern

    async def latest(self) -> int:
        newest = await self._ask({"limit": 1})
        return int(msgspec.json.decode(newest[0])["sequence"]) if newest else 0

    async def after(self, sequence: int) -> list[bytes]:
        return await self._ask({"after_sequence": sequence, "limit": PAGE, "type": self._pattern})

    async def _ask(self, parameters: dict[str, str | int]) -> list[bytes]:
        """One page. The typed methods of the client renew the login; this one keeps the bytes."""
        await self._log_in()
        answer = await self._client.request("GET", "/api/v1/events", params=parameters)
        if answer.status == 401 and self._login is not None:
            await self._client.login(*self._login)
            answer = await self._client.request("GET", "/api/v1/events", params=parameters)
        self.pause_s = pause_s(answer.headers.get("RateLimit", ""))
        if answer.status != 200:
            await self._client.me()  # raises what is wrong, in the client's words
            raise UnexpectedResponse(
                f"GET /events was answered with {answer.status}.", response=answer
            )
        return [bytes(event) for event in msgspec.json.decode(answer.body, type=_Page).data]

    async def _log_in(self) -> None:
        if self._client.access_token is None and self._login is not None:
            await self._client.login(*self._login)


def pause_s(rate_limit: str) -> float:
    """How long to wait so that the window's end comes before the end of what is left of it."""
    left = _GLOBAL.search(rate_limit)
    if left is None:
        return POLL_S
    requests, window_s = int(left[1]), int(left[2])
    return min(MAX_POLL_S, max(POLL_S, window_s / max(1, requests - RESERVED_REQUESTS)))
