"""What the contract allows as an answer: docs/errors.md, read strictly."""

from collections.abc import Iterator
from typing import Final

from finpay.errors import ERROR_SPECS, Code
from tests.support.raw_http import Response
from torture.history import BATCHES, MoneyRequest, Read

# The outcome stays open with these: the request may be retried.
_RETRY_LATER: Final = frozenset(
    {Code.REQUEST_IN_PROGRESS, Code.RATE_LIMITED, Code.UNAVAILABLE, Code.OVERLOADED}
)


def is_final(response: Response) -> bool:
    """Whether the request is decided: carried out, or refused for good."""
    return response.status < 400 or (response.status < 500 and response.code not in _RETRY_LATER)


def violation(request: MoneyRequest, response: Response) -> str:
    """Why this is not a documented answer to a money POST; empty where it is."""
    if response.status < 300:
        if not request.may_succeed:
            return f"{request.key}: {response.status} where {sorted(request.refusals)} was due"
        expected = _success(request)
        documented = response.status == expected and response.json()
        return "" if documented else _describe(request.key, response)
    return _refusal_violation(request.key, response, request.refusals)


def read_violation(read: Read, response: Response) -> str:
    """The same for a read, which may only be refused with an answer to retry later."""
    if response.status == 200 and response.json():
        return ""
    return _refusal_violation(f"GET {read.path}", response, frozenset())


def impossible_balances(response: Response, most: int) -> Iterator[str]:
    """Balances in the answer to a read that are negative or above the most of all wallets."""
    if response.status != 200:
        return
    found = response.json()
    balances = [one["balance_after"] for one in found.get("data", []) if "balance_after" in one]
    for balance in [*balances, found.get("balance", 0), found.get("available", 0)]:
        if not 0 <= balance <= most:
            yield f"a wallet was shown a balance of {balance}; all wallets have at most {most}"


def acknowledged(request: MoneyRequest, response: Response) -> Iterator[tuple[str, str, str]]:
    """Transactions that exist according to an answer: (mark, id, status); not of operations."""
    found = response.json()
    if request.operation is not None:
        return
    if response.status >= 400:
        if found.get("transaction_id"):
            yield request.items[0].mark, found["transaction_id"], "failed"
    elif request.path != BATCHES:
        yield request.items[0].mark, found.get("id", ""), found.get("status", "")
    else:
        for result in found.get("data", []):
            mark = request.items[result["index"]].mark
            if result["transaction"] is not None:
                yield mark, result["transaction"]["id"], result["transaction"]["status"]
            elif (result["error"] or {}).get("transaction_id"):
                yield mark, result["error"]["transaction_id"], "failed"


def refused(request: MoneyRequest, response: Response) -> Iterator[str]:
    """Marks of the items that were not carried out according to a final answer."""
    if response.status >= 400:
        yield from (item.mark for item in request.items)
    elif request.path == BATCHES:
        for result in response.json().get("data", []):
            if result["status"] == "failed":
                yield request.items[result["index"]].mark


def _success(request: MoneyRequest) -> int:
    if request.operation is not None:
        return request.operation.success
    return 200 if request.mode == "independent" else 201


def _refusal_violation(what: str, response: Response, allowed: frozenset[Code]) -> str:
    code = response.code
    if code not in set(Code) or ERROR_SPECS[Code(code)].status != response.status:
        return _describe(what, response)
    return "" if Code(code) in allowed | _RETRY_LATER else _describe(what, response)


def _describe(what: str, response: Response) -> str:
    return f"{what}: {response.status} {response.content_type} {response.body[:200]!r}"
