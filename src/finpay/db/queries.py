"""Named queries: plain SQL files in the package that uses them, read once.

A file has blocks that begin with `-- name: snake_case`. `load("finpay.ledger")` reads
`queries.sql` of that package. Each block is an attribute of type `str`; an unknown name raises
AttributeError.
"""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\n", re.MULTILINE)


class Queries:
    """The named queries of one file, as attributes."""

    def __init__(self, text: str, source: str) -> None:
        parts = _NAME.split(text)
        self._source = source
        self._queries: dict[str, str] = dict(
            zip(parts[1::2], (block.strip() for block in parts[2::2]), strict=True)
        )

    def __getattr__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(f"{self._source} has no query named {name}") from None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._queries.items())


def load(package: str, file: str = "queries.sql") -> Queries:
    """The queries of `file` in `package`."""
    return Queries((files(package) / file).read_text("utf-8"), f"{package}/{file}")
