"""Writes the parts of docs/sdk.md that come from the code of `finpay.client`. Run by generate.py.

The page is written by hand, except between `<!-- generated: name -->` and `<!-- end -->`.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

import httpx

from finpay import client
from finpay.client import (
    FinPay,
    FinPayError,
    _errors,
    _identity_models,
    _identity_operations,
    _models,
    _money_models,
    _money_operations,
    _operations,
    _request_operations,
    _session,
    _statement_models,
    _webhook_operations,
)
from finpay.client._sync_payments import Payments
from finpay.client._sync_requests import RequestMethods
from finpay.edge.openapi import document
from finpay.errors import Code

PAGE: Final = Path(__file__).with_name("sdk.md")
_BLOCK: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

# The first method of each group.
_GROUPS: Final = {
    "register": "Users and sessions",
    "account": "Account and history",
    "event": "Events",
    "create_webhook_endpoint": "Webhook endpoints and deliveries",
    "health": "Server",
    "send": "Payments",
    "hold": "Holds, refunds and withdrawals",
    "dry_run_send": "Dry runs, keys and limits",
    "request_payment": "Payment requests and schedules",
}
# Arguments to call each method with, so that its request is known; any other argument is "x".
_SUFFIX: Final = "_01h455vb4pex5vsknk084sn02q"
_ARGUMENTS: Final[dict[str, Any]] = {
    "transaction_id": f"txn{_SUFFIX}",
    "event_id": f"evt{_SUFFIX}",
    "endpoint_id": f"whe{_SUFFIX}",
    "delivery_id": f"whd{_SUFFIX}",
    "session_id": f"ses{_SUFFIX}",
    "hold_id": f"hld{_SUFFIX}",
    "withdrawal_id": f"wdr{_SUFFIX}",
    "amount": 1,
    "destination": {},
    "key_id": f"key{_SUFFIX}",
    "since": datetime(2026, 1, 1, tzinfo=UTC),
    "transfers": (),
    "at": datetime(2026, 1, 1, tzinfo=UTC),
    "version": None,
    "start": date(2026, 1, 1),
    "end": date(2026, 1, 31),
    "timezone": None,
    "file_format": "pdf",
    "request_id": f"prq{_SUFFIX}",
    "schedule_id": f"sch{_SUFFIX}",
}
# Left out: codes that any method may raise (the page lists them once), and codes that the client
# never causes.
_LEFT_OUT: Final = {
    "unauthenticated", "validation_failed", "not_found", "rate_limited", "internal_error",
    "unavailable", "overloaded", "malformed_json", "body_too_large", "unsupported_media_type",
    "idempotency_key_missing", "cursor_invalid",
}  # fmt: skip
_CODES: Final = {str(code) for code in Code} - _LEFT_OUT
_PAGE_WIDTH: Final = 88


def page() -> str:
    """docs/sdk.md with its generated parts made anew."""
    parts: dict[str, Callable[[], str]] = {
        "constructor": _constructor,
        "methods": _methods,
        "errors": _error_tree,
        "parameters": _parameters,
        "results": lambda: _classes(_models, _money_models, _statement_models, _identity_models),
        "pager": lambda: _source(client.Pager),
    }
    return _BLOCK.sub(
        lambda found: f"{found[1]}\n{parts[found[2]]()}\n\n{found[3]}", PAGE.read_text("utf-8")
    )


def _constructor() -> str:
    (init,) = (node for node in _functions(FinPay) if node.name == "__init__")
    options = inspect.getdoc(_session.Options) or ""
    return f"{_signature(init, 'FinPay')}\n\n{_source(_session.Options)}\n\n{options}"


def _methods() -> str:
    lines = []
    for node in chain.from_iterable(map(_functions, (FinPay, Payments, RequestMethods))):
        if node.name.startswith("_") or node.decorator_list or node.name == "close":
            continue
        if node.name in _GROUPS:
            lines += [f"### {_GROUPS[node.name]}", ""]
        lines += [f"#### {node.name}", "", _signature(node, f"client.{node.name}"), ""]
        lines += [ast.get_docstring(node) or "", ""]
        lines += [_request(node.name), ""] if node.name != "request" else []
    return "\n".join(lines).strip()


def _functions(owner: type) -> Iterator[ast.FunctionDef]:
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _signature(node: ast.FunctionDef, name: str) -> str:
    """As a block of code; `**filters: Unpack[X]` is shown as it is written."""
    arguments = _code(node.args).removeprefix("self").removeprefix(", ")
    result = "" if name == "FinPay" else f" -> {_code(node.returns or ast.Constant(None))}"
    line = f"{name}({arguments}){result}"
    if len(line) > _PAGE_WIDTH:
        split = re.sub(r", (?![^\[]*\])", ",\n    ", arguments)
        line = f"{name}(\n    {split},\n){result}"
    return f"```py\n{line}\n```"


def _request(name: str) -> str:
    """The HTTP request of a method, and the codes that are its own."""
    method, path = _recorded(name)
    operation = document()["paths"][path][method.lower()]
    described = " ".join(answer["description"] for answer in operation["responses"].values())
    codes = [code for code in re.findall(r"`(\w+)`:", described) if code in _CODES]
    refusals = ", ".join(f"[`{code}`](errors.md#{code})" for code in codes)
    return f"`{method} {path}`" + (f" · {refusals}" if refusals else "")


def _recorded(name: str) -> tuple[str, str]:
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(404)

    http = httpx.Client(transport=httpx.MockTransport(serve))
    finpay = FinPay(http=http, refresh_token=_SUFFIX, max_retries=0)
    method = getattr(finpay, name)
    required = [
        parameter.name
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    try:
        list(method(**{each: _ARGUMENTS.get(each, "x") for each in required}))
    except FinPayError:
        path = re.sub(rf"\w{{3}}{_SUFFIX}", "{id}", seen[0].url.path)
        return seen[0].method, path
    raise AssertionError(f"{name} sent nothing")


def _error_tree() -> str:
    """The indented paragraph of the module's docstring."""
    _, tree, _ = (_errors.__doc__ or "").split("\n\n", 2)
    return f"```text\n{textwrap.dedent(tree)}\n```"


def _parameters() -> str:
    return _classes(
        _operations, _money_operations, _request_operations, _webhook_operations,
        _identity_operations,
    )  # fmt: skip


def _classes(*modules: Any) -> str:
    """Every public class of the modules: its docstring and its members."""
    shown = [
        value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__ and name in client.__all__
    ]
    sections = [
        f"#### {each.__name__}\n\n{inspect.getdoc(each)}\n\n{_source(each)}" for each in shown
    ]
    return "\n\n".join(sections)


def _source(owner: type) -> str:
    """The members of a class as code: annotations, and methods without their bodies."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    node = next(each for each in tree.body if isinstance(each, ast.ClassDef))
    members = [_code(each) for each in node.body if isinstance(each, ast.AnnAssign)]
    members += [
        f"def {each.name}({_code(each.args)}) -> {_code(each.returns)}"
        for each in node.body
        if isinstance(each, ast.FunctionDef) and each.returns and each.name != "__repr__"
    ]
    public = [member for member in members if not member.startswith("_")]
    bases = [_code(base) for base in node.bases if _code(base) in client.__all__]
    header = f"class {node.name}" + (f"({', '.join(bases)}):" if bases else ":")
    return "\n".join(["```py", header, *(f"    {member}" for member in public), "```"])


def _code(node: ast.AST) -> str:
    """As ruff formats it."""
    return re.sub(r"(?<=[\w\]])=", " = ", ast.unparse(node)).replace("'", '"')
