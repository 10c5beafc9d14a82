"""What a client sends next: transfers and operations, now and then a refused one or a known key."""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Final

from finpay.errors import Code
from torture.history import BATCHES, TRANSFERS, History, Item, MoneyRequest, Read
from torture.operation_workload import OperationWorkload
from torture.operations import Targets

MAX_AMOUNT: Final = 2_000  # a wallet has 100 000: most transfers are covered
TOO_MUCH: Final = 10**12
RECENT: Final = 40  # most resent keys are recent: their first request may still be in flight
MAX_ITEMS: Final = 12  # per batch
UNKNOWN_ACCOUNT: Final = "acc_00000000000000000000000000"

# In per cent; other reads take the rest.
_TRANSFER, _BATCH, _OPERATION, _REFUSED, _RESEND, _BALANCE = 24, 5, 40, 5, 12, 8
_LISTS: Final = (TRANSFERS, "/api/v1/holds", "/api/v1/withdrawals", "/api/v1/payment_requests")
_REFUSALS: Final = (
    Code.INSUFFICIENT_FUNDS,
    Code.SAME_ACCOUNT,
    Code.RECEIVER_NOT_FOUND,
    Code.CURRENCY_MISMATCH,
    Code.VALIDATION_FAILED,
)


@dataclass(frozen=True, slots=True)
class Wallet:
    """One user: account, access token, e-mail address."""

    account: str
    token: str
    email: str


@dataclass(slots=True)
class Workload:
    """The random requests of client `number`, which sends from wallet `own`."""

    seed: int
    number: int
    own: int
    wallets: tuple[Wallet, ...]
    history: History
    targets: Targets
    sent: list[str] = field(default_factory=list)  # keys of all clients of this wallet
    random: Random = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.random = Random(f"client {self.seed} {self.number}")  # noqa: S311

    def next_request(self) -> MoneyRequest | Read:
        """A new money request, a known one, or a read."""
        percent = self.random.uniform(0, 100)
        if percent < _TRANSFER:
            return self._new(self._transfer())
        if (percent := percent - _TRANSFER) < _BATCH:
            return self._new(self._batch())
        if (percent := percent - _BATCH) < _OPERATION:
            return self._new(self._operations().next_request(self._key()))
        if (percent := percent - _OPERATION) < _REFUSED:
            return self._new(self._refused())
        if (percent := percent - _REFUSED) < _RESEND and self.sent:
            return self._resend()
        if percent - _RESEND < _BALANCE:
            return Read("/api/v1/accounts", self.own)
        return Read(self.random.choice(_LISTS), self.own)

    def _new(self, request: MoneyRequest) -> MoneyRequest:
        self.sent.append(request.key)
        return request

    def _operations(self) -> OperationWorkload:
        accounts = tuple(wallet.account for wallet in self.wallets)
        emails = tuple(wallet.email for wallet in self.wallets)
        return OperationWorkload(self.own, accounts, emails, self.random, self.targets)

    def _transfer(self) -> MoneyRequest:
        key = self._key()
        return single(key, self.own, self._item(f"{key}.0"))

    def _batch(self) -> MoneyRequest:
        key = self._key()
        items = [self._item(f"{key}.{n}") for n in range(self.random.randint(1, MAX_ITEMS))]
        return batch(key, self.own, items, self.random.choice(("independent", "atomic")))

    def _item(self, mark: str) -> Item:
        others = [n for n in range(len(self.wallets)) if n != self.own]
        # The first wallets receive most.
        receiver = others[int(len(others) * self.random.random() ** 2)]
        return Item(mark, self.wallets[receiver].account, self.random.randint(1, MAX_AMOUNT))

    def _refused(self) -> MoneyRequest:
        key = self._key()
        code = self.random.choice(_REFUSALS)
        item = self._item(f"{key}.0")
        receiver, amount, currency = item.receiver, item.amount, None
        if code is Code.INSUFFICIENT_FUNDS:
            amount = TOO_MUCH
        elif code is Code.SAME_ACCOUNT:
            receiver = self.wallets[self.own].account
        elif code is Code.RECEIVER_NOT_FOUND:
            receiver = UNKNOWN_ACCOUNT
        elif code is Code.CURRENCY_MISMATCH:
            currency = "USD"
        else:
            amount = 0
        return single(key, self.own, Item(item.mark, receiver, amount, currency), refused=code)

    def _resend(self) -> MoneyRequest:
        """A known key: with its body, or (every second time) with a changed one."""
        keys = self.sent[-RECENT:] if self.random.random() < 0.7 else self.sent
        known = self.history.by_key[self.random.choice(keys)]
        first = known[0]
        if self.random.random() < 0.5 or not first.may_succeed or first.operation is not None:
            return first
        if len(known) > 1:
            return known[1]
        changed = [
            Item(f"{item.mark}.changed", item.receiver, item.amount + 1) for item in first.items
        ]
        if first.path == TRANSFERS:
            return single(first.key, self.own, changed[0])
        return batch(first.key, self.own, changed, first.mode)

    def _key(self) -> str:
        self._count += 1
        return f"{self.seed}-{self.number}-{self._count}"


def single(key: str, wallet: int, item: Item, *, refused: Code | None = None) -> MoneyRequest:
    """POST /transactions. With `refused`, that has to be the answer."""
    allowed = {refused or Code.INSUFFICIENT_FUNDS, Code.IDEMPOTENCY_KEY_REUSE}
    body = json.dumps(item.members()).encode()
    return MoneyRequest(
        key, wallet, TRANSFERS, (item,), body, frozenset(allowed), may_succeed=refused is None
    )


def batch(key: str, wallet: int, items: list[Item], mode: str) -> MoneyRequest:
    """POST /transactions/batch."""
    body = json.dumps({"mode": mode, "transactions": [item.members() for item in items]}).encode()
    allowed = {Code.INSUFFICIENT_FUNDS, Code.IDEMPOTENCY_KEY_REUSE}
    return MoneyRequest(key, wallet, BATCHES, tuple(items), body, frozenset(allowed), mode=mode)
