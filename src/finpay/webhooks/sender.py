"""One attempt: sign, call, judge. Every failure has a name that the owner of the endpoint reads."""

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from finpay import ids, signing
from finpay.telemetry import logs
from finpay.webhooks import http_connection
from finpay.webhooks.http_connection import Answer, Connection
from finpay.webhooks.ssrf import url_policy
from finpay.webhooks.ssrf.url_policy import Target, UrlPolicy

IDLE_LIMIT_S: Final = 4.0  # common servers let go after 5 s; a call must not meet that
AGE_LIMIT_S: Final = 60.0  # then the name is asked again: receivers move
MAX_IDLE: Final = 512  # of all receivers together: each is an open file

Error = Literal[
    "url_refused",
    "address_refused",
    "dns_failed",
    "connect_failed",
    "tls_failed",
    "timeout",
    "connection_lost",
    "invalid_response",
    "redirect",
    "gone",
    "bad_status",
    "internal_error",
]

_LOG: Final = logs.get()
_NAMES: Final[dict[type[Exception], Error]] = {
    url_policy.AddressRefused: "address_refused",
    url_policy.UrlRefused: "url_refused",
    url_policy.DnsLookupFailed: "dns_failed",
    http_connection.ConnectFailed: "connect_failed",
    http_connection.TlsFailed: "tls_failed",
    http_connection.ConnectionLost: "connection_lost",
    http_connection.InvalidResponse: "invalid_response",
    TimeoutError: "timeout",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What to send where. `id` is the same over all attempts; `secrets` all sign."""

    endpoint_id: UUID
    url: str
    id: str
    body: bytes
    secrets: Sequence[str]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How it went. `error` None: it was answered with 2xx. `answer` is the first 2 kB, as text."""

    duration_s: float
    http_status: int | None = None
    error: Error | None = None
    answer: str | None = None
    retry_after: str | None = None


class Sender:
    """Keeps connections for a moment, each for its own endpoint."""

    def __init__(self, rules: UrlPolicy, timeout_s: float) -> None:
        self._rules = rules
        self._timeout_s = timeout_s
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[tuple[UUID, str], list[tuple[float, Connection]]] = {}
        self._idle_count = 0

    async def send(self, message: Message) -> Attempt:
        """One attempt, within the time for it. Never raises for what a receiver did."""
        started_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._call(message)
        except tuple(_NAMES) as failure:
            error = next(name for kind, name in _NAMES.items() if isinstance(failure, kind))
            return Attempt(time.perf_counter() - started_s, error=error)
        except Exception:  # noqa: BLE001  our bug is this delivery's failure, and nobody else's
            _LOG.exception("attempt_broke", endpoint=ids.encode("whe", message.endpoint_id))
            return Attempt(time.perf_counter() - started_s, error="internal_error")
        return Attempt(
            time.perf_counter() - started_s,
            answer.status,
            _judge(answer.status),
            _as_text(answer.body),
            answer.retry_after,
        )

    def close(self) -> None:
        """Ends the connections that wait."""
        for waiting in self._idle.values():
            for _, kept in waiting:
                kept.close()
        self._idle.clear()
        self._idle_count = 0

    def close_idle(self) -> None:
        """Ends those that waited too long; to be called every second or so."""
        now_s = time.monotonic()
        for key, waiting in list(self._idle.items()):
            fresh = [(s, kept) for s, kept in waiting if _is_fresh(s, kept, now_s)]
            for s, kept in waiting:
                if not _is_fresh(s, kept, now_s):
                    kept.close()
            self._idle_count -= len(waiting) - len(fresh)
            if fresh:
                self._idle[key] = fresh
            else:
                del self._idle[key]

    async def _call(self, message: Message) -> Answer:
        target = url_policy.parse(message.url, self._rules)
        key = (message.endpoint_id, message.url)
        wire = self._waiting(key)
        if wire is None:
            found = await url_policy.resolve(target, self._rules)
            wire = await http_connection.connect(
                target, found, self._context() if target.tls else None
            )
        answer = await wire.exchange(_request(target, message))
        if wire.reusable and self._idle_count < MAX_IDLE:
            self._idle.setdefault(key, []).append((time.monotonic(), wire))
            self._idle_count += 1
        else:
            wire.close()
        return answer

    def _context(self) -> ssl.SSLContext:
        """Reading the authorities takes 50 ms: once, and only where somebody wants TLS."""
        if self._tls is None:
            self._tls = http_connection.tls_context()
        return self._tls

    def _waiting(self, key: tuple[UUID, str]) -> Connection | None:
        """The one that waited least."""
        waiting = self._idle.get(key, [])
        while waiting:
            since_s, kept = waiting.pop()
            self._idle_count -= 1
            if _is_fresh(since_s, kept, time.monotonic()):
                return kept
            kept.close()
        return None


def _is_fresh(since_s: float, kept: Connection, now_s: float) -> bool:
    return kept.reusable and now_s - since_s < IDLE_LIMIT_S and now_s - kept.opened_s < AGE_LIMIT_S


def _request(target: Target, message: Message) -> bytes:
    timestamp = int(time.time())
    signature = signing.sign(message.secrets, message.id, timestamp, message.body)
    head = (
        f"POST {target.path} HTTP/1.1\r\n"
        f"Host: {target.authority}\r\n"
        "User-Agent: FinPay-Webhooks/1\r\n"
        "Accept: */*\r\n"
        "Accept-Encoding: identity\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(message.body)}\r\n"
        f"webhook-id: {message.id}\r\n"
        f"webhook-timestamp: {timestamp}\r\n"
        f"webhook-signature: {signature}\r\n"
        "\r\n"
    )
    return head.encode("ascii") + message.body


def _judge(status: int) -> Error | None:
    """Nothing but 2xx is a receipt: a redirect may lead anywhere, so it is not followed."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return "redirect"
    return "gone" if status == 410 else "bad_status"


def _as_text(body: bytes) -> str | None:
    """PostgreSQL keeps no NUL; a character that was cut off becomes a replacement."""
    return body.decode("utf-8", "replace").replace("\0", "�") or None
