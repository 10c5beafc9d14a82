"""For the receiver of webhooks: is this really from FinPay, and what does it say?

    from finpay.client import webhooks

    event = webhooks.verify(body, request.headers, "whsec_…")
    if event.type == "transaction.completed":
        print(event.data["object"]["amount"])

Verify the body as it came, byte for byte, before anything parses it. An event may come twice, and
in any order: `event.id` says which it is, `event.sequence` what came before what.
"""

import time
from collections.abc import Iterable, Sequence
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
    """Whatever holds header fields: a dict, or the headers of any framework."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class Event(dict[str, Any]):
    """What happened: the members of the JSON by name, and those that every event has as attributes.

    `data["object"]` is the subject as it is now; `data["previous"]` has what its members were.
    """

    @property
    def id(self) -> str:
        """`evt_…`, the same each time that the event comes."""
        return str(self["id"])

    @property
    def type(self) -> str:
        """What happened, such as `transaction.completed`."""
        return str(self["type"])

    @property
    def created_at(self) -> datetime:
        """When it happened, in UTC."""
        return datetime.fromisoformat(self["created_at"])

    @property
    def sequence(self) -> int:
        """Its place in the account's own order: 1, 2, 3, …; 0 for a ping, which has none."""
        return int(self["sequence"])

    @property
    def data(self) -> dict[str, Any]:
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
    """The event, if it was signed with the secret within `tolerance_s` of now.

    `headers` in upper or lower case. Several secrets: one of them has to fit, so one's own can be
    changed without a gap. InvalidSignature says what is wrong: answer 400 and do nothing. InvalidSecret if
    a secret is not one.
    """
    body = payload.encode() if isinstance(payload, str) else payload
    given = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp, signature = (
        _header(given, name) for name in (_ID, _TIMESTAMP, _SIGNATURE)
    )
    signing.verify(
        [secret] if isinstance(secret, str) else secret,
        message_id,
        timestamp,
        signature,
        body,
        now_s=time.time() if now_s is None else now_s,
        tolerance_s=tolerance_s,
    )
    return _event(body)


def _header(given: dict[str, str], name: str) -> str:
    value = given.get(name)
    if not value:
        raise InvalidSignature(f"there is no header {name}")
    return value


def _event(body: bytes) -> Event:
    try:
        members = loads(body)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict):
        raise InvalidSignature(
            "the signature is right, but the body is no event: not a JSON object"
        )
    return Event(members)
