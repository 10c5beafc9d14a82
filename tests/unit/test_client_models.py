"""The client's models have the members that the server's OpenAPI document has."""

from typing import Any

import pytest
from msgspec import Struct

from finpay.client import _identity_models as identity
from finpay.client import _models as models
from finpay.client import _money_models as money_models
from finpay.edge.openapi import document

API = document()

# method and path → the model that the client reads from the response
MODELS: list[tuple[str, str, type[Struct]]] = [
    ("post", "/auth/register", identity.Login),
    ("post", "/auth/refresh", identity.Tokens),
    ("get", "/auth/me", models.User),
    ("get", "/accounts", models.Account),
    ("get", "/transactions/{id}", models.Transaction),
    ("post", "/transactions/{id}/refunds", money_models.DryRun),
    ("get", "/idempotency_keys", money_models.StoredAnswer),
    ("patch", "/accounts", models.Account),
    ("get", "/holds/{id}", money_models.Hold),
    ("post", "/holds/{id}/capture", models.Transaction),
    ("post", "/withdrawals/{id}/cancel", money_models.Withdrawal),
    ("post", "/transactions/batch", models.TransferBatch),
    ("get", "/transactions", models.Page),
    ("get", "/payment_requests/{id}", models.PaymentRequest),
    ("get", "/schedules/{id}", models.Schedule),
    ("get", "/events/{id}", models.Event),
    ("get", "/webhook_endpoints/{id}", models.WebhookEndpoint),
    ("post", "/webhook_endpoints/{id}/replay", models.ReplayResult),
    ("get", "/deliveries/{id}", models.Delivery),
    ("get", "/health", models.Health),
]
# schema of the response, path to a schema inside it → its model
NESTED: list[tuple[str, str, tuple[str, ...], type[Struct]]] = [
    ("get", "/accounts/entries", ("data",), models.Entry),
    ("get", "/accounts", ("limits",), models.Limits),
    ("get", "/accounts", ("limits", "pending"), models.PendingLimits),
    ("get", "/holds", ("data",), money_models.Hold),
    ("get", "/withdrawals", ("data",), money_models.Withdrawal),
    ("post", "/transactions/batch", ("data",), models.TransferBatchItem),
    ("get", "/payment_requests/{id}", ("requester",), models.Requester),
    ("get", "/schedules/{id}", ("every",), models.Interval),
    ("get", "/events/{id}", ("data",), models.EventData),
    ("get", "/events/{id}", ("request",), models.EventRequest),
    ("get", "/deliveries/{id}", ("attempts",), models.DeliveryAttempt),
]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The object's schema behind references, arrays and `null`."""
    while "properties" not in schema:
        if "$ref" in schema:
            schema = API["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        elif "anyOf" in schema:
            schema = next(each for each in schema["anyOf"] if each.get("type") != "null")
        else:
            schema = schema["items"]
    return schema


def response_schema(method: str, path: str) -> dict[str, Any]:
    responses = API["paths"][f"/api/v1{path}"][method]["responses"]
    # A dry run is the 2XX of its operation; its model is that of a refund's.
    statuses = ("2XX", "200", "201") if path.endswith("/refunds") else ("200", "201")
    success = next(responses[status] for status in statuses if status in responses)
    return resolved(success["content"]["application/json"]["schema"])


def assert_same_members(schema: dict[str, Any], model: type[Struct]) -> None:
    assert set(schema["properties"]) - {"object"} == set(model.__struct_fields__) - {"object"}


@pytest.mark.parametrize(("method", "path", "model"), MODELS)
def test_model_has_the_members_of_the_response(method: str, path: str, model: type[Struct]) -> None:
    assert_same_members(response_schema(method, path), model)


@pytest.mark.parametrize(("method", "path", "steps", "model"), NESTED)
def test_model_has_the_members_inside_the_response(
    method: str, path: str, steps: tuple[str, ...], model: type[Struct]
) -> None:
    schema = response_schema(method, path)
    for step in steps:
        schema = resolved(schema["properties"][step])
    assert_same_members(schema, model)
