"""Every operation on webhook endpoints and deliveries: path, body and result."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypedDict

from finpay.client._models import Delivery, Page, ReplayResult, WebhookEndpoint
from finpay.client._operations import Operation, checked, json_body, parameter, query
from finpay.client._requests import encode

_ENDPOINTS: Final = "/api/v1/webhook_endpoints"
_DELIVERIES: Final = "/api/v1/deliveries"
_NOTHING: Final = type(None)


class WebhookEndpointUpdate(TypedDict, total=False):
    """The members to change; the others stay. A `description` of None removes it."""

    url: str
    event_types: Sequence[str]
    description: str | None
    enabled: bool


class DeliveryFilters(TypedDict, total=False):
    """`limit` is the page size, 1 to 100."""

    status: Literal["pending", "delivered", "failed", "canceled"] | None
    limit: int | None


def create_endpoint(
    url: str, event_types: Sequence[str], description: str | None, *, enabled: bool
) -> Operation[WebhookEndpoint]:
    """Not repeatable: sent twice, it creates two."""
    members = {
        "url": url,
        "event_types": list(event_types),
        "description": description,
        "enabled": enabled,
    }
    return Operation("POST", _ENDPOINTS, WebhookEndpoint, json_body(members), repeatable=False)


def endpoints(limit: int | None) -> Operation[Page[WebhookEndpoint]]:
    return Operation("GET", _ENDPOINTS, Page[WebhookEndpoint], params=query({"limit": limit}))


def endpoint(endpoint_id: str) -> Operation[WebhookEndpoint]:
    return Operation("GET", _endpoint(endpoint_id), WebhookEndpoint)


def update_endpoint(endpoint_id: str, changes: WebhookEndpointUpdate) -> Operation[WebhookEndpoint]:
    """A None is sent as null: it removes the member."""
    content = encode({**changes, **_event_types(changes)})
    return Operation("PATCH", _endpoint(endpoint_id), WebhookEndpoint, content)


def delete_endpoint(endpoint_id: str) -> Operation[None]:
    """Not repeatable: the second attempt would be 404."""
    return Operation("DELETE", _endpoint(endpoint_id), _NOTHING, repeatable=False)


def rotate_secret(endpoint_id: str, overlap_s: int | None) -> Operation[WebhookEndpoint]:
    """Not repeatable: the first response, with its secret, would be lost."""
    path = f"{_endpoint(endpoint_id)}/rotate_secret"
    content = json_body({"overlap_s": overlap_s})
    return Operation("POST", path, WebhookEndpoint, content, repeatable=False)


def ping(endpoint_id: str) -> Operation[Delivery]:
    return Operation("POST", f"{_endpoint(endpoint_id)}/test", Delivery, repeatable=False)


def replay(
    endpoint_id: str, since: datetime, until: datetime | None, *, only_failed: bool
) -> Operation[ReplayResult]:
    members = {
        "since": parameter("since", since),
        "until": None if until is None else parameter("until", until),
        "only_failed": only_failed,
    }
    path = f"{_endpoint(endpoint_id)}/replay"
    return Operation("POST", path, ReplayResult, json_body(members), repeatable=False)


def deliveries(endpoint_id: str, filters: DeliveryFilters) -> Operation[Page[Delivery]]:
    path = f"{_endpoint(endpoint_id)}/deliveries"
    return Operation("GET", path, Page[Delivery], params=query(filters))


def delivery(delivery_id: str) -> Operation[Delivery]:
    return Operation("GET", _delivery(delivery_id), Delivery)


def retry(delivery_id: str) -> Operation[Delivery]:
    return Operation("POST", f"{_delivery(delivery_id)}/retry", Delivery)


def _endpoint(endpoint_id: str) -> str:
    return f"{_ENDPOINTS}/{checked('whe', endpoint_id)}"


def _delivery(delivery_id: str) -> str:
    return f"{_DELIVERIES}/{checked('whd', delivery_id)}"


def _event_types(changes: WebhookEndpointUpdate) -> Mapping[str, object]:
    """Any sequence becomes an array of JSON."""
    return {"event_types": list(changes["event_types"])} if "event_types" in changes else {}
