"""Responses: the stored answer of a transfer is equal, byte for byte, to that of a later GET."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finpay import ids
from finpay.edge.schemas import problems, responses, templates
from finpay.errors import ERROR_SPECS, Code, FieldError, FinPayError
from finpay.formats import format_timestamp
from finpay.ledger import holds, reads, resources, withdrawals
from finpay.ledger.outcome import PAYMENT_REFUSALS, REFUSALS, Outcome
from finpay.money import MAX_AMOUNT

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
ALICE, BOB = UUID(int=2**100 + 1), UUID(int=2**100 + 2)
NOW = datetime(2026, 1, 31, 12, 0, 0, 5, UTC)


def step(**changes: Any) -> reads.AccountTransaction:
    plain: dict[str, Any] = {
        "id": UUID(int=7), "type": "transfer", "status": "completed", "sender_id": ALICE,
        "receiver_id": BOB, "amount": 5, "currency": "ZAR", "description": None, "metadata": "{}",
        "failure_code": None, "created_at": NOW, "entry_version": 1, "sequence": 1,
        "balance_after": 95, "held_after": 20, "origin_type": None, "origin_id": None,
        "scheduled_for": None, "refunded_amount": 0,
    }  # fmt: skip
    return reads.AccountTransaction(**plain | changes)


def formatted(template: str, *values: object) -> str:
    """PostgreSQL's format(), as far as our templates go: %1$s … and %%."""
    parts = template.split("%%")
    for number, value in enumerate(values, 1):
        parts = [part.replace(f"%{number}$s", str(value)) for part in parts]
    return "%".join(parts)


def filled(template: str, *, actor: UUID, amount: int, description: str, metadata: str) -> bytes:
    """With what the ledger knows, for the other party of `actor`."""
    other = ids.encode("acc", BOB if actor == ALICE else ALICE)
    now, later = format_timestamp(NOW), format_timestamp(NOW + timedelta(hours=1))
    return formatted(
        template, "ZAR", other, 95, now, 75, amount, json.dumps(description), metadata, 2, now,
        later,
    ).encode()  # fmt: skip


def held(status: str, captured: int) -> holds.Hold:
    return holds.Hold(
        UUID(int=8), ALICE, BOB, 5, captured, status, "ZAR", "100 %", '{"a":"%s"}',
        NOW + timedelta(hours=1), NOW,
    )  # fmt: skip


def test_the_templates_of_holds_are_their_own_encoding() -> None:
    made = templates.hold(UUID(int=8), 5, ids.encode("acc", ALICE), "100 %", b'{"a":"%s"}')
    written = filled(made, actor=ALICE, amount=5, description="", metadata="")
    assert written == responses.encode(resources.hold(held("open", 0), ALICE))
    voided = templates.voided_hold(UUID(int=8), ids.encode("acc", BOB))
    written = filled(voided, actor=BOB, amount=5, description="100 %", metadata='{"a":"%s"}')
    assert written == responses.encode(resources.hold(held("voided", 2), BOB))


def test_the_templates_of_operations_are_their_transactions_own_encoding() -> None:
    """Of captures, payments of requests and refunds."""
    texts = {"description": "100 %", "metadata": '{"a":"%s"}'}
    made = templates.payment(UUID(int=7), UUID(int=9), ids.encode("acc", ALICE))
    read = step(origin_type="payment_request", origin_id=UUID(int=9), **texts)
    written = filled(made, actor=ALICE, amount=5, **texts)
    assert written == responses.encode(resources.transaction(read, ALICE))
    made = templates.capture(UUID(int=7), UUID(int=8), ids.encode("acc", BOB))
    read = step(origin_type="hold", origin_id=UUID(int=8), **texts)
    written = filled(made, actor=BOB, amount=5, **texts)
    assert written == responses.encode(resources.transaction(read, BOB))
    made = templates.refund(
        UUID(int=7), UUID(int=8), ids.encode("acc", ALICE), "100 %", b'{"a":"%s"}'
    )
    read = step(type="refund", origin_type="transaction", origin_id=UUID(int=8), **texts)
    written = filled(made, actor=ALICE, amount=5, description="", metadata="")
    assert written == responses.encode(resources.transaction(read, ALICE))


@pytest.mark.contract("10.1.3")
def test_the_templates_of_withdrawals_mask_their_destination() -> None:
    destination = {"iban": "ZA12345678", "pin": "1234"}
    shown = '{"iban":"5678","pin":""}'
    for status in ("pending", "canceled"):
        read = withdrawals.Withdrawal(
            UUID(int=9), ALICE, status, 5, "ZAR", shown, "100 %", None, None, None, NOW
        )
        made = (
            templates.withdrawal(UUID(int=9), 5, destination, "100 %")
            if status == "pending"
            else templates.canceled_withdrawal(UUID(int=9), destination)
        )
        written = filled(made, actor=ALICE, amount=5, description="100 %", metadata="{}")
        assert written == responses.encode(resources.withdrawal(read))


@given(
    st.uuids(),
    st.integers(1, MAX_AMOUNT),
    st.none() | TEXT,
    st.dictionaries(TEXT, TEXT, max_size=4),
    st.integers(0, MAX_AMOUNT),
    st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_the_template_of_a_transfer_equals_the_encoding_of_the_transaction(  # noqa: PLR0917
    transaction_id: UUID,
    amount: int,
    description: str | None,
    metadata: dict[str, str],
    balance_after: int,
    created_at: datetime,
) -> None:
    stored = msgspec.json.encode(metadata)
    template = templates.transfer(
        transaction_id, amount, ids.encode("acc", ALICE), description, stored
    )
    written = formatted(
        template, "ZAR", ids.encode("acc", BOB), balance_after, format_timestamp(created_at),
        balance_after - 20,
    )  # fmt: skip
    read = step(
        id=transaction_id,
        amount=amount,
        description=description,
        metadata=stored.decode(),
        balance_after=balance_after,
        created_at=created_at,
    )
    assert written.encode() == responses.encode(resources.transaction(read, ALICE))


@pytest.mark.parametrize("outcome", REFUSALS)
def test_the_template_of_a_refusal_equals_the_encoding_of_the_problem(outcome: Outcome) -> None:
    code, detail = REFUSALS[outcome]
    template = problems.refusal_templates()[list(Outcome).index(outcome)]
    problem = problems.body(FinPayError(code, detail, extensions={"left": 3}), "req-1")
    assert formatted(template, "req-1", 0, ',"left":3').encode() == problem


def test_only_refusals_have_a_template() -> None:
    outcomes = [*Outcome, *Outcome, *PAYMENT_REFUSALS]
    templates = zip(outcomes, problems.refusal_templates(), strict=True)
    refusals = [outcome for outcome, template in templates if template]
    assert refusals == [*REFUSALS, *REFUSALS, *PAYMENT_REFUSALS]


@pytest.mark.parametrize("outcome", PAYMENT_REFUSALS)
def test_payments_of_requests_have_templates_of_their_own(outcome: Outcome) -> None:
    code, detail = PAYMENT_REFUSALS[outcome]
    template = problems.refusal_templates()[
        2 * len(Outcome) + list(PAYMENT_REFUSALS).index(outcome)
    ]
    problem = problems.body(FinPayError(code, detail, extensions={"status_now": "paid"}), "req-1")
    assert formatted(template, "req-1", 0, ',"status_now":"paid"').encode() == problem


@pytest.mark.parametrize("outcome", REFUSALS)
def test_the_template_of_a_refused_item_equals_the_encoding_of_its_problem(
    outcome: Outcome,
) -> None:
    code, detail = REFUSALS[outcome]
    template = problems.refusal_templates()[len(Outcome) + list(Outcome).index(outcome)]
    item = FieldError(detail, pointer="#/transactions/3")
    error = FinPayError(code, detail, (item,), {"transaction_id": "txn_x"})
    written = formatted(template, "req-1", 3, ',"transaction_id":"txn_x"').encode()
    assert written == problems.body(error, "req-1")


def test_the_template_of_a_completed_item_equals_the_encoding_of_a_batch_item() -> None:
    transaction = resources.transaction(step(), ALICE)
    template = responses.item_template(3, responses.encode(transaction).decode())
    item = responses.TransferBatchItem(3, "completed", transaction, None)
    assert template.encode() == responses.encode(item)


def test_the_direction_of_a_transaction_is_that_of_its_reader() -> None:
    assert resources.transaction(step(), ALICE).direction == "sent"
    assert resources.transaction(step(), BOB).direction == "received"


@pytest.mark.contract("1.1.3")
def test_times_are_utc_with_microseconds() -> None:
    assert format_timestamp(NOW) == "2026-01-31T12:00:00.000005Z"
    assert format_timestamp(NOW.replace(microsecond=0)) == "2026-01-31T12:00:00.000000Z"
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
    assert format_timestamp(elsewhere.astimezone(UTC)) == format_timestamp(NOW)


@given(st.uuids())
def test_the_two_entries_of_a_transaction_have_different_ids(transaction_id: UUID) -> None:
    ids_ = [
        responses.entry(reads.Entry(account, transaction_id, 1, amount, 0, NOW), "ZAR").id
        for account, amount in ((ALICE, -5), (BOB, 5))
    ]
    assert len(set(ids_)) == 2
    same = reads.Entry(ALICE, transaction_id, 1, -5, 0, NOW)
    assert responses.entry(same, "ZAR").id == ids_[0]


@pytest.mark.contract("1.4.1")
@pytest.mark.parametrize("code", Code)
def test_a_problem_has_every_member_and_a_page(code: Code) -> None:
    field_errors = (
        FieldError("Wrong.", pointer="#/amount"),
        FieldError("Bad.", parameter="limit"),
        FieldError("No."),
    )
    response = problems.response(FinPayError(code, "Why.", field_errors=field_errors), "req-1")
    spec = ERROR_SPECS[code]
    assert (response.status, response.content_type) == (spec.status, b"application/problem+json")
    assert json.loads(response.body) == {
        "type": f"/docs/errors/{code}", "title": spec.title, "status": spec.status,
        "detail": "Why.", "code": code, "request_id": "req-1", "retryable": spec.retryable,
        "errors": [{"detail": "Wrong.", "pointer": "#/amount"},
                   {"detail": "Bad.", "parameter": "limit"}, {"detail": "No.", "pointer": "#"}],
    }  # fmt: skip
