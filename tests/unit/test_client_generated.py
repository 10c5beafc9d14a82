"""The synchronous client is what tools/generate_sync_client.py makes of the asynchronous one."""

import runpy
import shutil
import subprocess
import sys
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


def test_check_fails_for_an_edited_file(tmp_path: Path) -> None:
    """In a copy: other tests read the files of the tree."""
    tool = copied_tree(tmp_path)
    edited = tmp_path / "src/finpay/client/_sync.py"
    edited.write_text(edited.read_text("utf-8") + "\nEDITED = True\n", "utf-8")
    done = subprocess.run(
        [sys.executable, tool, "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (
        1,
        "_sync.py differs from its source: run `make docs`\n",
    )


def copied_tree(folder: Path) -> Path:
    """Copies what the tool reads; returns the tool of the copy."""
    root = TOOL.parents[1]
    shutil.copytree(root / "src/finpay/client", folder / "src/finpay/client")
    shutil.copy(root / "pyproject.toml", folder)
    (folder / "tools").mkdir()
    return Path(shutil.copy(TOOL, folder / "tools"))
