"""Users with a second factor, and the codes that their authenticators show."""

import time
from dataclasses import dataclass
from typing import Any

import pyotp

from finpay.client import HttpResponse
from tests.api_process import PASSWORD, Api, User


@dataclass
class Guarded:
    """A user whose logins need a code."""

    api: Api
    user: User
    secret: str
    recovery_codes: list[str]

    def code(self) -> str:
        """The code of now, as if none was used before."""
        query = "UPDATE identity.second_factors SET last_step = 0 WHERE user_id = $1"
        self.api.sql(query, self.user.uuid)
        return code_at(self.secret)

    def challenge(self) -> str:
        """A login with the right password."""
        answer = login(self.api, self.user.email)
        assert answer.status == 401, answer.body
        assert answer.json()["code"] == "second_factor_required"
        challenge: str = answer.json()["challenge"]
        return challenge

    def complete(self, code: str, challenge: str | None = None) -> HttpResponse:
        body = {"challenge": challenge or self.challenge(), "code": code}
        return post(self.api, "/auth/login/second_factor", body)


def guarded(api: Api) -> Guarded:
    """A new user with a second factor."""
    user = api.user()
    secret = user.post("/auth/second_factor", password=PASSWORD).json()["secret"]
    answer = user.post("/auth/second_factor/confirm", code=code_at(secret))
    assert answer.status == 200, answer.body
    return Guarded(api, user, secret, answer.json()["recovery_codes"])


def code_at(secret: str, offset_s: float = 0) -> str:
    return pyotp.TOTP(secret).at(time.time() + offset_s)


def wrong_code(secret: str) -> str:
    """Six digits that are no code of a nearby time."""
    near = {code_at(secret, 30 * step) for step in range(-2, 3)}
    return next(code for code in ("000000", "000001", "000002", "000003", "000004", "000005")
                if code not in near)  # fmt: skip


def post(api: Api, path: str, body: dict[str, Any]) -> HttpResponse:
    """Without a token."""
    answer: HttpResponse = api.client().request("POST", f"/api/v1{path}", json=body)
    return answer


def login(api: Api, email: str, password: str = PASSWORD) -> HttpResponse:
    return post(api, "/auth/login", {"email": email, "password": password})
