"""A copy of the tree, to plant bugs in."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@contextmanager
def copied_tree() -> Iterator[Path]:
    """The folders of code, removed at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="finpay-mutant-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)  # for the servers' account
        for name in ("src", "tests", "torture", "benchmarks"):
            shutil.copytree(ROOT / name, copy / name)
        shutil.copy(ROOT / "pyproject.toml", copy)
        yield copy


def replace_once(name: str, path: Path, old: str, new: str) -> None:
    """SystemExit unless the file has `old` exactly once: it would be another bug."""
    text = path.read_text("utf-8")
    if text.count(old) != 1:
        raise SystemExit(f"{name}: {path.name} has the text to replace {text.count(old)} times")
    path.write_text(text.replace(old, new), "utf-8")
