"""The attack tables of SECURITY.md: every line names tests that exist, or says that it has none."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SECURITY: Final = ROOT / "SECURITY.md"
LINES: Final = re.findall(
    r"^\| ((?:API|V)[\d.]+ .*) \|$", SECURITY.read_text("utf-8"), re.MULTILINE
)
WITHOUT: Final = ("no test yet", "nothing to test")
_TEST: Final = re.compile(r"\[(test_\w+)\]\((tests/[\w/]+\.py)\)")


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition(" |")[0])
def test_line_names_existing_tests_or_says_that_it_has_none(line: str) -> None:
    name, control, tests = line.split(" | ")
    assert name
    assert control
    named = _TEST.findall(tests)
    assert bool(named) is (tests not in WITHOUT), tests
    assert ", ".join(f"[{test}]({path})" for test, path in named) == tests or not named
    missing = [test for test, path in named if test not in functions_in(path)]
    assert not missing


def test_every_risk_and_every_chapter_has_a_line() -> None:
    numbers = {line.partition(" ")[0] for line in LINES if "." not in line.partition(" ")[0]}
    assert numbers == {f"API{n}" for n in range(1, 11)} | {f"V{n}" for n in range(1, 18)}


def test_every_requirement_of_authentication_and_sessions_has_a_line() -> None:
    """Those of levels 1 and 2 of ASVS 5.0; the others of these sections are of level 3."""
    numbers = [line.partition(" ")[0] for line in LINES if "." in line.partition(" ")[0]]
    sections = {"V6.1": 3, "V6.2": 12, "V6.3": 4, "V6.4": 4, "V6.5": 5, "V6.6": 3, "V6.8": 4,
                "V7.1": 3, "V7.2": 4, "V7.3": 2, "V7.4": 5, "V7.5": 2, "V7.6": 2}  # fmt: skip
    assert numbers == [f"{name}.{n}" for name, last in sections.items() for n in range(1, last + 1)]
