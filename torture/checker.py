"""Twelve counts that must be zero. Each is a function from the evidence to what breaks it.

docs/reliability.md says the same in words. No count trusts another: what the clients were told,
what the ledger says, what the bank looked like and what the receiver got are compared in pairs.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

from finpay import ids
from finpay.errors import Code
from torture import allowed_answers
from torture.history import Intent, Item
from torture.ledger_snapshot import Transaction, Truth
from torture.raw_http import Answer
from torture.reference_model import drift

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a run leaves behind. Sentences that were found on the way are counted as they are.

    `wallets` are the users' account ids by number, `told_balances` what the API says of them in
    the end; `delivered` is what the webhook receiver got: (wallet, transaction).
    """

    intents: Sequence[Intent]
    truth: Truth
    wallets: Sequence[str]
    total: int
    delivered: frozenset[tuple[int, str]]
    told_balances: Mapping[str, int] = field(default_factory=dict)
    bank_reads: Sequence[str] = ()
    strange_answers: Sequence[str] = ()
    violations: Sequence[str] = ()
    remains: Sequence[str] = ()
    strange_deliveries: Sequence[str] = ()

    @property
    def transfers(self) -> Iterator[Transaction]:
        """What users did: funding has no mark and is not ours to judge."""
        systems = {account.id for account in self.truth.accounts if account.is_system}
        return (one for one in self.truth.transactions if one.sender not in systems)

    @property
    def items(self) -> dict[str, tuple[Intent, Item]]:
        return {item.mark: (intent, item) for intent in self.intents for item in intent.items}


def lost(evidence: Evidence) -> Iterator[str]:
    """A transaction that a client was told of, and the ledger does not have as it was told."""
    known = {
        ids.encode("txn", one.id): (one.mark, one.status) for one in evidence.truth.transactions
    }
    for intent in evidence.intents:
        for told in {
            told
            for answer in intent.answers
            if allowed_answers.is_final(answer)
            for told in allowed_answers.acknowledged(intent, answer)
        }:
            mark, transaction, status = told
            if known.get(transaction) != (mark, status):
                yield f"{mark} was told {status} as {transaction}: {known.get(transaction)}"


def duplicated(evidence: Evidence) -> Iterator[str]:
    """An item with more than one transaction, or a key of which two bodies had effects."""
    marks = Counter(one.mark for one in evidence.transfers if one.mark is not None)
    for mark, times in marks.items():
        if times > 1:
            yield f"{mark} is in the ledger {times} times"
    bodies: defaultdict[str, set[bytes]] = defaultdict(set)
    for mark, (intent, _) in evidence.items.items():
        if mark in marks:
            bodies[intent.key].add(intent.body)
    yield from (
        f"the key {key} did {len(done)} requests" for key, done in bodies.items() if len(done) > 1
    )


def phantom(evidence: Evidence) -> Iterator[str]:
    """A transaction that nobody asked for: no such item, or not between these two of this much."""
    accounts = {account.id: account.public_id for account in evidence.truth.accounts}
    items = evidence.items
    for one in evidence.transfers:
        if one.mark is None or one.mark not in items:
            yield f"{one.id} ({one.mark}) was never asked for"
            continue
        intent, item = items[one.mark]
        asked = (evidence.wallets[intent.wallet], item.receiver, item.amount)
        if asked != (accounts.get(one.sender), accounts.get(one.receiver), one.amount):
            yield f"{one.mark} was asked for as {asked} and is {one}"


def refused_but_applied(evidence: Evidence) -> Iterator[str]:
    """An item that was refused for good, and moved money."""
    applied = {one.mark for one in evidence.transfers if one.status == "completed"}
    for intent in evidence.intents:
        for answer in intent.answers:
            if allowed_answers.is_final(answer):
                for mark in allowed_answers.refused(intent, answer):
                    if mark in applied:
                        yield f"{mark} was told {answer.status} {answer.code} and is in the ledger"


def divergent_replays(evidence: Evidence) -> Iterator[str]:
    """A stored answer that differs from the first one of its request, in status or in any byte."""
    for intent in evidence.intents:
        first: Answer | None = None
        for answer in intent.answers:
            if not allowed_answers.is_final(answer) or answer.code == Code.VALIDATION_FAILED:
                continue
            if first is None:
                first = answer
            elif not _same(first, answer):
                yield f"{intent.key}: {_short(first)}, later {_short(answer)}"


def unbalanced(evidence: Evidence) -> Iterator[str]:
    """A transaction whose entries don't sum to zero, or a bank that has not the total."""
    sums: Counter[UUID] = Counter()
    for step in evidence.truth.steps:
        sums[step.transaction] += step.amount
    yield from (f"the entries of {one} sum to {left}" for one, left in sums.items() if left)
    everybody = sum(account.balance for account in evidence.truth.accounts)
    users = sum(account.balance for account in evidence.truth.accounts if not account.is_system)
    if (users, everybody) != (evidence.total, 0):
        yield f"the users have {users} of {evidence.total}, and all accounts sum to {everybody}"


def drifted(evidence: Evidence) -> Iterator[str]:
    """A balance that its history does not lead to, or that the API tells differently."""
    yield from drift(evidence.truth)
    stored = {account.public_id: account.balance for account in evidence.truth.accounts}
    for account, balance in evidence.told_balances.items():
        if stored.get(account) != balance:
            yield f"{account} is told {balance} and has {stored.get(account)}"


def impossible_reads(evidence: Evidence) -> Iterator[str]:
    """A read of the bank, while the run went on, that no moment can have shown."""
    yield from evidence.bank_reads


def orphans(evidence: Evidence) -> Iterator[str]:
    """A transaction without its audit row, its events or their delivery; or one of these alone."""
    accounts = {account.id: account for account in evidence.truth.accounts}
    expected_audit = {(one.id, f"transaction.{one.status}") for one in evidence.truth.transactions}
    yield from _unequal("audit row", expected_audit, evidence.truth.audit)
    users = [step for step in evidence.truth.steps if not accounts[step.account].is_system]
    status = {one.id: one.status for one in evidence.truth.transactions}
    expected = {
        (one.account, one.sequence, one.transaction, f"transaction.{status.get(one.transaction)}")
        for one in users
    }
    yield from _unequal("event", expected, evidence.truth.events)
    yield from evidence.strange_deliveries
    wanted = due(evidence.truth, evidence.wallets)
    yield from (f"never delivered: {one}" for one in wanted - evidence.delivered)
    yield from (f"delivered of nothing: {one}" for one in evidence.delivered - wanted)


def verifier_failures(evidence: Evidence) -> Iterator[str]:
    """What `finpay ledger verify` finds."""
    yield from evidence.violations


def undocumented_answers(evidence: Evidence) -> Iterator[str]:
    """An answer that docs/errors.md does not allow to its request, or no problem+json."""
    yield from evidence.strange_answers


def leftovers(evidence: Evidence) -> Iterator[str]:
    """What a healed system still drags along: open transactions, stuck keys, extra connections."""
    yield from evidence.remains


COUNTS: Final[tuple[Callable[[Evidence], Iterator[str]], ...]] = (
    lost,
    duplicated,
    phantom,
    refused_but_applied,
    divergent_replays,
    unbalanced,
    drifted,
    impossible_reads,
    orphans,
    verifier_failures,
    undocumented_answers,
    leftovers,
)


def judge(evidence: Evidence) -> dict[str, list[str]]:
    """The twelve counts by name, each with what broke it."""
    return {count.__name__: list(count(evidence)) for count in COUNTS}


def due(truth: Truth, wallets: Sequence[str]) -> set[tuple[int, str]]:
    """What the webhook receiver has to get: (wallet, transaction) of all that a user's saw."""
    numbers = {account: number for number, account in enumerate(wallets)}
    of_account = {account.id: numbers.get(account.public_id) for account in truth.accounts}
    return {
        (number, ids.encode("txn", step.transaction))
        for step in truth.steps
        if (number := of_account[step.account]) is not None
    }


def _same(first: Answer, later: Answer) -> bool:
    if first.code == later.code == Code.IDEMPOTENCY_KEY_REUSE:
        return True  # not stored: each tells its own request id
    return (first.status, first.content_type, first.body) == (
        later.status,
        later.content_type,
        later.body,
    )


def _short(answer: Answer) -> str:
    return f"{answer.status} {answer.body[:120]!r}"


def _unequal(what: str, expected: set[T], found: Sequence[T]) -> Iterator[str]:
    counted = Counter(found)
    yield from (f"no {what} {one}" for one in expected - counted.keys())
    yield from (f"{what} of nothing: {one}" for one in counted.keys() - expected)
    yield from (f"{times} times the {what} {one}" for one, times in counted.items() if times > 1)
