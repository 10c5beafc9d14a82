"""What the contract allows as an answer, read strictly: docs/errors.md and nothing else."""

from collections.abc import Iterator
from typing import Final

from finpay.errors import ERROR_SPECS, Code
from torture.history import BATCHES, Intent, Read
from torture.raw_http import Answer

# These say "not now": what became of the request stays open, and it may be sent again.
_NOT_NOW: Final = frozenset(
    {Code.REQUEST_IN_PROGRESS, Code.RATE_LIMITED, Code.UNAVAILABLE, Code.OVERLOADED}
)


def is_final(answer: Answer) -> bool:
    """Whether the answer settles its request: done, or refused for good."""
    return answer.status < 400 or (answer.status < 500 and answer.code not in _NOT_NOW)


def fault_of(intent: Intent, answer: Answer) -> str:
    """Why this is no documented answer to a money POST; empty where it is one."""
    if answer.status < 300:
        if not intent.may_succeed:
            return f"{intent.key}: {answer.status} where {sorted(intent.refusals)} was due"
        wanted = 200 if intent.mode == "independent" else 201
        return "" if answer.status == wanted and answer.json() else _strange(intent.key, answer)
    return _refusal_fault(intent.key, answer, intent.refusals)


def fault_of_read(read: Read, answer: Answer) -> str:
    """The same for a read, which nothing but "not now" may refuse."""
    if answer.status == 200 and answer.json():
        return ""
    return _refusal_fault(f"GET {read.path}", answer, frozenset())


def impossible(answer: Answer, total: int) -> Iterator[str]:
    """Balances in an answer to a read that no moment of the bank can have had."""
    if answer.status != 200:
        return
    found = answer.json()
    balances = [step["balance_after"] for step in found.get("data", [])]
    for balance in [*balances, found.get("balance", 0)]:
        if not 0 <= balance <= total:
            yield f"a wallet was told that it has {balance} of {total}"


def acknowledged(intent: Intent, answer: Answer) -> Iterator[tuple[str, str, str]]:
    """Transactions that an answer says exist: (mark, id, status)."""
    found = answer.json()
    if answer.status >= 400:
        if found.get("transaction_id"):
            yield intent.items[0].mark, found["transaction_id"], "failed"
    elif intent.path != BATCHES:
        yield intent.items[0].mark, found.get("id", ""), found.get("status", "")
    else:
        for line in found.get("data", []):
            mark = intent.items[line["index"]].mark
            if line["transaction"] is not None:
                yield mark, line["transaction"]["id"], line["transaction"]["status"]
            elif (line["error"] or {}).get("transaction_id"):
                yield mark, line["error"]["transaction_id"], "failed"


def refused(intent: Intent, answer: Answer) -> Iterator[str]:
    """Marks of the items that a final answer says were not done."""
    if answer.status >= 400:
        yield from (item.mark for item in intent.items)
    elif intent.path == BATCHES:
        for line in answer.json().get("data", []):
            if line["status"] == "failed":
                yield intent.items[line["index"]].mark


def _refusal_fault(what: str, answer: Answer, expected: frozenset[Code]) -> str:
    code = answer.code
    if code not in set(Code) or ERROR_SPECS[Code(code)].status != answer.status:
        return _strange(what, answer)
    return "" if Code(code) in expected | _NOT_NOW else _strange(what, answer)


def _strange(what: str, answer: Answer) -> str:
    return f"{what}: {answer.status} {answer.content_type} {answer.body[:200]!r}"
