"""Forged access tokens, over HTTP: only unexpired tokens of active sessions are accepted.

Every forgery is one change to a valid token, so that it can't be refused for another reason.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from finpay import ids
from finpay.settings import DEVELOPMENT_SECRET
from tests.api.conftest import Strict
from tests.api.rate_limit_headers import parse_report
from tests.api_process import Api, User

HEADER: Final = {"alg": "HS256", "typ": "at+jwt"}
OTHER_SECRET: Final = "another-secret-of-thirty-two-bytes-or-more"
PUBLIC_KEY: Final = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def read(token: str, part: int) -> dict[str, Any]:
    text = token.split(".")[part]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims


def forged(
    token: str,
    changed: Mapping[str, Any] | None = None,
    *,
    secret: str = DEVELOPMENT_SECRET,
    digest: Callable[..., Any] = hashlib.sha256,
    header: Mapping[str, Any] = HEADER,
) -> str:
    """`token` with changed claims (None removes one), signed with `secret` and `digest`."""
    claims = {**read(token, 1), **(changed or {})}
    changed_claims = {name: value for name, value in claims.items() if value is not None}
    head = base64url(json.dumps(header).encode())
    text = f"{head}.{base64url(json.dumps(changed_claims).encode())}"
    return f"{text}.{base64url(hmac.new(secret.encode(), text.encode(), digest).digest())}"


def asked(api: Api, authorization: str | bytes | None) -> Any:
    """GET /auth/me with this Authorization header, or with none."""
    headers: dict[str, Any] = {} if authorization is None else {"Authorization": authorization}
    return api.client().request("GET", "/api/v1/auth/me", headers=headers)


def assert_refused(answer: Any) -> None:
    assert answer.status == 401, answer.body
    assert answer.json()["code"] == "unauthenticated"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert "RateLimit" not in answer.headers
    assert "RateLimit-Policy" not in answer.headers


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(1_000)


def test_a_token_forged_without_a_fault_passes(api: Api, alice: User) -> None:
    """The measure of all others: without it, each refusal below might have another cause."""
    answer = asked(api, f"Bearer {forged(alice.token)}")
    assert (answer.status, answer.json()["id"]) == (200, alice.user_id)


def other_header(**more: Any) -> Callable[[str], str]:
    return lambda token: forged(token, header={**HEADER, **more})


def other_claim(**changed: Any) -> Callable[[str], str]:
    return lambda token: forged(token, changed)


def unsigned(alg: str) -> Callable[[str], str]:
    def strip(token: str) -> str:
        head = base64url(json.dumps({**HEADER, "alg": alg}).encode())
        return f"{head}.{token.split('.')[1]}."

    return strip


def in_s(name: str, seconds: int) -> Callable[[str], str]:
    return lambda token: forged(token, {name: int(time.time()) + seconds})


def named(prefix: ids.Prefix) -> str:
    return ids.encode(prefix, ids.new_uuid())


FORGERIES: Final[dict[str, Callable[[str], str]]] = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "alg nOnE, signed": other_header(alg="nOnE"),
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "two parts": lambda token: token.rpartition(".")[0],
    "four parts": lambda token: f"{token}.{token.rpartition('.')[2]}",
    "RS256, signed with a public key": lambda token: forged(
        token, header={**HEADER, "alg": "RS256"}, secret=PUBLIC_KEY
    ),
    "HS256, signed with a public key": lambda token: forged(token, secret=PUBLIC_KEY),
    "RS256 with our secret": other_header(alg="RS256"),
    "HS512": lambda token: forged(token, header={**HEADER, "alg": "HS512"}, digest=hashlib.sha512),
    "another key": lambda token: forged(token, secret=OTHER_SECRET),
    "an empty key": lambda token: forged(token, secret=""),
    "typ JWT": other_header(typ="JWT"),
    "typ of a refresh token": other_header(typ="rt+jwt"),
    "no typ": lambda token: forged(token, header={"alg": "HS256"}),
    "kid is a path": other_header(kid="../../../../../../dev/null"),
    "kid is SQL": other_header(kid="x' UNION SELECT 'secret' --"),
    "kid is a path, empty key": lambda token: forged(
        token, header={**HEADER, "kid": "../../../../../../dev/null"}, secret=""
    ),
    "jku": other_header(jku="http://127.0.0.1:9/keys.json"),
    "jwk": other_header(jwk={"kty": "oct", "k": base64url(OTHER_SECRET.encode())}),
    "x5u": other_header(x5u="http://127.0.0.1:9/cert.pem"),
    "crit": other_header(crit=["exp"]),
    "other audience": other_claim(aud="another-api"),
    "audience list": other_claim(aud=["finpay-api"]),
    "no audience": other_claim(aud=None),
    "other issuer": other_claim(iss="evil"),
    "no issuer": other_claim(iss=None),
    "expired": in_s("exp", -1),
    "expires this second": in_s("exp", 0),
    "no end": other_claim(exp=None),
    "end is a text": other_claim(exp="9999999999"),
    "not before tomorrow": in_s("nbf", 86_400),
    "issued tomorrow": in_s("iat", 86_400),
    "no session": other_claim(sid=None),
    "another session": other_claim(sid=named("ses")),
    "session is an account": other_claim(sid=named("acc")),
    "session is SQL": other_claim(sid="ses_' OR '1'='1"),
    "another user": other_claim(sub=named("usr")),
    "user is a number": other_claim(sub=1),
    "no user": other_claim(sub=None),
    "no account": other_claim(acc=None),
}


@pytest.mark.contract("1.6.1")
@pytest.mark.parametrize("fault", FORGERIES)
def test_a_forged_token_is_refused(api: Api, alice: User, fault: str) -> None:
    forgery = FORGERIES[fault](alice.token)
    assert_refused(asked(api, f"Bearer {forgery}"))
    sent = api.client(access_token=forgery).request(
        "POST",
        "/api/v1/transactions",
        json={"receiver_id": alice.account_id, "amount": 1},
        headers={"X-Idempotency-Key": "forged"},
    )
    assert_refused(sent)


def test_the_session_of_one_user_is_refused_for_another(api: Api, alice: User) -> None:
    """Even when Redis has markers of both sessions: a marker belongs to one user."""
    mallory = api.user()
    assert alice.get("/auth/me").status == mallory.get("/auth/me").status == 200
    mixed = forged(mallory.token, {"sub": alice.user_id, "acc": alice.account_id})
    assert_refused(asked(api, f"Bearer {mixed}"))


def test_the_token_of_a_missing_user_is_refused(api: Api, alice: User) -> None:
    """FinPay deletes no users, but after the restore of an older backup such tokens exist."""
    gone = {
        "sub": ids.encode("usr", ids.new_uuid()),
        "acc": ids.encode("acc", ids.new_uuid()),
        "sid": ids.encode("ses", ids.new_uuid()),
    }
    assert_refused(asked(api, f"Bearer {forged(alice.token, gone)}"))


def test_every_changed_character_is_refused(api: Api, alice: User) -> None:
    """One bit of each character, and every bit of the last ones, which many decoders ignore."""
    token = alice.token
    flips = [(at, 1) for at in range(len(token))]
    flips += [(at, 1 << bit) for at in range(len(token) - 3, len(token)) for bit in range(1, 7)]
    client = api.client()
    for at, bit in flips:
        character = chr(ord(token[at]) ^ bit)
        if not character.isprintable() or character.isspace():
            continue  # a header can't contain it
        changed = token[:at] + character + token[at + 1 :]
        headers = {"Authorization": f"Bearer {changed}"}
        answer = client.request("GET", "/api/v1/auth/me", headers=headers)
        assert answer.status == 401, (at, bit, character)


@pytest.mark.parametrize("junk", ["!", "=", "==", ".", "%00", " x", ",", "é", '"'])
@pytest.mark.parametrize("offset", [-44, -20, None], ids=["before", "within", "behind"])
def test_an_added_character_is_refused(
    api: Api, alice: User, junk: str, offset: int | None
) -> None:
    token = alice.token
    at = len(token) + (offset or 0)
    changed = f"Bearer {token[:at]}{junk}{token[at:]}".encode("latin-1")
    assert_refused(asked(api, changed))


ODD_SCHEMES: Final = [
    None,
    "",
    "Bearer",
    "Basic YWxpY2U6cGFzc3dvcmQ=",
    "Basic {token}",
    "Token {token}",
    "{token}",
    "Bearer{token}",
    "Bearer:{token}",
    "Bearer, {token}",
    "Bearer {token}, Bearer {token}",
    "Bearer Bearer {token}",
    "Digest username={token}",
    "Bearer {refresh_token}",
    "Bearer null",
    "Bearer e30.e30.e30",
    "Bearer " + "x" * 8_000,
]


@pytest.mark.parametrize("text", ODD_SCHEMES, ids=repr)
def test_other_authorization_headers_are_refused(api: Api, alice: User, text: str | None) -> None:
    if text is not None:
        text = text.replace("{token}", alice.token)
        text = text.replace("{refresh_token}", str(alice.client.refresh_token))
    assert_refused(asked(api, text))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_case_insensitive(api: Api, alice: User, scheme: str) -> None:
    assert asked(api, f"{scheme} {alice.token}").status == 200


def test_two_authorization_headers_are_refused(api: Api, alice: User) -> None:
    pairs = [("Authorization", f"Bearer {alice.token}")] * 2
    api.client()
    answer = api.connections[-1].get(f"{api.url}/api/v1/auth/me", headers=pairs)
    assert answer.status_code == 401


@pytest.mark.contract("1.6.1")
def test_a_refused_token_is_not_counted(strict: Strict, address: str) -> None:
    """Neither for the user that it names nor for the client's address."""
    user = strict.user()
    before = parse_report(user.get("/auth/me"))["global"].left
    for authorization in (
        forged(user.token, {"exp": 1}),
        forged(user.token, secret=OTHER_SECRET),
        "x",
    ):
        headers = {"Authorization": f"Bearer {authorization}", "X-Forwarded-For": address}
        assert_refused(strict.anonymous_client().request("GET", "/api/v1/auth/me", headers=headers))
    assert parse_report(user.get("/auth/me"))["global"].left == before - 1
    unknown = strict.from_address(address)("/auth/refresh", refresh_token="x")
    assert parse_report(unknown)["global"].left == 99
