"""Registration and login, and that they reveal no secret and no registered e-mail address."""

import re
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from tests.api.assertions import ID, TIME, invalid, problem
from tests.api.conftest import Strict
from tests.api_process import PASSWORD, Api, User

TOKEN_MEMBERS: Final = ["access_token", "token_type", "expires_in", "refresh_token"]
USER_MEMBERS: Final = ["id", "object", "email", "name", "email_verified", "created_at"]
ACCOUNT_MEMBERS: Final = [
    *("id", "object", "balance", "available", "held"),
    *("currency", "status", "version", "limits", "created_at"),
]


def ask(api: Api, path: str, **body: object) -> Any:
    return api.client().request("POST", f"/api/v1/auth/{path}", json=body)


def assert_logged_in(api: Api, answer: Any, status: int) -> Any:
    """Checks all members, and that the tokens are valid."""
    assert answer.status == status, answer.body
    assert answer.headers["Cache-Control"] == "no-store"
    members = answer.json()
    assert list(members) == ["user", "account", *TOKEN_MEMBERS]
    assert list(members["user"]) == USER_MEMBERS
    assert list(members["account"]) == ACCOUNT_MEMBERS
    assert (members["user"]["object"], members["account"]["object"]) == ("user", "account")
    assert re.fullmatch(f"usr_{ID}", members["user"]["id"])
    assert re.fullmatch(f"acc_{ID}", members["account"]["id"])
    assert re.fullmatch(TIME, members["user"]["created_at"])
    assert (members["token_type"], members["expires_in"]) == ("Bearer", 900)
    client = api.client(access_token=members["access_token"])
    assert client.request("GET", "/api/v1/auth/me").json() == members["user"]
    assert client.request("GET", "/api/v1/accounts").json() == members["account"]
    assert ask(api, "refresh", refresh_token=members["refresh_token"]).status == 200
    return members


@pytest.fixture(scope="module")
def alice(api: Api) -> User:
    return api.user(name="Alice")


class TestRegister:
    @pytest.mark.contract("1.2.1")
    def test_creates_a_user_an_account_and_a_session(self, api: Api) -> None:
        answer = ask(api, "register", email="First.One@Example.COM", password=PASSWORD)
        members = assert_logged_in(api, answer, 201)
        assert members["user"]["email"] == "first.one@example.com"
        assert members["user"]["name"] is None
        account = members["account"]
        assert [account[name] for name in ("balance", "available", "held")] == [0, 0, 0]
        assert (account["currency"], account["status"], account["version"]) == ("ZAR", "active", 0)

    def test_accepts_a_name_and_a_currency(self, api: Api) -> None:
        answer = ask(
            api,
            "register",
            email="two@example.com",
            password="🔑🔒🎈🧲" * 2,
            name="Zoë 😀",
            currency="JPY",
        )
        members = assert_logged_in(api, answer, 201)
        assert (members["user"]["name"], members["account"]["currency"]) == ("Zoë 😀", "JPY")

    @pytest.mark.parametrize(
        "spelling",
        [
            "twice.élan@example.com",
            "TWICE.ÉLAN@EXAMPLE.COM",
            "twice.e\u0301lan@example.com",
            "twice.E\u0301lan@example.com",
            "ｔｗｉｃｅ.élan@example.com",
            "twice.élan＠example.com",
        ],
    )
    def test_refuses_a_registered_email_in_any_form(self, api: Api, spelling: str) -> None:
        ask(api, "register", email="twice.élan@example.com", password=PASSWORD)
        problem(ask(api, "register", email=spelling, password=PASSWORD), 409, "email_taken")
        login = ask(api, "login", email=spelling, password=PASSWORD)
        assert (login.status, login.json()["user"]["email"]) == (200, "twice.élan@example.com")

    @pytest.mark.contract("1.2.1")
    def test_of_concurrent_registrations_of_one_email_one_succeeds(self, api: Api) -> None:
        """Some of the fifty may be answered 503: too many passwords are being hashed."""
        email = "concurrent@example.com"
        spellings = [email, email.upper(), "Concurrent@example.com"]
        with ThreadPoolExecutor(50) as threads:
            answers = list(
                threads.map(
                    lambda at: ask(api, "register", email=spellings[at % 3], password=PASSWORD),
                    range(50),
                )
            )
        codes = Counter(answer.json().get("code", answer.status) for answer in answers)
        assert codes.pop(201) == 1
        assert codes.keys() <= {"email_taken", "overloaded"}, codes
        assert codes["email_taken"] >= 1
        counts = api.sql(
            "SELECT count(DISTINCT u.id) AS users, count(DISTINCT a.id) AS accounts,"
            " count(DISTINCT s.id) AS sessions FROM identity.users u"
            " LEFT JOIN ledger.accounts a ON a.user_id = u.id"
            " LEFT JOIN identity.sessions s ON s.user_id = u.id WHERE u.email = $1",
            email,
        )
        assert [*counts[0]] == [1, 1, 1]

    @pytest.mark.contract("1.1.5")
    @pytest.mark.parametrize(
        ("pointer", "changed"),
        [
            ("#/email", {"email": None}),
            ("#/email", {"email": ""}),
            ("#/email", {"email": "no-at-sign"}),
            ("#/email", {"email": "two@@example.com"}),
            ("#/email", {"email": "a b@example.com"}),
            ("#/email", {"email": "a\u200bb@example.com"}),
            ("#/email", {"email": "nul\0@example.com"}),
            ("#/email", {"email": "\ud800@example.com"}),
            ("#/email", {"email": f"{'a' * 243}@example.com"}),
            ("#/email", {"email": ["a@example.com"]}),
            ("#/password", {"password": "1234567"}),
            ("#/password", {"password": "x" * 129}),
            ("#/password", {"password": 12345678}),
            ("#/password", {"password": "nul\0 in it"}),
            ("#/password", {"password": "password123"}),
            ("#/password", {"password": "PassWord1"}),
            ("#/password", {"password": "qwertyuiop"}),
            ("#/name", {"name": "x" * 101}),
            ("#/name", {"name": "nul\0"}),
            ("#/name", {"name": "\udfff"}),
            ("#/name", {"name": 1}),
            ("#/currency", {"currency": "zar"}),
            ("#/currency", {"currency": "XXZ"}),
            ("#/currency", {"currency": "ZARR"}),
            ("#/currency", {"currency": ""}),
            ("#/admin", {"admin": True}),
            ("#/balance", {"balance": 1000}),
        ],
        ids=str,
    )
    def test_refuses_an_invalid_member_and_creates_nothing(
        self, api: Api, pointer: str, changed: dict[str, Any]
    ) -> None:
        before = api.sql("SELECT count(*) FROM identity.users")
        valid = {"email": "invalid@example.com", "password": PASSWORD}
        invalid(ask(api, "register", **{**valid, **changed}), pointer)
        assert api.sql("SELECT count(*) FROM identity.users") == before

    @pytest.mark.parametrize("missing", ["email", "password"])
    def test_refuses_a_missing_credential(self, api: Api, missing: str) -> None:
        body = {"email": "missing@example.com", "password": PASSWORD}
        del body[missing]
        invalid(ask(api, "register", **body), f"#/{missing}")

    def test_accepts_the_shortest_and_the_longest_values(self, api: Api) -> None:
        """Lengths are counted in characters, not in bytes."""
        email = f"{'é' * 242}@example.com"
        answer = ask(api, "register", email=email, password="üöäß" * 32, name="名" * 100)
        assert answer.status == 201, answer.body
        short = ask(api, "register", email="short@example.com", password="8 chars!", name="")
        assert short.status == 201, short.body


class TestLogin:
    def test_opens_another_session(self, api: Api, alice: User) -> None:
        answer = ask(api, "login", email=alice.email.title(), password=PASSWORD)
        members = assert_logged_in(api, answer, 200)
        assert (members["user"]["id"], members["user"]["name"]) == (alice.user_id, "Alice")
        assert members["account"]["id"] == alice.account_id
        assert alice.get("/auth/me").status == 200

    @pytest.mark.contract("1.2.2")
    @pytest.mark.parametrize("password", ["wrong", f"{PASSWORD} ", PASSWORD.upper(), "x" * 128])
    def test_answers_the_same_for_an_unknown_email_and_a_wrong_password(
        self, api: Api, alice: User, password: str
    ) -> None:
        wrong = ask(api, "login", email=alice.email, password=password)
        unknown = ask(api, "login", email="nobody@example.com", password=password)
        for answer in (wrong, unknown):
            problem(answer, 401, "invalid_credentials")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        problems = [{**answer.json(), "request_id": None} for answer in (wrong, unknown)]
        assert problems[0] == problems[1]
        assert {*wrong.headers} == {*unknown.headers}

    @pytest.mark.contract("1.2.2")
    def test_takes_the_same_time_for_an_unknown_email(self, api: Api, alice: User) -> None:
        """Medians of alternating logins; without the dummy hash they would differ thirtyfold."""
        spent: dict[str, list[float]] = {alice.email: [], "nobody@example.com": []}
        for _ in range(9):
            for email, seconds in spent.items():
                started = time.perf_counter()
                assert ask(api, "login", email=email, password="wrong").status == 401
                seconds.append(time.perf_counter() - started)
        known, unknown = (statistics.median(seconds) for seconds in spent.values())
        assert 0.5 < known / unknown < 2

    @pytest.mark.parametrize(
        ("pointer", "body"),
        [
            ("#/email", {"email": "nonsense", "password": PASSWORD}),
            ("#/email", {"password": PASSWORD}),
            ("#/password", {"email": "a@example.com"}),
            ("#/password", {"email": "a@example.com", "password": None}),
            ("#/password", {"email": "a@example.com", "password": "x" * 129}),
            ("#/otp", {"email": "a@example.com", "password": PASSWORD, "otp": "1"}),
        ],
        ids=str,
    )
    def test_refuses_an_invalid_member(self, api: Api, pointer: str, body: dict[str, Any]) -> None:
        invalid(ask(api, "login", **body), pointer)

    @pytest.mark.contract("1.5.1")
    def test_ignores_an_authorization_header(self, api: Api, alice: User) -> None:
        """Even one that every other route refuses."""
        for authorization in ("Bearer nonsense", "Basic YTpi", ""):
            answer = api.client().request(
                "POST",
                "/api/v1/auth/login",
                json={"email": alice.email, "password": PASSWORD},
                headers={"Authorization": authorization},
            )
            assert answer.status == 200


@pytest.mark.contract("1.2.6")
def test_me_returns_the_user_without_secrets(api: Api, alice: User) -> None:
    me = alice.get("/auth/me")
    assert list(me.json()) == USER_MEMBERS
    assert me.json()["email"] == alice.email
    assert b"argon2" not in me.body


def test_passwords_and_refresh_tokens_are_stored_as_hashes(api: Api, alice: User) -> None:
    rows = api.sql("SELECT password_hash FROM identity.users WHERE email = $1", alice.email)
    assert rows[0]["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert alice.client.refresh_token is not None
    kept = api.sql("SELECT string_agg(t::text, ' ') AS all FROM identity.refresh_tokens t")
    assert alice.client.refresh_token not in kept[0]["all"]


def test_no_secret_and_no_email_is_logged(strict: Strict, address: str) -> None:
    post, email = strict.from_address(address), f"logged-{address}@example.com"
    login = post("/auth/register", email=email, password="a password in no log").json()
    post("/auth/login", email=email, password="another guess at it")
    post("/auth/refresh", refresh_token=login["refresh_token"])
    client = strict.api.client(access_token=login["access_token"])
    marker = "request-that-is-looked-for"
    client.request("GET", f"/api/v1/auth/me?x={email}", headers={"X-Request-Id": marker})
    until = time.monotonic() + 5
    while marker not in (text := strict.api.log.read_text()):
        assert time.monotonic() < until
        time.sleep(0.01)
    for secret in (email, "a password in no log", "another guess", "Bearer", "argon2"):
        assert secret not in text
    for name in ("access_token", "refresh_token"):
        assert login[name] not in text
        assert login[name].rpartition(".")[2] not in text


@pytest.mark.contract("1.2.6")
def test_a_user_may_change_the_name_and_nothing_else(api: Api) -> None:
    user = api.user(name="Alice")
    for name in ("Bob", None, "x" * 100):
        answer = user.client.request("PATCH", "/api/v1/auth/me", json={"name": name})
        assert answer.status == 200
        assert list(answer.json()) == USER_MEMBERS
        assert answer.json()["name"] == name
        assert user.get("/auth/me").json() == answer.json()
    for body, pointer in (
        ({}, "#/name"),
        ({"name": "x" * 101}, "#/name"),
        ({"name": "\u200b"}, "#/name"),
        ({"name": "A", "email": "other@example.com"}, "#/email"),
    ):
        invalid(user.client.request("PATCH", "/api/v1/auth/me", json=body), pointer)
    audited = "SELECT detail FROM audit.log WHERE action = 'user.updated' AND actor_id = $1"
    assert [row["detail"] for row in api.sql(audited, user.uuid)] == [None] * 3
