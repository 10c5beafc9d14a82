"""The operations on webhook endpoints and deliveries, as `_operations` has the others."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, TypedDict

from finpay import ids
from finpay.client._models import Delivery, Page, Replayed, WebhookEndpoint
from finpay.client._operations import Operation, json_body, parameter, query
from finpay.client._requests import encode
from finpay.errors import Code, FinPayError

_ENDPOINTS: Final = "/api/v1/webhook_endpoints"
_DELIVERIES: Final = "/api/v1/deliveries"
_NOTHING: Final = type(None)


class EndpointChange(TypedDict, total=False):
    """What shall be different; what isn't named stays. A description of None is none."""

    url: str
    event_types: Sequence[str]
    description: str | None
    enabled: bool


class DeliveryFilters(TypedDict, total=False):
    """`limit` is a page's size, 1 to 100."""

    status: Literal["pending", "delivered", "failed", "canceled"] | None
    limit: int | None


def create_endpoint(
    url: str, event_types: Sequence[str], description: str | None, *, enabled: bool
) -> Operation[WebhookEndpoint]:
    """Not repeatable: sent twice, it makes two."""
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


def change_endpoint(endpoint_id: str, change: EndpointChange) -> Operation[WebhookEndpoint]:
    """A None is sent, as null: it clears."""
    content = encode({**change, **_listed(change)})
    return Operation("PATCH", _endpoint(endpoint_id), WebhookEndpoint, content)


def delete_endpoint(endpoint_id: str) -> Operation[None]:
    """Not repeatable: the second would be told that there is nothing to delete."""
    return Operation("DELETE", _endpoint(endpoint_id), _NOTHING, repeatable=False)


def rotate_secret(endpoint_id: str, overlap_s: int | None) -> Operation[WebhookEndpoint]:
    """Not repeatable: the answer to the first would be lost with a secret in it."""
    path = f"{_endpoint(endpoint_id)}/rotate_secret"
    content = json_body({"overlap_s": overlap_s})
    return Operation("POST", path, WebhookEndpoint, content, repeatable=False)


def ping(endpoint_id: str) -> Operation[Delivery]:
    return Operation("POST", f"{_endpoint(endpoint_id)}/test", Delivery, repeatable=False)


def replay(
    endpoint_id: str, since: datetime, until: datetime | None, *, only_failed: bool
) -> Operation[Replayed]:
    members = {
        "since": parameter("since", since),
        "until": None if until is None else parameter("until", until),
        "only_failed": only_failed,
    }
    path = f"{_endpoint(endpoint_id)}/replay"
    return Operation("POST", path, Replayed, json_body(members), repeatable=False)


def deliveries(endpoint_id: str, filters: DeliveryFilters) -> Operation[Page[Delivery]]:
    path = f"{_endpoint(endpoint_id)}/deliveries"
    return Operation("GET", path, Page[Delivery], params=query(filters))


def delivery(delivery_id: str) -> Operation[Delivery]:
    return Operation("GET", _delivery(delivery_id), Delivery)


def retry(delivery_id: str) -> Operation[Delivery]:
    return Operation("POST", f"{_delivery(delivery_id)}/retry", Delivery)


def _endpoint(endpoint_id: str) -> str:
    return f"{_ENDPOINTS}/{_checked('whe', endpoint_id)}"


def _delivery(delivery_id: str) -> str:
    return f"{_DELIVERIES}/{_checked('whd', delivery_id)}"


def _checked(prefix: Literal["whe", "whd"], text: str) -> str:
    """A malformed id is refused here as FinPay would: only a well-formed one is put in a path."""
    try:
        ids.decode(prefix, text)
    except ids.MalformedId as fault:
        raise FinPayError(Code.NOT_FOUND, f"No such thing: {fault}.") from None
    return text


def _listed(change: EndpointChange) -> Mapping[str, object]:
    """Any sequence is an array of JSON."""
    return {"event_types": list(change["event_types"])} if "event_types" in change else {}
