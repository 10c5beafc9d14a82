"""`webhooks.verify` with odd headers and bodies: an event or InvalidSignature, nothing else."""

from typing import Any, Final

import pytest

from finpay import signing
from finpay.client import webhooks

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW_S: Final = 1_800_000_000
BODY: Final = b'{"id":"evt_1","type":"account.updated","sequence":7,"data":{"object":{}}}'
SIGNED: Final = signing.sign([SECRET], "evt_1", NOW_S, BODY)
VALID: Final[dict[Any, Any]] = {
    "webhook-id": "evt_1",
    "webhook-timestamp": str(NOW_S),
    "webhook-signature": SIGNED,
}
OTHER: Final = "v1," + "A" * 43 + "="


def verify(headers: Any, payload: bytes | str = BODY) -> webhooks.Event:
    return webhooks.verify(payload, headers, SECRET, now_s=NOW_S)


@pytest.mark.parametrize(
    "signature",
    [
        SIGNED,
        f"{OTHER} {SIGNED}",
        f"{SIGNED} {OTHER}",
        f"v1a,{'A' * 86} v2,x {SIGNED}",
        f" {SIGNED} ",
        " ".join([OTHER] * 100 + [SIGNED]),
        SIGNED.encode(),
    ],
)
def test_one_matching_signature_of_several_is_enough(signature: str | bytes) -> None:
    assert verify(VALID | {"webhook-signature": signature}).id == "evt_1"


def test_names_and_values_as_bytes_are_read() -> None:
    assert verify({name.title().encode(): value.encode() for name, value in VALID.items()})


@pytest.mark.fault("W2")
@pytest.mark.parametrize(
    "value",
    [
        None, "", " ", b"", 7, 7.5, True, [], ["v1,x"], object(),
        "v1", "v1,", "v2,x", "é", "v1,é", "v1,\xff\xfe", "v1,\udcff\udcfe", "\ud800", "\x00",
        b"v1,\xff\xfe", b"\xff", "x" * 100_000, "v1, " * 1_000, OTHER, SIGNED[3:], SIGNED.upper(),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
@pytest.mark.parametrize("name", list(VALID))
def test_odd_value_of_any_header_is_an_invalid_signature(name: str, value: object) -> None:
    with pytest.raises(webhooks.InvalidSignature):
        verify(VALID | {name: value})


@pytest.mark.parametrize("name", [None, 7, b"\xff", "\udcff", ("webhook-id",)])
def test_odd_name_of_another_header_is_ignored(name: object) -> None:
    assert verify(VALID | {name: "x"}).id == "evt_1"


@pytest.mark.parametrize("name", list(VALID))
def test_missing_header_is_named(name: str) -> None:
    headers = {key: value for key, value in VALID.items() if key != name}
    with pytest.raises(webhooks.InvalidSignature, match=f"there is no header {name}"):
        verify(headers)


def test_no_headers_at_all_is_an_invalid_signature() -> None:
    with pytest.raises(webhooks.InvalidSignature):
        verify({})


@pytest.mark.parametrize("payload", ["\udcff", "é", "", b"", b"\xff"])
def test_odd_body_is_an_invalid_signature(payload: bytes | str) -> None:
    with pytest.raises(webhooks.InvalidSignature):
        verify(VALID, payload)
