"""The synchronous client is what tools/generate_sync_client.py makes of the asynchronous one."""

import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

TOOL: Final = Path(__file__).parents[2] / "tools/generate_sync_client.py"


@pytest.fixture(scope="module")
def generated() -> dict[Path, str]:
    module: dict[str, Any] = runpy.run_path(str(TOOL))
    texts: dict[Path, str] = module["generated"]()
    return texts


def test_generated_files_are_fresh_and_say_what_they_come_from(generated: dict[Path, str]) -> None:
    assert {path.name for path in generated} == {
        "_sync.py",
        "_sync_identity.py",
        "_sync_operators.py",
        "_sync_payments.py",
        "_sync_requests.py",
        "_sync_transport.py",
    }
    for path, text in generated.items():
        assert path.read_text("utf-8") == text, f"{path.name}: run `make docs`"
        source = path.name.replace("_sync", "_async")
        assert text.startswith(f"# Generated from {source} by tools/generate_sync_client.py")


def test_generated_files_hold_no_word_of_asyncio(generated: dict[Path, str]) -> None:
    for text in generated.values():
        code = text.partition("\n")[2].replace("without asyncio", "")
        assert "async" not in code.lower()
        assert "await" not in code.lower()


@pytest.fixture
def edited(generated: dict[Path, str]) -> Iterator[Path]:
    """A generated file that was edited by hand; restored afterwards."""
    path = next(iter(generated))
    path.write_text(generated[path] + "\nEDITED = True\n", "utf-8")
    yield path
    path.write_text(generated[path], "utf-8")


def test_check_fails_for_an_edited_file(edited: Path) -> None:
    done = subprocess.run(
        [sys.executable, TOOL, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        f"{edited.name} differs from its source: run `make docs`\n",
    )
