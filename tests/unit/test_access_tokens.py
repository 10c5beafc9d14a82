"""Access tokens: only our own and unexpired ones are accepted."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import jwt
import pytest

from finpay import ids
from finpay.errors import Code, FinPayError
from finpay.identity import access_tokens
from finpay.identity.access_tokens import Principal, Signer

SECRET, OLD_SECRET, OTHER_SECRET = "a" * 32, "b" * 40, "c" * 32
NOW, TTL_S = 1_800_000_000.25, 900
USER, ACCOUNT, SESSION = (UUID(f"01890a5d-ac96-774b-bcce-b302099a805{n}") for n in range(3))
CLAIMS: Mapping[str, Any] = {
    "iss": "finpay",
    "aud": "finpay-api",
    "sub": ids.encode("usr", USER),
    "acc": ids.encode("acc", ACCOUNT),
    "sid": ids.encode("ses", SESSION),
    "gen": 0,
    "role": "user",
    "factor": False,
    "iat": int(NOW),
    "exp": int(NOW) + TTL_S,
    "jti": "x",
}
HEADER: Mapping[str, Any] = {"alg": "HS256", "typ": "at+jwt"}


@pytest.fixture
def signer() -> Signer:
    return Signer([SECRET], TTL_S)


def forged(
    header: Mapping[str, Any] = HEADER,
    claims: Any = CLAIMS,
    *,
    secret: str = SECRET,
    digest: Callable[..., Any] = hashlib.sha256,
) -> str:
    """A hand-made token; the signature does not depend on its header."""
    head, body = (_base64(json.dumps(part).encode()) for part in (header, claims))
    signature = hmac.new(secret.encode(), f"{head}.{body}".encode(), digest).digest()
    return f"{head}.{body}.{_base64(signature)}"


def assert_refused(signer: Signer, token: str, now: float = NOW) -> None:
    with pytest.raises(FinPayError) as refusal:
        signer.verify(token, now)
    assert refusal.value.code is Code.UNAUTHENTICATED
    challenge = refusal.value.headers["WWW-Authenticate"]
    assert challenge == 'Bearer realm="finpay", error="invalid_token"'


def test_token_is_verified_to_its_principal(signer: Signer) -> None:
    expected = Principal(
        user_id=USER,
        account_id=ACCOUNT,
        session_id=SESSION,
        user=ids.encode("usr", USER),
        account=ids.encode("acc", ACCOUNT),
        session=ids.encode("ses", SESSION),
        generation=0,
        expires_at=int(NOW) + TTL_S,
    )
    token = signer.issue(USER, ACCOUNT, SESSION, NOW)
    assert signer.verify(token, NOW) == expected
    assert signer.verify(token, NOW) == expected
    assert Signer([SECRET], TTL_S).verify(token, NOW) == expected


def test_token_has_the_header_and_claims_of_rfc_9068(signer: Signer) -> None:
    token = signer.issue(USER, ACCOUNT, SESSION, NOW)
    decoded = jwt.decode_complete(token, options={"verify_signature": False})
    assert decoded["header"] == HEADER
    assert decoded["payload"] == {**CLAIMS, "jti": decoded["payload"]["jti"]}


def test_tokens_of_one_second_differ(signer: Signer) -> None:
    assert len({signer.issue(USER, ACCOUNT, SESSION, NOW) for _ in range(10)}) == 10


def test_forged_token_with_the_right_secret_is_accepted(signer: Signer) -> None:
    """Otherwise every refusal below could have another cause."""
    assert signer.verify(forged(), NOW).user_id == USER


HEADERS: list[Mapping[str, Any]] = [
    {"alg": "none", "typ": "at+jwt"},
    {"alg": "None", "typ": "at+jwt"},
    {"alg": "hs256", "typ": "at+jwt"},
    {"alg": "HS384", "typ": "at+jwt"},
    {"alg": "RS256", "typ": "at+jwt"},
    {"alg": ["HS256"], "typ": "at+jwt"},
    {"alg": None, "typ": "at+jwt"},
    {"typ": "at+jwt"},
    {"alg": "HS256"},
    {"alg": "HS256", "typ": "JWT"},
    {"alg": "HS256", "typ": "refresh+jwt"},
    {"alg": "HS256", "typ": ["at+jwt"]},
    {**HEADER, "kid": "../../../../dev/null"},
    {**HEADER, "kid": "' OR 1=1 --"},
    {**HEADER, "kid": 1},
    {**HEADER, "jku": "http://127.0.0.1:9/keys"},
    {**HEADER, "jwk": {"kty": "oct", "k": "Y2Nj"}},
    {**HEADER, "x5u": "http://127.0.0.1:9/"},
    {**HEADER, "crit": ["exp"]},
    {**HEADER, "crit": ["b64"], "b64": False},
    {**HEADER, "b64": False},
    {**HEADER, "zip": "DEF"},
]


@pytest.mark.parametrize("header", HEADERS, ids=json.dumps)
def test_other_header_is_refused(signer: Signer, header: Mapping[str, Any]) -> None:
    assert_refused(signer, forged(header))
    assert_refused(signer, forged(header, secret=OTHER_SECRET))


CLAIM_FAULTS: list[tuple[str, Any]] = [
    ("iss", "other-service"),
    ("iss", ["finpay"]),
    ("iss", None),
    ("aud", "finpay"),
    ("aud", ["finpay-api"]),
    ("aud", ["finpay-api", "else"]),
    ("aud", None),
    ("sub", ids.encode("acc", USER)),
    ("sub", ids.encode("usr", USER).upper()),
    ("sub", str(USER)),
    ("sub", 1),
    ("sub", ""),
    ("acc", ids.encode("usr", USER)),
    ("acc", 1),
    ("acc", ["acc_1"]),
    ("acc", None),
    ("sid", ids.encode("acc", SESSION)),
    ("sid", {}),
    ("exp", int(NOW)),
    ("exp", int(NOW) - 1),
    ("exp", 0),
    ("exp", -1),
    ("exp", str(int(NOW) + TTL_S)),
    ("exp", NOW + TTL_S),
    ("exp", True),
    ("exp", None),
    ("exp", [1]),
    ("iat", int(NOW) + access_tokens.CLOCK_SKEW_S + 1),
    ("iat", "0"),
    ("iat", None),
    ("nbf", int(NOW) + access_tokens.CLOCK_SKEW_S + 1),
    ("nbf", "0"),
    ("nbf", None),
]


@pytest.mark.parametrize(("name", "value"), CLAIM_FAULTS)
def test_wrong_claim_is_refused(signer: Signer, name: str, value: object) -> None:
    assert_refused(signer, forged(claims={**CLAIMS, name: value}))


@pytest.mark.parametrize("name", CLAIMS)
def test_missing_claim_is_refused(signer: Signer, name: str) -> None:
    assert_refused(
        signer, forged(claims={key: value for key, value in CLAIMS.items() if key != name})
    )


@pytest.mark.parametrize("claims", [[], "text", 1, None, {}], ids=repr)
def test_payload_that_is_no_object_of_claims_is_refused(signer: Signer, claims: object) -> None:
    assert_refused(signer, forged(claims=claims))


def test_other_key_or_hash_is_refused(signer: Signer) -> None:
    assert_refused(signer, forged(secret=OTHER_SECRET))
    assert_refused(signer, forged(secret=""))
    assert_refused(signer, forged(digest=hashlib.sha512))


def test_flipped_bit_is_refused(signer: Signer) -> None:
    token = signer.issue(USER, ACCOUNT, SESSION, NOW)
    parts = token.split(".")
    for at, part in enumerate(parts):
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        for bit in range(0, len(data) * 8, 5):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            changed = [*parts[:at], _base64(bytes(flipped)), *parts[at + 1 :]]
            assert_refused(signer, ".".join(changed))


GARBAGE = [
    "",
    ".",
    "..",
    "...",
    "a.b.c",
    "\x00",
    "é.é.é",
    "\ud800.a.b",
    "null",
    "Bearer x",
    "e30.e30.",
    "e30.e30.e30",
    "ZQ" * 10_000,
    "." * 1_000,
]


@pytest.mark.parametrize("text", GARBAGE)
def test_malformed_token_is_refused(signer: Signer, text: str) -> None:
    assert_refused(signer, text)


def test_nesting_and_huge_numbers_are_refused(signer: Signer) -> None:
    for hostile in ('{"alg":' + "[" * 700, "[" * 760, '{"alg":' + "9" * 700 + "}"):
        assert_refused(signer, f"{_base64(hostile.encode())}.e30.e30")
    deep = _base64(b"[" * 100_000)
    assert_refused(signer, f"{deep}.e30.e30")
    assert_refused(signer, f"{_base64(json.dumps(HEADER).encode())}.{deep}.e30")


def test_signed_token_over_the_maximum_length_is_refused(signer: Signer) -> None:
    assert signer.verify(forged(claims={**CLAIMS, "more": "x" * 300}), NOW).user_id == USER
    assert_refused(signer, forged(claims={**CLAIMS, "more": "x" * 900}))


@pytest.mark.contract("1.6.1")
def test_token_expires_on_the_second_cached_or_not(signer: Signer) -> None:
    token = signer.issue(USER, ACCOUNT, SESSION, NOW)
    end = int(NOW) + TTL_S
    for warm in (signer, Signer([SECRET], TTL_S)):
        assert warm.verify(token, end - 0.001).user_id == USER
        assert_refused(warm, token, end)
        assert_refused(warm, token, end + 1)
    assert_refused(Signer([SECRET], TTL_S), token, end)
    assert token not in signer._verified


def test_clock_may_be_twenty_minutes_behind_the_issuer(signer: Signer) -> None:
    token = signer.issue(USER, ACCOUNT, SESSION, NOW)
    assert_refused(signer, token, int(NOW) - access_tokens.CLOCK_SKEW_S - 0.5)
    assert signer.verify(token, int(NOW) - access_tokens.CLOCK_SKEW_S + 0.5).user_id == USER
    assert access_tokens.CLOCK_SKEW_S == 20 * 60


def test_first_secret_signs_and_all_verify() -> None:
    before, between, after = (
        Signer(secrets, TTL_S) for secrets in ([OLD_SECRET], [SECRET, OLD_SECRET], [SECRET])
    )
    old = before.issue(USER, ACCOUNT, SESSION, NOW)
    new = between.issue(USER, ACCOUNT, SESSION, NOW)
    assert between.verify(old, NOW) == between.verify(new, NOW) == after.verify(new, NOW)
    assert_refused(after, old)
    assert_refused(before, new)
    assert_refused(between, forged(secret=OTHER_SECRET))


def test_only_verified_tokens_are_cached(signer: Signer) -> None:
    token = signer.issue(USER, ACCOUNT, SESSION, NOW)
    for hostile in (forged(secret=OTHER_SECRET), forged({"alg": "none"}), token[:-3], "x"):
        assert_refused(signer, hostile)
    assert_refused(signer, forged(claims={**CLAIMS, "exp": int(NOW)}))
    assert len(signer._verified) == 0
    assert signer.verify(token, NOW) is signer.verify(token, NOW)
    assert list(signer._verified) == [token]


def test_cache_is_bounded(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_tokens, "MAX_CACHED", 3)
    issued = [signer.issue(USER, ACCOUNT, SESSION, NOW) for _ in range(5)]
    for token in issued:
        signer.verify(token, NOW)
    assert list(signer._verified) == issued[-3:]
    assert signer.verify(issued[0], NOW).user_id == USER, "no longer cached, but valid"


def test_cached_token_is_verified_in_microseconds(signer: Signer) -> None:
    """About 0.3 µs; a signature check takes a hundred times that."""
    token = signer.issue(USER, ACCOUNT, SESSION, NOW)
    signer.verify(token, NOW)
    copies = [token.encode().decode() for _ in range(10_000)]  # as each request makes its own
    begun = time.process_time()
    for copy in copies:
        signer.verify(copy, NOW)
    assert (time.process_time() - begun) / len(copies) < 5e-6


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
