"""The verdict can fail: each count finds what it is there for, in a run with that one fault."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from finpay import ids
from tests.faults import corrupted_run
from tests.faults.corrupted_run import ALICE, BOB, NAMES, PAID, POOR, WORLD, answer, honest
from torture import workload
from torture.checker import COUNTS, Evidence, judge
from torture.history import Item, Sample
from torture.ledger_snapshot import Account, Step, Transaction
from torture.liveness import Liveness, Window, window

Spoil = Callable[[Evidence], Evidence]
_AGAIN = UUID(int=99)
_PAID_ID = ids.encode("txn", PAID)
_SECOND = Transaction(_AGAIN, "completed", ALICE, BOB, 30, "k1.0")


def broken(evidence: Evidence) -> set[str]:
    return {name for name, found in judge(evidence).items() if found}


def test_an_honest_run_has_twelve_zeros() -> None:
    assert len(COUNTS) == 12
    assert judge(honest()) == {count.__name__: [] for count in COUNTS}


def other_body_too(evidence: Evidence) -> Evidence:
    """The key k1 did the changed body as well."""
    changed = workload.single("k1", 0, Item("k1.0.changed", NAMES[BOB], 31))
    evidence = replace(evidence, intents=[*evidence.intents, changed])
    row = Transaction(_AGAIN, "completed", ALICE, BOB, 31, "k1.0.changed")
    return corrupted_run.with_more(evidence, "transactions", row)


def poorer(evidence: Evidence) -> Evidence:
    """One unit of Alice's is nowhere."""
    accounts = [
        Account(one.id, one.public_id, one.is_system, one.balance - (one.id == ALICE))
        for one in evidence.truth.accounts
    ]
    return corrupted_run.with_truth(evidence, accounts=accounts)


def crossed(evidence: Evidence) -> Evidence:
    """Alice saw the payment before she had money, Bob after: no order explains that."""
    steps = [
        replace(one, sequence=1) if (one.account, one.transaction) == (ALICE, PAID) else one
        for one in evidence.truth.steps
    ]
    return corrupted_run.with_truth(evidence, steps=steps)


def failed_with_money(evidence: Evidence) -> Evidence:
    """The refused amount would have been covered."""
    transactions = [
        replace(one, amount=70) if one.id == POOR else one for one in evidence.truth.transactions
    ]
    return corrupted_run.with_truth(evidence, transactions=transactions)


@pytest.mark.parametrize(
    ("name", "spoil"),
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
        ("unbalanced", lambda e: corrupted_run.with_more(e, "steps", Step(BOB, 9, PAID, 1, 131))),
        ("drifted", poorer),
        ("drifted", crossed),
        ("drifted", failed_with_money),
        ("drifted", lambda e: replace(e, told_balances={NAMES[ALICE]: 71})),
        ("impossible_reads", lambda e: replace(e, bank_reads=["199 of 200"])),
        ("orphans", lambda e: corrupted_run.with_truth(e, audit=e.truth.audit[1:])),
        ("orphans", lambda e: corrupted_run.with_more(e, "audit", e.truth.audit[0])),
        (
            "orphans",
            lambda e: corrupted_run.with_more(e, "audit", (_AGAIN, "transaction.completed")),
        ),
        ("orphans", lambda e: corrupted_run.with_truth(e, events=e.truth.events[1:])),
        (
            "orphans",
            lambda e: corrupted_run.with_more(e, "events", (BOB, 4, PAID, "transaction.completed")),
        ),
        ("orphans", lambda e: replace(e, delivered=frozenset(list(e.delivered)[1:]))),
        (
            "orphans",
            lambda e: replace(e, delivered=frozenset({*e.delivered, (0, "txn_no")})),
        ),
        ("orphans", lambda e: replace(e, strange_deliveries=["two bodies"])),
        ("verifier_failures", lambda e: replace(e, violations=["totals: …"])),
        ("undocumented_answers", lambda e: replace(e, strange_answers=["500"])),
        ("leftovers", lambda e: replace(e, remains=["1 key is claimed by nobody"])),
    ],
)
def test_each_count_finds_its_fault(name: str, spoil: Spoil) -> None:
    assert name in broken(spoil(honest()))


def test_every_count_is_tested() -> None:
    marks = test_each_count_finds_its_fault.pytestmark  # type: ignore[attr-defined]
    tried = {name for name, _ in marks[0].args[1]}
    assert tried == {count.__name__ for count in COUNTS}


def test_an_answer_that_never_came_breaks_nothing() -> None:
    """It is in the ledger or it is not: both are right."""
    assert not broken(corrupted_run.with_answers(honest()))
    unheard = corrupted_run.with_answers(honest(), answer(503, code="unavailable"))
    assert not broken(unheard)
    done = corrupted_run.without(unheard, PAID)
    assert "lost" not in broken(done)


def test_the_two_windows_are_compared() -> None:
    good = Window(1_000, 1.0, 0.005, 0.020)
    assert not Liveness(good, replace(good, p99_s=0.040, success=0.99), 1.0).faults
    assert Liveness(good, replace(good, p99_s=0.041), 1.0).faults
    assert Liveness(good, replace(good, success=0.98), 1.0).faults
    assert Liveness(good, good, None).faults


def test_a_window_has_what_began_in_it() -> None:
    samples = [Sample(at_s / 10, 0.001 * at_s, ok=at_s != 15) for at_s in range(40)]
    found = window(samples, 1.0, 2.0)
    assert (found.requests, found.success, found.p50_s) == (10, 0.9, 0.015)
    assert window([], 1.0, 2.0).requests == 0


@pytest.mark.parametrize(("slow", "p99_s"), [((), 0.01), ((150,), 0.01), ((20, 150), 0.5)])
def test_one_hiccup_is_not_a_slow_system(slow: tuple[int, ...], p99_s: float) -> None:
    samples = [Sample(n / 100, 0.5 if n in slow else 0.01, ok=True) for n in range(300)]
    many = [sample for sample in samples for _ in range(1 + 2 * (sample.took_s > 0.1))]
    assert window(many, 0.0, 3.0).p99_s == p99_s


def test_the_systems_side_is_not_judged_as_a_users() -> None:
    assert {one.sender for one in honest().transfers} == {ALICE}
    assert WORLD not in {one.receiver for one in honest().transfers}
