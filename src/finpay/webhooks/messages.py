"""Input and result of a delivery attempt: the message, the attempt, the names of its errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

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
    "event_unreadable",
]
"""Shown to the endpoint's owner, and labels of a metric."""

CancelReason = Literal["event_missing", "event_unreadable"]
"""Why a delivery has no message: retention removed its event, or the row can't be decoded."""


@dataclass(frozen=True, slots=True)
class Message:
    """An event for an endpoint. `id` is the same in all attempts; each of `secrets` signs."""

    endpoint_id: UUID
    owner_id: UUID
    url: str
    id: str
    body: bytes
    secrets: Sequence[str]


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result. `error` is None after a 2xx; `answer` is the body's first 2 KiB, as text."""

    duration_s: float
    http_status: int | None = None
    error: Error | None = None
    answer: str | None = None
    retry_after: str | None = None
