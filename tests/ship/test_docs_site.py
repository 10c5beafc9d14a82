"""The documentation: every page is in the site, every code block runs.

Blocks of shell and Python run against a running API, page by page and in order. A block that can't
run is marked `<!-- not run: why -->`; its syntax is checked. A JSON block marked
`<!-- answer: METHOD path body -->` is what the API really answers, but for ids and times.
"""

import ast
import asyncio
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from finpay.dev.seed import seed
from finpay.edge.openapi import document
from tests.api_process import Api

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
SITE: Final = runpy.run_path(str(DOCS / "site.py"))
# Pages whose blocks run, all of a page in one shell and one Python process.
RUN: Final = (
    "quickstart.md",
    "sdk.md",
    "operations/people.md",
    *sorted(f"concepts/{p.name}" for p in DOCS.glob("concepts/*.md")),
)
_BLOCK: Final = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_ANSWER: Final = re.compile(r"answer: (?P<method>[A-Z]+) (?P<path>\S+)(?: (?P<body>\{.*\}))?")
_CHANGING: Final = re.compile(
    r'"(?:([a-z]{3}_)[0-7][0-9a-z]{25}|\d{4}-\d\d-\d\dT[0-9:.]+Z)"'  # ids and times
)
_SHELLS: Final = ("sh", "bash")
_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Block:
    page: str
    line: int
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _blocks(path: Path) -> list[Block]:
    text = path.read_text("utf-8")
    return [
        Block(
            path.relative_to(ROOT).as_posix(),
            text[: found.start()].count("\n") + 1,
            found["mark"] or "",
            found["language"],
            found["text"],
        )
        for found in _BLOCK.finditer(text)
    ]


BLOCKS: Final = [block for path in PAGES for block in _blocks(path)]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=str)
def test_json_block_is_valid(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=str)
def test_python_block_is_valid(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in _SHELLS], ids=str)
def test_shell_block_is_valid(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n"], input=block.text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def seeded(serve: Callable[..., Api], fresh_database: Callable[[], str]) -> Api:
    url = fresh_database()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, seed(url)).result()
    return serve(DATABASE_URL=url)


@pytest.mark.parametrize("page", RUN)
def test_code_blocks_of_a_page_run(page: str, seeded: Api) -> None:
    blocks = [b for b in _blocks(DOCS / page) if not b.mark.startswith("not run: ")]
    here = "http://127.0.0.1:3000"
    shell = "".join(b.text for b in blocks if b.language in _SHELLS).replace(here, seeded.url)
    python = "".join(b.text for b in blocks if b.language == "python").replace(here, seeded.url)
    assert shell or python
    bin_folder = Path(sys.executable).parent
    environment = {
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "DATABASE_URL": seeded.database_url,
    }
    for command, text in (
        (["bash", "-eu", "-o", "pipefail"], shell),
        ([sys.executable, "-"], python),
    ):
        done = subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True,
            timeout=_LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    seeded.verify()


@pytest.mark.parametrize("block", [b for b in BLOCKS if _ANSWER.match(b.mark)], ids=str)
def test_answer_of_a_page_is_the_servers(block: Block, seeded: Api) -> None:
    asked = _ANSWER.fullmatch(block.mark)
    assert asked is not None, "answer: METHOD path {body}"
    with httpx.Client(base_url=seeded.url, trust_env=False) as client:
        login = {"email": "alice@finpay.dev", "password": "password123"}
        token = client.post("/api/v1/auth/login", json=login).json()["access_token"]
        answer = client.request(
            asked["method"],
            asked["path"],
            json=None if asked["body"] is None else json.loads(asked["body"]),
            headers={"Authorization": f"Bearer {token}", "X-Idempotency-Key": "docs"},
        )
    assert _comparable(block.text) == _comparable(answer.text)


def _comparable(text: str) -> Any:
    return json.loads(_CHANGING.sub(r'"\1"', text))


def test_block_that_does_not_run_has_a_reason() -> None:
    """Every block of the deployment pages is marked."""
    unmarked = [
        str(block)
        for block in BLOCKS
        if block.page.startswith("docs/deployment/")
        and block.language in {*_SHELLS, "python", "sql"}
        and not re.match(r"not run: \w+", block.mark)
    ]
    assert not unmarked


def test_every_page_is_in_the_menu() -> None:
    entries = [entry for entries in SITE["MENU"].values() for entry in entries]
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    missing = {page for page in pages if not any(SITE["matches"](page, each) for each in entries)}
    assert not missing, "docs/site.py: MENU"


def test_reference_has_every_operation_and_schema() -> None:
    api = document()
    text = SITE["api_reference"](api)
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            assert f"### {operation['summary']}\n\n`{method.upper()} {path}`\n" in text
    for name in api["components"]["schemas"]:
        assert f"\n### {name}\n" in text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[a](settings.md)", "[a](settings.md)"),
        ("[a](../SECURITY.md#x)", "[a](SECURITY.md#x)"),
        ("[`a.py`](../src/finpay/app/api.py)", "`a.py`"),
        ("[a](https://example.com)", "[a](https://example.com)"),
        ("```sh\n[a](../Makefile)\n```", "```sh\n[a](../Makefile)\n```"),
    ],
)
def test_link_out_of_the_site_becomes_text(written: str, shown: str) -> None:
    assert SITE["_for_the_site"](written, SITE["SITE"] / "page.md") == shown
