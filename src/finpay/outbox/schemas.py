"""The catalogue for machines: a JSON Schema per type, and one AsyncAPI 3.0 document of webhooks.

Made from the shapes that events are encoded with, so that neither can say something else than the
other. Written into docs/events by docs/generate.py.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import msgspec

from finpay.outbox.event_types import EVENT_TYPES, EventType
from finpay.outbox.resources import Event

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_HEADERS: Final = {
    "webhook-id": "The event's id: the same at each attempt, so that you can tell a repetition.",
    "webhook-timestamp": "Unix time of this attempt, in seconds.",
    "webhook-signature": "Standard Webhooks: one `v1,…` for each secret that is valid now.",
}


def schema(kind: str) -> dict[str, Any]:
    """A whole JSON Schema (draft 2020-12) of one type's events."""
    told, shapes = _described(kind, "#/$defs/{name}")
    return {"$schema": _DIALECT, **told, "$defs": shapes}


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0 of what FinPay sends to webhook endpoints."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for kind in EVENT_TYPES:
        told, shapes = _described(kind, "#/components/schemas/{name}")
        schemas |= {**shapes, kind: told}
        messages[kind] = _message(kind)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FinPay events",
            "version": version("finpay"),
            "description": "What FinPay tells webhook endpoints: at least once, in any order.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "webhook": {
                "address": None,
                "description": "The URL of a webhook endpoint; each owner sets their own.",
                "messages": {
                    kind: {"$ref": f"#/components/messages/{kind}"} for kind in EVENT_TYPES
                },
            }
        },
        "operations": {
            "deliver": {
                "action": "send",
                "summary": "POST one event; any 2xx within 20 s is success.",
                "channel": {"$ref": "#/channels/webhook"},
                "messages": [
                    {"$ref": f"#/channels/webhook/messages/{kind}"} for kind in EVENT_TYPES
                ],
            }
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _described(kind: str, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One type's schema, and those of the shapes that it refers to."""
    described = EVENT_TYPES[kind]
    _, shapes = msgspec.json.schema_components([Event, described.subject], ref_template=template)
    told = shapes.pop("Event")
    del shapes["EventData"]
    told["title"] = kind
    told["description"] = described.told
    told["properties"]["type"] = {"const": kind}
    told["properties"]["data"] = {
        "type": "object",
        "properties": {
            "object": _subject(described, template),
            "previous": _exactly(described.previous),
        },
        "required": ["object", "previous"],
    }
    return told, shapes


def _subject(described: EventType, template: str) -> dict[str, Any]:
    shape = {"$ref": template.format(name=described.subject.__name__)}
    if not described.narrowed:
        return shape
    # allOf, because readers of older drafts ignore what stands beside a $ref.
    return {"allOf": [shape, {"properties": dict(described.narrowed)}]}


def _exactly(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(members),
        "additionalProperties": False,
    }


def _message(kind: str) -> dict[str, Any]:
    properties = {
        name: {"type": "string", "description": meaning} for name, meaning in _HEADERS.items()
    }
    return {
        "name": kind,
        "summary": EVENT_TYPES[kind].told,
        "headers": {"type": "object", "properties": properties, "required": list(properties)},
        "payload": {"$ref": f"#/components/schemas/{kind}"},
    }
