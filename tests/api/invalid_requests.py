"""Requests with one or more faults, to test which fault the answer names."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from finpay import ids
from tests.api.conftest import Strict
from tests.api_process import User

UNKNOWN_ACCOUNT: Final = ids.encode("acc", ids.new_uuid())


class World(NamedTuple):
    """The users and the address that requests use.

    `operator` has the role. `narrow_key` is an API key with the scope events:read alone.
    `ended_token` is of a session of `exhausted` that has ended: it shows that 401 comes before 429.
    """

    strict: Strict
    sender: User
    receiver: User
    exhausted: User
    ended_token: str
    exhausted_address: str
    narrow_key: str
    operator: User


@dataclass
class Sent:
    """A valid request, until faults are put into it."""

    world: World
    method: str
    path: str
    members: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    query: list[tuple[str, str]] = field(default_factory=list)
    suffix: bytes = b""

    def answer(self) -> Any:
        content = None
        if self.members is not None:
            content = json.dumps(self.members).encode() + self.suffix
        client = self.world.strict.anonymous_client()
        return client.request(
            self.method, self.path, content=content, headers=self.headers, params=self.query
        )

    def log_in(self, token: str) -> None:
        self.headers["Authorization"] = f"Bearer {token}"

    def set(self, name: str, value: object) -> None:
        assert self.members is not None
        self.members[name] = value


class Fault(NamedTuple):
    """The answer to a fault, and the function that puts the fault into a request."""

    status: int
    code: str
    apply: Callable[[Sent], None]

    def __str__(self) -> str:
        return f"{self.status} {self.code}"


def fault(status: int, code: str) -> Callable[[Callable[[Sent], None]], Fault]:
    return lambda apply: Fault(status, code, apply)


@fault(404, "not_found")
def unknown_path(sent: Sent) -> None:
    sent.path += "s/nothing"


@fault(405, "method_not_allowed")
def wrong_method(sent: Sent) -> None:
    sent.method = "PUT"


@fault(401, "unauthenticated")
def no_token(sent: Sent) -> None:
    del sent.headers["Authorization"]


@fault(401, "unauthenticated")
def ended_session(sent: Sent) -> None:
    sent.log_in(sent.world.ended_token)


@fault(429, "rate_limited")
def exhausted_user(sent: Sent) -> None:
    sent.log_in(sent.world.exhausted.token)


@fault(429, "rate_limited")
def exhausted_client_address(sent: Sent) -> None:
    sent.headers["X-Forwarded-For"] = sent.world.exhausted_address


@fault(403, "insufficient_scope")
def key_without_the_scope(sent: Sent) -> None:
    sent.log_in(sent.world.narrow_key)


@fault(403, "forbidden")
def without_the_role(sent: Sent) -> None:
    sent.log_in(sent.world.receiver.token)


@fault(403, "forbidden")
def key_instead_of_a_session(sent: Sent) -> None:
    sent.log_in(sent.world.narrow_key)


@fault(413, "body_too_large")
def too_large(sent: Sent) -> None:
    sent.suffix += b" " * 65_536


@fault(415, "unsupported_media_type")
def wrong_type(sent: Sent) -> None:
    sent.headers["Content-Type"] = "text/plain"


@fault(415, "unsupported_media_type")
def wrong_charset(sent: Sent) -> None:
    sent.headers["Content-Type"] = "application/json; charset=latin-1"


@fault(400, "malformed_json")
def malformed_json(sent: Sent) -> None:
    sent.suffix += b"}"


@fault(400, "idempotency_key_missing")
def no_key(sent: Sent) -> None:
    del sent.headers["X-Idempotency-Key"]


@fault(400, "idempotency_key_invalid")
def two_keys(sent: Sent) -> None:
    sent.headers["Idempotency-Key"] = "another"


@fault(422, "validation_failed")
def unknown_member(sent: Sent) -> None:
    sent.set("surprise", 1)


@fault(422, "validation_failed")
def nul_in_text(sent: Sent) -> None:
    """Found by the check of texts, before the schema."""
    for name in ("description", "email", "refresh_token", "new_password", "name"):
        if name in (sent.members or {}):
            sent.set(name, "a\0b")


@fault(422, "validation_failed")
def common_password(sent: Sent) -> None:
    sent.set("new_password", "password123")


@fault(422, "validation_failed")
def unknown_parameter(sent: Sent) -> None:
    sent.query.append(("surprise", "1"))


@fault(422, "validation_failed")
def limit_out_of_range(sent: Sent) -> None:
    sent.query.append(("limit", "0"))


@fault(400, "cursor_invalid")
def bad_cursor(sent: Sent) -> None:
    sent.query.append(("cursor", "AAAA"))


@fault(422, "idempotency_key_reuse")
def key_of_another_request(sent: Sent) -> None:
    sent.headers["X-Idempotency-Key"] = "used"


@fault(404, "receiver_not_found")
def receiver_unknown(sent: Sent) -> None:
    sent.set("receiver_id", UNKNOWN_ACCOUNT)


@fault(402, "insufficient_funds")
def amount_over_balance(sent: Sent) -> None:
    sent.set("amount", 10**12)


@fault(401, "invalid_credentials")
def unknown_email(sent: Sent) -> None:
    sent.set("email", "nobody@example.com")


@fault(401, "invalid_credentials")
def wrong_password(sent: Sent) -> None:
    sent.set("current_password", "not this one")


@fault(401, "invalid_credentials")
def wrong_key_password(sent: Sent) -> None:
    sent.set("password", "a wrong guess")


@fault(401, "refresh_token_invalid")
def unknown_refresh_token(sent: Sent) -> None:
    sent.set("refresh_token", "not one of ours")


@fault(409, "email_taken")
def email_taken(sent: Sent) -> None:
    sent.set("email", sent.world.receiver.email)
