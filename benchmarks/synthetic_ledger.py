"""A synthetic history: rows for every table of a ledger that passes `ledger verify`.

The same seed makes the same rows. The first account is a party of so many transactions that it has
`big_entries` entries. One transaction in FAILED_EACH fails for lack of funds. Transactions come in
groups with the same time, as those of one commit. Rows are text for COPY.
"""

import json
import random
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from benchmarks.users import OPENING_BALANCE, TOKEN_LIFETIME_S, User
from finpay import ids
from finpay.edge.schemas.problems import refusal_templates
from finpay.edge.schemas.templates import transfer as transfer_template
from finpay.identity.access_tokens import Signer
from finpay.ledger.outcome import Outcome
from finpay.settings import DEVELOPMENT_SECRET

COLUMNS: Final = {
    "ledger.transactions": "id, sender_id, receiver_id, amount, created_at, sender_version, "
    "receiver_version, failure_sequence, type, status, currency, failure_code, metadata",
    "ledger.entries": "account_id, transaction_id, version, sequence, amount, balance_after, "
    "created_at",
    "ledger.failed_transactions": (
        "account_id, transaction_id, sequence, version, balance_after, created_at"
    ),
    "ledger.idempotency_keys": "principal_id, transaction_id, created_at, http_status, key, "
    "fingerprint, answer",
    "outbox.events": "account_id, sequence, transaction_id, actor_id, created_at, type, "
    "request_id, idempotency_key",
    "audit.log": "created_at, actor_id, subject_id, action, request_id, address",
}
ACCOUNT_COLUMNS: Final = "id, user_id, balance, version, sequence, created_at, currency"
FAILED_EACH: Final = 97  # about one in a hundred; a prime, so that it hits all kinds of rows
GROUP: Final = 10  # transactions that share a commit and its time
CHUNK: Final = 20_000  # transactions per piece: some 30 MB of text, so that memory stays flat
SYSTEM: Final = UUID("01940000-0000-7000-8000-000000000001")
FIRST_DAY: Final = datetime(2025, 1, 1, tzinfo=UTC)
STEP: Final = timedelta(milliseconds=9_973)  # between groups: 10 million take about four months
ADDRESS: Final = "198.51.100.7"
TOO_MUCH: Final = OPENING_BALANCE * 1_000  # more than one account has at any time
_PLACEHOLDER_ID: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Plan:
    """The size: transactions, user accounts, and the entries of the biggest account."""

    transactions: int
    accounts: int = 10_000
    big_entries: int = 1_000_000
    seed: int = 1


class History:
    """Makes the rows in order. `pieces` can be iterated once; `accounts` has the final balances."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._random = random.Random(plan.seed)
        self._users = [self._uuid() for _ in range(plan.accounts)]
        self._ids = [self._uuid() for _ in range(plan.accounts)]
        self._public = [ids.encode("acc", account) for account in self._ids]
        self._sessions = [self._uuid() for _ in range(plan.accounts)]
        self._balance = array("q", [0] * plan.accounts)
        self._version = array("q", [0] * plan.accounts)
        self._sequence = array("q", [0] * plan.accounts)
        self._rows: dict[str, list[str]] = {table: [] for table in COLUMNS}
        self._completed = _answer_template()
        self._refused = _refusal_template()

    def users(self) -> list[User]:
        """The users, with tokens issued now."""
        signer = Signer([DEVELOPMENT_SECRET], TOKEN_LIFETIME_S)
        now_s = time.time()
        return [
            User(user, account, session, _email(n), signer.issue(user, account, session, now_s))
            for n, (user, account, session) in enumerate(
                zip(self._users, self._ids, self._sessions, strict=True)
            )
        ]

    def pieces(self) -> Iterator[dict[str, bytes]]:
        """Text for COPY per table, of CHUNK transactions. The first piece funds all users."""
        for number in range(self.plan.accounts):
            self._fund(number)
        yield self._take_rows()
        every = max(1, self.plan.transactions // max(1, self.plan.big_entries))
        for first in range(0, self.plan.transactions, CHUNK):
            last = min(first + CHUNK, self.plan.transactions)
            for start in range(first, last, GROUP):
                self._group(range(start, min(start + GROUP, last)), every)
            yield self._take_rows()

    def accounts(self) -> bytes:
        """Text for COPY of ledger.accounts, after all pieces."""
        stamp = FIRST_DAY.isoformat()
        count = self.plan.accounts
        system_balance = -OPENING_BALANCE * count
        lines = [f"{SYSTEM}\t\\N\t{system_balance}\t{count}\t{count}\t{stamp}\tZAR\n"]
        for n, (user, account) in enumerate(zip(self._users, self._ids, strict=True)):
            lines.append(
                f"{account}\t{user}\t{self._balance[n]}\t{self._version[n]}\t{self._sequence[n]}"
                f"\t{stamp}\tZAR\n"
            )
        return "".join(lines).encode()

    def _uuid(self) -> UUID:
        return UUID(_hex(int(FIRST_DAY.timestamp() * 1_000), self._random.getrandbits(74)))

    def _take_rows(self) -> dict[str, bytes]:
        rows_of = {table: "".join(rows).encode() for table, rows in self._rows.items()}
        for rows in self._rows.values():
            rows.clear()
        return rows_of

    def _fund(self, n: int) -> None:
        """The rows of ledger.fund. The n-th funding is the system account's n-th entry."""
        transaction, account, rows = self._uuid(), self._ids[n], self._rows
        stamp, key = FIRST_DAY.isoformat(), f"opening-{n}"
        answer = _escape(json.dumps({"transaction_id": ids.encode("txn", transaction)}))
        self._balance[n], self._version[n], self._sequence[n] = OPENING_BALANCE, 1, 1
        rows["ledger.transactions"].append(
            f"{transaction}\t{SYSTEM}\t{account}\t{OPENING_BALANCE}\t{stamp}\t{n + 1}\t1\t\\N"
            "\tfunding\tcompleted\tZAR\t\\N\t{}\n"
        )
        rows["ledger.entries"].append(
            f"{SYSTEM}\t{transaction}\t{n + 1}\t{n + 1}\t{-OPENING_BALANCE}"
            f"\t{-OPENING_BALANCE * (n + 1)}\t{stamp}\n"
            f"{account}\t{transaction}\t1\t1\t{OPENING_BALANCE}\t{OPENING_BALANCE}\t{stamp}\n"
        )
        rows["outbox.events"].append(
            f"{account}\t1\t{transaction}\t\\N\t{stamp}\ttransaction.completed\t\\N\t\\N\n"
        )
        rows["audit.log"].append(
            f"{stamp}\t\\N\t{transaction}\ttransaction.completed\toperator:{key}\t\\N\n"
        )
        rows["ledger.idempotency_keys"].append(
            f"{SYSTEM}\t{transaction}\t{stamp}\t201\t{key}\t\\\\x00\t{answer}\n"
        )

    def _group(self, numbers: range, every: int) -> None:
        moment = FIRST_DAY + STEP * (numbers.start // GROUP + 1)
        stamp = f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"
        millis = int(moment.timestamp() * 1_000)
        count = self.plan.accounts
        for number in numbers:
            sender = 1 + int(self._random.random() * (count - 1))
            receiver = 1 + (sender + int(self._random.random() * (count - 2))) % (count - 1)
            if number % every == 0:
                # Alternating, so that the big account stays funded.
                sender, receiver = (sender, 0) if number // every % 2 == 0 else (0, receiver)
            transaction = _hex(millis, self._random.getrandbits(74))
            if number % FAILED_EACH == FAILED_EACH - 1 and sender:
                self._fail(transaction, stamp, sender, receiver)
            else:
                self._move(transaction, stamp, sender, receiver)

    def _move(self, transaction: str, stamp: str, s: int, r: int) -> None:
        rows, balance, version, sequence = self._rows, self._balance, self._version, self._sequence
        amount = 1 + int(self._random.random() * 50_000)
        balance[s] -= amount
        balance[r] += amount
        for side in (s, r):
            version[side] += 1
            sequence[side] += 1
        sender, receiver, user = self._ids[s], self._ids[r], self._users[s]
        public = ids.encode("txn", UUID(transaction))
        key, request = f"{self._random.getrandbits(128):032x}", f"req{public[3:]}"
        rows["ledger.transactions"].append(
            f"{transaction}\t{sender}\t{receiver}\t{amount}\t{stamp}\t{version[s]}\t{version[r]}"
            "\t\\N\ttransfer\tcompleted\tZAR\t\\N\t{}\n"
        )
        rows["ledger.entries"].append(
            f"{sender}\t{transaction}\t{version[s]}\t{sequence[s]}\t{-amount}\t{balance[s]}"
            f"\t{stamp}\n"
            f"{receiver}\t{transaction}\t{version[r]}\t{sequence[r]}\t{amount}\t{balance[r]}"
            f"\t{stamp}\n"
        )
        sides = self._public[s], self._public[r]
        answer = self._completed % (public, amount, *sides, balance[s], balance[s], stamp)
        rows["ledger.idempotency_keys"].append(
            f"{user}\t{transaction}\t{stamp}\t201\t{key}\t\\\\x{transaction}\t{answer}\n"
        )
        rows["outbox.events"].append(
            f"{sender}\t{sequence[s]}\t{transaction}\t{user}\t{stamp}\ttransaction.completed"
            f"\t{request}\t{key}\n"
            f"{receiver}\t{sequence[r]}\t{transaction}\t\\N\t{stamp}\ttransaction.completed"
            "\t\\N\t\\N\n"
        )
        rows["audit.log"].append(
            f"{stamp}\t{user}\t{transaction}\ttransaction.completed\t{request}\t{ADDRESS}\n"
        )

    def _fail(self, transaction: str, stamp: str, s: int, r: int) -> None:
        rows, sender, user = self._rows, self._ids[s], self._users[s]
        self._sequence[s] += 1
        sequence, version = self._sequence[s], self._version[s]
        public = ids.encode("txn", UUID(transaction))
        key, request = f"{self._random.getrandbits(128):032x}", f"req{public[3:]}"
        rows["ledger.transactions"].append(
            f"{transaction}\t{sender}\t{self._ids[r]}\t{TOO_MUCH}\t{stamp}\t\\N\t\\N\t{sequence}"
            "\ttransfer\tfailed\tZAR\tinsufficient_funds\t{}\n"
        )
        rows["ledger.failed_transactions"].append(
            f"{sender}\t{transaction}\t{sequence}\t{version}\t{self._balance[s]}\t{stamp}\n"
        )
        rows["ledger.idempotency_keys"].append(
            f"{user}\t{transaction}\t{stamp}\t402\t{key}\t\\\\x{transaction}"
            f"\t{self._refused % (request, public)}\n"
        )
        rows["outbox.events"].append(
            f"{sender}\t{sequence}\t{transaction}\t{user}\t{stamp}\ttransaction.failed"
            f"\t{request}\t{key}\n"
        )
        rows["audit.log"].append(
            f"{stamp}\t{user}\t{transaction}\ttransaction.failed\t{request}\t{ADDRESS}\n"
        )


def _hex(millis: int, random_bits: int) -> str:
    """A UUIDv7 in hexadecimal digits: 48 bits of time, 74 random bits."""
    low = 0x8000_0000_0000_0000 | random_bits & (1 << 62) - 1
    return f"{millis:012x}7{random_bits >> 62:03x}{low:016x}"


def _email(number: int) -> str:
    return f"grown-{number}@example.com"


def _answer_template() -> str:
    """The app's own, with %s for id, amount, sender, receiver, balance twice and time."""
    text = transfer_template(_PLACEHOLDER_ID, 0, "%s", None, b"{}").replace("%s", "\x01")
    text = text.replace("%1$s", "ZAR").replace("%2$s", "%s").replace("%3$s", "%s")
    text = text.replace("%5$s", "%s").replace("%4$s", "%s").replace('"amount":0', '"amount":%s')
    return _escape(text.replace(ids.encode("txn", _PLACEHOLDER_ID), "%s").replace("\x01", "%s"))


def _refusal_template() -> str:
    """The app's own, with %s for request id and transaction id."""
    text = refusal_templates()[list(Outcome).index(Outcome.INSUFFICIENT_FUNDS)]
    return (
        _escape(text.replace("%1$s", "\x01").replace("%3$s", ',"transaction_id":"\x02"'))
        .replace("\x01", "%s")
        .replace("\x02", "%s")
    )


def _escape(text: str) -> str:
    """Escaped for COPY."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
