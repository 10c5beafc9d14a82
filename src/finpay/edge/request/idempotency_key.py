"""The idempotency key of a request and the fingerprint of what it asks for."""

import hashlib
import re
from typing import Any, Final

import msgspec

from finpay.edge.request.model import Request
from finpay.errors import Code, FinPayError

FINGERPRINT_BYTES: Final = 16
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_encode: Final = msgspec.json.Encoder(order="sorted").encode


def read_key(request: Request) -> str:
    """From X-Idempotency-Key or Idempotency-Key; quotes around it are dropped. 400 otherwise."""
    ours, standard = request.header(b"x-idempotency-key"), request.header(b"idempotency-key")
    given = standard if ours is None else ours
    if given is None:
        raise FinPayError(
            Code.IDEMPOTENCY_KEY_MISSING,
            "Send X-Idempotency-Key: a text of your own that is new for each payment "
            "and the same when you retry it, such as a UUID.",
        )
    key = _unquoted(given)
    if standard is not None and key != _unquoted(standard):
        raise FinPayError(
            Code.IDEMPOTENCY_KEY_INVALID,
            "X-Idempotency-Key and Idempotency-Key differ. Send one of them.",
        )
    if _KEY.fullmatch(key) is None:
        raise FinPayError(
            Code.IDEMPOTENCY_KEY_INVALID,
            "A key has 1 to 255 visible ASCII characters and no space.",
        )
    return key


def fingerprint(method: str, route: str, members: Any) -> bytes:
    """16 bytes that tell one request from another; the order of members and white space don't."""
    digest = hashlib.blake2b(f"{method} {route}\n".encode(), digest_size=FINGERPRINT_BYTES)
    digest.update(_encode(members))
    return digest.digest()


def _unquoted(value: str) -> str:
    text = value.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    return text
