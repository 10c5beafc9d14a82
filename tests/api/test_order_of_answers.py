"""The order of errors, pair by pair: of two faults in a request the earlier one is answered.

Each route has its faults in the order of the contract, level by level. For every two faults of
different levels a request is sent that has both, and the earlier one has to be the answer.
"""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import pytest

from finpay import ids
from finpay.db.pool import Database
from finpay.gate import redis_keys
from tests.api.assertions import problem
from tests.api.conftest import Strict
from tests.api.invalid_requests import (
    Fault,
    Sent,
    World,
    amount_over_balance,
    bad_cursor,
    common_password,
    email_taken,
    ended_session,
    exhausted_client_address,
    exhausted_user,
    key_instead_of_a_session,
    key_of_another_request,
    key_without_the_scope,
    limit_out_of_range,
    malformed_json,
    no_key,
    no_token,
    nul_in_text,
    receiver_unknown,
    too_large,
    two_keys,
    unknown_email,
    unknown_member,
    unknown_parameter,
    unknown_path,
    unknown_refresh_token,
    without_the_role,
    wrong_charset,
    wrong_key_password,
    wrong_method,
    wrong_password,
    wrong_type,
)
from tests.api.operators import operator
from tests.api.test_api_keys import key_of
from tests.api_process import PASSWORD

_NUMBERS: Final = count(1)


HEAD: Final = [[unknown_path], [wrong_method]]
TOKEN: Final = [*HEAD, [no_token, ended_session], [exhausted_user]]
SCOPE: Final = [*TOKEN, [key_without_the_scope]]
SESSION: Final = [*TOKEN, [key_instead_of_a_session]]
ADDRESS: Final = [*HEAD, [exhausted_client_address]]
BODY: Final = [[too_large], [wrong_type, wrong_charset], [malformed_json]]
KEY: Final = [[too_large], [wrong_type, wrong_charset], [malformed_json, no_key, two_keys]]
QUERY: Final = [[bad_cursor], [limit_out_of_range, unknown_parameter]]

ORDER: Final[dict[str, list[list[Fault]]]] = {
    "POST /transactions": [
        *SCOPE, *KEY, [unknown_member, nul_in_text, unknown_parameter],
        [key_of_another_request], [receiver_unknown, amount_over_balance],
    ],
    "GET /transactions": [*SCOPE, *QUERY],
    "HEAD /transactions": [*SCOPE, *QUERY],
    "GET /accounts/entries": [*SCOPE, *QUERY],
    "GET /accounts": [*SCOPE, [unknown_parameter]],
    "POST /auth/password": [*SESSION, *BODY, [common_password, nul_in_text], [wrong_password]],
    "POST /api_keys": [
        *SESSION, *BODY, [unknown_member, nul_in_text], [wrong_key_password],
    ],
    "POST /operator/deposits": [
        *TOKEN, [without_the_role, key_instead_of_a_session], *KEY,
        [unknown_member, nul_in_text, unknown_parameter],
    ],
    "GET /operator/users": [*TOKEN, [without_the_role, key_instead_of_a_session], *QUERY],
    "POST /auth/logout": [*SESSION, [too_large]],
    "POST /auth/login": [*ADDRESS, *BODY, [unknown_member, nul_in_text], [unknown_email]],
    "POST /auth/register": [*ADDRESS, *BODY, [unknown_member, nul_in_text], [email_taken]],
    "POST /auth/refresh": [*ADDRESS, *BODY, [unknown_member, nul_in_text], [unknown_refresh_token]],
}  # fmt: skip


def valid_request(world: World, route: str) -> Sent:
    """A valid request on this route; requests without a token come from a new address."""
    method, _, path = route.partition(" ")
    number = next(_NUMBERS)
    sent = Sent(world, method, f"/api/v1{path}")
    sent.headers["X-Forwarded-For"] = f"198.19.{number // 250}.{number % 250}"
    sent.log_in(world.operator.token if path.startswith("/operator") else world.sender.token)
    bodies: dict[str, dict[str, Any]] = {
        "POST /transactions": {
            "receiver_id": world.receiver.account_id, "amount": 1, "description": "",
        },
        "POST /operator/deposits": {
            "account_id": world.receiver.account_id, "amount": 1, "description": "",
            "reference": f"order-{number}",
        },
        "POST /auth/password": {"current_password": PASSWORD, "new_password": "another one"},
        "POST /api_keys": {"name": "n", "scopes": ["account:read"], "password": PASSWORD},
        "POST /auth/logout": {},
        "POST /auth/login": {"email": world.receiver.email, "password": PASSWORD},
        "POST /auth/register": {"email": f"order{number}@example.com", "password": PASSWORD},
        "POST /auth/refresh": {"refresh_token": world.receiver.client.refresh_token},
    }  # fmt: skip
    sent.members = bodies.get(route)
    if sent.members is not None:
        sent.headers["Content-Type"] = "application/json"
    if route in {"POST /transactions", "POST /operator/deposits"}:
        sent.headers["X-Idempotency-Key"] = f"order-{number}"
    return sent


@pytest.fixture(scope="module")
def world(strict: Strict) -> World:
    exhausted, receiver = strict.user(), strict.made_by.user()
    ended = strict.another_login(exhausted)
    ended_token = ended.token
    ended.client.logout()
    for _ in range(99):
        exhausted.get("/auth/me")
    assert exhausted.get("/auth/me").status == 429
    shut = strict.from_address("198.18.255.1")
    for _ in range(100):
        shut("/auth/refresh")
    assert shut("/auth/refresh").status == 429
    sender = strict.user()
    key = key_of(sender, scopes=["events:read"])["secret"]
    boss = strict.logged_in_here(operator(strict.made_by))
    return World(strict, sender, receiver, exhausted, ended_token, "198.18.255.1", key, boss)


def later_than(route: str, level: int) -> Iterator[Fault]:
    for faults in ORDER[route][level + 1 :]:
        yield from faults


FIRST: Final = [
    pytest.param(route, level, earlier, id=f"{route}: {earlier}")
    for route, levels in ORDER.items()
    for level, faults in enumerate(levels)
    for earlier in faults
]


@pytest.mark.contract("1.4.3")
@pytest.mark.parametrize(("route", "level", "earlier"), FIRST)
def test_of_two_faults_the_earlier_one_is_answered(
    world: World, route: str, level: int, earlier: Fault
) -> None:
    world = fresh(world, route)
    alone = valid_request(world, route)
    earlier.apply(alone)
    assert_answers(alone.answer(), earlier, alone.method)
    for later in later_than(route, level):
        sent = valid_request(world, route)
        later.apply(sent)
        earlier.apply(sent)
        assert_answers(sent.answer(), earlier, sent.method)


def assert_answers(answer: Any, expected: Fault, method: str) -> None:
    if method == "HEAD":
        assert (answer.status, answer.body) == (expected.status, b"")
    else:
        problem(answer, expected.status, expected.code)


def fresh(world: World, route: str) -> World:
    """With a sender who has sent no transfer, except one under the key `used`."""
    if route != "POST /transactions":
        return world
    world = world._replace(sender=world.strict.user(10))
    first = world.sender.send(world.receiver, 1, "used", description="the first")
    assert first.status == 201
    return world


async def test_a_key_in_progress_is_answered_before_errors_of_the_ledger(
    world: World,
) -> None:
    """But after the errors of the request itself."""
    world = fresh(world, "POST /transactions")
    owner = Database(world.strict.api.database_url, size=1, role="finpay_owner")
    account = ids.decode("acc", world.sender.account_id)
    async with owner.transaction() as transaction:
        await transaction.fetch("SELECT FROM ledger.accounts WHERE id = $1 FOR UPDATE", account)
        first = asyncio.create_task(
            asyncio.to_thread(world.sender.send, world.receiver, 1, "in-progress")
        )
        claim = redis_keys.idempotency_key(world.sender.user_id, "in-progress")
        while not world.strict.redis.exists(claim):
            await asyncio.sleep(0.01)
        faults = (None, receiver_unknown, unknown_member, nul_in_text, too_large)
        answers = await asyncio.gather(
            *(asyncio.to_thread(send_with_used_key, world, fault) for fault in faults)
        )
    await owner.close()
    assert [answer.json()["code"] for answer in answers] == [
        *("request_in_progress", "request_in_progress"),
        *("validation_failed", "validation_failed", "body_too_large"),
    ]
    assert answers[0].headers["Retry-After"] == "1"
    assert (await first).status == 201
    assert send_with_used_key(world, receiver_unknown).json()["code"] == "idempotency_key_reuse"


def send_with_used_key(world: World, fault: Fault | None) -> Any:
    """Sends a request with the key that is in progress, and with this fault."""
    sent = valid_request(world, "POST /transactions")
    sent.headers["X-Idempotency-Key"] = "in-progress"
    if fault is not None:
        fault.apply(sent)
    return sent.answer()


def test_a_replay_is_answered_before_present_errors_of_the_ledger(world: World) -> None:
    """The account is frozen and empty, but the first answer is replayed."""
    sender = world.strict.user(10)
    first = sender.send(world.receiver, 10, "all-of-it")
    assert first.status == 201
    world.strict.api.set_status(sender, "frozen")
    retry = sender.send(world.receiver, 10, "all-of-it")
    assert (retry.status, retry.body) == (201, first.body)
    problem(sender.send(world.receiver, 10, "once-more"), 403, "account_frozen")
    problem(sender.send(world.receiver, 11, "all-of-it"), 422, "idempotency_key_reuse")
