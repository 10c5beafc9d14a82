"""Sign and verify webhooks as Standard Webhooks 1.0 says, without I/O.

What is signed is `{webhook-id}.{webhook-timestamp}.{body}` with HMAC-SHA256; the header
`webhook-signature` has one `v1,<base64>` for each secret that is valid now, joined by spaces. A
secret is `whsec_` and the base64 of 24 to 64 random bytes.
Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets as randomness
from collections.abc import Sequence
from typing import Final

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  the mark of a secret, not one
MIN_SECRET_BYTES: Final = 24  # the specification's range; ours have 32, as many as the hash gives
MAX_SECRET_BYTES: Final = 64
NEW_SECRET_BYTES: Final = 32
TOLERANCE_S: Final = 300  # between the sender's clock and ours, either way

_VERSION: Final = "v1,"
# Enough digits for the year 33658; more would only be a way to make us work.
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class InvalidSecret(ValueError):
    """The text is not a webhook secret. The message doesn't repeat it."""


class InvalidSignature(ValueError):
    """The message is not what somebody with the secret sent just now. The message says why."""


def new_secret() -> str:
    """A fresh secret, `whsec_…`."""
    return SECRET_PREFIX + base64.b64encode(randomness.token_bytes(NEW_SECRET_BYTES)).decode()


def sign(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`: one signature for each secret, in their order.

    `timestamp` is the second of this attempt, since 1970. InvalidSecret if a secret is not one.
    """
    signed = _signed(message_id, str(timestamp), body)
    return " ".join(_signature(secret, signed) for secret in secrets)


def verify(
    secrets: Sequence[str],
    message_id: str,
    timestamp: str,
    signature: str,
    body: bytes,
    *,
    now_s: float,
    tolerance_s: int = TOLERANCE_S,
) -> None:
    """Returns if one of the signatures is of one of the secrets, and the time is near `now_s`.

    The texts are those of the three headers. InvalidSignature says what is wrong, InvalidSecret
    that a secret is not one.
    """
    if not secrets:
        raise InvalidSecret("there is no secret to verify with")
    if not (message_id + signature).isascii():
        raise InvalidSignature("webhook-id and webhook-signature are ASCII")
    _check_time(timestamp, now_s, tolerance_s)
    signed = _signed(message_id, timestamp, body)
    expected = [_signature(secret, signed).encode() for secret in secrets]
    given = [part.encode() for part in signature.split(" ")]
    # Each pair is compared, in constant time: how long it takes tells nothing about a match.
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]
    if not any(matches):
        raise InvalidSignature(
            "none of the signatures is of this secret: is it this endpoint's secret, and the "
            "body as it came, byte for byte?"
        )


def _check_time(timestamp: str, now_s: float, tolerance_s: int) -> None:
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise InvalidSignature("webhook-timestamp is not a whole number of seconds")
    age_s = now_s - int(timestamp)
    if age_s > tolerance_s:
        raise InvalidSignature(f"the message is {age_s:.0f} s old, and {tolerance_s} s are allowed")
    if age_s < -tolerance_s:
        raise InvalidSignature(f"the message is of a time {-age_s:.0f} s ahead: check this clock")


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _signature(secret: str, signed: bytes) -> str:
    digest = hmac.digest(_key(secret), signed, hashlib.sha256)
    return _VERSION + base64.b64encode(digest).decode()


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(_padded(secret.removeprefix(SECRET_PREFIX)), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidSecret(f"a secret is {SECRET_PREFIX} and base64") from None
    if not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise InvalidSecret(f"a secret has {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")
    return key


def _padded(text: str) -> str:
    """Some who hand out secrets leave the `=` of base64 away."""
    return text + "=" * (-len(text) % 4)
