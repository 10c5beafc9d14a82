"""The table of outcomes in the contract is the one that the tests of outcomes go through."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

import pytest

from finpay.errors import ERROR_SPECS
from finpay.ledger.outcome import REFUSALS, Outcome
from tests.sql import operator_cases, test_operation_outcomes, test_request_outcomes

CONTRACT: Final = Path(__file__).parents[2] / "docs/contract.md"
NAMES: Final = {"refund": "operator's refund", "void": "operator's void"}

_ROW: Final = re.compile(r"^\| (`?)(\w+)\1 \| (.+) \|$", re.MULTILINE)


@pytest.mark.contract("7.1.1")
def test_the_table_of_the_contract_is_the_one_that_is_tested() -> None:
    header, rows = _table()
    assert list(rows) == list(Outcome)
    expected: dict[str, Collection[Outcome]] = {
        **{str(mode): each for mode, each in test_operation_outcomes.OUTCOMES.items()},
        **test_request_outcomes.OUTCOMES,
        **{NAMES.get(name, name): each for name, each in operator_cases.OUTCOMES.items()},
    }
    assert header == ["status", *expected]
    for column, outcomes in expected.items():
        named = {name for name, cells in rows.items() if cells[header.index(column)] == "x"}
        assert named == {*outcomes, Outcome.COMPLETED}, column


@pytest.mark.contract("7.1.1")
def test_the_table_has_the_status_of_each_refusal() -> None:
    _, rows = _table()
    for outcome, (code, _) in REFUSALS.items():
        assert rows[outcome][0] == str(ERROR_SPECS[code].status), outcome


@pytest.mark.contract("7.1.1")
def test_the_outcomes_are_listed_in_their_order() -> None:
    order = list(Outcome)
    for every in (
        test_operation_outcomes.OUTCOMES,
        test_request_outcomes.OUTCOMES,
        operator_cases.OUTCOMES,
    ):
        for name, outcomes in every.items():
            assert outcomes == sorted(outcomes, key=order.index), name


def _table() -> tuple[list[str], dict[str, list[str]]]:
    """The names of the columns, and the cells of each outcome."""
    found = {name: cells.split("|") for _, name, cells in _ROW.findall(CONTRACT.read_text("utf-8"))}
    names = {"outcome", *Outcome}
    rows = {name: [cell.strip() for cell in each] for name, each in found.items() if name in names}
    return rows.pop("outcome"), rows
