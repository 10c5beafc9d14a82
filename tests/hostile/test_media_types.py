"""Content-Type and Content-Encoding as clients spell them: answered, or refused with 415."""

import gzip
from typing import Final

import pytest

from tests.api_process import Api, User
from tests.hostile.exchange import HOST, head, statuses, transfer, transfer_body

ENCODINGS: Final = [
    ("gzip", True, 415),
    ("x-gzip", True, 415),
    ("GZIP", True, 415),
    ("gzip", False, 415),
    ("br", False, 415),
    ("deflate, gzip", False, 415),
    ("aws-chunked", False, 415),
    ("identity", False, 201),
    ("Identity", False, 201),
]


@pytest.mark.fault("H5")
@pytest.mark.parametrize(("coding", "compress", "status"), ENCODINGS)
def test_encoded_body_is_415(
    api: Api,
    alice: User,
    bob: User,
    key: str,
    coding: str,
    *,
    compress: bool,
    status: int,
) -> None:
    """Also one that only says that it is: it was not read as it was meant."""
    body = transfer_body(bob)
    sent = gzip.compress(body) if compress else body
    before = bob.balance
    whole = transfer(
        alice, bob, key, f"Content-Encoding: {coding}",
        framing=f"Content-Length: {len(sent)}",
    )  # fmt: skip
    assert statuses(api.url, whole + sent) == [status]
    assert bob.balance == before + (status == 201)


MEDIA_TYPES: Final = [
    ("application/json; charset=utf-8;", 201),
    ("application/json;charset=UTF-8", 201),
    ('application/json; charset="utf-8"', 201),
    ("application/json; profile=x; v=1", 201),
    ("application/json;odata.metadata=minimal", 201),
    ("application/json ;", 201),
    ("APPLICATION/JSON", 201),
    ("application/json; charset=utf-16", 415),
    ("application/x-www-form-urlencoded", 415),
    ("application/json, application/json", 415),
]


@pytest.mark.fault("H7")
@pytest.mark.parametrize(("media_type", "status"), MEDIA_TYPES)
def test_parameters_of_the_media_type_are_ignored(
    api: Api,
    alice: User,
    bob: User,
    key: str,
    *,
    media_type: str,
    status: int,
) -> None:
    body = transfer_body(bob)
    fields = [
        f"Authorization: Bearer {alice.token}",
        f"X-Idempotency-Key: {key}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
    ]
    whole = head("POST /api/v1/transactions HTTP/1.1", HOST, *fields) + body
    assert statuses(api.url, whole) == [status]
