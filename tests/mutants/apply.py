"""A copy of the tree that may be spoiled."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


@contextmanager
def copied_tree() -> Iterator[Path]:
    """The folders src and tests, without what only git and editors need. Gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="finpay-mutant-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)  # the servers' account passes through
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, copy / name)
        shutil.copy(ROOT / "pyproject.toml", copy)
        yield copy


def replace_once(name: str, path: Path, old: str, new: str) -> None:
    """SystemExit unless `old` stands in the file just once: the plant would be another one."""
    text = path.read_text("utf-8")
    if text.count(old) != 1:
        raise SystemExit(f"{name}: its place in {path.name} stands {text.count(old)} times")
    path.write_text(text.replace(old, new), "utf-8")
