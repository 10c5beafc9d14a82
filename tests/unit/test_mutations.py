"""Each planted bug of tests/mutants still has its place in the code."""

from collections.abc import Iterator

import pytest

from tests.mutants.apply import ROOT
from tests.mutants.mutations import MUTANTS
from tests.mutants.torture_mutations import PLANTS


def edits() -> Iterator[tuple[str, str, str]]:
    for mutant in MUTANTS:
        yield mutant.name, mutant.path, mutant.old
    for plant in PLANTS:
        for edit in plant.edits:
            yield plant.name, edit.path, edit.old


EDITS = [pytest.param(*edit, id=edit[0]) for edit in edits()]


@pytest.mark.parametrize(("name", "path", "old"), EDITS)
def test_the_text_to_replace_stands_once(name: str, path: str, old: str) -> None:
    assert (ROOT / path).read_text("utf-8").count(old) == 1, f"{name}: change its text in {path}"
