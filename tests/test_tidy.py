"""The house rules as tests, without a list of exceptions. Banned words are in banned_words.csv."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests import banned_words

ROOT: Final = Path(__file__).parents[1]
MAX_LINE: Final = 100
MAX_FILE_LINES: Final = 300
MAX_SQL_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 50

_CODE: Final = (".py", ".sql", ".lua")
# Patterns, each with its replacement.
_BANNED: Final = {
    r"\bFIXME\b|\bTODO\b|\bXXX\b(?!\")": "an issue, or the work itself",
    r"^\s*print\(": "log.get(), or sys.stderr in a command",
    r"\bfloat\(": "integer minor units",
    r"\bdatetime\.(utcnow|now)\(\)": "an aware time, or the database's clock",
}
# The verbs of named queries. The queries of verify*.sql are checks, whose names are public.
_VERBS: Final = (
    "cancel|check|claim|create|delete|deregister|disable|enable|end|enqueue|expire|fund|get|insert|"
    "is|lease|list|lock|open|post|reclaim|record|register|release|replace|replay|retire|retry|"
    "revoke|rotate|save|set|try_lock|update|verify"
)
_QUERY: Final = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_CODE_SPAN: Final = re.compile(r"`(\w+)`")
_LEVELS: Final = frozenset({"debug", "info", "warning", "error", "exception"})
_LOGGERS: Final = frozenset({"_LOG", "logs.get()"})
_WRITTEN_AS: Final = {"exc_info": "exception"}  # structlog's argument, and the field of the line
_BANNED_NAMES: Final = re.compile(r"(^|_)(utils?|helpers?|common|manager|misc)(_|$)")


def _files(*folders: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    return [path for path in paths if path.suffix in _CODE and path.exists()]


CODE: Final = _files("src", "tests", "benchmarks", "torture", "docs")


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CODE, ids=_name)
def test_files_and_lines_are_short(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    limit = MAX_SQL_LINES if path.suffix == ".sql" else MAX_FILE_LINES
    assert len(lines) <= limit, f"{len(lines)} lines: split it"
    long = [number for number, line in enumerate(lines, 1) if len(line) > MAX_LINE]
    assert not long, f"longer than {MAX_LINE}: lines {long}"


@pytest.mark.parametrize("path", [path for path in CODE if path.suffix == ".py"], ids=_name)
def test_functions_are_short(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    long = {
        function.name: (function.end_lineno or 0) - function.lineno + 1
        for function in _functions(tree)
    }
    assert not {name: n for name, n in long.items() if n > MAX_FUNCTION_LINES}


@pytest.mark.parametrize("path", _files("src"), ids=_name)
def test_source_has_no_banned_pattern(path: Path) -> None:
    if path.suffix != ".py" or {"dev", "cli"} & set(path.parts):
        return
    text = path.read_text("utf-8")
    code = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
    found = {
        pattern: instead
        for pattern, instead in _BANNED.items()
        if re.search(pattern, code, re.MULTILINE)
        and not (pattern.startswith(r"\bfloat") and "nan" in text)
    }
    assert not found


@pytest.mark.parametrize("path", CODE, ids=_name)
def test_file_name_says_what_is_in_it(path: Path) -> None:
    assert not any(_BANNED_NAMES.search(part) for part in path.with_suffix("").parts[-3:])


@pytest.mark.parametrize(
    "path", [path for path in _files("src") if path.suffix == ".py"], ids=_name
)
def test_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), "a module needs a docstring"


@pytest.mark.parametrize("path", _files("src/finpay/db/migrations"), ids=_name)
def test_migrations_take_the_owner_role_and_bound_their_locks(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith("-- migrate:up\nSET LOCAL ROLE finpay_owner;\n")
    assert "SET LOCAL lock_timeout" in text
    assert "SET LOCAL statement_timeout" in text


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in _files("src")
        if path.suffix == ".sql" and not path.name.startswith("verify")
    ],
    ids=_name,
)
def test_named_query_is_verb_and_noun(path: Path) -> None:
    names = _QUERY.findall(path.read_text("utf-8"))
    assert not [name for name in names if re.match(rf"({_VERBS})_\w+$", name) is None]


def _log_calls() -> Iterator[tuple[str, list[str]]]:
    """Event and fields of each `_LOG.warning("…")`. AssertionError for one that is no literal."""
    for path in _files("src"):
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(ast.Attribute(logger, level), [event, *_], fields):
                    if level in _LEVELS and ast.unparse(logger) in _LOGGERS:
                        assert isinstance(event, ast.Constant), f"{_name(path)}:{node.lineno}"
                        names = [
                            _WRITTEN_AS.get(str(field.arg), str(field.arg)) for field in fields
                        ]
                        yield str(event.value), names


def test_log_events_are_the_documented_list_with_their_fields() -> None:
    page = (ROOT / "docs/operations/observability.md").read_text("utf-8")
    table = page.partition("| event | meaning |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", table, re.MULTILINE)
    documented = {
        event: meaning for events, meaning in rows for event in _CODE_SPAN.findall(events)
    }
    calls = list(_log_calls())
    assert {event for event, _ in calls} == set(documented)
    for event, fields in calls:
        absent = set(fields) - set(_CODE_SPAN.findall(documented[event]))
        assert not absent, f"{event} has fields that no row names: {absent}"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.py", "max_{}s = 1"),
        ("a.py", "class {}Limits:"),
        ("a.py", "# Waits for each {}."),
        ("a.py", '_LOG.warning("{}_refused")'),
        ("a.sql", "-- name: count_{}s"),
        ("a.lua", "local {} = 1"),
        ("a.md", "The {}'s request."),
    ],
)
def test_banned_word_is_found(tmp_path: Path, file: str, text: str) -> None:
    word = "stra" + "nger"
    (tmp_path / file).write_text(text.format(word.title() if "class" in text else word), "utf-8")
    assert [hit.instead for hit in banned_words.hits(tmp_path / file)] == ["anonymous client"]


@pytest.mark.parametrize(
    "text",
    [
        "keep_alive_s = 65",
        "MAX_IN_FLIGHT",
        "in turn",
        "audit trail",
        "a look-up",
        "dead row",
        "in flight".replace(" ", "\n# "),
    ],
)
def test_standard_term_is_no_banned_word(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.py").write_text(f"# {text}\n", "utf-8")
    assert not banned_words.hits(tmp_path / "a.py")


def test_each_migration_has_a_version_of_its_own() -> None:
    folder = ROOT / "src/finpay/db/migrations"
    versions = [path.name.partition("_")[0] for path in sorted(folder.glob("*.sql"))]
    assert versions == sorted(set(versions))


@pytest.mark.parametrize("path", banned_words.files(), ids=_name)
def test_file_has_no_banned_word(path: Path) -> None:
    assert not [str(hit) for hit in banned_words.hits(path)]


def test_no_private_attribute_of_another_package_is_used() -> None:
    used = [_name(path) for path in _files("src") if "SLF001" in path.read_text("utf-8")]
    assert not used, "ruff's SLF001 may not be disabled"


def test_imports_follow_the_contracts() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
