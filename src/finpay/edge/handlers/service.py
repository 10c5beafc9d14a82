"""Handlers that need no token: health, metrics, documentation."""

import hmac
from functools import cache
from html import escape
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from mimetypes import guess_type
from pathlib import Path
from typing import Final, Literal

from finpay.edge.request.model import Context, Response
from finpay.edge.schemas import responses
from finpay.edge.services import Services
from finpay.errors import ERROR_SPECS, Code, FinPayError
from finpay.telemetry import metrics as counters

HTML: Final = b"text/html; charset=utf-8"
_ASSETS: Final = frozenset(
    {"swagger-ui.css", "swagger-ui-bundle.js", "docs.css", "docs.js", "favicon-32x32.png"}
)
_ASSET_AGE_S: Final = 3600


async def health(services: Services, _: Context) -> Response:
    probe = services.probe
    status = "down" if not probe.postgres_ok else "ok" if probe.redis_ok else "degraded"
    checks = responses.Checks(
        "ok" if probe.postgres_ok else "down", "ok" if probe.redis_ok else "down"
    )
    body = responses.Health(status, version("finpay"), checks)  # type: ignore[arg-type]
    return Response(200 if probe.postgres_ok else 503, responses.encode(body))


async def livez(_: Services, __: Context) -> Response:
    return Response(200, b'{"status":"ok"}')


async def readyz(services: Services, _: Context) -> Response:
    probe = services.probe
    checks = responses.ReadinessChecks(
        "ok" if probe.postgres_ok else "down", "ok" if probe.redis_ok else "down", probe.integrity
    )
    if probe.draining or not probe.postgres_ok:
        return Response(503, responses.encode(responses.Readiness("down", checks)))
    status: Literal["ok", "warn"] = "ok" if probe.redis_ok else "warn"
    return Response(200, responses.encode(responses.Readiness(status, checks)))


async def metrics(services: Services, call: Context) -> Response:
    """Open in development; in production only with the token, and not there without one."""
    token = services.settings.metrics_token
    if token is None and services.settings.production:
        raise FinPayError(Code.NOT_FOUND, "Set FINPAY_METRICS_TOKEN to open this page.")
    if token is not None and not hmac.compare_digest(call.bearer.encode(), token.encode()):
        raise FinPayError(
            Code.UNAUTHENTICATED,
            "Send FINPAY_METRICS_TOKEN as a Bearer token.",
            headers={"WWW-Authenticate": 'Bearer realm="metrics"'},
        )
    text = counters.exposition(services.metrics_folder)
    return Response(200, text, b"text/plain; version=0.0.4; charset=utf-8")


async def openapi(_: Services, __: Context) -> Response:
    from finpay.edge import openapi as document

    return Response(200, document.encoded())


async def docs(_: Services, __: Context) -> Response:
    return Response(200, _file("docs.html"), HTML)


async def asset(_: Services, call: Context) -> Response:
    if call.path_id not in _ASSETS:
        raise FinPayError(Code.NOT_FOUND, "The docs page has no such file.")
    kind = guess_type(call.path_id)[0] or "application/octet-stream"
    headers = {"Cache-Control": f"public, max-age={_ASSET_AGE_S}"}
    return Response(200, _file(call.path_id), kind.encode(), headers)


async def errors(_: Services, __: Context) -> Response:
    rows = "".join(
        f'<tr><td>{kind.status}</td><td><a href="/docs/errors/{code}">{code}</a></td>'
        f"<td>{escape(kind.title)}</td></tr>"
        for code, kind in ERROR_SPECS.items()
    )
    return Response(200, _page("Errors of FinPay", f"<table>{rows}</table>"), HTML)


async def error(_: Services, call: Context) -> Response:
    """Where the `type` of a problem leads."""
    try:
        code = Code(call.path_id)
    except ValueError:
        raise FinPayError(Code.NOT_FOUND, "There is no error with this code.") from None
    kind = ERROR_SPECS[code]
    again = "Retrying may help." if kind.retryable else "Retrying the same request won't help."
    content = (
        f"<p><b>{escape(kind.title)}</b></p><p>HTTP {kind.status}. {again}</p>"
        f'<p>{escape(kind.advice)}</p><p><a href="/docs/errors">All errors</a> · '
        '<a href="/docs">API</a></p>'
    )
    return Response(200, _page(code, content), HTML)


def _page(title: str, content: str) -> bytes:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="/docs/assets/favicon-32x32.png">'
        '<link rel="stylesheet" href="/docs/assets/docs.css">'
        f"<main><h1>{escape(title)}</h1>{content}</main></html>"
    ).encode()


@cache
def _file(name: str) -> bytes:
    """A file of ours, or of Swagger UI, which is not imported: only its files are needed."""
    own = files("finpay.edge") / "static" / name
    if own.is_file():
        return own.read_bytes()
    package = find_spec("swagger_ui")
    assert package is not None and package.origin is not None  # noqa: PT018, S101  a dependency
    return (Path(package.origin).parent / "static" / name).read_bytes()
