"""The house's banned words: `make words` prints what is left of them, test_tidy checks them.

banned_words.csv has a row per word, with what to write instead and a scope: `text` is every word of
a file, `name` the identifiers of code, `class` the names of classes. Identifiers are compared word
by word: `in_flight` and `InFlight` are both "in flight".
"""

import csv
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).parents[1]
_TEXT: Final = {".py", ".sql", ".lua", ".md", ".yml", ".yaml", ".json", ".toml", ".sh", ""}
_COMMENT: Final = re.compile(r"--.*|'[^']*'")
_CLASS: Final = re.compile(r"^\s*class (\w+)")
# Names that others chose: of hosts, mailboxes, functions of libraries, an account of Debian.
_FOREIGN: Final = re.compile(
    r"\w+://\S+|[\w.+%-]+@[\w.-]+"
    r"|is_alive|mark_process_dead|account no(?:body)|getpwnam\(\S+"
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN: Final = re.compile(r"[\W_]+")

Scope = Literal["text", "name", "class"]


@dataclass(frozen=True, slots=True)
class Word:
    scope: Scope
    pattern: re.Pattern[str]
    instead: str


@dataclass(frozen=True, slots=True)
class Hit:
    path: Path
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        where = f"{self.path.relative_to(ROOT)}:{self.line}"
        return f"{where}: {self.word} → {self.instead}"


def _read() -> Iterator[Word]:
    with (ROOT / "tests/banned_words.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter=";"):
            pattern = re.compile(rf"\b(?:{row['pattern']})\b")
            yield Word(row["scope"], pattern, row["instead"])  # type: ignore[arg-type]


BANNED: Final = tuple(_read())


def files() -> list[Path]:
    """Every text of the repository that people write."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.suffix in _TEXT and path.is_file()]


def hits(path: Path) -> list[Hit]:
    """Each banned word of a file."""
    text = path.read_text("utf-8")
    lines = list(enumerate(text.splitlines(), 1))
    found: list[Hit] = []
    for scope, parts in (
        ("text", lines),
        ("name", _names(path, text)),
        ("class", ((n, m[1]) for n, line in lines if (m := _CLASS.match(line)))),
    ):
        found += _found(path, [word for word in BANNED if word.scope == scope], parts)
    return sorted(found, key=lambda hit: hit.line)


def _found(path: Path, words: list[Word], parts: Iterable[tuple[int, str]]) -> Iterator[Hit]:
    before = ""  # the last word of the line before: "in" of a broken "in flight"
    for line, part in parts:
        plain = f"{before} {_plain(part).strip()}"
        for word in words:
            for match in word.pattern.finditer(plain, len(before)):
                yield Hit(path, line, match[0], word.instead)
        before = plain.rpartition(" ")[2]


def _plain(text: str) -> str:
    """`MaxInFlight`, `max_in_flight` and "max in flight" alike."""
    return _BETWEEN.sub(" ", _CAMEL.sub(" ", _FOREIGN.sub(" ", text))).lower()


def _names(path: Path, text: str) -> Iterator[tuple[int, str]]:
    if path.suffix == ".py":
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string
    elif path.suffix in {".sql", ".lua"}:
        for number, line in enumerate(text.splitlines(), 1):
            yield from ((number, name) for name in re.findall(r"\w+", _COMMENT.sub("", line)))


def _package(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[: 3 if parts[0] == "src" else 2][: len(parts) - 1 or 1])


def main(folders: list[str]) -> None:
    """How many are left in each package; with folders or files as arguments, each of theirs."""
    found = [hit for path in files() for hit in hits(path)]
    if folders:
        wanted = tuple(str(ROOT / folder) for folder in folders)
        sys.stdout.writelines(f"{hit}\n" for hit in found if str(hit.path).startswith(wanted))
        return
    packages = Counter(_package(hit.path) for hit in found)
    for package, count in sorted(packages.items()):
        words = Counter(hit.word for hit in found if _package(hit.path) == package)
        common = ", ".join(f"{word} {n}" for word, n in words.most_common(6))
        sys.stdout.write(f"{count:5} {package:28} {common}\n")
    sys.stdout.write(f"{len(found):5} in all; `make words IN=src/finpay/gate` lists them\n")


if __name__ == "__main__":
    main(sys.argv[1:])
