"""What holds of operators' actions at the end of a run: deposits, withdrawals and approvals.

Every request has its final answer by then, so each action that was carried out is in the answer to
exactly one key.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from finpay import ids
from torture.history import MoneyRequest
from torture.ledger_snapshot import Approval, LedgerSnapshot, Transaction
from torture.operation_checks import answers, named_transaction
from torture.operations import MAY_NEED_APPROVAL, Kind, Operation

# What ends an object or approval for good: one request alone can have done it.
_ENDS: Final[dict[Kind, tuple[str, str]]] = {
    "reject": ("withdrawal", "rejected"),
    "cancel_withdrawal": ("withdrawal", "canceled"),
    "void": ("hold", "voided"),
    "operator_void": ("hold", "voided"),
    "approve": ("approval", "approved"),
    "reject_approval": ("approval", "rejected"),
}
_AUDITED: Final = frozenset(
    {("hold", "voided"), ("withdrawal", "canceled"), ("withdrawal", "rejected")}
)


def lost(requests: Sequence[MoneyRequest], ledger: LedgerSnapshot) -> Iterator[str]:
    """An approval without the transaction of its answer."""
    approvals = {one.id: one for one in ledger.approvals}
    for request, response in answers(requests):
        operation, named = request.operation, named_transaction(request, response)
        if operation is not None and operation.kind == "approve" and named is not None:
            approval = approvals.get(operation.target)
            if approval is None or (approval.status, approval.transaction) != ("approved", named):
                yield f"{request.key} approved {named}: {approval}"


def duplicated(requests: Sequence[MoneyRequest], ledger: LedgerSnapshot) -> Iterator[str]:
    """Two deposits or approvals of one request, a key of two requests, an object ended twice."""
    marks = Counter(("approval", one.mark) for one in ledger.approvals)
    marks += Counter(("deposit", one.mark or "") for one in _deposits(ledger))
    yield from (f"{mark} is in the ledger {n} times" for mark, n in marks.items() if n > 1)
    bodies: defaultdict[str, set[bytes]] = defaultdict(set)
    for request, response in answers(requests):
        if request.has_key and response.status < 300:
            bodies[request.key].add(request.body)
    yield from (f"the key {key} did {len(n)} requests" for key, n in bodies.items() if len(n) > 1)
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for (name, _), found in _ended_by(requests).items():
        keys[name] |= found
    yield from (f"{name} was ended by the keys {n}" for name, n in keys.items() if len(n) > 1)


def phantom(
    requests: Sequence[MoneyRequest], ledger: LedgerSnapshot, wallets: Sequence[str]
) -> Iterator[str]:
    """A deposit, an approval or an end of an object without a request, or not as requested."""
    asked = {
        request.operation.mark: request.operation
        for request in requests
        if request.operation is not None and request.operation.kind in MAY_NEED_APPROVAL
    }
    answered = {named_transaction(*answer) for answer in answers(requests)}
    names = {account.id: account.public_id for account in ledger.accounts}
    for deposit in _deposits(ledger):
        wanted = asked.get(deposit.mark or "")
        received = (names.get(deposit.receiver), deposit.amount)
        if wanted is None or (wallets[wanted.other or 0], wanted.amount) != received:
            yield f"{deposit} was never requested"
        elif ids.encode("txn", deposit.id) not in answered:
            yield f"{deposit} is in no answer"
    for approval in ledger.approvals:
        if not _is_asked(approval, asked.get(approval.mark)):
            yield f"{approval} was never requested"
    done = _ended_by(requests)
    yield from (f"{ended} by no request" for ended in _ended(ledger) if ended not in done)


def _is_asked(approval: Approval, wanted: Operation | None) -> bool:
    if wanted is None or not wanted.needs_approval:
        return False
    return (wanted.amount, wanted.target) == (approval.amount, approval.target)


def refused_but_applied(requests: Sequence[MoneyRequest], ledger: LedgerSnapshot) -> Iterator[str]:
    """A deposit or an approval whose request was refused for good."""
    marks = {one.mark for one in _deposits(ledger)} | {one.mark for one in ledger.approvals}
    for request, response in answers(requests):
        operation = request.operation
        if operation is None or operation.kind not in MAY_NEED_APPROVAL:
            continue
        if response.status >= 400 and operation.mark in marks:
            yield f"{request.key} was refused: {response.status} {response.code}"


def unbalanced(ledger: LedgerSnapshot) -> Iterator[str]:
    """Money that was paid out and does not equal the completed withdrawals."""
    paid_out = sum(one.amount for one in ledger.transactions if one.type == "withdrawal")
    completed = sum(
        one.amount
        for one in ledger.objects
        if (one.kind, one.status) == ("withdrawal", "completed")
    )
    if paid_out != completed:
        yield f"{paid_out} were paid out, and withdrawals of {completed} are completed"


def brought_in(ledger: LedgerSnapshot) -> int:
    """What operators brought in, less what they paid out."""
    systems = {account.id for account in ledger.accounts if account.is_system}
    return sum(
        one.amount * ((one.sender in systems) - (one.receiver in systems))
        for one in ledger.transactions
        if one.moved and one.type in {"deposit", "withdrawal", "refund"}
    )


def audited(ledger: LedgerSnapshot) -> set[tuple[str, str]]:
    """The audit rows that there have to be of objects without a transaction."""
    ended = ((one, (one.kind, one.status)) for one in ledger.objects)
    return {(one.id, ".".join(end)) for one, end in ended if end in _AUDITED}


def _deposits(ledger: LedgerSnapshot) -> list[Transaction]:
    return [one for one in ledger.transactions if one.type == "deposit"]


def _ended(ledger: LedgerSnapshot) -> Iterator[tuple[str, str]]:
    """The id and status of each object that a request has to have ended."""
    ends = set(_ENDS.values())
    yield from ((one.id, one.status) for one in ledger.objects if (one.kind, one.status) in ends)
    yield from (
        (one.id, one.status) for one in ledger.approvals if ("approval", one.status) in ends
    )


def _ended_by(requests: Sequence[MoneyRequest]) -> dict[tuple[str, str], set[str]]:
    """The keys of the requests that were answered that they ended an object, by id and status."""
    keys: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for request, response in answers(requests):
        operation = request.operation
        if operation is not None and operation.kind in _ENDS and response.status < 300:
            keys[operation.target, _ENDS[operation.kind][1]].add(request.key)
    return keys
