"""OpenAPI 3.1 from the routes and the shapes: what the code does is what the document says."""

from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec

from finpay.edge import routes
from finpay.edge.handlers import deliveries, webhook_endpoints
from finpay.edge.routes import ROUTES, Route
from finpay.edge.schemas import problems, requests
from finpay.errors import ERROR_SPECS, Code
from finpay.outbox import event_types
from finpay.webhooks.deliveries import STATUSES

_ANYWHERE: Final = (Code.INTERNAL_ERROR, Code.UNAVAILABLE, Code.OVERLOADED)
_WITH_BODY: Final = (
    Code.MALFORMED_JSON,
    Code.BODY_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
    Code.VALIDATION_FAILED,
)
_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
    "cursor": {"type": "string", "description": "next_cursor of the page before."},
    "direction": {"enum": ["sent", "received"]},
    "status": {"enum": ["pending", "completed", "failed", "reversed"]},
    "created_from": {"type": "string", "format": "date-time", "description": "Inclusive."},
    "created_to": {"type": "string", "format": "date-time", "description": "Exclusive."},
    "amount_min": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
    "amount_max": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
    "counterparty_id": {"type": "string", "pattern": "^acc_[0-7][0-9a-hjkmnp-tv-z]{25}$"},
    "idempotency_key": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "type": {"enum": event_types.patterns(), "description": "A type, a group of them, or all."},
    "after_sequence": {
        "type": "integer",
        "minimum": 0,
        "maximum": 2**53 - 1,
        "description": "Oldest first, only what comes after this number.",
    },
}
# Where one name means different things, its parser tells which.
_BY_PARSER: Final[dict[Any, dict[str, Any]]] = {
    deliveries.STATUS: {"enum": list(STATUSES)},
}
# What the docs page fills in: works as it stands beside `finpay dev`.
_EXAMPLES: Final[dict[type[Any], dict[str, Any]]] = {
    requests.Login: {"email": "alice@finpay.dev", "password": "password123"},
    requests.Send: {"receiver_email": "bob@finpay.dev", "amount": 2500, "description": "Lunch"},
    requests.TransferBatchCreate: {
        "mode": "independent",
        "transactions": [
            {"receiver_email": "bob@finpay.dev", "amount": 2500, "description": "Lunch"},
            {"receiver_email": "bob@finpay.dev", "amount": 300},
        ],
    },
    webhook_endpoints.NewEndpoint: {
        "url": "https://example.com/finpay",
        "event_types": ["transaction.*"],
    },
    webhook_endpoints.EndpointChange: {"enabled": True},
    webhook_endpoints.Rotation: {"overlap_s": 3600},
    deliveries.Replay: {"since": "2026-01-31T12:00:00Z", "only_failed": True},
}
_INTRODUCTION: Final = """\
A payment API: wallet accounts, atomic transfers, idempotent retries.

**Try it**: log in with `alice@finpay.dev` / `password123` (development's seed), copy
`access_token`, press *Authorize*, and send money to `bob@finpay.dev`. Amounts are integers in
minor units: 2500 is ZAR 25.00. Errors are problem+json; each `type` is a page of this server.
"""


@cache
def encoded() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The whole document."""
    shapes = {shape for route in ROUTES for shape in _shapes_of(route)} | {problems.Problem}
    ordered = sorted(shapes, key=lambda shape: shape.__name__)
    _, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "FinPay", "version": version("finpay"), "description": _INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


def _shapes_of(route: Route) -> set[type[msgspec.Struct]]:
    answers = {shape for shape in route.answers.values() if shape is not None}
    return answers | ({route.body} if route.body is not None else set())


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": _parameters(route),
        "responses": _answers(route),
    }
    if route.passes == "user":
        operation["security"] = [{"token": []}]
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body.__name__}"}
        operation["requestBody"] = {
            "required": not route.body_optional,
            "content": {"application/json": {"schema": schema} | _example(route)},
        }
    return operation


def _example(route: Route) -> dict[str, Any]:
    return {"example": _EXAMPLES[route.body]} if route.body in _EXAMPLES else {}


def _tag(route: Route) -> str:
    inside = route.path.removeprefix(f"{routes.API}/")
    return inside.partition("/")[0] if inside != route.path else "service"


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "query", "schema": _BY_PARSER.get(parser) or _PARAMETERS[name]}
        for name, parser in route.parameters.items()
    ]
    if "{id}" in route.path:
        found.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    if route.money:
        schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
        described = "Yours, new for each payment, the same when you retry it."
        found.append(
            {
                "name": "X-Idempotency-Key",
                "in": "header",
                "required": True,
                "description": described,
                "schema": schema,
            }
        )
    return found


def _answers(route: Route) -> dict[str, Any]:
    answers = {str(status): _answer(route, shape) for status, shape in route.answers.items()}
    by_status: dict[int, list[Code]] = {}
    for code in _codes(route):
        by_status.setdefault(ERROR_SPECS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        if str(status) not in answers:
            answers[str(status)] = _problem(codes)
    return answers


def _codes(route: Route) -> list[Code]:
    if route.passes == "free":
        return [Code.INTERNAL_ERROR, *route.refusals]
    codes = [*_ANYWHERE, *route.refusals, Code.RATE_LIMITED]
    if route.passes == "user":
        codes.append(Code.UNAUTHENTICATED)
    if route.body is not None:
        codes.extend(_WITH_BODY)
    elif route.method in {"POST", "PATCH"}:
        codes.append(Code.BODY_TOO_LARGE)
    else:
        codes.append(Code.VALIDATION_FAILED)
    return codes


def _answer(route: Route, shape: type[msgspec.Struct] | None) -> dict[str, Any]:
    if shape is None:
        return {"description": route.summary + "."}
    schema = {"$ref": f"#/components/schemas/{shape.__name__}"}
    return {
        "description": (shape.__doc__ or shape.__name__).strip(),
        "content": {"application/json": {"schema": schema}},
    }


def _problem(codes: list[Code]) -> dict[str, Any]:
    lines = [f"`{code}`: {ERROR_SPECS[code].title}" for code in sorted(set(codes))]
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": "\n\n".join(lines),
        "content": {"application/problem+json": {"schema": schema}},
    }
