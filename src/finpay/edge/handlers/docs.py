"""Handlers of /openapi.json and /docs: Swagger UI from our own host, one page per error."""

from functools import cache
from html import escape
from importlib.metadata import distribution
from importlib.resources import files
from mimetypes import guess_type
from pathlib import Path
from typing import Final

from finpay.edge.request.model import Context
from finpay.edge.response import Response
from finpay.edge.services import Services
from finpay.errors import ERROR_SPECS, Code, FinPayError

HTML: Final = b"text/html; charset=utf-8"
_OWN_ASSETS: Final = frozenset({"docs.css", "docs.js"})
_SWAGGER_ASSETS: Final = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"})
_ASSET_MAX_AGE_S: Final = 3600


async def openapi(services: Services, _: Context) -> Response:
    return Response(200, services.openapi)


async def index(_: Services, __: Context) -> Response:
    return Response(200, _own_file("docs.html"), HTML)


async def asset(_: Services, context: Context) -> Response:
    name = context.path_id
    if name in _OWN_ASSETS:
        content = _own_file(name)
    elif name in _SWAGGER_ASSETS:
        content = _swagger_file(name)
    else:
        raise FinPayError(Code.NOT_FOUND, "Unknown file of the docs page.")
    content_type = guess_type(name)[0] or "application/octet-stream"
    headers = {"Cache-Control": f"public, max-age={_ASSET_MAX_AGE_S}"}
    return Response(200, content, content_type.encode(), headers)


async def list_errors(_: Services, __: Context) -> Response:
    rows = "".join(
        f'<tr><td>{spec.status}</td><td><a href="/docs/errors/{code}">{code}</a></td>'
        f"<td>{escape(spec.title)}</td></tr>"
        for code, spec in ERROR_SPECS.items()
    )
    return Response(200, page("Errors of FinPay", f"<table>{rows}</table>"), HTML)


async def retrieve_error(_: Services, context: Context) -> Response:
    """The page that the `type` of a problem links to."""
    try:
        code = Code(context.path_id)
    except ValueError:
        raise FinPayError(Code.NOT_FOUND, "Unknown error code.") from None
    spec = ERROR_SPECS[code]
    retry = "Retrying may help." if spec.retryable else "Retrying the same request won't help."
    content = (
        f"<p><b>{escape(spec.title)}</b></p><p>HTTP {spec.status}. {retry}</p>"
        f'<p>{escape(spec.advice)}</p><p><a href="/docs/errors">All errors</a> · '
        '<a href="/docs">API</a></p>'
    )
    return Response(200, page(code, content), HTML)


def page(title: str, content: str) -> bytes:
    """A page of our own, in the style of the documentation."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="/docs/assets/favicon-32x32.png">'
        '<link rel="stylesheet" href="/docs/assets/docs.css">'
        f"<main><h1>{escape(title)}</h1>{content}</main></html>"
    ).encode()


@cache
def _own_file(name: str) -> bytes:
    return (files("finpay.edge") / "static" / name).read_bytes()


@cache
def _swagger_file(name: str) -> bytes:
    """A file of Swagger UI. Its package is not imported: that would import a web framework."""
    package = distribution("flask-swagger-ui")
    return Path(str(package.locate_file(f"flask_swagger_ui/dist/{name}"))).read_bytes()
