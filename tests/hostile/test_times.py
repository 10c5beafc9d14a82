"""Times at the ends of the calendar, on every route that takes one: never a 5xx.

.NET, Go and Java send the first and the last moment of their clocks for "not set" and "for ever".
"""

from typing import Any, Final

import pytest

from tests.api_process import PASSWORD, Api, User

EXTREMES: Final = (
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000001Z", "0001-01-01T00:00:00-23:59",
    "0001-01-01T00:00:00+14:00", "0000-12-31T23:59:59Z", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999998Z",
    "9999-12-31T23:59:59.999999+14:00", "9999-12-31T23:59:59-00:01", "1969-12-31T23:59:59.999999Z",
    "1582-10-10T00:00:00Z", "4713-01-01T00:00:00Z", "2262-04-11T23:47:16.854776Z",
    "2026-02-29T00:00:00Z", "2026-12-31T23:59:60Z", "2026-01-01T24:00:00Z", "infinity",
    "-infinity", "now", "epoch", "2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00.000000000Z",
)  # fmt: skip
LAST: Final = "9999-12-31T23:59:59.999999Z"
QUERIES: Final = [
    ("/transactions", "created_from"), ("/transactions", "created_to"),
    ("/accounts/entries", "created_from"), ("/accounts/entries", "created_to"),
    ("/events", "created_from"), ("/events", "created_to"), ("/accounts/balance", "at"),
]  # fmt: skip


@pytest.mark.fault("I6")
@pytest.mark.parametrize(("path", "name"), QUERIES)
@pytest.mark.usefixtures("nothing_moves")
def test_filter_by_an_extreme_time(alice: User, path: str, name: str) -> None:
    for text in EXTREMES:
        assert alice.get(path, **{name: text}).status in {200, 422}, text


@pytest.mark.fault("I6")
@pytest.mark.usefixtures("nothing_moves")
def test_body_with_an_extreme_time(alice: User, bob: User) -> None:
    endpoint = endpoint_of(alice)
    for text in EXTREMES:
        for path, body in bodies(bob, endpoint, text):
            answer = alice.post(path, **body)
            assert answer.status in {200, 201, 422}, (path, body)
            if answer.status == 201 and path == "/schedules":
                assert alice.post(f"/schedules/{answer.json()['id']}/cancel").status == 200


@pytest.mark.fault("I6")
def test_for_ever_is_a_time(api: Api, alice: User, bob: User) -> None:
    """What is stored can be read in every list and event, and the books stay clean."""
    endpoint = endpoint_of(alice)
    for path, body in bodies(bob, endpoint, LAST):
        if "start_at" in body and body["start_at"] == LAST:
            assert alice.post(path, **body).status == 422  # more than 5 years ahead
        else:
            assert alice.post(path, **body).status in {200, 201}, path
    for path in ("/schedules", "/api_keys", "/events"):
        assert alice.get(path).status == 200
    assert alice.get("/transactions", created_to=LAST).json()["data"]
    api.verify()


def bodies(bob: User, endpoint: str, text: str) -> list[tuple[str, dict[str, Any]]]:
    schedule = {"receiver_id": bob.account_id, "amount": 1}
    daily = schedule | {"start_at": "2027-01-01T00:00:00Z", "every": {"unit": "day", "count": 1}}
    key = {"name": "k", "scopes": ["transactions:read"], "password": PASSWORD}
    replay = f"/webhook_endpoints/{endpoint}/replay"
    return [
        ("/schedules", schedule | {"start_at": text}),
        ("/schedules", daily | {"start_at": text}),
        ("/schedules", daily | {"until": text}),
        ("/api_keys", key | {"expires_at": text}),
        (replay, {"since": "2026-01-01T00:00:00Z", "until": text}),
    ]


def endpoint_of(user: User) -> str:
    answer = user.post("/webhook_endpoints", url="https://example.com/", event_types=["*"])
    return str(answer.json()["id"])
