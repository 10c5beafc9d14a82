"""Every fault that was reported has a test, which names its row of faults.csv.

The next report is one more row, and one more input in the table of its concern.
"""

import ast
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]
TABLE: Final = Path(__file__).with_name("faults.csv")


def rows() -> list[str]:
    with TABLE.open(encoding="utf-8") as file:
        return [row["row"] for row in csv.DictReader(file)]


def named() -> Iterator[str]:
    """The rows in `@pytest.mark.fault(…)` of functions and classes."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="fault"), args=args):
                    yield from (str(ast.literal_eval(arg)) for arg in args)


def test_every_fault_is_named_by_a_test_and_no_other() -> None:
    assert {*named()} == {*rows()}


def test_every_fault_has_one_row() -> None:
    assert len(rows()) == len({*rows()})
