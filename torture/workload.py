"""What one client does next: mostly sends money, at times what must be refused, or an old key."""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Final

from finpay.errors import Code
from torture.history import BATCHES, TRANSFERS, Intent, Item, Journal, Read

MAX_AMOUNT: Final = 2_000  # a wallet has 100 000: most transfers find enough
TOO_MUCH: Final = 10**12
RECENT: Final = 40  # old keys are mostly young: their first request may still be in flight
MAX_ITEMS: Final = 12  # per batch
NOBODY: Final = "acc_00000000000000000000000000"

# Shares of a hundred.
_TRANSFER, _BATCH, _REFUSED, _RESEND, _BALANCE = 50, 8, 8, 12, 12
_REFUSALS: Final = (
    Code.INSUFFICIENT_FUNDS,
    Code.SAME_ACCOUNT,
    Code.RECEIVER_NOT_FOUND,
    Code.CURRENCY_MISMATCH,
    Code.VALIDATION_FAILED,
)


@dataclass(frozen=True, slots=True)
class Wallet:
    """One of the users: the account, the token that sends from it, and who it is."""

    account: str
    token: str
    email: str


@dataclass(slots=True)
class Mix:
    """One client's dice: client `number` of wallet `own`, `wallets` in all."""

    seed: int
    number: int
    own: int
    wallets: tuple[Wallet, ...]
    journal: Journal
    sent: list[str] = field(default_factory=list)  # keys of all clients of this wallet
    dice: Random = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        self.dice = Random(f"client {self.seed} {self.number}")  # noqa: S311

    def draw(self) -> Intent | Read:
        """A new intent, an old one once more, or a read."""
        die = self.dice.uniform(0, 100)
        if die < _TRANSFER:
            return self._new(self._transfer())
        if (die := die - _TRANSFER) < _BATCH:
            return self._new(self._batch())
        if (die := die - _BATCH) < _REFUSED:
            return self._new(self._refused())
        if (die := die - _REFUSED) < _RESEND and self.sent:
            return self._again()
        return Read("/api/v1/accounts" if die - _RESEND < _BALANCE else TRANSFERS, self.own)

    def _new(self, intent: Intent) -> Intent:
        self.sent.append(intent.key)
        return intent

    def _transfer(self) -> Intent:
        key = self._key()
        return single(key, self.own, self._item(f"{key}.0"))

    def _batch(self) -> Intent:
        key = self._key()
        items = [self._item(f"{key}.{n}") for n in range(self.dice.randint(1, MAX_ITEMS))]
        return batch(key, self.own, items, self.dice.choice(("independent", "atomic")))

    def _item(self, mark: str) -> Item:
        others = [n for n in range(len(self.wallets)) if n != self.own]
        # The first wallets are the popular ones.
        receiver = others[int(len(others) * self.dice.random() ** 2)]
        return Item(mark, self.wallets[receiver].account, self.dice.randint(1, MAX_AMOUNT))

    def _refused(self) -> Intent:
        key = self._key()
        code = self.dice.choice(_REFUSALS)
        item = self._item(f"{key}.0")
        receiver, amount, currency = item.receiver, item.amount, None
        if code is Code.INSUFFICIENT_FUNDS:
            amount = TOO_MUCH
        elif code is Code.SAME_ACCOUNT:
            receiver = self.wallets[self.own].account
        elif code is Code.RECEIVER_NOT_FOUND:
            receiver = NOBODY
        elif code is Code.CURRENCY_MISMATCH:
            currency = "USD"
        else:
            amount = 0
        return single(key, self.own, Item(item.mark, receiver, amount, currency), refused=code)

    def _again(self) -> Intent:
        """An old key: as it was, or (every second time) with a changed body."""
        keys = self.sent[-RECENT:] if self.dice.random() < 0.7 else self.sent
        known = self.journal.by_key[self.dice.choice(keys)]
        first = known[0]
        if self.dice.random() < 0.5 or not first.may_succeed:
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


def single(key: str, wallet: int, item: Item, *, refused: Code | None = None) -> Intent:
    """POST /transactions. With `refused`, that has to be the answer."""
    expected = {refused or Code.INSUFFICIENT_FUNDS, Code.IDEMPOTENCY_KEY_REUSE}
    body = json.dumps(item.members()).encode()
    return Intent(
        key, wallet, TRANSFERS, (item,), body, frozenset(expected), may_succeed=refused is None
    )


def batch(key: str, wallet: int, items: list[Item], mode: str) -> Intent:
    """POST /transactions/batch."""
    body = json.dumps({"mode": mode, "transactions": [item.members() for item in items]}).encode()
    expected = {Code.INSUFFICIENT_FUNDS, Code.IDEMPOTENCY_KEY_REUSE}
    return Intent(key, wallet, BATCHES, tuple(items), body, frozenset(expected), mode=mode)
