"""Checks of what the contract says of every answer about webhook endpoints."""

import re
from typing import Any, Final

from finpay.client import HttpResponse
from tests.api.assertions import ID, TIME
from tests.api_process import User

PATH: Final = "/api/v1/webhook_endpoints"
URL: Final = "https://93.184.215.14/hook"  # a public address, so no DNS look-up
MEMBERS: Final = [
    "id", "object", "url", "description", "event_types", "enabled", "disabled_reason",
    "disabled_at", "failing_since", "created_at", "updated_at", "secret",
    "previous_secret_expires_at",
]  # fmt: skip
SECRET: Final = r"whsec_[A-Za-z0-9+/]{43}="


def ask(user: User, method: str, path: str = "", json: Any = None, **more: Any) -> HttpResponse:
    answer: HttpResponse = user.client.request(method, PATH + path, json=json, **more)
    return answer


def endpoint(answer: HttpResponse, status: int = 200) -> Any:
    """The members of an endpoint, after checks of their names and formats."""
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    members = answer.json()
    assert list(members) == MEMBERS
    assert re.fullmatch(f"whe_{ID}", members["id"])
    assert members["object"] == "webhook_endpoint"
    assert re.fullmatch(TIME, members["created_at"])
    assert re.fullmatch(TIME, members["updated_at"])
    return members


def made(user: User, **members: Any) -> Any:
    body = {"url": URL, "event_types": ["transaction.*"], **members}
    return endpoint(ask(user, "POST", json=body), 201)
