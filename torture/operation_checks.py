"""What holds of operations at the end of a run: their answers against the ledger's objects.

Every request has its final answer by then, so the transactions of captures, refunds and payments
are those of the answers, and no others. operator_checks has what holds of operators alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from uuid import UUID

from finpay import ids
from tests.support.raw_http import Response
from torture import allowed_answers
from torture.history import MoneyRequest
from torture.ledger_snapshot import Approval, LedgerObject, LedgerSnapshot, Transaction
from torture.operations import MAKES_OBJECT, MOVES_MONEY, Kind

_PREFIXES: Final[dict[str, ids.Prefix]] = {
    "hold": "hld",
    "transaction": "txn",
    "payment_request": "prq",
    "schedule": "sch",
    "withdrawal": "wdr",
}
_ENDS: Final[dict[Kind, str]] = {
    "void": "voided",
    "cancel_withdrawal": "canceled",
    "cancel_request": "canceled",
    "decline": "declined",
    "reject": "rejected",
    "operator_void": "voided",
    "reject_approval": "rejected",
}


def lost(requests: Sequence[MoneyRequest], ledger: LedgerSnapshot) -> Iterator[str]:
    """An object or a transaction of an answer that the ledger does not have, or has otherwise."""
    approvals = {one.id: one for one in ledger.approvals}
    objects = {one.id: one for one in ledger.objects} | approvals
    transactions = {ids.encode("txn", one.id): one for one in ledger.transactions}
    for request, response in answers(requests):
        operation = request.operation
        if operation is None:
            continue
        if (named := named_transaction(request, response)) is not None:
            found = transactions.get(named)
            moved = response.status < 300
            target = operation.target
            if operation.kind == "approve":
                target = approvals[target].target if target in approvals else target
            if found is None or found.moved != moved or origin_id(found) != target:
                yield f"{request.key} was answered {response.status} as {named}: {found}"
        elif response.status < 300:
            yield from _lost_object(request, response, objects)


def duplicated(requests: Sequence[MoneyRequest], ledger: LedgerSnapshot) -> Iterator[str]:
    """Two objects of one request, two requests with one transaction, an object used twice."""
    marks = Counter((one.kind, one.mark) for one in ledger.objects)
    yield from (f"{mark} is in the ledger {n} times" for mark, n in marks.items() if n > 1)
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for request, response in answers(requests):
        if (named := named_transaction(request, response)) is not None:
            keys[named].add(request.key)
    yield from (
        f"{named} is of the keys {found}" for named, found in keys.items() if len(found) > 1
    )
    moved = Counter[str]()
    for one in ledger.transactions:
        if one.origin is not None and one.moved:
            moved[origin_id(one)] += one.amount
    for made in ledger.objects:
        yield from _used_twice(made, moved[made.id])
    for one in ledger.transactions:
        back = moved[ids.encode("txn", one.id)]
        if back > one.amount or back != one.refunded:
            yield f"of {one.mark} {back} of {one.amount} were refunded, it says {one.refunded}"
    runs = Counter(
        (origin_id(one), one.scheduled_for)
        for one in ledger.transactions
        if one.origin == "schedule"
    )
    yield from (f"the run {run} was made {n} times" for run, n in runs.items() if n > 1)


def phantom(requests: Sequence[MoneyRequest], ledger: LedgerSnapshot) -> Iterator[str]:
    """An object or a transaction without a request, or not as requested."""
    made = {
        (request.operation.kind, request.operation.mark): request
        for request in requests
        if request.operation is not None
    }
    for one in ledger.objects:
        request = made.get((_kind(one), one.mark or ""))
        if request is None or request.operation is None or request.operation.amount != one.amount:
            yield f"{one} was never requested"
    answered = {named_transaction(*answer) for answer in answers(requests)}
    schedules = {one.id: one for one in ledger.objects if one.kind == "schedule"}
    for transaction in ledger.transactions:
        if transaction.origin == "schedule":
            schedule = schedules.get(origin_id(transaction))
            parties = (transaction.sender, transaction.receiver, transaction.amount)
            if schedule is None or (schedule.owner, schedule.other, schedule.amount) != parties:
                yield f"{transaction} is of no such schedule"
        elif transaction.origin is not None and ids.encode("txn", transaction.id) not in answered:
            yield f"{transaction} is in no answer"


def refused_but_applied(requests: Sequence[MoneyRequest], ledger: LedgerSnapshot) -> Iterator[str]:
    """An object whose request was refused for good."""
    marks = {(one.kind, one.mark) for one in ledger.objects}
    for request, response in answers(requests):
        made = request.operation
        if made is not None and response.status >= 400 and (made.kind, made.mark) in marks:
            yield f"{request.key} was refused: {response.status} {response.code}"


def missing_runs(ledger: LedgerSnapshot) -> Iterator[str]:
    """A schedule whose counter differs from its transactions, or which ended without a run."""
    runs = Counter(origin_id(one) for one in ledger.transactions if one.origin == "schedule")
    for one in ledger.objects:
        if one.kind == "schedule" and (one.taken != runs[one.id] or one.taken == 0):
            yield f"{one} has {runs[one.id]} transactions"


def _lost_object(
    request: MoneyRequest, response: Response, objects: Mapping[str, LedgerObject | Approval]
) -> Iterator[str]:
    operation = request.operation
    if operation is None:
        return
    if operation.kind in _ENDS:
        found = objects.get(operation.target)
        expected = found is not None and found.status == _ENDS[operation.kind]
    else:
        found = objects.get(response.json().get("id", ""))
        expected = found is not None and found.mark == operation.mark
    if not expected:
        yield f"{request.key} was answered {response.status}: {found}"


def _used_twice(made: LedgerObject, moved: int) -> Iterator[str]:
    if made.kind == "hold" and (moved > made.amount or moved != made.taken):
        yield f"of {made} {moved} were captured"
    if made.kind == "payment_request" and moved != made.amount * (made.status == "paid"):
        yield f"for {made} {moved} were paid"
    if made.kind == "withdrawal" and moved != made.amount * (made.status == "completed"):
        yield f"for {made} {moved} were paid out"


def answers(requests: Sequence[MoneyRequest]) -> Iterator[tuple[MoneyRequest, Response]]:
    """The final answers to operations; a success of one without a key comes before refusals."""
    for request in requests:
        if request.operation is not None:
            for response in request.responses:
                if allowed_answers.is_final(response):
                    yield request, response


def named_transaction(request: MoneyRequest, response: Response) -> str | None:
    """The id of the transaction that an answer names."""
    if request.operation is None or request.operation.kind not in MOVES_MONEY:
        return None
    if response.status in {202, 409}:  # an approval; the transaction of another request
        return None
    named: str | None = response.json().get("id" if response.status < 300 else "transaction_id")
    return named


def origin_id(one: Transaction) -> str:
    """The public id of what it came of."""
    if one.origin is None or one.origin_id is None:
        return ""
    return ids.encode(_PREFIXES[one.origin], UUID(int=one.origin_id.int))


def _kind(one: LedgerObject) -> Kind:
    kinds: dict[str, Kind] = {kind: kind for kind in MAKES_OBJECT}
    return kinds[one.kind]
