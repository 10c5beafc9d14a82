"""What operations are and what they are about, in the model."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["hold", "capture", "void", "refund", "withdrawal", "cancel"]


@dataclass(frozen=True)
class Operate:
    """An operation as requested. `target` counts the holds, payments or withdrawals of the run."""

    sender: str
    key: str
    kind: Kind
    receiver: str = ""
    target: int = 0
    amount: int | None = None
    final: bool = True


@dataclass
class Hold:
    """`is_over`: its time is over, and it has perhaps not been expired yet."""

    sender: str
    receiver: str
    amount: int
    captured: int = 0
    status: str = "open"
    is_over: bool = False

    @property
    def remaining(self) -> int:
        return self.amount - self.captured


@dataclass
class Payment:
    """A completed transfer, which its receiver may give back."""

    sender: str
    receiver: str
    amount: int
    refunded: int = 0


@dataclass
class Withdrawal:
    owner: str
    amount: int
    status: str = "pending"


@dataclass
class PaymentRequest:
    """`payer` is None where anyone may pay. `is_overdue`: its time is over, which no worker has
    written yet."""

    requester: str
    payer: str | None
    amount: int
    status: str = "open"
    is_overdue: bool = False
    paid_by: str | None = None


@dataclass
class Schedule:
    """`due_days` is how long ago its next occurrence was due; it repeats daily or not at all."""

    sender: str
    receiver: str
    amount: int
    due_days: float
    is_daily: bool
    status: str = "active"
    runs: int = 0
    failures: int = 0
