"""GET /events: newest first, and oldest first from a sequence on."""

import json
from typing import Any, Final

import pytest

from finpay import ids
from tests.api.assertions import problem, sending
from tests.api.test_lists import page, walk
from tests.api_process import Api, User

EVENTS: Final = "/events"
ENDINGS: Final = ["transaction.completed", "transaction.failed"]
MAX_EVENT_BYTES: Final = 20_000


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user(500)


@pytest.fixture(scope="module")
def alice(api: Api, bob: User) -> User:
    """A user who was funded, frozen and unfrozen, and has sent, failed and received transfers."""
    alice = api.user(1_000)
    for number in range(6):
        assert alice.send(bob, 10 + number, f"sent-{number}").status == 201
        assert alice.send(bob, 10**9, f"failed-{number}").status == 402
        assert bob.send(alice, 2 + number, f"received-{number}").status == 201
    api.set_status(alice, "frozen")
    api.set_status(alice, "active")
    assert alice.send(alice, 1, "refused").status == 422  # records no event
    return alice


@pytest.fixture(scope="module")
def every(alice: User) -> list[Any]:
    """All of them, newest first, from one page."""
    return list(page(alice, EVENTS, limit=100)["data"])


class TestOrder:
    @pytest.mark.contract("6.1.3")
    def test_is_newest_first_without_gaps(self, every: list[Any]) -> None:
        assert [event["sequence"] for event in every] == list(range(len(every), 0, -1))
        types = ["user.registered", "account.created", "transaction.completed"]
        types += [*ENDINGS, "transaction.completed"] * 6 + ["account.updated"] * 2
        assert [event["type"] for event in reversed(every)] == types
        assert len({event["id"] for event in every}) == len(every)

    def test_a_transaction_event_has_the_transaction_as_its_owner_reads_it(
        self, alice: User, every: list[Any]
    ) -> None:
        found = [event for event in every if event["type"].startswith("transaction.")]
        assert [event["data"]["object"] for event in found] == walk(alice, "/transactions")
        assert all(event["created_at"] == event["data"]["object"]["created_at"] for event in found)

    def test_events_have_the_account_and_the_user_as_their_owner_reads_them(
        self, alice: User, every: list[Any]
    ) -> None:
        assert every[0]["data"]["object"] == alice.get("/accounts").json()
        assert every[-1]["data"]["object"] == alice.get("/auth/me").json()

    @pytest.mark.contract("6.1.1")
    def test_actor_and_request_are_visible_to_the_causing_user_only(
        self, alice: User, bob: User, every: list[Any]
    ) -> None:
        for event in every:
            subject = event["data"]["object"]
            own = subject.get("direction") == "sent" or event["sequence"] <= 2
            assert event["actor"] == (alice.user_id if own else None)
            assert (event["request"] is None) is (event["actor"] is None)
        keys = [event["request"]["idempotency_key"] for event in every if event["request"]]
        assert keys[:2] == ["failed-5", "sent-5"]
        seen = json.dumps(page(bob, EVENTS, limit=100))
        assert "sent-0" not in seen


class TestCatchingUp:
    @pytest.mark.contract("6.1.4")
    @pytest.mark.parametrize("limit", [1, 2, 7, 23, 24, 100])
    def test_gives_every_event_once_oldest_first(
        self, alice: User, every: list[Any], limit: int
    ) -> None:
        assert walk(alice, EVENTS, after_sequence=0, limit=limit) == every[::-1]

    def test_begins_after_the_sequence(self, alice: User, every: list[Any]) -> None:
        for after in (1, 5, len(every) - 1, len(every), len(every) + 1, 2**53 - 1):
            expected = [event for event in reversed(every) if event["sequence"] > after]
            assert walk(alice, EVENTS, after_sequence=after) == expected

    def test_by_after_sequence_alone_reads_new_events_too(self, api: Api) -> None:
        user, other, seen = api.user(100), api.user(), []
        last = 0
        for number in range(12):
            assert user.send(other, 1, f"meanwhile-{number}").status == 201
            found = page(user, EVENTS, after_sequence=last, limit=2)["data"]
            seen += [event["sequence"] for event in found]
            last = seen[-1]
        while found := page(user, EVENTS, after_sequence=last, limit=2)["data"]:
            seen += [event["sequence"] for event in found]
            last = seen[-1]
        assert seen == list(range(1, 16))

    def test_is_narrowed_by_type_and_time(self, alice: User, every: list[Any]) -> None:
        at = every[8]["created_at"]
        query = {"after_sequence": 3, "type": "transaction.*", "created_to": at, "limit": 2}
        expected = [
            event for event in reversed(every) if event["sequence"] > 3 and event["created_at"] < at
        ]
        assert walk(alice, EVENTS, **query) == expected

    def test_a_cursor_keeps_its_direction(self, alice: User, every: list[Any]) -> None:
        up = page(alice, EVENTS, after_sequence=2, limit=3)["next_cursor"]
        down = page(alice, EVENTS, limit=3)["next_cursor"]
        problem(alice.get(EVENTS, cursor=up), 400, "cursor_invalid")
        problem(alice.get(EVENTS, cursor=down, after_sequence=2), 400, "cursor_invalid")
        further = page(alice, EVENTS, cursor=up, after_sequence=7, limit=1)["data"]
        assert [event["sequence"] for event in further] == [8], "the later of the two counts"
        assert page(alice, EVENTS, cursor=down, limit=100)["data"] == every[3:]

    @pytest.mark.parametrize("text", ["-1", "", "1.5", "x", "01", "9007199254740992", "1e3"])
    def test_refuses_an_invalid_sequence(self, alice: User, text: str) -> None:
        problem(alice.get(EVENTS, after_sequence=text), 422, "validation_failed")


class TestFilters:
    @pytest.mark.contract("6.1.4")
    def test_of_types(self, alice: User, every: list[Any]) -> None:
        kinds = {event["type"] for event in every} | {"session.revoked"}
        for pattern in (*kinds, "transaction.*", "account.*", "user.*", "session.*", "*"):
            group = pattern.removesuffix("*")
            expected = [
                event
                for event in every
                if event["type"] == pattern
                or (pattern.endswith("*") and event["type"].startswith(group))
            ]
            with sending(pattern):
                assert walk(alice, EVENTS, type=pattern, limit=4) == expected

    @pytest.mark.parametrize("text", ["", "transaction", "transaction.c*", "payment.*", "a.b"])
    def test_with_an_unknown_type_are_refused_with_the_list_of_types(
        self, alice: User, text: str
    ) -> None:
        answer = alice.get(EVENTS, type=text)
        members = problem(answer, 422, "validation_failed")
        assert "transaction.completed" in members["detail"]
        assert members["errors"][0]["parameter"] == "type"

    def test_of_time_have_the_bounds_of_the_contract(self, alice: User, every: list[Any]) -> None:
        for event in every:
            at = event["created_at"]
            since = [other for other in every if other["created_at"] >= at]
            until = [other for other in every if other["created_at"] < at]
            assert page(alice, EVENTS, created_from=at, limit=100)["data"] == since
            assert page(alice, EVENTS, created_to=at, limit=100)["data"] == until

    def test_of_other_lists_are_refused(self, alice: User) -> None:
        for name in ("direction", "status", "amount_min", "types", "offset", "before_sequence"):
            problem(alice.get(EVENTS, **{name: "1"}), 422, "validation_failed")
        problem(alice.get(EVENTS, limit=101), 422, "validation_failed")

    def test_with_another_users_cursor_are_refused(self, alice: User, bob: User) -> None:
        cursor = page(alice, EVENTS, limit=1)["next_cursor"]
        problem(bob.get(EVENTS, cursor=cursor), 400, "cursor_invalid")


class TestOne:
    @pytest.mark.contract("6.1.4")
    def test_equals_the_event_in_the_list(self, alice: User, every: list[Any]) -> None:
        for event in every:
            assert alice.get(f"{EVENTS}/{event['id']}").json() == event

    def test_is_404_for_other_users(self, alice: User, bob: User, every: list[Any]) -> None:
        foreign = ids.encode("evt", ids.new_uuid())
        names = [*(event["id"] for event in every), foreign, "evt_x", "txn_" + foreign[4:], "x"]
        for name in names:
            with sending(name):
                problem(bob.get(f"{EVENTS}/{name}"), 404, "not_found")
        problem(alice.get(f"{EVENTS}/{foreign}"), 404, "not_found")

    def test_needs_a_token(self, api: Api, every: list[Any]) -> None:
        for path in ("/api/v1/events", f"/api/v1/events/{every[0]['id']}"):
            problem(api.client().request("GET", path), 401, "unauthenticated")


def test_events_of_own_writes_are_visible_at_once(api: Api) -> None:
    """Events are not cached."""
    user, other = api.user(100), api.user()
    for number in range(5):
        sent = user.send(other, 1, f"at-once-{number}").json()
        for who in (user, other):
            newest = page(who, EVENTS, limit=1)["data"][0]
            assert newest["data"]["object"]["id"] == sent["id"]


@pytest.mark.parametrize("character", ["\x01", "💶", '"', "\u2028"])
def test_the_largest_event_is_smaller_than_its_limit(api: Api, character: str) -> None:
    user, other = api.user(100, name='"' * 100), api.user()
    metadata: dict[str, str] = {}
    for number in range(20):  # 4 KiB of JSON, as far as the character lets it
        metadata[f"{number:040}"] = character * ((4_096 // 20 - 47) // _bytes(character))
    answer = user.send(other, 1, "k" * 255, description=character * 500, metadata=metadata)
    assert answer.status == 201, answer.body
    for who in (user, other):
        (newest,) = page(who, EVENTS, limit=1)["data"]
        assert newest["data"]["object"]["metadata"] == metadata
        one = who.get(f"{EVENTS}/{newest['id']}")
        assert one.json() == newest
        assert len(one.body) < MAX_EVENT_BYTES
    first = page(user, EVENTS, after_sequence=0, limit=1)
    assert len(json.dumps(first)) < MAX_EVENT_BYTES


def _bytes(character: str) -> int:
    return len(json.dumps(character, ensure_ascii=False).encode()) - 2
