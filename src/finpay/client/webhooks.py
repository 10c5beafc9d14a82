"""Verifies webhooks and reads their events.

    from finpay.client import webhooks

    event = webhooks.verify(body, request.headers, "whsec_…")
    if event.type == "transaction.completed":
        print(event.data["object"]["amount"])

Verify the exact bytes of the body, before anything parses them. Events are delivered at least once
and in any order: `event.id` identifies an event, `event.sequence` orders the events of an account.

InvalidSignature and InvalidSecret are ValueErrors, not FinPayErrors: verify calls no server.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from json import loads
from typing import Any, Final, Protocol

from finpay import signing
from finpay.signing import InvalidSecret, InvalidSignature

__all__ = ["Event", "Headers", "InvalidSecret", "InvalidSignature", "verify"]

_ID: Final = "webhook-id"
_TIMESTAMP: Final = "webhook-timestamp"
_SIGNATURE: Final = "webhook-signature"


class Headers(Protocol):
    """A dict, or the headers object of any framework."""

    def items(self) -> Iterable[tuple[str | bytes, str | bytes]]: ...


class Event(dict[str, Any]):
    """An event: the members of the JSON by name, those of every event as attributes too.

    `data["object"]` is the object after the event, `data["previous"]` the previous values of the
    members that changed.
    """

    @property
    def id(self) -> str:
        """`evt_…`, the same in every delivery of the event."""
        return str(self["id"])

    @property
    def type(self) -> str:
        """The event type, such as `transaction.completed`."""
        return str(self["type"])

    @property
    def created_at(self) -> datetime:
        """The time of the event, in UTC."""
        return datetime.fromisoformat(self["created_at"])

    @property
    def sequence(self) -> int:
        """The event's number in its account: 1, 2, 3, …; 0 for a ping."""
        return int(self["sequence"])

    @property
    def data(self) -> dict[str, Any]:
        """`object` and `previous`."""
        members: dict[str, Any] = self["data"]
        return members


def verify(
    payload: bytes | str,
    headers: Headers,
    secret: str | Sequence[str],
    *,
    tolerance_s: int = signing.TOLERANCE_S,
    now_s: float | None = None,
) -> Event:
    """The event, if it was signed with the secret within `tolerance_s` seconds of now.

    Header names ignore case. With several secrets one has to match, so that a secret can be
    replaced without a gap. Raises InvalidSignature, which says why (respond 400 and do nothing
    else), and InvalidSecret if `secret` is not a webhook secret.
    """
    # A lone surrogate is no error of its own: the signature of such a text just doesn't match.
    body = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
    received = {_text(name).lower(): value for name, value in headers.items()}
    signing.verify(
        [secret] if isinstance(secret, str) else secret,
        _header(received, _ID),
        _header(received, _TIMESTAMP),
        _header(received, _SIGNATURE),
        body,
        now_s=time.time() if now_s is None else now_s,
        tolerance_s=tolerance_s,
    )
    return _event(body)


def _header(received: Mapping[str, object], name: str) -> str:
    text = _text(received.get(name))
    if not text:
        raise InvalidSignature(f"there is no header {name}")
    return text


def _text(value: object) -> str:
    """HTTP's bytes as text; empty for anything that is not a header's name or value."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else ""


def _event(body: bytes) -> Event:
    try:
        members = loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise InvalidSignature("the signature is valid, but the body is not a JSON object")
    return Event(members)
