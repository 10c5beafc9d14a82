"""Names, descriptions, references and reasons: no route takes one that shows something else."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest

from finpay.cli.presentation import for_people
from finpay.edge.router import API, Route
from finpay.edge.routes import ROUTES
from tests.api.assertions import invalid, sending
from tests.api.matrix import World, make_world, name_of
from tests.api.operators import operator
from tests.api_process import PASSWORD, Api, User
from tests.hostile.test_identity_texts import BIDI, INVISIBLE

CONTROLS: Final = ["\x01", "\t", "\n", "\r", "\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u2029"]
NEW_USER: Final = {"email": "zoe@example.com", "password": PASSWORD}
# What a member must not contain. A description may have several lines.
REFUSED: Final = {
    "name": [*CONTROLS, *INVISIBLE],
    "description": BIDI,
    "reference": [*CONTROLS, *BIDI],
    "reason": [*CONTROLS, *BIDI],
}


def texts_of(route: Route) -> Iterator[str]:
    """The free texts among the members of its body."""
    if route.body is not None:
        fields = msgspec.structs.fields(route.body)
        yield from (each.name for each in fields if each.name in REFUSED)


TAKEN: Final = [(route, name) for route in ROUTES for name in texts_of(route)]


@pytest.fixture(scope="module")
def boss(api: Api) -> User:
    return operator(api)


@pytest.fixture(scope="module")
def world(api: Api, boss: User) -> World:
    return make_world(api, boss)


def ask(world: World, user: User, route: Route, member: str, text: str) -> Any:
    path = route.path.replace("{id}", world.ids.get(name_of(route), "x"))
    valid = NEW_USER if name_of(route) == "POST /auth/register" else world.body(name_of(route))
    body = {**(valid or {}), member: text}
    headers = {"X-Idempotency-Key": "k"}
    return user.client.request(route.method, path, json=body, headers=headers)


@pytest.mark.contract("1.1.6")
@pytest.mark.parametrize(
    ("route", "member"), TAKEN, ids=[f"{name_of(route)} {name}" for route, name in TAKEN]
)
def test_a_character_that_shows_something_else_is_refused(
    world: World, boss: User, route: Route, member: str
) -> None:
    user = boss if route.path.startswith(f"{API}/operator") else world.owner
    for character in REFUSED[member]:
        with sending(character):
            for text in (f"a{character}b", character):
                invalid(ask(world, user, route, member, text), f"#/{member}")


@pytest.mark.contract("1.1.6")
def test_so_is_one_in_an_item_of_a_batch(world: World) -> None:
    item = {"receiver_id": world.other.account_id, "amount": 1, "description": "a\u202eb"}
    body = {"mode": "atomic", "transactions": [item]}
    answer = world.owner.post("/transactions/batch", "k", **body)
    invalid(answer, "#/transactions/0/description")


def test_every_kind_of_text_is_in_the_table() -> None:
    assert {name for _, name in TAKEN} == set(REFUSED)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rent of May", "rent of May"),
        ("rent  status=completed", '"rent  status=completed"'),
        ("rent, name: Bob", '"rent, name: Bob"'),
        ('a "b"', '"a \\"b\\""'),
        ("2026-05-01T12:00", "2026-05-01T12:00"),
    ],
)
def test_a_text_on_the_command_line_passes_for_no_other_member(text: str, shown: str) -> None:
    assert for_people({"description": text, "destination": {"bank": text}}) == {
        "description": shown,
        "destination": f"bank: {shown}",
    }


def test_the_command_line_shows_no_escape_of_a_terminal() -> None:
    shown = for_people({"description": "a\x1b[2Jb\nc\u202e", "destination": {"k\n": "\x9bv"}})
    assert shown == {
        "description": "a\\x1b[2Jb\\nc\\u202e",
        "destination": "k\\n: \\x9bv",
    }
