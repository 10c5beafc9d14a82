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
from finpay.edge.schemas import problems, responses
from finpay.errors import ERROR_SPECS, Code, FieldError, FinPayError
from finpay.formats import format_timestamp
from finpay.ledger import reads, resources
from finpay.ledger.outcome import REFUSALS, Outcome
from finpay.money import MAX_AMOUNT

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
ALICE, BOB = UUID(int=2**100 + 1), UUID(int=2**100 + 2)
NOW = datetime(2026, 1, 31, 12, 0, 0, 5, UTC)


def step(**changes: Any) -> reads.AccountTransaction:
    plain: dict[str, Any] = {
        "id": UUID(int=7), "type": "transfer", "status": "completed", "sender_id": ALICE,
        "receiver_id": BOB, "amount": 5, "currency": "ZAR", "description": None, "metadata": "{}",
        "failure_code": None, "created_at": NOW, "entry_version": 1, "sequence": 1,
        "balance_after": 95,
    }  # fmt: skip
    return reads.AccountTransaction(**plain | changes)


def formatted(template: str, *values: object) -> str:
    """PostgreSQL's format(), as far as our templates go: %1$s … and %%."""
    parts = template.split("%%")
    for number, value in enumerate(values, 1):
        parts = [part.replace(f"%{number}$s", str(value)) for part in parts]
    return "%".join(parts)


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
    template = responses.transfer_template(
        transaction_id, amount, ids.encode("acc", ALICE), description, stored
    )
    written = formatted(
        template, "ZAR", ids.encode("acc", BOB), balance_after, format_timestamp(created_at)
    )
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
    extensions = {"transaction_id": "txn_x"} if code is Code.INSUFFICIENT_FUNDS else {}
    problem = problems.body(FinPayError(code, detail, extensions=extensions), "req-1")
    assert formatted(template, "req-1", "txn_x").encode() == problem


def test_only_refusals_have_a_template() -> None:
    templates = zip([*Outcome, *Outcome], problems.refusal_templates(), strict=True)
    assert [outcome for outcome, template in templates if template] == [*REFUSALS, *REFUSALS]


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
