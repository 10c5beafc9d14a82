"""Rules of the contract for unusual requests."""

from tests.api_process import Api


def test_logout_ignores_a_body_but_refuses_one_that_is_not_json(api: Api) -> None:
    user = api.user()
    answer = user.client.request(
        "POST", "/api/v1/auth/logout", content=b"garbage", headers={"Content-Type": "text/plain"}
    )
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")
    assert user.get("/auth/me").status == 200, "the session is active"


def test_logout_refuses_query_parameters(api: Api) -> None:
    user = api.user()
    answer = user.client.request("POST", "/api/v1/auth/logout?everywhere=1")
    assert (answer.status, answer.json()["errors"][0]["parameter"]) == (422, "everywhere")
    assert user.get("/auth/me").status == 200


def test_the_own_account_is_never_the_counterparty(api: Api) -> None:
    alice, bob = api.user(100), api.user()
    assert alice.send(bob, 1, "one").status == 201
    own = alice.get("/transactions", counterparty_id=alice.account_id).json()
    other = alice.get("/transactions", counterparty_id=bob.account_id).json()
    assert (len(own["data"]), len(other["data"])) == (0, 1)


def test_many_sessions_end_with_one_password_change(api: Api) -> None:
    """A client that logs in very often must not make the password unchangeable."""
    user = api.user()
    api.sql(
        "INSERT INTO identity.sessions (id, user_id, refresh_key) "
        "SELECT gen_random_uuid(), $1, sha256('') FROM generate_series(1, 5000)",
        user.uuid,
    )
    user.client.change_password("correct horse battery", "another horse battery")
    active = api.sql(
        "SELECT FROM identity.sessions WHERE user_id = $1 AND ended_at IS NULL", user.uuid
    )
    assert len(active) == 1
    assert user.get("/auth/me").status == 200
    api.verify()
