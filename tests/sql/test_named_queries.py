"""Every named query is valid on today's schema, and has a caller."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import asyncpg
import pytest

import finpay
from finpay.db.queries import Queries, load

PACKAGE: Final = Path(finpay.__file__).parent


def _files() -> Iterator[Path]:
    for path in sorted(PACKAGE.rglob("*.sql")):
        if "-- name: " in path.read_text("utf-8"):
            yield path


def _load(file: Path) -> Queries:
    package = ".".join(["finpay", *file.parent.relative_to(PACKAGE).parts])
    return load(package, file.name)


FILES: Final = list(_files())
QUERIES: Final = [(file, name) for file in FILES for name, _ in _load(file)]


def test_there_are_queries() -> None:
    assert len(FILES) >= 4
    assert {file.parent.name for file in FILES} >= {"identity", "ledger"}


@pytest.mark.parametrize(
    ("file", "name"), QUERIES, ids=[f"{file.parent.name}/{name}" for file, name in QUERIES]
)
async def test_it_can_be_prepared(database_url: str, file: Path, name: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.prepare(getattr(_load(file), name))
    finally:
        await connection.close()


@pytest.mark.parametrize("file", FILES, ids=[f"{file.parent.name}/{file.name}" for file in FILES])
def test_none_is_unused(file: Path) -> None:
    sources = [path.read_text("utf-8") for path in sorted(file.parent.glob("*.py"))]
    users = [source for source in sources if _loads(source, file)]
    assert users, "no module loads this file"
    # A file whose queries are one list, as verify.sql, is read in a loop.
    if any(re.search(r"\bin _[A-Z]+:", source) for source in users):
        return
    called = {name for source in users for name in re.findall(r"\b_SQL\.([a-z_0-9]+)", source)}
    assert {name for name, _ in _load(file)} == called


def _loads(source: str, file: Path) -> bool:
    if file.name == "queries.sql":
        return re.search(r'queries\.load\("[a-z.]+"\)', source) is not None
    return f'"{file.name}"' in source
