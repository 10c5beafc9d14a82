"""Commands that take no members: no body or `{}`; any other body is refused, and does nothing."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.api.assertions import problem, sending
from tests.api.test_payment_requests import ask
from tests.api.test_schedules import ahead
from tests.api_process import Api, User

Made = Callable[[User, User], Any]

REFUSED: Final = (
    (b'{"reason":"late"}', "application/json", 422, "validation_failed"),
    (b"[]", "application/json", 422, "validation_failed"),
    (b"null", "application/json", 422, "validation_failed"),
    (b"{", "application/json", 400, "malformed_json"),
    (b'{"a":1,"a":1}', "application/json", 400, "malformed_json"),
    (b"{}", "text/plain", 415, "unsupported_media_type"),
)


def scheduled(alice: User, bob: User) -> Any:
    members: Any = {"receiver_id": bob.account_id, "amount": 5, "start_at": ahead(hours=1)}
    return alice.post("/schedules", **members).json()


def asked_by_alice(alice: User, _: User) -> Any:
    return ask(alice)


def asked_by_bob(alice: User, bob: User) -> Any:
    return ask(bob, payer_email=alice.email)


@pytest.mark.contract("1.1.7", "11.1.5", "11.2.4")
@pytest.mark.parametrize(
    ("made", "path", "status"),
    [
        (scheduled, "/schedules/{}/pause", "paused"),
        (scheduled, "/schedules/{}/resume", "active"),
        (scheduled, "/schedules/{}/cancel", "ended"),
        (asked_by_alice, "/payment_requests/{}/cancel", "canceled"),
        (asked_by_bob, "/payment_requests/{}/decline", "declined"),
    ],
)
def test_any_other_body_is_refused(api: Api, made: Made, path: str, status: str) -> None:
    alice, bob = api.user(100), api.user()
    made_id = made(alice, bob)["id"]
    shown_at = path.rpartition("/")[0].format(made_id)
    before = alice.get(shown_at).json()
    url = f"/api/v1{path}".format(made_id)
    for body, media_type, answer, code in REFUSED:
        with sending(body):
            headers = {"Content-Type": media_type}
            refused = alice.client.request("POST", url, content=body, headers=headers)
            problem(refused, answer, code)
    assert alice.get(shown_at).json() == before
    done = alice.client.request("POST", url, json={})
    assert (done.status, done.json()["status"]) == (200, status)
