"""The checker can fail: each count finds its violation in a run that has only that one."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from finpay import ids
from tests.faults import corrupted_run
from tests.faults.corrupted_run import ALICE, BOB, NAMES, PAID, POOR, WORLD, answer, honest
from torture import workload
from torture.checker import CHECKS, RunData, run_checks
from torture.history import Item, Sample
from torture.ledger_snapshot import Account, Entry, Transaction
from torture.liveness import Liveness, Window, window

Corrupt = Callable[[RunData], RunData]
_SECOND_ID = UUID(int=99)
_PAID_ID = ids.encode("txn", PAID)
_SECOND = Transaction(_SECOND_ID, "completed", ALICE, BOB, 30, "k1.0")


def broken(run: RunData) -> set[str]:
    return {name for name, found in run_checks(run).items() if found}


def test_run_without_faults_has_twelve_zeros() -> None:
    assert len(CHECKS) == 12
    assert run_checks(honest()) == {count.__name__: [] for count in CHECKS}


def other_body_too(run: RunData) -> RunData:
    """The key k1 carried out the changed body as well."""
    changed = workload.single("k1", 0, Item("k1.0.changed", NAMES[BOB], 31))
    run = replace(run, requests=[*run.requests, changed])
    row = Transaction(_SECOND_ID, "completed", ALICE, BOB, 31, "k1.0.changed")
    return corrupted_run.with_more(run, "transactions", row)


def poorer(run: RunData) -> RunData:
    """One unit of Alice's is missing."""
    accounts = [
        Account(one.id, one.public_id, one.is_system, one.balance - (one.id == ALICE))
        for one in run.ledger.accounts
    ]
    return corrupted_run.with_ledger(run, accounts=accounts)


def crossed(run: RunData) -> RunData:
    """Alice has the payment before her funding, Bob after his: no order explains that."""
    entries = [
        replace(one, sequence=1) if (one.account, one.transaction) == (ALICE, PAID) else one
        for one in run.ledger.entries
    ]
    return corrupted_run.with_ledger(run, entries=entries)


def failed_with_money(run: RunData) -> RunData:
    """The refused amount was covered."""
    transactions = [
        replace(one, amount=70) if one.id == POOR else one for one in run.ledger.transactions
    ]
    return corrupted_run.with_ledger(run, transactions=transactions)


@pytest.mark.parametrize(
    ("name", "corrupt"),
    [
        ("lost", lambda e: corrupted_run.without(e, PAID)),
        ("lost", lambda e: corrupted_run.without(e, POOR)),
        (
            "lost",
            lambda e: corrupted_run.with_answers(
                e, answer(201, id="txn_other", status="completed")
            ),
        ),
        ("duplicated", lambda e: corrupted_run.with_more(e, "transactions", _SECOND)),
        ("duplicated", other_body_too),
        (
            "phantom",
            lambda e: corrupted_run.with_more(e, "transactions", replace(_SECOND, mark="?")),
        ),
        (
            "phantom",
            lambda e: corrupted_run.with_more(e, "transactions", replace(_SECOND, mark=None)),
        ),
        (
            "phantom",
            lambda e: corrupted_run.with_more(e, "transactions", replace(_SECOND, amount=3)),
        ),
        (
            "refused_but_applied",
            lambda e: corrupted_run.with_answers(e, answer(402, code="insufficient_funds")),
        ),
        (
            "divergent_replays",
            lambda e: corrupted_run.with_answers(
                e,
                answer(201, id=_PAID_ID, status="completed"),
                answer(201, id=_PAID_ID, status="completed", more=1),
            ),
        ),
        (
            "divergent_replays",
            lambda e: corrupted_run.with_answers(
                e,
                answer(422, code="idempotency_key_reuse"),
                answer(201, id=_PAID_ID, status="completed"),
            ),
        ),
        ("unbalanced", poorer),
        (
            "unbalanced",
            lambda e: corrupted_run.with_more(e, "entries", Entry(BOB, 9, PAID, 1, 131)),
        ),
        ("drifted", poorer),
        ("drifted", crossed),
        ("drifted", failed_with_money),
        ("drifted", lambda e: replace(e, api_balances={NAMES[ALICE]: 71})),
        ("impossible_reads", lambda e: replace(e, impossible_reads=["199 of 200"])),
        ("orphans", lambda e: corrupted_run.with_ledger(e, audit=e.ledger.audit[1:])),
        ("orphans", lambda e: corrupted_run.with_more(e, "audit", e.ledger.audit[0])),
        (
            "orphans",
            lambda e: corrupted_run.with_more(e, "audit", (_SECOND_ID, "transaction.completed")),
        ),
        ("orphans", lambda e: corrupted_run.with_ledger(e, events=e.ledger.events[1:])),
        (
            "orphans",
            lambda e: corrupted_run.with_more(e, "events", (BOB, 4, PAID, "transaction.completed")),
        ),
        ("orphans", lambda e: replace(e, delivered=frozenset(list(e.delivered)[1:]))),
        (
            "orphans",
            lambda e: replace(e, delivered=frozenset({*e.delivered, (0, "txn_no")})),
        ),
        ("orphans", lambda e: replace(e, differing_deliveries=["two bodies"])),
        ("verifier_failures", lambda e: replace(e, verifier_failures=["totals: …"])),
        ("undocumented_answers", lambda e: replace(e, undocumented_answers=["500"])),
        ("leftovers", lambda e: replace(e, leftovers=["1 key is still claimed"])),
    ],
)
def test_count_finds_its_violation(name: str, corrupt: Corrupt) -> None:
    assert name in broken(corrupt(honest()))


def test_counts_all_have_a_violation_here() -> None:
    marks = test_count_finds_its_violation.pytestmark  # type: ignore[attr-defined]
    tried = {name for name, _ in marks[0].args[1]}
    assert tried == {count.__name__ for count in CHECKS}


def test_request_without_an_answer_may_have_either_outcome() -> None:
    assert not broken(corrupted_run.with_answers(honest()))
    undecided = corrupted_run.with_answers(honest(), answer(503, code="unavailable"))
    assert not broken(undecided)
    done = corrupted_run.without(undecided, PAID)
    assert "lost" not in broken(done)


def test_liveness_compares_the_two_windows() -> None:
    good = Window(1_000, 1.0, 0.005, 0.020)
    assert not Liveness(good, replace(good, p99_s=0.040, success=0.99), 1.0).faults
    assert Liveness(good, replace(good, p99_s=0.041), 1.0).faults
    assert Liveness(good, replace(good, success=0.98), 1.0).faults
    assert Liveness(good, good, None).faults


def test_window_has_the_requests_that_began_in_it() -> None:
    samples = [Sample(at_s / 10, 0.001 * at_s, ok=at_s != 15) for at_s in range(40)]
    found = window(samples, 1.0, 2.0)
    assert (found.requests, found.success, found.p50_s) == (10, 0.9, 0.015)
    assert window([], 1.0, 2.0).requests == 0


@pytest.mark.parametrize(("slow", "p99_s"), [((), 0.01), ((150,), 0.01), ((20, 150), 0.5)])
def test_window_p99_ignores_one_stall(slow: tuple[int, ...], p99_s: float) -> None:
    samples = [Sample(n / 100, 0.5 if n in slow else 0.01, ok=True) for n in range(300)]
    many = [sample for sample in samples for _ in range(1 + 2 * (sample.took_s > 0.1))]
    assert window(many, 0.0, 3.0).p99_s == p99_s


def test_transfers_of_users_exclude_the_funding() -> None:
    assert {one.sender for one in honest().transfers} == {ALICE}
    assert WORLD not in {one.receiver for one in honest().transfers}
