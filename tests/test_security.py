"""The attack tables of SECURITY.md: every line names tests that exist, or says that it has none."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SECURITY: Final = ROOT / "SECURITY.md"
LINES: Final = re.findall(r"^\| ((?:API|V)\d+ .*) \|$", SECURITY.read_text("utf-8"), re.MULTILINE)
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
    numbers = {line.partition(" ")[0] for line in LINES}
    assert numbers == {f"API{n}" for n in range(1, 11)} | {f"V{n}" for n in range(1, 18)}
