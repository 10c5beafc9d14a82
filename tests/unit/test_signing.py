"""Signatures of webhooks: ours and those of the reference library are the same."""

import base64
import json
import secrets as randomness
import time
from typing import Any, Final

import pytest
import standardwebhooks
from hypothesis import given, settings
from hypothesis import strategies as st

from finpay import signing
from finpay.client import webhooks
from finpay.signing import InvalidSecret, InvalidSignature

NOW_S: Final = 1_800_000_000
BODY: Final = b'{"id":"evt_1","type":"transaction.completed","sequence":7,"data":{"object":{}}}'
# The example of the specification itself.
KNOWN_SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KNOWN_SIGNATURE: Final = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def signed(secret: str, body: bytes = BODY, *, at: int = NOW_S) -> dict[str, str]:
    """The headers of a message."""
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signing.sign([secret], "evt_1", at, body),
    }


def verified(headers: dict[str, str], secret: str | list[str], **more: Any) -> webhooks.Event:
    return webhooks.verify(
        **{"payload": BODY, "now_s": NOW_S, **more}, headers=headers, secret=secret
    )


def whsec(length: int) -> str:
    return "whsec_" + base64.b64encode(randomness.token_bytes(length)).decode()


def test_the_example_of_the_specification_verifies() -> None:
    made = signing.sign(
        [KNOWN_SECRET], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
    )
    assert made == KNOWN_SIGNATURE


@settings(max_examples=200, deadline=None)
@given(
    body=st.dictionaries(st.text(), st.text() | st.integers() | st.none()),
    length=st.integers(signing.MIN_SECRET_BYTES, signing.MAX_SECRET_BYTES),
)
def test_the_reference_library_verifies_ours_and_we_verify_theirs(
    body: dict[str, Any], length: int
) -> None:
    secret, now = whsec(length), int(time.time())
    payload = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    theirs = standardwebhooks.Webhook(secret)
    ours = signed(secret, payload, at=now)
    assert theirs.verify(payload, ours) == json.loads(payload)
    assert webhooks.verify(payload, ours, secret) == json.loads(payload)


def test_a_new_secret_conforms_to_the_specification() -> None:
    made = {signing.new_secret() for _ in range(100)}
    assert len(made) == 100
    for secret in made:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_an_event_is_read_by_name_and_by_attribute() -> None:
    secret = signing.new_secret()
    body = BODY.replace(b"}}}", b'}},"created_at":"2026-01-02T03:04:05.000006Z"}')
    event = verified(signed(secret, body), secret, payload=body)
    assert (event.id, event.type, event.sequence) == ("evt_1", "transaction.completed", 7)
    assert event == json.loads(body)
    assert event.data == {"object": {}}
    assert event.created_at.isoformat() == "2026-01-02T03:04:05.000006+00:00"


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_header_names_ignore_case_and_a_body_may_be_text(change: Any) -> None:
    secret = signing.new_secret()
    headers = {change(name): value for name, value in signed(secret).items()}
    assert verified(headers, secret, payload=BODY.decode()).id == "evt_1"


@pytest.mark.parametrize("off_s", [-300, -1, 0, 300])
def test_a_clock_difference_of_five_minutes_is_accepted(off_s: int) -> None:
    secret = signing.new_secret()
    assert verified(signed(secret, at=NOW_S + off_s), secret)


@pytest.mark.parametrize(
    ("off_s", "why"), [(-301, "301 s old"), (301, "301 s in the future"), (10**9, "in the future")]
)
def test_older_or_newer_is_refused(off_s: int, why: str) -> None:
    secret = signing.new_secret()
    with pytest.raises(InvalidSignature, match=why):
        verified(signed(secret, at=NOW_S + off_s), secret)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("webhook-id", "evt_2"),
        ("webhook-timestamp", str(NOW_S + 1)),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1"),
        ("webhook-signature", "v1,AAAA v1,AAAA"),
    ],
)
def test_a_changed_header_is_refused(header: str, value: str) -> None:
    secret = signing.new_secret()
    with pytest.raises(InvalidSignature, match="none of the signatures"):
        verified(signed(secret) | {header: value}, secret)


def test_a_signature_of_another_version_is_ignored() -> None:
    secret = signing.new_secret()
    headers = signed(secret)
    for version in ("v1a,", "v2,", "V1,", ""):
        changed = headers["webhook-signature"].replace("v1,", version)
        with pytest.raises(InvalidSignature):
            verified(headers | {"webhook-signature": changed}, secret)


def test_one_changed_byte_of_the_body_is_refused() -> None:
    secret = signing.new_secret()
    headers = signed(secret)
    for index in range(len(BODY)):
        changed = BODY[:index] + bytes([BODY[index] ^ 1]) + BODY[index + 1 :]
        with pytest.raises(InvalidSignature):
            verified(headers, secret, payload=changed)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    secret = signing.new_secret()
    headers = signed(secret)
    for without in ({**headers, name: ""}, {k: v for k, v in headers.items() if k != name}):
        with pytest.raises(InvalidSignature, match=name):
            verified(without, secret)


@pytest.mark.parametrize("timestamp", ["now", "1.8e9", "1800000000.0", "-1", " 1800000000", "١"])
def test_a_timestamp_that_is_not_a_number_of_seconds_is_refused(timestamp: str) -> None:
    secret = signing.new_secret()
    with pytest.raises(InvalidSignature, match="webhook-timestamp"):
        verified(signed(secret) | {"webhook-timestamp": timestamp}, secret)


def test_during_a_rotation_both_secrets_sign_and_either_verifies() -> None:
    old, new = signing.new_secret(), signing.new_secret()
    headers = signed(new) | {"webhook-signature": signing.sign([new, old], "evt_1", NOW_S, BODY)}
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new, [signing.new_secret(), old], [new, signing.new_secret()]):
        assert verified(headers, secret)
    with pytest.raises(InvalidSignature):
        verified(headers, signing.new_secret())


@pytest.mark.parametrize(
    "secret",
    [whsec(23), whsec(65), "whsec_", "whsec_no base64", "", "é" * 32],
    ids=["23 bytes", "65 bytes", "empty", "no base64", "nothing", "another alphabet"],
)
def test_an_invalid_secret_is_refused_and_not_in_the_message(secret: str) -> None:
    for use in (
        lambda: signing.sign([secret], "evt_1", NOW_S, BODY),
        lambda: verified(signed(signing.new_secret()), secret),
    ):
        with pytest.raises(InvalidSecret) as refused:
            use()
        assert len(secret) < 10 or secret[6:] not in str(refused.value)


def test_an_empty_list_of_secrets_verifies_nothing() -> None:
    with pytest.raises(InvalidSecret):
        verified(signed(signing.new_secret()), [])


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b"\xff", b"[" * 100_000])
def test_a_signed_body_that_is_not_an_event_is_refused(body: bytes) -> None:
    secret = signing.new_secret()
    with pytest.raises(InvalidSignature, match="not a JSON object"):
        verified(signed(secret, body), secret, payload=body)
