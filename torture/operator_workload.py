"""The random actions of an operator: deposits, withdrawals, refunds, holds and approvals."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from torture.history import History, MoneyRequest, Read
from torture.operation_workload import MAX_AMOUNT, request_of
from torture.operations import RECENT, Kind, Operation, Targets

# In per cent of all requests; reads take the rest.
_ACTION, _RESEND = 76, 16
# In per cent of all actions.
_SHARES: Final[dict[Kind, int]] = {
    "deposit": 22, "deposit_taken": 2, "complete": 26, "reject": 8, "operator_refund": 16,
    "operator_void": 6, "approve": 14, "approve_own": 2, "reject_approval": 4,
}  # fmt: skip
_LISTS: Final = ("withdrawals", "approvals", "transactions")


@dataclass(slots=True)
class OperatorWorkload:
    """The requests of client `number` of operator `own` about `accounts`."""

    seed: int
    number: int
    own: int
    accounts: Sequence[str]
    history: History
    targets: Targets
    sent: list[str] = field(default_factory=list)  # keys of all clients of this operator
    random: Random = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.random = Random(f"operator {self.seed} {self.number}")  # noqa: S311

    def next_request(self) -> MoneyRequest | Read:
        """A new action, a known one, or a read."""
        percent = self.random.uniform(0, 100)
        if percent < _ACTION:
            return self._action()
        if percent < _ACTION + _RESEND and self.sent:
            return self._resend()
        return Read(f"/api/v1/operator/{self.random.choice(_LISTS)}", self.own)

    def _action(self) -> MoneyRequest:
        """On a known object where there is one, else a deposit."""
        self._count += 1
        key = f"{self.seed}-{self.number}-{self._count}"
        self.sent.append(key)
        (kind,) = self.random.choices(list(_SHARES), list(_SHARES.values()))
        if kind == "deposit" or not self.targets.of[kind, self.own]:
            receiver, amount = self._receiver(), self.random.randint(1, MAX_AMOUNT)
            return self._deposit(key, Operation("deposit", key, amount, receiver), key)
        return self._on_target(kind, key)

    def _receiver(self) -> int:
        return self.random.randrange(len(self.accounts))

    def _deposit(self, key: str, operation: Operation, reference: str) -> MoneyRequest:
        members = {
            "account_id": self.accounts[operation.other or 0],
            "amount": operation.amount,
            "reference": reference,
            "description": operation.mark,
        }
        return request_of(operation, self.own, key, members)

    def _on_target(self, kind: Kind, key: str) -> MoneyRequest:
        known = self.targets.of[kind, self.own]
        target = self.random.choice(known[-RECENT:] if self.random.random() < 0.8 else known)
        amount, members = None, dict[str, Any]()
        if kind == "deposit_taken":
            taken = Operation(kind, key, target.amount, self._receiver())
            return self._deposit(key, taken, target.id)
        if kind == "complete":
            amount, members = target.amount, {"reference": key}
        elif kind == "reject":
            members = {"reason": key}
        elif kind == "operator_refund":
            # Now and then more than there is left.
            amount = self.random.randint(1, target.amount)
            members = {"amount": amount, "description": key}
        return request_of(Operation(kind, key, amount, None, target.id), self.own, key, members)

    def _resend(self) -> MoneyRequest:
        """A known key: with its body or, every second time of a deposit, with a changed one."""
        known = self.history.by_key[self.random.choice(self.sent[-RECENT:])]
        first = known[0]
        made = first.operation
        if made is None or made.kind != "deposit" or self.random.random() < 0.5:
            return first
        if len(known) > 1:
            return known[1]
        mark, amount = f"{first.key}.changed", max(1, (made.amount or 0) - 1)
        changed = Operation("deposit", mark, amount, made.other)
        return self._deposit(first.key, changed, mark)
