"""The documents agree with the code."""

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from finpay.edge.routes import ROUTES
from finpay.errors import Code
from finpay.outbox.event_types import EVENT_TYPES
from finpay.settings import Settings

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
_LINK: Final = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)")


GENERATED: Final = runpy.run_path(str(DOCS / "generate.py"))["PAGES"]


@pytest.mark.parametrize("page", GENERATED)
def test_generated_pages_are_fresh(page: str) -> None:
    """`make docs` writes them."""
    assert (DOCS / page).read_text("utf-8") == GENERATED[page]()


def test_event_types_and_schemas_are_the_same_list() -> None:
    assert {path.stem for path in (DOCS / "events/schemas").iterdir()} == EVENT_TYPES.keys()
    text = (DOCS / "events/types.md").read_text("utf-8")
    assert re.findall(r"^## (\S+)$", text, re.MULTILINE) == list(EVENT_TYPES)


@pytest.mark.parametrize("code", Code)
def test_error_is_documented(code: Code) -> None:
    assert f"\n## {code}\n" in (DOCS / "errors.md").read_text("utf-8")


def test_every_setting_is_documented() -> None:
    text = (DOCS / "settings.md").read_text("utf-8")
    assert not [
        field.alias for field in Settings.model_fields.values() if f"`{field.alias}`" not in text
    ]


def test_every_route_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    missing = [
        route.path
        for route in ROUTES
        if route.path.startswith("/api/") and f"{route.method} {route.path}" not in text
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_link_target_exists(page: Path) -> None:
    broken = [
        target
        for target in _LINK.findall(page.read_text("utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken


RULES: Final = re.findall(
    r"^\*\*(\d+\.\d+\.\d+) ", (DOCS / "contract.md").read_text("utf-8"), re.MULTILINE
)


def _marked() -> Iterator[str]:
    """The rules that tests name: `pytest.mark.contract("1.1.1")`."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.contract":
                yield from (ast.literal_eval(rule) for rule in node.args)


def test_every_rule_of_the_contract_is_named_by_a_test() -> None:
    assert len(RULES) == len(set(RULES))
    assert set(RULES) == set(_marked())


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "contract.md"], ids=str)
def test_rules_that_a_page_links_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    assert set(re.findall(r"\[(\d+\.\d+\.\d+)\]\([^)]*contract\.md", text)) <= set(RULES)


@pytest.mark.parametrize("page", sorted(DOCS.glob("decisions/*.md")), ids=lambda page: page.stem)
def test_decision_record_has_its_form(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.match(
        rf"# {page.name[:4]}: .+\n\n- Status: (accepted|superseded)\b.*\n"
        r"- Date: \d{4}-\d\d-\d\d.*\n"
        r"(- (Supersedes|Superseded by): \[\d{4}\]\(.*\n)*\n",
        text,
    )
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Context", "Decision", "Measured", "Consequences", "Alternatives",
    ]  # fmt: skip
    assert ("Status: superseded" in text) == ("- Superseded by: " in text)


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "glossary.md", "operations/limits.md"])
def test_files_that_a_page_names_exist(page: str) -> None:
    named = re.findall(r"`([\w/]+/[\w/]*\.(?:py|lua|sql))`", (DOCS / page).read_text("utf-8"))
    assert named
    assert not [name for name in named if not (ROOT / "src/finpay" / name).exists()
                and not (ROOT / name).exists()]  # fmt: skip


def test_every_migration_has_a_row_in_the_architecture() -> None:
    page = (DOCS / "ARCHITECTURE.md").read_text("utf-8")
    table = page.partition("## Migrations")[2].partition("\n## ")[0]
    names = {path.stem[12:] for path in (ROOT / "src/finpay/db/migrations").glob("*.sql")}
    assert set(re.findall(r"`(\d\d_\w+)`", table)) <= names
    ranges = re.findall(r"`(\d\d)_\w+`(?: to `(\d\d)_\w+`)?", table)
    covered = {n for first, last in ranges for n in range(int(first), int(last or first) + 1)}
    assert not [name for name in names if int(name[:2]) not in covered]
