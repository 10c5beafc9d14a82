"""`finpay webhooks listen`: new events, forwarded to a receiver under development.

Two sources give the same bytes. With a development database the events are read from it, twice a
second. Otherwise GET /events is polled, as often as the rate limit leaves requests for other work.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

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
RESERVED_REQUESTS: Final = 40  # of each rate-limit window, for the developer's other requests
RETRY_S: Final = 2.0  # pause before FinPay is asked again after it was unavailable
FORWARD_TIMEOUT_S: Final = 20.0  # the same as for a real delivery
SHOWN_BYTES: Final = 2_048  # of the receiver's answer, as many as the deliveries API stores

_GLOBAL: Final = re.compile(r'"global";r=(\d+);t=(\d+)')
_ACCOUNT: Final = """
SELECT a.id, a.sequence FROM identity.users u JOIN ledger.accounts a ON a.user_id = u.id
WHERE u.email = $1"""
_UNAVAILABLE: Final = (Unavailable, ConnectionFailed, UnexpectedResponse)


class HistoryRestarted(Exception):
    """The database was created anew: its sequences start from 1 again."""


class Source(Protocol):
    """The events of one user. Raises one of `_UNAVAILABLE`, an ApiError or HistoryRestarted."""

    async def latest(self) -> int:
        """The newest sequence; 0 before the first event."""

    async def after(self, sequence: int) -> list[bytes]:
        """Oldest first, at most PAGE, each as the body of a webhook."""

    @property
    def pause_s(self) -> float:
        """The pause before the next poll."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """The receiver's answer: a status, or the name of the error."""

    status: int | None
    error: str | None
    duration_ms: int
    answer: str


async def listen(
    source: Source,
    receiver: "Receiver | None",
    *,
    after: int | None,
    on_event: Callable[[Event, Forwarded | None], None],
    warn: Callable[[str], None],
) -> None:
    """Forward and report each event once, until cancelled. An unavailable FinPay is retried.

    `after` is the last sequence to skip; None skips all that exist. FinPayError when the login is
    refused.
    """
    reached = after
    unavailable = False
    while True:  # until Ctrl-C
        try:
            if reached is None:
                reached = await source.latest()
            bodies = await source.after(reached)
        except HistoryRestarted:
            warn("The database was created anew: starting with its first event.")
            reached = 0
            continue
        except ApiError as error:
            if not error.retryable:
                raise
            warn(f"FinPay says: {error.detail}")
            await asyncio.sleep(error.retry_after_s or RETRY_S)
            continue
        except _UNAVAILABLE as error:
            if not unavailable:
                why = "its database does not answer" if isinstance(error, Unavailable) else error
                warn(f"FinPay is unavailable, retrying: {why}")
            unavailable = True
            await asyncio.sleep(RETRY_S)
            continue
        if unavailable:
            warn("FinPay is available again.")
        unavailable = False
        for body in bodies:
            event = Event(msgspec.json.decode(body))
            on_event(event, None if receiver is None else await receiver.send(event.id, body))
            reached = int(event["sequence"])
        if len(bodies) < PAGE:
            await asyncio.sleep(source.pause_s)


class Receiver:
    """A webhook handler, called as FinPay's worker would call it."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._secret = secret
        self._http = httpx.AsyncClient(timeout=FORWARD_TIMEOUT_S, trust_env=False)

    async def send(self, message_id: str, body: bytes) -> Forwarded:
        """One attempt. An unreachable receiver is a result, not an exception."""
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


class DatabaseSource:
    """Reads the events of one user from a development database, whose URL `find` returns."""

    pause_s: Final = POLL_S

    def __init__(
        self, find: Callable[[], str | None], email: str, types: Sequence[str] | None
    ) -> None:
        self._find = find
        self._url = ""
        self._database: Database | None = None
        self._email = email
        self._filters = events.Filters(types)
        self._seen: tuple[UUID, int] | None = None  # the account's id and newest sequence
        self._scanned: dict[int, int] = {}  # where to go on: a page may be empty before the end

    async def latest(self) -> int:
        return int((await self._account(await self._connected()))["sequence"])

    async def after(self, sequence: int) -> list[bytes]:
        database = await self._connected()
        account = await self._account(database)
        start = self._scanned.get(sequence, sequence)
        found = await events.list_after(
            database, account["id"], self._filters, after=start, limit=PAGE
        )
        self._scanned = {} if found.events else {sequence: found.scanned_to or start}
        return [events.encode_event(event) for event in found.events]

    async def close(self) -> None:
        if self._database is not None:
            await self._database.close()

    async def _connected(self) -> Database:
        """The URL is looked up each time: a restarted `finpay dev` has another port."""
        url = self._find() or self._url
        if self._database is None or url != self._url:
            await self.close()
            self._url, self._database = url, Database(url, size=1)
        return self._database

    async def _account(self, database: Database) -> Any:
        """Read each time: the database may have been created anew since."""
        account = await database.fetch_one(_ACCOUNT, self._email)
        if account is None:
            raise FinPayError(
                Code.NOT_FOUND, f"There is no user {self._email}; `finpay seed` creates alice."
            )
        seen, self._seen = self._seen, (account["id"], account["sequence"])
        if seen is not None and (seen[0] != account["id"] or seen[1] > account["sequence"]):
            self._scanned = {}
            raise HistoryRestarted
        return account


class _Page(msgspec.Struct):
    """The part of GET /events that is needed; the events stay raw bytes."""

    data: list[msgspec.Raw]
    next_cursor: str | None = None


class ApiSource:
    """Polls GET /events of the logged-in user."""

    def __init__(self, client: AsyncFinPay, login: tuple[str, str] | None, pattern: str) -> None:
        self.pause_s = POLL_S
        self._client = client
        self._login = login
        self._account_id: str | None = None
        self._pattern = pattern
        self._scanned: dict[int, str] = {}  # the cursor to go on with after empty pages

    async def latest(self) -> int:
        newest = (await self._ask({"limit": 1})).data
        return int(msgspec.json.decode(newest[0])["sequence"]) if newest else 0

    async def after(self, sequence: int) -> list[bytes]:
        asked: dict[str, str | int] = {
            "after_sequence": sequence, "limit": PAGE, "type": self._pattern,
        }  # fmt: skip
        if sequence in self._scanned:
            asked["cursor"] = self._scanned[sequence]
        page = await self._ask(asked)
        if page.data:
            self._scanned = {}
        elif page.next_cursor is not None:
            self._scanned = {sequence: page.next_cursor}
        return [bytes(event) for event in page.data]

    async def _ask(self, parameters: dict[str, str | int]) -> _Page:
        """One page. The client's typed methods renew a login; this one keeps the raw bytes."""
        if self._client.access_token is None:
            await self._log_in()
        answer = await self._client.request("GET", "/api/v1/events", params=parameters)
        if answer.status == 401 and self._login is not None:
            await self._log_in()
            answer = await self._client.request("GET", "/api/v1/events", params=parameters)
        self.pause_s = pause_s(answer.headers.get("RateLimit", ""))
        if answer.status != 200:
            await self._client.me()  # raises the client's own error where the login is the reason
            raise UnexpectedResponse(
                f"GET /events was answered with {answer.status}.", response=answer
            )
        return msgspec.json.decode(answer.body, type=_Page)

    async def _log_in(self) -> None:
        if self._login is not None:
            login = await self._client.login(*self._login)
            known, self._account_id = self._account_id, login.account.id
            if known not in {None, login.account.id}:
                self._scanned = {}
                raise HistoryRestarted


def pause_s(rate_limit: str) -> float:
    """The pause that spreads the requests left over the rest of the rate-limit window."""
    left = _GLOBAL.search(rate_limit)
    if left is None:
        return POLL_S
    requests, window_s = int(left[1]), int(left[2])
    return min(MAX_POLL_S, max(POLL_S, window_s / max(1, requests - RESERVED_REQUESTS)))
