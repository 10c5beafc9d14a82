"""Which answer comes first (DESIGN §3.2), pair by pair.

Each route has its faults in the order of the contract, level by level. For every two faults of
different levels a request is sent that has both, and the earlier one has to be the answer.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, NamedTuple

import pytest

from finpay import ids
from tests.api.conftest import Strict
from tests.api.contract import problem
from tests.apis import PASSWORD, User

NOBODY: Final = ids.encode("acc", ids.new_uuid())
_NUMBERS: Final = count(1)


class World(NamedTuple):
    """Who takes part: somebody with money, somebody whose limits are used up, and his ended session.

    That one session is of a user without budget shows that 401 comes before 429.
    """

    strict: Strict
    sender: User
    receiver: User
    exhausted: User
    ended: User
    shut_address: str


@dataclass
class Sent:
    """A request that is right in every way until faults are put into it."""

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
        client = self.world.strict.stranger()
        return client.request(
            self.method, self.path, content=content, headers=self.headers, params=self.query
        )

    def log_in(self, user: User) -> None:
        self.headers["Authorization"] = f"Bearer {user.token}"

    def set(self, name: str, value: object) -> None:
        assert self.members is not None
        self.members[name] = value


class Fault(NamedTuple):
    """What the answer says, and how the fault gets into a request."""

    status: int
    code: str
    spoil: Callable[[Sent], None]

    def __str__(self) -> str:
        return f"{self.status} {self.code}"


def fault(status: int, code: str) -> Callable[[Callable[[Sent], None]], Fault]:
    return lambda spoil: Fault(status, code, spoil)


@fault(404, "not_found")
def unknown_path(sent: Sent) -> None:
    sent.path += "s/nothing"


@fault(405, "method_not_allowed")
def wrong_method(sent: Sent) -> None:
    sent.method = "PATCH"


@fault(401, "unauthenticated")
def no_token(sent: Sent) -> None:
    del sent.headers["Authorization"]


@fault(401, "unauthenticated")
def ended_session(sent: Sent) -> None:
    sent.log_in(sent.world.ended)


@fault(429, "rate_limited")
def no_budget(sent: Sent) -> None:
    sent.log_in(sent.world.exhausted)


@fault(429, "rate_limited")
def no_budget_here(sent: Sent) -> None:
    sent.headers["X-Forwarded-For"] = sent.world.shut_address


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
def no_json(sent: Sent) -> None:
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
    """Found while the JSON is read, which is early."""
    for name in ("description", "email", "refresh_token", "new_password"):
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
    sent.set("receiver_id", NOBODY)


@fault(402, "insufficient_funds")
def too_much(sent: Sent) -> None:
    sent.set("amount", 10**12)


@fault(401, "invalid_credentials")
def nobody_logs_in(sent: Sent) -> None:
    sent.set("email", "nobody@example.com")


@fault(401, "invalid_credentials")
def wrong_password(sent: Sent) -> None:
    sent.set("current_password", "not this one")


@fault(401, "refresh_token_invalid")
def unknown_refresh_token(sent: Sent) -> None:
    sent.set("refresh_token", "not one of ours")


@fault(409, "email_taken")
def email_taken(sent: Sent) -> None:
    sent.set("email", sent.world.receiver.email)


HEAD: Final = [[unknown_path], [wrong_method]]
TOKEN: Final = [*HEAD, [no_token, ended_session], [no_budget]]
ADDRESS: Final = [*HEAD, [no_budget_here]]
BODY: Final = [[too_large], [wrong_type, wrong_charset], [no_json]]
KEY: Final = [[too_large], [wrong_type, wrong_charset], [no_json, no_key, two_keys]]
QUERY: Final = [[bad_cursor], [limit_out_of_range, unknown_parameter]]

ORDER: Final[dict[str, list[list[Fault]]]] = {
    "POST /transactions": [
        *TOKEN, *KEY, [unknown_member, nul_in_text, unknown_parameter],
        [key_of_another_request], [receiver_unknown, too_much],
    ],
    "GET /transactions": [*TOKEN, *QUERY],
    "HEAD /transactions": [*TOKEN, *QUERY],
    "GET /accounts/entries": [*TOKEN, *QUERY],
    "GET /accounts": [*TOKEN, [unknown_parameter]],
    "POST /auth/password": [*TOKEN, *BODY, [common_password, nul_in_text], [wrong_password]],
    "POST /auth/logout": [*TOKEN, [too_large]],
    "POST /auth/login": [*ADDRESS, *BODY, [unknown_member, nul_in_text], [nobody_logs_in]],
    "POST /auth/register": [*ADDRESS, *BODY, [unknown_member, nul_in_text], [email_taken]],
    "POST /auth/refresh": [*ADDRESS, *BODY, [unknown_member, nul_in_text], [unknown_refresh_token]],
}  # fmt: skip


def right(world: World, route: str) -> Sent:
    """A request on this route that nothing is wrong with; a login comes from a fresh address."""
    method, _, path = route.partition(" ")
    number = next(_NUMBERS)
    sent = Sent(world, method, f"/api/v1{path}")
    sent.headers["X-Forwarded-For"] = f"198.19.{number // 250}.{number % 250}"
    sent.log_in(world.sender)
    bodies: dict[str, dict[str, Any]] = {
        "POST /transactions": {
            "receiver_id": world.receiver.account_id, "amount": 1, "description": "",
        },
        "POST /auth/password": {"current_password": PASSWORD, "new_password": "another one"},
        "POST /auth/logout": {},
        "POST /auth/login": {"email": world.receiver.email, "password": PASSWORD},
        "POST /auth/register": {"email": f"order{number}@example.com", "password": PASSWORD},
        "POST /auth/refresh": {"refresh_token": world.receiver.client.refresh_token},
    }  # fmt: skip
    sent.members = bodies.get(route)
    if sent.members is not None:
        sent.headers["Content-Type"] = "application/json"
    if route == "POST /transactions":
        sent.headers["X-Idempotency-Key"] = f"order-{number}"
    return sent


@pytest.fixture(scope="module")
def world(strict: Strict) -> World:
    exhausted, receiver = strict.user(), strict.made_by.user()
    ended = strict.another_login(exhausted)
    ended.client.logout()
    for _ in range(99):
        exhausted.get("/auth/me")
    assert exhausted.get("/auth/me").status == 429
    shut = strict.from_address("198.18.255.1")
    while shut("/auth/refresh").status != 429:
        pass
    sender = strict.user()
    return World(strict, sender, receiver, exhausted, ended, "198.18.255.1")


def later_than(route: str, level: int) -> Iterator[Fault]:
    for faults in ORDER[route][level + 1 :]:
        yield from faults


FIRST: Final = [
    pytest.param(route, level, earlier, id=f"{route}: {earlier}")
    for route, levels in ORDER.items()
    for level, faults in enumerate(levels)
    for earlier in faults
]


@pytest.mark.parametrize(("route", "level", "earlier"), FIRST)
def test_the_earlier_answer_wins(world: World, route: str, level: int, earlier: Fault) -> None:
    world = fresh(world, route)
    alone = right(world, route)
    earlier.spoil(alone)
    assert_answers(alone.answer(), earlier, alone.method)
    for later in later_than(route, level):
        sent = right(world, route)
        later.spoil(sent)
        earlier.spoil(sent)
        assert_answers(sent.answer(), earlier, sent.method)


def assert_answers(answer: Any, expected: Fault, method: str) -> None:
    if method == "HEAD":
        assert (answer.status, answer.body) == (expected.status, b"")
    else:
        problem(answer, expected.status, expected.code)


def fresh(world: World, route: str) -> World:
    """With a sender whose budget for money is whole, and who used a key once."""
    if route != "POST /transactions":
        return world
    world = world._replace(sender=world.strict.user(10))
    first = world.sender.send(world.receiver, 1, "used", description="the first")
    assert first.status == 201
    return world
