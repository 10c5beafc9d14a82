"""One planted bug."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """`old`, which stands once in `path`, becomes `new`; the tests under `tests` must fail."""

    name: str
    path: str
    old: str
    new: str
    tests: str
