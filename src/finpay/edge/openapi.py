"""OpenAPI 3.1, made from the routes and the schemas."""

from importlib.metadata import version
from inspect import getdoc
from typing import Any, Final

import msgspec

from finpay.edge.portable_schema import portable
from finpay.edge.request.query_params import METADATA, Cursor, Pair, Parameter
from finpay.edge.router import API, Route
from finpay.edge.routes import ROUTES
from finpay.edge.schemas import (
    money_requests,
    payment_requests,
    problems,
    requests,
    schedules,
    webhooks,
)
from finpay.errors import ERROR_SPECS, Code

_ON_EVERY_ROUTE: Final = (Code.INTERNAL_ERROR, Code.UNAVAILABLE, Code.OVERLOADED)
_WITH_BODY: Final = (
    Code.MALFORMED_JSON,
    Code.BODY_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
    Code.VALIDATION_FAILED,
)
# The docs page fills these in; they work against `finpay dev`.
_EXAMPLES: Final[dict[type[Any], dict[str, Any]]] = {
    requests.Login: {"email": "alice@finpay.dev", "password": "password123"},
    money_requests.TransactionCreate: {
        "receiver_email": "bob@finpay.dev",
        "amount": 2500,
        "description": "Lunch",
    },
    money_requests.HoldCreate: {
        "receiver_email": "bob@finpay.dev",
        "amount": 2500,
        "expires_in": 3600,
    },
    money_requests.CaptureCreate: {"amount": 2000},
    money_requests.RefundCreate: {"amount": 500},
    money_requests.WithdrawalCreate: {
        "amount": 2500,
        "destination": {"bank": "Example Bank", "account": "62001234567"},
    },
    money_requests.TransferBatchCreate: {
        "mode": "independent",
        "transactions": [
            {"receiver_email": "bob@finpay.dev", "amount": 2500, "description": "Lunch"},
            {"receiver_email": "bob@finpay.dev", "amount": 300},
        ],
    },
    money_requests.AccountUpdate: {"limits": {"single": 500_000}},
    payment_requests.PaymentRequestCreate: {
        "amount": 2500,
        "payer_email": "bob@finpay.dev",
        "description": "Lunch",
    },
    payment_requests.SplitCreate: {
        "amount": 10_000,
        "payer_emails": ["bob@finpay.dev", "carol@example.com"],
        "include_me": True,
    },
    schedules.ScheduleCreate: {
        "receiver_email": "bob@finpay.dev",
        "amount": 250_000,
        "description": "Rent",
        "start_at": "2030-01-31T08:00:00+02:00",
        "every": {"unit": "month", "count": 1},
        "timezone": "Africa/Johannesburg",
    },
    webhooks.WebhookEndpointCreate: {
        "url": "https://example.com/finpay",
        "event_types": ["transaction.*"],
    },
    webhooks.WebhookEndpointUpdate: {"enabled": True},
    webhooks.SecretRotation: {"overlap_s": 3600},
    webhooks.ReplayCreate: {"since": "2026-01-31T12:00:00Z", "only_failed": True},
}
_PAIR: Final = "MetadataFilter"
_INTRODUCTION: Final = """\
A payment API: wallet accounts, transfers, holds, refunds, withdrawals, payment requests,
schedules and statements, with idempotent retries.

**Try it**: log in with `alice@finpay.dev` / `password123` (development's seed), copy
`access_token`, press *Authorize*, and send money to `bob@finpay.dev`. Amounts are integers in
minor units: 2500 is ZAR 25.00. Errors are problem+json; each `type` is a page of this server.
"""


def encoded() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The whole document."""
    schemas = {schema for route in ROUTES for schema in _schemas_of(route)} | {problems.Problem}
    ordered = sorted(schemas, key=lambda schema: schema.__name__)
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
            "schemas": portable(components | {_PAIR: METADATA.schema}),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An access token (JWT) or an API key (fpk_…).",
                }
            },
        },
    }


def _schemas_of(route: Route) -> set[type[msgspec.Struct]]:
    found = {schema for schema in route.responses.values() if schema is not None}
    return found | ({route.body} if route.body is not None else set())


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": _parameters(route),
        "responses": _responses(route),
    }
    if route.access == "authenticated":
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
    inside = route.path.removeprefix(f"{API}/")
    return inside.partition("/")[0] if inside != route.path else "service"


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [_query_parameter(name, parameter) for name, parameter in route.parameters.items()]
    if "{id}" in route.path:
        found.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    if route.needs_key or route.accepts_key:
        found.append(_key_parameter(route))
    return found


def _key_parameter(route: Route) -> dict[str, Any]:
    """It is required, but OpenAPI can't say that a dry run needs none."""
    has_dry_run = "dry_run" in route.parameters
    needed = " Required, but for a dry run." if has_dry_run else ""
    return {
        "name": "X-Idempotency-Key",
        "in": "header",
        "required": route.needs_key and not has_dry_run,
        "description": f"New for each request, the same when it is retried.{needed}",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    }


def _query_parameter(name: str, parameter: Parameter | Cursor | Pair) -> dict[str, Any]:
    found = {"name": name, "in": "query", "required": parameter.required}
    if isinstance(parameter, Pair):
        reference = {"$ref": f"#/components/schemas/{_PAIR}"}
        return found | {"style": "deepObject", "explode": True, "schema": reference}
    return found | {"schema": portable(parameter.schema)}


def _responses(route: Route) -> dict[str, Any]:
    found = {_status(route, code): _response(route, of) for code, of in route.responses.items()}
    for media_type, description in route.files.items():
        schema = {"type": "string", "description": description}
        found["200"].setdefault("content", {})[media_type] = {"schema": schema}
    by_status: dict[int, list[Code]] = {}
    for code in _codes(route):
        by_status.setdefault(ERROR_SPECS[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        if str(status) not in found:
            found[str(status)] = _problem(codes)
    return found


def _status(route: Route, status: int) -> str:
    """A dry run's 200 is 2XX: generators take the lowest number for the result of the operation."""
    return "2XX" if status == 200 and 201 in route.responses else str(status)


def _codes(route: Route) -> list[Code]:
    if route.access == "unlimited":
        return [Code.INTERNAL_ERROR, *route.errors]
    codes = [*_ON_EVERY_ROUTE, *route.errors, Code.RATE_LIMITED]
    if route.access == "authenticated":
        codes.append(Code.UNAUTHENTICATED)
        if route.scope != "any":
            codes.append(Code.FORBIDDEN if route.scope is None else Code.INSUFFICIENT_SCOPE)
    if route.body is not None:
        codes.extend(_WITH_BODY)
    elif route.method in {"POST", "PATCH"}:
        codes.append(Code.BODY_TOO_LARGE)
    else:
        codes.append(Code.VALIDATION_FAILED)
    return codes


def _response(route: Route, schema: type[msgspec.Struct] | None) -> dict[str, Any]:
    if schema is None:
        return {"description": route.summary + "."}
    reference = {"$ref": f"#/components/schemas/{schema.__name__}"}
    return {
        "description": getdoc(schema) or schema.__name__,
        "content": {"application/json": {"schema": reference}},
    }


def _problem(codes: list[Code]) -> dict[str, Any]:
    lines = [f"`{code}`: {ERROR_SPECS[code].title}" for code in sorted(set(codes))]
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": "\n\n".join(lines),
        "content": {"application/problem+json": {"schema": schema}},
    }
