"""A refusal repeats little of what was sent: an answer is no larger than its reason."""

import json
from typing import Any, Final

import pytest

from tests.api_process import Api, User
from tests.hostile.exchange import HOST, connected, head

MAX_BYTES: Final = 2_000
LONG: Final = "x" * 60_000
ONE: Final = "/transactions"
BATCH: Final = "/transactions/batch"

BODIES: Final[dict[str, tuple[str, Any]]] = {
    "an unknown member": (ONE, {LONG: 1}),
    "an unknown member that grows when it is escaped": (ONE, {"\u0001" * 10_000: 1}),
    "an unknown member of emoji": (ONE, {"\U0001f600" * 5_000: 1}),
    "an unknown member in an item": (BATCH, {"mode": "atomic", "transactions": [{LONG: 1}]}),
    "a text for an integer": (ONE, {"amount": LONG}),
    "an id": (ONE, {"amount": 1, "receiver_id": LONG}),
    "an e-mail": (ONE, {"amount": 1, "receiver_email": LONG}),
    "a currency": (ONE, {"amount": 1, "currency": LONG}),
    "a name in metadata": (ONE, {"amount": 1, "metadata": {LONG: 1}}),
    "a name in metadata that can't be stored": (ONE, {"metadata": {LONG: "\ud800"}}),
    "a value that is no choice": (BATCH, {"mode": LONG, "transactions": []}),
    "a type of event": ("/webhook_endpoints", {"url": "https://a.example", "event_types": [LONG]}),
    "a URL": ("/webhook_endpoints", {"url": f"https://{LONG}", "event_types": ["*"]}),
}
TARGETS: Final = {
    "a path": f"/{LONG}",
    "an id in a path": f"{ONE}/{LONG}",
    "a query parameter": f"{ONE}?{LONG}=1",
    "a choice in a query": f"{ONE}?status={LONG}",
    "a number in a query": f"{ONE}?limit={LONG}",
    "a cursor": f"{ONE}?cursor={LONG}",
    "a type of event in a query": f"/events?type={LONG}",
}


def refusal(api: Api, user: User, line: str, body: bytes = b"") -> tuple[int, int]:
    """The status, and the length of the body."""
    fields = [f"Authorization: Bearer {user.token}", "X-Idempotency-Key: long"]
    if body:
        fields += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    with connected(api.url) as connection:
        connection.send(head(line, HOST, *fields) + body)
        response = connection.response()
    assert response is not None
    return response.status, len(response.body) + sum(map(len, response.headers.values()))


@pytest.mark.fault("H9")
@pytest.mark.usefixtures("nothing_moves")
@pytest.mark.parametrize("case", BODIES)
def test_refused_body_is_hardly_repeated(api: Api, alice: User, case: str) -> None:
    path, members = BODIES[case]
    line = f"POST /api/v1{path} HTTP/1.1"
    status, size = refusal(api, alice, line, json.dumps(members).encode())
    assert status == 422
    assert size < MAX_BYTES


@pytest.mark.fault("H9")
@pytest.mark.parametrize("case", TARGETS)
def test_refused_target_is_hardly_repeated(api: Api, alice: User, case: str) -> None:
    status, size = refusal(api, alice, f"GET /api/v1{TARGETS[case]} HTTP/1.1")
    assert status in {400, 404, 422}
    assert size < MAX_BYTES
