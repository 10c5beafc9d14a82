"""Twelve counts that must be zero. Each is a function from a run's data to its violations.

docs/reliability.md has the same in words. The counts are independent: the clients' answers, the
ledger, the reads during the run and the received webhooks are compared in pairs.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar
from uuid import UUID

from finpay import ids
from finpay.errors import Code
from tests.support.raw_http import Response
from torture import allowed_answers, operation_checks, operator_checks
from torture.history import Item, MoneyRequest
from torture.ledger_snapshot import LedgerSnapshot, Transaction
from torture.reference_model import model_differences

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunData:
    """All that a run leaves behind. Lists of sentences are violations found during the run.

    `wallets` are the users' account ids by number, `api_balances` their balances as the API shows
    them at the end; `delivered` is what the webhook receiver got: (wallet, transaction).
    """

    requests: Sequence[MoneyRequest]
    ledger: LedgerSnapshot
    wallets: Sequence[str]
    total: int
    delivered: frozenset[tuple[int, str]]
    api_balances: Mapping[str, int] = field(default_factory=dict)
    impossible_reads: Sequence[str] = ()
    undocumented_answers: Sequence[str] = ()
    verifier_failures: Sequence[str] = ()
    leftovers: Sequence[str] = ()
    differing_deliveries: Sequence[str] = ()

    @property
    def transfers(self) -> Iterator[Transaction]:
        """Transfers that users sent themselves; funding has no mark."""
        systems = {account.id for account in self.ledger.accounts if account.is_system}
        return (
            one
            for one in self.ledger.transactions
            if one.sender not in systems and one.origin is None
        )

    @property
    def items(self) -> dict[str, tuple[MoneyRequest, Item]]:
        return {item.mark: (request, item) for request in self.requests for item in request.items}


def lost(run: RunData) -> Iterator[str]:
    """A transaction of an answer that the ledger does not have, or has with another status."""
    known = {
        ids.encode("txn", one.id): (one.mark, "completed" if one.moved else one.status)
        for one in run.ledger.transactions
    }
    for request in run.requests:
        for mark, transaction, status in {
            acknowledged
            for response in request.responses
            if allowed_answers.is_final(response)
            for acknowledged in allowed_answers.acknowledged(request, response)
        }:
            if known.get(transaction) != (mark, status):
                yield f"{mark} was answered {status} as {transaction}: {known.get(transaction)}"
    yield from operation_checks.lost(run.requests, run.ledger)
    yield from operation_checks.missing_runs(run.ledger)
    yield from operator_checks.lost(run.requests, run.ledger)


def duplicated(run: RunData) -> Iterator[str]:
    """An item with more than one transaction, or a key with effects of two bodies."""
    marks = Counter(one.mark for one in run.transfers if one.mark is not None)
    for mark, times in marks.items():
        if times > 1:
            yield f"{mark} is in the ledger {times} times"
    bodies: defaultdict[str, set[bytes]] = defaultdict(set)
    for mark, (request, _) in run.items.items():
        if mark in marks:
            bodies[request.key].add(request.body)
    yield from (
        f"the key {key} carried out {len(done)} requests"
        for key, done in bodies.items()
        if len(done) > 1
    )
    yield from operation_checks.duplicated(run.requests, run.ledger)
    yield from operator_checks.duplicated(run.requests, run.ledger)


def phantom(run: RunData) -> Iterator[str]:
    """A transaction without an item, or of other accounts or another amount than its item."""
    accounts = {account.id: account.public_id for account in run.ledger.accounts}
    items = run.items
    for one in run.transfers:
        if one.mark is None or one.mark not in items:
            yield f"{one.id} ({one.mark}) was never requested"
            continue
        request, item = items[one.mark]
        requested = (run.wallets[request.wallet], item.receiver, item.amount)
        if requested != (accounts.get(one.sender), accounts.get(one.receiver), one.amount):
            yield f"{one.mark} was requested as {requested} and is {one}"
    yield from operation_checks.phantom(run.requests, run.ledger)
    yield from operator_checks.phantom(run.requests, run.ledger, run.wallets)


def refused_but_applied(run: RunData) -> Iterator[str]:
    """An item that was refused for good, and moved money."""
    applied = {one.mark for one in run.transfers if one.moved}
    for request in run.requests:
        for response in request.responses:
            if allowed_answers.is_final(response):
                for mark in allowed_answers.refused(request, response):
                    if mark in applied:
                        yield f"{mark} was refused: {response.status} {response.code}"
    yield from operation_checks.refused_but_applied(run.requests, run.ledger)
    yield from operator_checks.refused_but_applied(run.requests, run.ledger)


def divergent_replays(run: RunData) -> Iterator[str]:
    """An answer that differs from the first final one to its request, in status or in any byte."""
    for request in run.requests:
        if not request.has_key:
            continue
        first: Response | None = None
        for response in request.responses:
            if not allowed_answers.is_final(response) or response.code == Code.VALIDATION_FAILED:
                continue
            if first is None:
                first = response
            elif not _same(first, response):
                yield f"{request.key}: {_short(first)}, later {_short(response)}"


def unbalanced(run: RunData) -> Iterator[str]:
    """A transaction whose entries don't sum to zero, or accounts that don't sum to the total and
    what operators brought in."""
    sums: Counter[UUID] = Counter()
    for entry in run.ledger.entries:
        sums[entry.transaction] += entry.amount
    yield from (f"the entries of {one} sum to {rest}" for one, rest in sums.items() if rest)
    everything = sum(account.balance for account in run.ledger.accounts)
    users = sum(account.balance for account in run.ledger.accounts if not account.is_system)
    total = run.total + operator_checks.brought_in(run.ledger)
    if (users, everything) != (total, 0):
        yield f"the users have {users} of {total}, and all accounts sum to {everything}"
    yield from operator_checks.unbalanced(run.ledger)


def drifted(run: RunData) -> Iterator[str]:
    """A balance that differs from its history, or from the one that the API shows."""
    yield from model_differences(run.ledger)
    stored = {account.public_id: account.balance for account in run.ledger.accounts}
    for account, balance in run.api_balances.items():
        if stored.get(account) != balance:
            yield f"the API shows {account} with {balance}; it has {stored.get(account)}"


def impossible_reads(run: RunData) -> Iterator[str]:
    """A read during the run with balances that are possible at no moment."""
    yield from run.impossible_reads


def orphans(run: RunData) -> Iterator[str]:
    """A transaction without its audit row, events or deliveries; or one of these without it."""
    accounts = {account.id: account for account in run.ledger.accounts}
    status = {one.id: "completed" if one.moved else one.status for one in run.ledger.transactions}
    expected_audit = {(one, f"transaction.{of_one}") for one, of_one in status.items()}
    yield from _unequal("audit row", expected_audit, run.ledger.audit)
    of_objects = operator_checks.audited(run.ledger)
    yield from _unequal("audit row", of_objects, run.ledger.audit_of_objects)
    users = [entry for entry in run.ledger.entries if not accounts[entry.account].is_system]
    expected = {
        (one.account, one.sequence, one.transaction, f"transaction.{status.get(one.transaction)}")
        for one in users
    }
    yield from _unequal("event", expected, run.ledger.events)
    yield from run.differing_deliveries
    due = due_deliveries(run.ledger, run.wallets)
    yield from (f"never delivered: {one}" for one in due - run.delivered)
    yield from (f"delivered without a transaction: {one}" for one in run.delivered - due)


def verifier_failures(run: RunData) -> Iterator[str]:
    """What `finpay ledger verify` finds."""
    yield from run.verifier_failures


def undocumented_answers(run: RunData) -> Iterator[str]:
    """An answer that docs/errors.md does not allow, or an error without problem+json."""
    yield from run.undocumented_answers


def leftovers(run: RunData) -> Iterator[str]:
    """What is left in a healed system: open transactions, claimed keys, extra connections."""
    yield from run.leftovers


CHECKS: Final[tuple[Callable[[RunData], Iterator[str]], ...]] = (
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


def run_checks(run: RunData) -> dict[str, list[str]]:
    """The twelve counts by name, each with its violations."""
    return {check.__name__: list(check(run)) for check in CHECKS}


def due_deliveries(ledger: LedgerSnapshot, wallets: Sequence[str]) -> set[tuple[int, str]]:
    """What the webhook receiver has to get: (wallet, transaction) of each wallet's history, and
    (wallet, type and sequence) of each event about something else."""
    numbers = {account: number for number, account in enumerate(wallets)}
    of_account = {account.id: numbers.get(account.public_id) for account in ledger.accounts}
    named = [(entry.account, ids.encode("txn", entry.transaction)) for entry in ledger.entries]
    named += [(account, f"{type_} {n}") for account, n, type_ in ledger.other_events]
    return {
        (number, name) for account, name in named if (number := of_account[account]) is not None
    }


def _same(first: Response, later: Response) -> bool:
    if first.code == later.code == Code.IDEMPOTENCY_KEY_REUSE:
        return True  # not stored: each has its own request id
    return (first.status, first.content_type, first.body) == (
        later.status,
        later.content_type,
        later.body,
    )


def _short(response: Response) -> str:
    return f"{response.status} {response.body[:120]!r}"


def _unequal(what: str, expected: set[T], found: Sequence[T]) -> Iterator[str]:
    counted = Counter(found)
    yield from (f"no {what} {one}" for one in expected - counted.keys())
    yield from (f"{what} without a transaction: {one}" for one in counted.keys() - expected)
    yield from (f"{times} times the {what} {one}" for one, times in counted.items() if times > 1)
