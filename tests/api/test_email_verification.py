"""Verification of e-mail addresses, and what an unverified one can't do where it is required."""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.api.assertions import problem
from tests.api.operators import operator
from tests.api.second_factors import post as post_anonymously
from tests.api.test_password_reset import TOKEN as RESET_TOKEN
from tests.api.test_password_reset import give_token as give_reset_token
from tests.api.test_password_reset import reset
from tests.api_process import PASSWORD, Api, User, running_api

TOKEN: Final = "v" * 43
SMTP: Final = {
    "FINPAY_SMTP_URL": "smtp://127.0.0.1:1",  # the worker sends, and none runs here
    "FINPAY_MAIL_FROM": "no-reply@pay.example",
    "FINPAY_PUBLIC_URL": "https://pay.example",
}


@pytest.fixture(scope="module")
def strict_api(api: Api, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """On the database of `api`, with mails and FINPAY_REQUIRE_VERIFIED_EMAIL."""
    settings = {**SMTP, "FINPAY_REQUIRE_VERIFIED_EMAIL": "true"}
    folder = tmp_path_factory.mktemp("verified")
    with running_api(folder, api.database_url, redis_url, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def mailing_api(
    api: Api, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Api]:
    """With mails alone."""
    folder = tmp_path_factory.mktemp("mailing")
    with running_api(folder, api.database_url, redis_url, **SMTP) as running:
        yield running


def give_token(api: Api, user: User) -> None:
    """As the worker does when it sends the mail."""
    api.sql(
        "INSERT INTO mail.tokens (hash, user_id, kind, expires_at)"
        " VALUES ($1, $2, 'email_verification', clock_timestamp() + interval '24 hours')"
        " ON CONFLICT (hash) DO UPDATE SET user_id = excluded.user_id, used_at = NULL,"
        " expires_at = excluded.expires_at",
        hashlib.sha256(TOKEN.encode()).digest(),
        user.uuid,
    )


def verify(api: Api, token: str = TOKEN) -> Any:
    return post_anonymously(api, "/auth/email/verify", {"token": token})


def is_verified(user: User) -> bool:
    verified: bool = user.get("/auth/me").json()["email_verified"]
    return verified


def verified_user(api: Api, balance: int = 0) -> User:
    user = api.user(balance)
    give_token(api, user)
    assert verify(api).status == 204
    return user


def mails_of(api: Api, user: User) -> int:
    query = "SELECT count(*) FROM mail.messages WHERE user_id = $1 AND kind = 'email_verification'"
    return int(api.sql(query, user.uuid)[0]["count"])


class TestVerification:
    @pytest.mark.contract("12.6.1")
    def test_a_mail_is_sent_at_most_three_times_an_hour(self, api: Api) -> None:
        user = api.user()
        for expected in (1, 2, 3, 3, 3):
            answer = user.post("/auth/email/verification")
            assert (answer.status, answer.body) == (202, b"")
            assert mails_of(api, user) == expected

    @pytest.mark.contract("12.6.1")
    def test_a_token_works_once(self, api: Api) -> None:
        user = api.user()
        assert not is_verified(user)
        give_token(api, user)
        assert verify(api).status == 204
        assert is_verified(user)
        problem(verify(api), 401, "token_invalid")
        assert user.post("/auth/email/verification").status == 202
        assert mails_of(api, user) == 0

    @pytest.mark.contract("12.6.1")
    @pytest.mark.parametrize(("age_h", "status"), [(23, 204), (24, 401)])
    def test_a_token_is_valid_for_a_day(self, api: Api, age_h: int, status: int) -> None:
        user = api.user()
        give_token(api, user)
        api.sql(
            "UPDATE mail.tokens SET expires_at = expires_at - make_interval(hours => $2)"
            " WHERE user_id = $1",
            user.uuid,
            age_h,
        )
        assert verify(api).status == status
        assert is_verified(user) is (status == 204)

    @pytest.mark.contract("12.6.1")
    def test_tokens_are_of_one_kind(self, api: Api) -> None:
        user = api.user()
        give_reset_token(api, user)
        problem(verify(api, RESET_TOKEN), 401, "token_invalid")
        give_token(api, user)
        problem(reset(api, TOKEN), 401, "token_invalid")
        problem(verify(api, "\ud7ff"), 401, "token_invalid")

    @pytest.mark.contract("12.6.1")
    def test_a_reset_of_the_password_verifies_the_address(self, api: Api) -> None:
        user = api.user()
        give_reset_token(api, user)
        assert reset(api, RESET_TOKEN).status == 204
        query = "SELECT email_verified_at IS NOT NULL AS known FROM identity.users WHERE id = $1"
        assert api.sql(query, user.uuid)[0]["known"]


class TestFinding:
    """With FINPAY_SMTP_URL an address belongs to the user who has verified it."""

    @pytest.mark.contract("12.6.2")
    def test_receiver_email_finds_verified_users_alone(self, api: Api, mailing_api: Api) -> None:
        sender, unverified, verified = mailing_api.user(100), api.user(), verified_user(api)
        for number, (user, status) in enumerate(((unverified, 404), (verified, 201))):
            body: dict[str, Any] = {"receiver_email": user.email, "amount": 1}
            dry = sender.post("/transactions?dry_run=true", **body)
            assert (dry.json()["outcome"] == "completed") is (status == 201)
            answer = sender.post("/transactions", f"find-{number}", **body)
            assert answer.status == status, answer.body
            held = sender.post("/holds", f"hold-{number}", **body)
            assert held.status == status
            batch = {"mode": "independent", "transactions": [body]}
            items = sender.post("/transactions/batch", f"batch-{number}", **batch).json()["data"]
            assert (items[0]["status"] == "completed") is (status == 201), items
        assert sender.send(unverified, 1, "by-id").status == 201

    @pytest.mark.contract("12.6.2")
    def test_so_does_the_deposit_of_an_operator(self, api: Api, mailing_api: Api) -> None:
        """Money that has arrived for an address goes to no other person who registered it."""
        boss = operator(api)
        client = mailing_api.client(access_token=boss.token)
        for user, status in ((api.user(), 404), (verified_user(api), 201)):
            reference = f"verified-{user.user_id}"
            answer = client.request(
                "POST",
                "/api/v1/operator/deposits",
                json={"email": user.email, "amount": 1, "reference": reference},
                headers={"X-Idempotency-Key": reference},
            )
            assert answer.status == status, answer.body

    @pytest.mark.contract("12.6.2")
    def test_without_mails_every_address_finds_its_user(self, api: Api) -> None:
        body = {"receiver_email": api.user().email, "amount": 1}
        assert api.user(1).post("/transactions", "without", **body).status == 201

    @pytest.mark.contract("12.6.2")
    def test_a_request_for_payment_waits_for_the_owner_of_its_address(
        self, mailing_api: Api
    ) -> None:
        """The first user who registers an address does not see what is asked of its owner."""
        requester, payer = mailing_api.user(), mailing_api.user(100)
        body: dict[str, Any] = {"amount": 5, "payer_email": payer.email}
        asked = requester.post("/payment_requests", **body).json()["id"]
        path = f"/payment_requests/{asked}"
        problem(payer.get(path), 404, "not_found")
        problem(payer.post(f"{path}/pay", "pay-1"), 404, "not_found")
        problem(payer.post(f"{path}/decline"), 404, "not_found")
        assert payer.get("/payment_requests").json()["data"] == []
        give_token(mailing_api, payer)
        assert verify(mailing_api).status == 204
        assert payer.get(path).json()["direction"] == "received"
        assert len(payer.get("/payment_requests").json()["data"]) == 1
        assert payer.post(f"{path}/pay", "pay-2").status == 201


class TestRequired:
    """FINPAY_REQUIRE_VERIFIED_EMAIL."""

    @pytest.mark.contract("12.6.3")
    def test_an_unverified_user_moves_no_money(self, api: Api, strict_api: Api) -> None:
        user, bob = strict_api.user(1_000), verified_user(api, 1_000)
        by_key = self.posts(user, bob)
        before = user.balance
        for number, (path, body) in enumerate(by_key):
            answer = user.post(path, f"unverified-{number}", **body)
            problem(answer, 403, "email_not_verified")
        batch = {"mode": "independent", "transactions": [by_key[0][1]]}
        items = user.post("/transactions/batch", "unverified", **batch).json()["data"]
        assert items[0]["error"]["code"] == "email_not_verified", items
        dry = user.post("/transactions?dry_run=true", **by_key[0][1]).json()
        assert dry["outcome"] == "email_not_verified"
        assert user.balance == before
        give_token(api, user)
        assert verify(api).status == 204
        for number, (path, body) in enumerate(by_key):
            answer = user.post(path, f"verified-{number}", **body)
            assert answer.status == 201, (path, answer.body)

    def posts(self, user: User, bob: User) -> list[tuple[str, dict[str, Any]]]:
        """One of each kind that moves or reserves money."""
        to_bob = {"receiver_id": bob.account_id, "amount": 10}
        hold = bob.post("/holds", f"of-{user.email}", receiver_id=user.account_id, amount=10)
        sent = bob.send(user, 10, f"to-{user.email}").json()["id"]
        asked = bob.post("/payment_requests", amount=10).json()["id"]
        return [
            ("/transactions", to_bob),
            ("/holds", to_bob),
            ("/withdrawals", {"amount": 10, "destination": {"iban": "DE00"}}),
            (f"/holds/{hold.json()['id']}/capture", {}),
            (f"/transactions/{sent}/refunds", {}),
            (f"/payment_requests/{asked}/pay", {}),
        ]

    @pytest.mark.contract("12.6.3")
    def test_it_comes_after_frozen_and_before_every_other_refusal(self, strict_api: Api) -> None:
        user = strict_api.user(10)
        problem(user.send(user, 1, "self"), 403, "email_not_verified")
        body = {"receiver_email": "unknown-address@example.com", "amount": 1}
        problem(user.post("/transactions", "unknown", **body), 403, "email_not_verified")
        problem(user.send(strict_api.user(), 10**9, "much"), 403, "email_not_verified")
        strict_api.set_status(user, "frozen")
        problem(user.send(user, 1, "frozen"), 403, "account_frozen")

    @pytest.mark.contract("12.6.3")
    def test_an_unverified_user_may_read_receive_and_ask(self, api: Api, strict_api: Api) -> None:
        user = strict_api.user()
        assert verified_user(api, 5).send(user, 5, f"to-{user.email}").status == 201
        assert user.balance == 5
        assert user.post("/payment_requests", amount=1).status == 201

    def test_without_the_setting_an_unverified_user_sends(self, mailing_api: Api) -> None:
        assert mailing_api.user(1).send(mailing_api.user(), 1, "free").status == 201


@pytest.mark.contract("12.5.4")
def test_where_mails_are_sent_the_address_of_a_closed_account_is_free_at_once(
    mailing_api: Api,
) -> None:
    """A new user of it is found by it only once the address is verified."""
    person, payer = mailing_api.user(), mailing_api.user(100)
    give_token(mailing_api, person)
    assert verify(mailing_api).status == 204
    assert person.post("/accounts/close", password=PASSWORD).status == 204
    body = {"email": person.email, "password": PASSWORD}
    made = post_anonymously(mailing_api, "/auth/register", body)
    assert made.status == 201, made.body
    assert made.json()["user"]["email_verified"] is False
    paid = payer.post("/transactions", "to-closed", receiver_email=person.email, amount=1)
    problem(paid, 404, "receiver_not_found")
