"""Holds, refunds, withdrawals, payment requests and schedules: what clients ask for, and of what.

An operation that makes an object has a mark, which is the object's description. An operation on an
object names it by the id in the answer that made it, so clients only touch what was acknowledged.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from finpay.errors import Code
from tests.support.raw_http import Response

Kind = Literal[
    "hold", "capture", "void", "refund", "withdrawal", "cancel_withdrawal",
    "payment_request", "pay", "cancel_request", "decline", "schedule",
]  # fmt: skip

# The refusals that the contract allows; no operation names what the caller may not touch.
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
}
SUCCESS: Final[Mapping[Kind, int]] = defaultdict(
    lambda: 201, {"void": 200, "cancel_withdrawal": 200, "cancel_request": 200, "decline": 200}
)
# They have no idempotency key: a retry after the success is refused.
WITHOUT_KEY: Final[frozenset[Kind]] = frozenset({"cancel_request", "decline"})
# The kinds of objects, and the transactions that move money for an operation.
MAKES_OBJECT: Final[frozenset[Kind]] = frozenset(
    {"hold", "withdrawal", "payment_request", "schedule"}
)
MOVES_MONEY: Final[frozenset[Kind]] = frozenset({"capture", "refund", "pay"})
RECENT: Final = 30  # most operations meet others on the same object


@dataclass(frozen=True, slots=True)
class Operation:
    """What is asked for. `other` is the wallet of the other party, `target` the id of an object."""

    kind: Kind
    mark: str
    amount: int | None = None
    other: int | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """An object that an answer made."""

    id: str
    amount: int


@dataclass(slots=True)
class Targets:
    """What each wallet may act on, by the kind of the operation. `wallets` by account id."""

    wallets: Mapping[str, int]
    of: defaultdict[tuple[Kind, int], list[Target]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _known: set[str] = field(default_factory=set)

    def learn(self, operation: Operation | None, wallet: int, response: Response) -> None:
        """After an answer. What it made was perhaps made known by an earlier one."""
        made = response.json()
        name = made.get("id", "")
        if response.status >= 300 or not name or name in self._known:
            return
        if made.get("object") == "transaction":
            actors = self._of_transaction(made)
        else:
            actors = self._of_object(operation, wallet)
        if actors:
            self._known.add(name)
        for kind, actor in actors:
            self.of[kind, actor].append(Target(name, made["amount"]))

    def _of_transaction(self, made: Mapping[str, Any]) -> list[tuple[Kind, int]]:
        if made["type"] != "transfer" or made["status"] != "completed":
            return []
        return [("refund", self.wallets[made["receiver_id"]])]

    def _of_object(self, operation: Operation | None, wallet: int) -> list[tuple[Kind, int]]:
        if operation is None or operation.kind not in MAKES_OBJECT:
            return []
        other = operation.other if operation.other is not None else wallet
        by_kind: dict[Kind, list[tuple[Kind, int]]] = {
            "hold": [("capture", other), ("void", other)],
            "withdrawal": [("cancel_withdrawal", wallet)],
            "payment_request": [("pay", other), ("decline", other), ("cancel_request", wallet)],
        }
        return by_kind.get(operation.kind, [])
