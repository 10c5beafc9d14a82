"""A JSON Schema for each event type, and an AsyncAPI 3.0 document of the webhooks.

Generated from the structs that encode the events, so that they can't differ. docs/generate.py
writes them into docs/events.
"""

from collections.abc import Mapping
from importlib.metadata import version
from inspect import cleandoc
from typing import Any, Final

import msgspec

from finpay.outbox.event_types import EVENT_TYPES, EventType
from finpay.outbox.resources import Event

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_HEADERS: Final = {
    "webhook-id": "The event's id. The same in every attempt, to detect repetitions.",
    "webhook-timestamp": "Unix time of this attempt, in seconds.",
    "webhook-signature": "Standard Webhooks: one `v1,…` for each valid secret.",
}


def schema(event_type: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one type's events."""
    event, shapes = _schemas(event_type, "#/$defs/{name}")
    return {"$schema": _DIALECT, **event, "$defs": shapes}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of the webhooks."""
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for name in EVENT_TYPES:
        event, shapes = _schemas(name, "#/components/schemas/{name}")
        schemas |= {**shapes, name: event}
        messages[name] = _message(name)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "FinPay events",
            "version": version("finpay"),
            "description": "What FinPay sends to webhook endpoints: at least once, in any order.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "webhook": {
                "address": None,
                "description": "The URL of a webhook endpoint; each owner sets their own.",
                "messages": {
                    name: {"$ref": f"#/components/messages/{name}"} for name in EVENT_TYPES
                },
            }
        },
        "operations": {
            "deliver": {
                "action": "send",
                "summary": "POST one event; any 2xx within 20 s is success.",
                "channel": {"$ref": "#/channels/webhook"},
                "messages": [
                    {"$ref": f"#/channels/webhook/messages/{name}"} for name in EVENT_TYPES
                ],
            }
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _schemas(name: str, template: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of one type's events, and the schemas that it refers to."""
    event_type = EVENT_TYPES[name]
    _, shapes = msgspec.json.schema_components([Event, event_type.subject], ref_template=template)
    for shape in shapes.values():  # docstrings: an indented paragraph is code in Markdown
        shape["description"] = cleandoc(shape.get("description", ""))
    event = shapes.pop("Event")
    del shapes["EventData"]
    event["title"] = name
    event["description"] = event_type.description
    event["properties"]["type"] = {"const": name}
    event["properties"]["data"] = {
        "type": "object",
        "properties": {
            "object": _subject(event_type, template),
            "previous": _exactly(event_type.previous, event_type.optional_previous),
        },
        "required": ["object", "previous"],
    }
    return event, shapes


def _subject(event_type: EventType, template: str) -> dict[str, Any]:
    shape = {"$ref": template.format(name=event_type.subject.__name__)}
    if not event_type.constraints:
        return shape
    # allOf, because older drafts ignore the other members of an object with $ref.
    return {"allOf": [shape, {"properties": dict(event_type.constraints)}]}


def _exactly(members: Mapping[str, Any], optional: Mapping[str, Any]) -> dict[str, Any]:
    at_least_one = {"minProperties": 1} if optional and not members else {}
    return {
        "type": "object",
        "properties": {**members, **optional},
        "required": list(members),
        **at_least_one,
        "additionalProperties": False,
    }


def _message(event_type: str) -> dict[str, Any]:
    properties = {name: {"type": "string", "description": text} for name, text in _HEADERS.items()}
    return {
        "name": event_type,
        "summary": EVENT_TYPES[event_type].description,
        "headers": {"type": "object", "properties": properties, "required": list(properties)},
        "payload": {"$ref": f"#/components/schemas/{event_type}"},
    }
