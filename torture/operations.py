"""Holds, refunds, withdrawals, payment requests and schedules: what clients ask for, and of what.

An operation that makes an object has a mark, which is the object's description. An operation on an
object names it by the id in the answer that made it, so clients only touch what was acknowledged.
Operators' actions are operations too. Above an amount they are answered with an approval, which
another operator approves.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from finpay.errors import Code
from tests.support.raw_http import Response

Kind = Literal[
    "hold", "capture", "void", "refund", "withdrawal", "cancel_withdrawal",
    "payment_request", "pay", "cancel_request", "decline", "schedule",
    "deposit", "deposit_taken", "complete", "reject", "operator_refund", "operator_void",
    "approve", "approve_own", "reject_approval",
]  # fmt: skip

# The refusals that the contract allows; no user's operation names what the caller may not touch.
REFUSALS: Final[Mapping[Kind, frozenset[Code]]] = {
    "hold": frozenset({Code.INSUFFICIENT_FUNDS}),
    "capture": frozenset({Code.HOLD_NOT_OPEN, Code.AMOUNT_TOO_LARGE}),
    "void": frozenset({Code.HOLD_NOT_OPEN}),
    "refund": frozenset({Code.AMOUNT_TOO_LARGE, Code.INSUFFICIENT_FUNDS}),
    "withdrawal": frozenset({Code.INSUFFICIENT_FUNDS}),
    "cancel_withdrawal": frozenset({Code.WITHDRAWAL_NOT_PENDING}),
    "payment_request": frozenset(),
    "pay": frozenset({Code.REQUEST_NOT_OPEN, Code.INSUFFICIENT_FUNDS}),
    "cancel_request": frozenset({Code.REQUEST_NOT_OPEN}),
    "decline": frozenset({Code.REQUEST_NOT_OPEN}),
    "schedule": frozenset({Code.VALIDATION_FAILED}),  # its start may pass before a retry arrives
    "deposit": frozenset({Code.IDEMPOTENCY_KEY_REUSE}),  # some are retried with another body
    "deposit_taken": frozenset({Code.REFERENCE_TAKEN}),  # under the reference of another one
    "complete": frozenset({Code.WITHDRAWAL_NOT_PENDING}),
    "reject": frozenset({Code.WITHDRAWAL_NOT_PENDING}),
    "operator_refund": frozenset({Code.AMOUNT_TOO_LARGE, Code.INSUFFICIENT_FUNDS}),
    "operator_void": frozenset({Code.HOLD_NOT_OPEN}),
    "approve": frozenset(
        {Code.APPROVAL_NOT_PENDING, Code.WITHDRAWAL_NOT_PENDING, Code.AMOUNT_TOO_LARGE,
         Code.INSUFFICIENT_FUNDS}
    ),
    "approve_own": frozenset({Code.FORBIDDEN}),
    "reject_approval": frozenset({Code.APPROVAL_NOT_PENDING}),
}  # fmt: skip
NEVER_ALLOWED: Final[frozenset[Kind]] = frozenset({"approve_own", "deposit_taken"})
_CHANGES_OBJECT: Final[tuple[Kind, ...]] = (
    "void", "cancel_withdrawal", "cancel_request", "decline", "reject", "operator_void",
    "reject_approval",
)  # fmt: skip
# They have no idempotency key: a retry after the success is refused.
WITHOUT_KEY: Final[frozenset[Kind]] = frozenset({"cancel_request", "decline"})
# The kinds of objects, and the transactions that move money for an operation.
MAKES_OBJECT: Final[frozenset[Kind]] = frozenset(
    {"hold", "withdrawal", "payment_request", "schedule"}
)
MOVES_MONEY: Final[frozenset[Kind]] = frozenset(
    {"capture", "refund", "pay", "deposit", "complete", "operator_refund", "approve"}
)
# What a second operator has to approve above an amount; such an operation has its amount.
MAY_NEED_APPROVAL: Final[frozenset[Kind]] = frozenset({"deposit", "complete", "operator_refund"})
APPROVAL_ABOVE: Final = 1_500  # of at most 2 000: a quarter of the deposits and withdrawals
RECENT: Final = 30  # most operations meet others on the same object


@dataclass(frozen=True, slots=True)
class Operation:
    """What is asked for. `other` is the wallet of the other party, `target` the id of an object."""

    kind: Kind
    mark: str
    amount: int | None = None
    other: int | None = None
    target: str = ""

    @property
    def needs_approval(self) -> bool:
        """Whether a success is an approval and not a transaction."""
        amount = self.amount or 0
        return self.kind in MAY_NEED_APPROVAL and amount > APPROVAL_ABOVE

    @property
    def success(self) -> int:
        """The status of the answer to a success."""
        if self.needs_approval:
            return 202
        return 200 if self.kind in _CHANGES_OBJECT else 201


@dataclass(frozen=True, slots=True)
class Target:
    """An object that an answer made; of a deposit its reference."""

    id: str
    amount: int


@dataclass(slots=True)
class Targets:
    """What each caller may act on, by the kind of the operation: `wallets` by account id, and
    `operators`, whose numbers follow those of the wallets."""

    wallets: Mapping[str, int]
    operators: Sequence[int] = ()
    of: defaultdict[tuple[Kind, int], list[Target]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _known: set[str] = field(default_factory=set)

    def learn(self, operation: Operation | None, caller: int, response: Response) -> None:
        """After an answer. What it made was perhaps made known by an earlier one."""
        made = response.json()
        name = made.get("id", "")
        if response.status >= 300 or not name or name in self._known:
            return
        actors = self._actors(operation, caller, made)
        if actors:
            self._known.add(name)
        amount = made.get("amount") or made.get("parameters", {}).get("amount", 0)
        for kind, actor in actors:
            named = made["reference"] if kind == "deposit_taken" else name
            self.of[kind, actor].append(Target(named, amount))

    def _actors(
        self, operation: Operation | None, caller: int, made: Mapping[str, Any]
    ) -> list[tuple[Kind, int]]:
        if made.get("object") == "transaction":
            return self._of_transaction(made)
        if made.get("object") == "approval":
            others = [number for number in self.operators if number != caller]
            decided: list[tuple[Kind, int]] = [("approve", number) for number in others]
            own: list[tuple[Kind, int]] = [("approve_own", caller)]
            return [*decided, *own, *self._every_operator("reject_approval")]
        return self._of_object(operation, caller)

    def _of_transaction(self, made: Mapping[str, Any]) -> list[tuple[Kind, int]]:
        if made["status"] != "completed":
            return []
        refundable = self._every_operator("operator_refund")
        if made["type"] == "transfer":
            return [("refund", self.wallets[made["receiver_id"]]), *refundable]
        if made["type"] == "deposit":
            return [*refundable, *self._every_operator("deposit_taken")]
        return refundable if made["type"] == "withdrawal" else []

    def _of_object(self, operation: Operation | None, caller: int) -> list[tuple[Kind, int]]:
        if operation is None or operation.kind not in MAKES_OBJECT:
            return []
        other = operation.other if operation.other is not None else caller
        by_kind: dict[Kind, list[tuple[Kind, int]]] = {
            "hold": [("capture", other), ("void", other), *self._every_operator("operator_void")],
            "withdrawal": [
                ("cancel_withdrawal", caller),
                *self._every_operator("complete"),
                *self._every_operator("reject"),
            ],
            "payment_request": [("pay", other), ("decline", other), ("cancel_request", caller)],
        }
        return by_kind.get(operation.kind, [])

    def _every_operator(self, kind: Kind) -> list[tuple[Kind, int]]:
        return [(kind, number) for number in self.operators]
