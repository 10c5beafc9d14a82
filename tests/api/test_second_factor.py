"""The second factor over HTTP: setting it up, codes that work once, and challenges of logins."""

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from finpay.identity.second_factor import MAX_FAILURES
from tests.api.assertions import invalid, problem
from tests.api.conftest import Strict
from tests.api.second_factors import Guarded, code_at, guarded, login, post, wrong_code
from tests.api.test_password_reset import NEW, TOKEN, give_token, reset
from tests.api.test_sessions import is_accepted
from tests.api_process import PASSWORD, Api, User


@pytest.fixture
def alice(api: Api) -> Guarded:
    return guarded(api)


def claims(token: str | None) -> Any:
    assert token is not None
    payload = token.split(".")[1]
    return json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def mails_of(api: Api, user: User, kind: str) -> int:
    query = "SELECT count(*) FROM mail.messages WHERE user_id = $1 AND kind = $2"
    return int(api.sql(query, user.uuid, kind)[0]["count"])


@pytest.mark.contract("12.7.1")
def test_setting_it_up_needs_the_password_and_shows_the_secret(api: Api) -> None:
    user = api.user()
    refused = user.post("/auth/second_factor", password="wrong")
    problem(refused, 401, "invalid_credentials")
    members = user.post("/auth/second_factor", password=PASSWORD).json()
    assert list(members) == ["secret", "otpauth_url"]
    url = urlsplit(members["otpauth_url"])
    assert (url.scheme, url.netloc) == ("otpauth", "totp")
    assert parse_qs(url.query) == {"secret": [members["secret"]], "issuer": ["FinPay"]}


@pytest.mark.contract("12.7.1")
def test_it_has_no_effect_before_a_code_was_confirmed(api: Api) -> None:
    user = api.user()
    secret = user.post("/auth/second_factor", password=PASSWORD).json()["secret"]
    assert login(api, user.email).status == 200
    refused = user.post("/auth/second_factor/confirm", code=wrong_code(secret))
    problem(refused, 401, "second_factor_invalid")
    assert login(api, user.email).status == 200
    newer = user.post("/auth/second_factor", password=PASSWORD).json()["secret"]
    refused = user.post("/auth/second_factor/confirm", code=code_at(secret))
    problem(refused, 401, "second_factor_invalid")
    assert user.post("/auth/second_factor/confirm", code=code_at(newer)).status == 200


@pytest.mark.contract("12.7.1")
def test_it_is_set_up_and_confirmed_once(api: Api, alice: Guarded) -> None:
    codes = alice.recovery_codes
    assert len(set(codes)) == 10
    second = alice.user.post("/auth/second_factor", password=PASSWORD)
    problem(second, 422, "validation_failed")
    for user in (alice.user, api.user()):
        confirmed = user.post("/auth/second_factor/confirm", code=alice.code())
        problem(confirmed, 422, "validation_failed")


@pytest.mark.contract("12.7.2")
def test_a_login_needs_a_code(alice: Guarded) -> None:
    answer = login(alice.api, alice.user.email)
    assert answer.json()["code"] == "second_factor_required", answer.body
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="finpay"'
    assert not answer.json().keys() & {"access_token", "refresh_token", "user"}
    done = alice.complete(alice.code(), answer.json()["challenge"])
    assert done.status == 200
    assert list(done.json()) == list(login(alice.api, alice.api.user().email).json())
    assert is_accepted(alice.api, done.json()["access_token"])
    wrong = login(alice.api, alice.user.email, "wrong password")
    problem(wrong, 401, "invalid_credentials")


@pytest.mark.contract("12.7.2")
def test_a_challenge_is_for_one_login(alice: Guarded) -> None:
    challenge = alice.challenge()
    assert alice.complete(alice.code(), challenge).status == 200
    for invalid_one in (challenge, "x", "\ud7ff"):
        problem(alice.complete(alice.code(), invalid_one), 401, "challenge_invalid")


@pytest.mark.contract("12.7.2")
def test_a_challenge_is_valid_for_five_minutes(alice: Guarded) -> None:
    for age_s, status in ((290, 200), (301, 401)):
        challenge = alice.challenge()
        alice.api.sql(
            "UPDATE identity.login_challenges SET expires_at = expires_at"
            " - make_interval(secs => $2) WHERE user_id = $1",
            alice.user.uuid,
            age_s,
        )
        assert alice.complete(alice.code(), challenge).status == status


@pytest.mark.contract("12.7.2")
def test_a_challenge_ends_with_its_fifth_failure(alice: Guarded) -> None:
    challenge = alice.challenge()
    for _ in range(MAX_FAILURES - 1):
        refused = alice.complete(wrong_code(alice.secret), challenge)
        problem(refused, 401, "second_factor_invalid")
    other = alice.challenge()
    problem(alice.complete("no such recovery code", challenge), 401, "second_factor_invalid")
    problem(alice.complete(alice.code(), challenge), 401, "challenge_invalid")
    assert alice.complete(alice.code(), other).status == 200


@pytest.mark.contract("12.7.2")
@pytest.mark.parametrize("through", ["change", "reset"])
def test_a_challenge_ends_with_the_password_that_made_it(alice: Guarded, through: str) -> None:
    challenge = alice.challenge()
    if through == "change":
        body = {"current_password": PASSWORD, "new_password": NEW}
        assert alice.user.post("/auth/password", **body).status == 200
    else:
        give_token(alice.api, alice.user)
        assert reset(alice.api, TOKEN).status == 204
    problem(alice.complete(alice.code(), challenge), 401, "challenge_invalid")


@pytest.mark.contract("12.7.3")
def test_a_code_works_once_under_fifty_concurrent_tries(alice: Guarded) -> None:
    """Each with a challenge of its own: PostgreSQL decides who used the code."""
    challenges = [alice.challenge() for _ in range(50)]
    code = alice.code()
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda each: alice.complete(code, each), challenges))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 49
    codes = {answer.json()["code"] for answer in answers if answer.status == 401}
    assert codes == {"second_factor_invalid"}


@pytest.mark.contract("12.7.3")
def test_one_challenge_and_one_code_make_one_session(alice: Guarded) -> None:
    challenge, code = alice.challenge(), alice.code()
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: alice.complete(code, challenge), range(16)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 15


@pytest.mark.contract("12.7.3")
def test_codes_of_the_steps_around_now_work_in_their_order_alone(alice: Guarded) -> None:
    earlier, later = code_at(alice.secret, -30), code_at(alice.secret, 30)
    alice.code()
    assert alice.complete(later).status == 200
    for older in (earlier, code_at(alice.secret)):
        problem(alice.complete(older), 401, "second_factor_invalid")
    alice.code()
    problem(alice.complete(code_at(alice.secret, -120)), 401, "second_factor_invalid")


@pytest.mark.contract("12.7.3")
def test_each_recovery_code_works_once_in_any_spelling(alice: Guarded) -> None:
    spellings: list[Callable[[str], str]] = [str, str.lower, lambda code: code.replace("-", " ")]
    for code, spell in zip(alice.recovery_codes, spellings, strict=False):
        assert alice.complete(spell(code)).status == 200
        problem(alice.complete(code), 401, "second_factor_invalid")
    problem(alice.complete(alice.recovery_codes[4][:-1]), 401, "second_factor_invalid")


@pytest.mark.contract("12.7.3")
def test_recovery_codes_are_stored_as_hashes(alice: Guarded) -> None:
    rows = alice.api.sql("SELECT to_json(r)::text AS r FROM identity.recovery_codes r")
    stored = "".join(row["r"] for row in rows)
    for code in alice.recovery_codes:
        assert code not in stored
        assert code.replace("-", "") not in stored


@pytest.mark.contract("12.7.4")
def test_switching_it_on_ends_the_other_sessions(strict: Strict) -> None:
    user = strict.user()
    other = strict.another_login(user)
    secret = user.post("/auth/second_factor", password=PASSWORD).json()["secret"]
    assert user.post("/auth/second_factor/confirm", code=code_at(secret)).status == 200
    strict.redis.flushall()
    assert not is_accepted(strict.api, other.token)
    assert is_accepted(strict.api, user.token)
    assert claims(user.token)["factor"] is False
    user.client.refresh()
    assert claims(user.client.access_token)["factor"] is True


@pytest.mark.contract("12.7.4")
def test_switching_it_off_needs_password_and_code_and_ends_all_sessions(alice: Guarded) -> None:
    user, completed = alice.user, alice.complete(alice.code()).json()
    assert claims(completed["access_token"])["factor"] is True
    wrong = user.post("/auth/second_factor/disable", password="wrong", code=alice.code())
    problem(wrong, 401, "invalid_credentials")
    wrong = user.post(
        "/auth/second_factor/disable", password=PASSWORD, code=wrong_code(alice.secret)
    )
    problem(wrong, 401, "second_factor_invalid")
    off = user.post("/auth/second_factor/disable", password=PASSWORD, code=alice.code())
    assert off.status == 204
    for token in (user.token, completed["access_token"]):
        assert not is_accepted(alice.api, token)
    later = login(alice.api, user.email)
    assert claims(later.json()["access_token"])["factor"] is False
    assert mails_of(alice.api, user, "second_factor_disabled") == 1
    reasons = alice.api.sql(
        "SELECT DISTINCT end_reason FROM identity.sessions WHERE user_id = $1"
        " AND ended_at IS NOT NULL", user.uuid)  # fmt: skip
    assert [row["end_reason"] for row in reasons] == ["second_factor_changed"]


@pytest.mark.contract("12.7.4")
def test_it_is_off_where_it_was_never_on(api: Api) -> None:
    off = api.user().post("/auth/second_factor/disable", password=PASSWORD, code="123456")
    problem(off, 422, "validation_failed")


@pytest.mark.contract("12.7.5")
def test_an_api_key_needs_a_code(api: Api, alice: Guarded) -> None:
    body: dict[str, Any] = {"name": "server", "scopes": ["account:read"], "password": PASSWORD}
    problem(alice.user.post("/api_keys", **body), 401, "second_factor_required")
    wrong = alice.user.post("/api_keys", **body, code=wrong_code(alice.secret))
    problem(wrong, 401, "second_factor_invalid")
    code = alice.code()
    assert alice.user.post("/api_keys", **body, code=code).status == 201
    problem(alice.user.post("/api_keys", **body, code=code), 401, "second_factor_invalid")
    assert api.user().post("/api_keys", **body, code="ignored").status == 201


@pytest.mark.contract("12.7.6")
def test_a_forgotten_password_leaves_it_on(alice: Guarded) -> None:
    give_token(alice.api, alice.user)
    assert reset(alice.api, TOKEN).status == 204
    answer = login(alice.api, alice.user.email, NEW)
    challenge = answer.json()["challenge"]
    assert alice.complete(alice.code(), challenge).status == 200


@pytest.mark.contract("12.7.7")
def test_no_secret_is_in_logs_events_or_audit(alice: Guarded) -> None:
    code, challenge = alice.code(), alice.challenge()
    done = alice.complete(code, challenge).json()
    api = alice.api
    texts = [api.log.read_text("utf-8")]
    for table in ("audit.log", "outbox.events", "mail.messages"):
        texts += [row["r"] for row in api.sql(f"SELECT to_json(r)::text AS r FROM {table} r")]
    secrets = [alice.secret, challenge, done["access_token"], *alice.recovery_codes]
    for text in texts:
        assert not [secret for secret in secrets if secret in text]


@pytest.mark.contract("12.7.1", "12.7.2")
def test_members_of_the_wrong_shape_are_refused(alice: Guarded) -> None:
    for path, body, pointer in (
        ("/auth/second_factor", {"password": 1}, "#/password"),
        ("/auth/second_factor/confirm", {"code": 123456}, "#/code"),
        ("/auth/second_factor/disable", {"password": "x"}, "#/code"),
    ):
        invalid(alice.user.post(path, **body), pointer)
    for body in ({"challenge": "x"}, {"challenge": "x", "code": ""}):
        invalid(post(alice.api, "/auth/login/second_factor", body), "#/code")
