"""The documentation: every page in the site, every block of code true.

Blocks of shell and Python run against a running API, page by page and in order. One that can't is
marked `<!-- not run: why -->`; its syntax is checked all the same.
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
from typing import Final

import pytest

from finpay.dev.seed import seed
from finpay.edge.openapi import document
from tests.api_process import Api

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
SITE: Final = runpy.run_path(str(DOCS / "site.py"))
# Pages whose blocks all run, in one shell and one Python for each page.
RUN: Final = (
    "quickstart.md",
    "sdk.md",
    *sorted(f"concepts/{p.name}" for p in DOCS.glob("concepts/*.md")),
)
_BLOCK: Final = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*) -->\n)?```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
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
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=str)
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language in _SHELLS], ids=str)
def test_shell_is_shell(block: Block) -> None:
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
def test_what_a_page_says_works(page: str, seeded: Api) -> None:
    blocks = [b for b in _blocks(DOCS / page) if not b.mark.startswith("not run: ")]
    here = "http://127.0.0.1:3000"
    shell = "".join(b.text for b in blocks if b.language in _SHELLS).replace(here, seeded.url)
    python = "".join(b.text for b in blocks if b.language == "python").replace(here, seeded.url)
    assert shell or python
    bin_folder = Path(sys.executable).parent
    environment = {"PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
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


def test_a_block_that_does_not_run_says_why() -> None:
    """On the pages of deployment everything is marked; what is marked has a reason."""
    silent = [
        str(block)
        for block in BLOCKS
        if block.page.startswith("docs/deployment/")
        and block.language in {*_SHELLS, "python", "sql"}
        and not re.match(r"not run: \w+", block.mark)
    ]
    assert not silent


def test_every_page_has_a_place_in_the_menu() -> None:
    places = [place for places in SITE["MENU"].values() for place in places]
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    lost = {page for page in pages if not any(SITE["in_place"](page, place) for place in places)}
    assert not lost, "docs/site.py: MENU"


def test_the_reference_has_every_operation_and_shape() -> None:
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
def test_links_out_of_the_site_become_text(written: str, shown: str) -> None:
    assert SITE["_for_the_site"](written, SITE["SITE"] / "page.md") == shown
