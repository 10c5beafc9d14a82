"""/deliveries: status and attempts of each delivery; retry, replay and ping."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from finpay import ids
from finpay.client import HttpResponse
from tests.api.assertions import ID, TIME, invalid, problem, sending
from tests.api.webhook_assertions import PATH, ask, made
from tests.api_process import Api, User

DELIVERIES: Final = "/api/v1/deliveries"
MEMBERS: Final = [
    "id", "object", "endpoint_id", "event_id", "event_type", "status", "attempt_count",
    "next_attempt_at", "created_at", "finished_at", "attempts",
]  # fmt: skip
LONG_AGO: Final = "2026-01-01T00:00:00Z"


def delivery(answer: HttpResponse, status: int = 200) -> Any:
    assert answer.status == status, answer.body
    members = answer.json()
    check(members)
    return members


def check(members: Any) -> None:
    """The members of a delivery, after checks of their names and formats."""
    assert list(members) == MEMBERS
    assert members["object"] == "delivery"
    for name, prefix in (("id", "whd"), ("endpoint_id", "whe"), ("event_id", "evt")):
        assert re.fullmatch(f"{prefix}_{ID}", members[name])
    assert (members["next_attempt_at"] is not None) == (members["status"] == "pending")
    assert (members["finished_at"] is None) == (members["status"] == "pending")
    assert re.fullmatch(TIME, members["created_at"])
    assert len(members["attempts"]) <= members["attempt_count"]


def listed(user: User, endpoint: str, **params: Any) -> Any:
    answer = ask(user, "GET", f"/{endpoint}/deliveries", params=params or None)
    assert answer.status == 200, answer.body
    page = answer.json()
    assert list(page) == ["object", "data", "has_more", "next_cursor"]
    for each in page["data"]:
        check(each)
    return page


def attempted(api: Api, name: str, status: str, *codes: int | None) -> None:
    """Writes attempts with these answers, as a worker would; the last one decides the status."""
    key = ids.decode("whd", name)
    for number, code in enumerate(codes, 1):
        api.sql(
            "INSERT INTO webhooks.attempts VALUES ($1, clock_timestamp(), $2, 12, $3, $4, $5)",
            key,
            number,
            code,
            None if code == 200 else "timeout" if code is None else "bad_status",
            None if code is None else f"answer {number} \u20ac",
        )
    api.sql(
        "UPDATE webhooks.deliveries SET status = $2, attempts = $3, finished_at ="
        " CASE WHEN $2 IN ('pending', 'scheduled') THEN NULL ELSE clock_timestamp() END"
        " WHERE id = $1",
        key,
        status,
        len(codes),
    )


@pytest.fixture
def alice(api: Api) -> User:
    return api.user(100_000)


@pytest.fixture
def endpoint(alice: User) -> str:
    return str(made(alice, event_types=["transaction.*"])["id"])


@pytest.fixture(scope="module")
def bob(api: Api) -> User:
    return api.user()


def send(alice: User, bob: User, times: int = 1) -> list[str]:
    """The ids of the events, oldest first."""
    for number in range(times):
        assert alice.send(bob, 1, f"key-{number}-{ids.new_uuid()}").status == 201
    events = alice.get("/events", limit=times).json()["data"]
    return [event["id"] for event in events][::-1]


def test_each_event_of_the_endpoints_types_has_a_delivery(
    alice: User, bob: User, endpoint: str
) -> None:
    names = send(alice, bob, 3)
    page = listed(alice, endpoint)
    assert [each["event_id"] for each in page["data"]] == names[::-1], "newest first"
    for each in page["data"]:
        assert each["endpoint_id"] == endpoint
        assert each["event_type"] == "transaction.completed"
        assert (each["status"], each["attempt_count"], each["attempts"]) == ("pending", 0, [])
        assert delivery(alice.get(f"/deliveries/{each['id']}")) == each


@pytest.mark.contract("6.3.1")
def test_every_attempt_is_shown(api: Api, alice: User, bob: User, endpoint: str) -> None:
    send(alice, bob)
    (scheduled,) = listed(alice, endpoint)["data"]
    attempted(api, scheduled["id"], "scheduled", 500, None)
    shown = delivery(alice.get(f"/deliveries/{scheduled['id']}"))
    assert (shown["status"], shown["attempt_count"]) == ("pending", 2)
    first, second = shown["attempts"]
    assert re.fullmatch(TIME, first["started_at"])
    assert first == {
        "started_at": first["started_at"],
        "number": 1,
        "duration_ms": 12,
        "http_status": 500,
        "error": "bad_status",
        "answer": "answer 1 €",
    }
    assert (second["http_status"], second["error"], second["answer"]) == (None, "timeout", None)
    assert listed(alice, endpoint)["data"] == [shown]


def test_a_list_has_the_last_attempts_and_the_delivery_all(
    api: Api, alice: User, bob: User, endpoint: str
) -> None:
    send(alice, bob)
    name = listed(alice, endpoint)["data"][0]["id"]
    attempted(api, name, "failed", *[503] * 25)
    (in_list,) = listed(alice, endpoint)["data"]
    assert [each["number"] for each in in_list["attempts"]] == list(range(16, 26))
    alone = delivery(alice.get(f"/deliveries/{name}"))
    assert [each["number"] for each in alone["attempts"]] == list(range(1, 26))
    assert in_list["attempt_count"] == alone["attempt_count"] == 25


def test_the_list_is_filtered_by_status_and_comes_in_pages(
    api: Api, alice: User, bob: User, endpoint: str
) -> None:
    send(alice, bob, 5)
    every = [each["id"] for each in listed(alice, endpoint)["data"]]
    states = ["pending", "scheduled", "delivered", "failed", "canceled"]
    for name, state in zip(every, states, strict=True):
        attempted(api, name, state, 200 if state == "delivered" else 500)
    for status, found in (
        ("pending", every[:2]),
        ("delivered", every[2:3]),
        ("failed", every[3:4]),
        ("canceled", every[4:]),
    ):
        page = listed(alice, endpoint, status=status)
        assert [each["id"] for each in page["data"]] == found
        assert all(each["status"] == status for each in page["data"])
    for wrong in ("scheduled", "leased", "", "all"):
        with sending(wrong):
            answer = ask(alice, "GET", f"/{endpoint}/deliveries", params={"status": wrong})
            invalid(answer, "status", kind="parameter")
    first = ask(alice, "GET", f"/{endpoint}/deliveries", params={"limit": 2})
    cursor = first.json()["next_cursor"]
    path = f"{PATH}/{endpoint}/deliveries"
    assert first.headers["Link"] == f'<{path}?limit=2&cursor={cursor}>; rel="next"'
    rest = listed(alice, endpoint, limit=100, cursor=cursor)
    assert [each["id"] for each in [*first.json()["data"], *rest["data"]]] == every
    assert (rest["has_more"], rest["next_cursor"]) == (False, None)


@pytest.mark.contract("6.2.3")
def test_a_ping_is_a_delivery_but_no_event_of_the_list(alice: User, endpoint: str) -> None:
    shown = delivery(ask(alice, "POST", f"/{endpoint}/test"), 201)
    assert (shown["event_type"], shown["status"]) == ("webhook_endpoint.ping", "pending")
    assert listed(alice, endpoint)["data"] == [shown]
    problem(alice.get(f"/events/{shown['event_id']}"), 404, "not_found")


@pytest.mark.contract("6.3.6")
@pytest.mark.parametrize("state", ["pending", "scheduled", "delivered", "failed", "canceled"])
def test_a_retry_makes_the_delivery_pending(
    api: Api, alice: User, bob: User, endpoint: str, state: str
) -> None:
    send(alice, bob)
    name = listed(alice, endpoint)["data"][0]["id"]
    attempted(api, name, state, 500)
    shown = delivery(alice.client.request("POST", f"{DELIVERIES}/{name}/retry"))
    assert (shown["id"], shown["status"], shown["attempt_count"]) == (name, "pending", 1)
    assert len(shown["attempts"]) == 1, "what was tried is not forgotten"
    next_at = datetime.fromisoformat(shown["next_attempt_at"])
    assert next_at <= datetime.now(UTC) + timedelta(seconds=1)


@pytest.mark.contract("6.3.6")
def test_a_replay_queues_the_events_of_a_time_range(api: Api, alice: User, bob: User) -> None:
    names = send(alice, bob, 4)
    times = [alice.get(f"/events/{name}").json()["created_at"] for name in names]
    endpoint = made(alice, event_types=["transaction.completed"])["id"]

    def replay(**members: Any) -> Any:
        answer = ask(alice, "POST", f"/{endpoint}/replay", members)
        assert answer.status == 200, answer.body
        assert answer.json().keys() == {"object", "queued"}
        return answer.json()["queued"]

    assert replay(since=times[1], until=times[3]) == 2, "also those before the endpoint was there"
    found = listed(alice, endpoint)["data"]
    assert sorted(each["event_id"] for each in found) == sorted(names[1:3])
    attempted(api, found[0]["id"], "failed", 500)
    attempted(api, found[1]["id"], "delivered", 200)
    assert replay(since=LONG_AGO, only_failed=True) == 1
    assert {each["status"] for each in listed(alice, endpoint)["data"]} == {"pending", "delivered"}
    assert replay(since=times[3], until=None) == 1
    assert replay(since="2026-11-22T00:00:00+14:00", until="2026-11-22T00:00:01+14:00") == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/since"),
        ({"since": None}, "#/since"),
        ({"since": "yesterday"}, "#/since"),
        ({"since": "2026-01-01"}, "#/since"),
        ({"since": 1_767_225_600}, "#/since"),
        ({"since": LONG_AGO, "until": "x"}, "#/until"),
        ({"since": LONG_AGO, "until": LONG_AGO}, "#/until"),
        ({"since": LONG_AGO, "only_failed": None}, "#/only_failed"),
        ({"since": LONG_AGO, "only_failed": 1}, "#/only_failed"),
        ({"since": LONG_AGO, "from": LONG_AGO}, "#/from"),
    ],
)
def test_the_invalid_member_of_a_replay_is_named(
    alice: User, endpoint: str, body: dict[str, Any], pointer: str
) -> None:
    invalid(ask(alice, "POST", f"/{endpoint}/replay", body), pointer)


def test_nothing_is_queued_for_an_endpoint_that_is_disabled(
    alice: User, bob: User, endpoint: str
) -> None:
    send(alice, bob)
    name = listed(alice, endpoint)["data"][0]["id"]
    ask(alice, "PATCH", f"/{endpoint}", {"enabled": False})
    for path, body in (
        (f"{PATH}/{endpoint}/test", None),
        (f"{PATH}/{endpoint}/replay", {"since": LONG_AGO}),
        (f"{DELIVERIES}/{name}/retry", None),
    ):
        problem(alice.client.request("POST", path, json=body), 422, "validation_failed")


def test_deliveries_of_other_users_are_404_like_missing_ones(
    api: Api, alice: User, bob: User, endpoint: str
) -> None:
    send(alice, bob)
    name = listed(alice, endpoint)["data"][0]["id"]
    nothing = ids.encode("whd", ids.new_uuid())
    for method, rest in (("GET", ""), ("POST", "/retry")):
        for each in (name, nothing, endpoint, "whd_x", "x"):
            path = f"{DELIVERIES}/{each}{rest}"
            problem(bob.client.request(method, path), 404, "not_found")
            problem(api.client().request(method, path), 401, "unauthenticated")
    ask(alice, "DELETE", f"/{endpoint}")
    problem(alice.get(f"/deliveries/{name}"), 404, "not_found")
    problem(alice.client.request("POST", f"{DELIVERIES}/{name}/retry"), 404, "not_found")
