"""Signs and verifies Standard Webhooks 1.0. No I/O.

HMAC-SHA256 signs `{webhook-id}.{webhook-timestamp}.{body}`; the header `webhook-signature` has one
`v1,<base64>` for each valid secret, separated by spaces. A secret is `whsec_` and the base64 of 24
to 64 random bytes.
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

SECRET_PREFIX: Final = "whsec_"  # noqa: S105  a prefix, not a secret
MIN_SECRET_BYTES: Final = 24  # the specification's range; new ones have 32, the size of the hash
MAX_SECRET_BYTES: Final = 64
NEW_SECRET_BYTES: Final = 32
TOLERANCE_S: Final = 300  # difference of the clocks, either way

_VERSION: Final = "v1,"
# Enough digits for the year 33658; longer numbers would only cost time to parse.
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


class InvalidSecret(ValueError):
    """The text is not a webhook secret. The message does not contain it."""


class InvalidSignature(ValueError):
    """The signature or the time of the message is wrong. The text says which."""


def new_secret() -> str:
    """A random secret, `whsec_…`."""
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
    """Returns if a signature matches a secret and the timestamp is within `tolerance_s` of `now_s`.

    `message_id`, `timestamp` and `signature` are the values of the headers. InvalidSignature says
    what is wrong; InvalidSecret if a secret is not one.
    """
    if not secrets:
        raise InvalidSecret("no secret was given")
    if not (message_id + signature).isascii():
        raise InvalidSignature("webhook-id and webhook-signature are ASCII")
    _check_time(timestamp, now_s, tolerance_s)
    signed = _signed(message_id, timestamp, body)
    expected = [_signature(secret, signed).encode() for secret in secrets]
    given = [part.encode() for part in signature.split(" ")]
    # All pairs are compared, each in constant time: the duration does not depend on a match.
    matches = [hmac.compare_digest(ours, theirs) for ours in expected for theirs in given]
    if not any(matches):
        raise InvalidSignature(
            "none of the signatures matches: check the endpoint's secret, and that the body is "
            "verified byte for byte as it was received"
        )


def _check_time(timestamp: str, now_s: float, tolerance_s: int) -> None:
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise InvalidSignature("webhook-timestamp is not a whole number of seconds")
    age_s = now_s - int(timestamp)
    if age_s > tolerance_s:
        raise InvalidSignature(f"the message is {age_s:.0f} s old; {tolerance_s} s are allowed")
    if age_s < -tolerance_s:
        raise InvalidSignature(f"the message is {-age_s:.0f} s in the future: check this clock")


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
    """Some services issue secrets without the `=` of base64."""
    return text + "=" * (-len(text) % 4)
