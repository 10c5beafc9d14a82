"""Generates the synchronous client from the asynchronous one: _async*.py → _sync*.py.

`make docs` runs it; `make check` runs it with --check, which only compares.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLIENT: Final = ROOT / "src/finpay/client"
HEADER: Final = "# Generated from {} by tools/generate_sync_client.py: edit that file instead.\n"
RULES: Final = {
    r"^import asyncio$": "import threading\nimport time",  # ruff removes what is not used
    r"asyncio\.sleep": "time.sleep",
    r"asyncio\.Lock": "threading.Lock",
    r"for asyncio\. Any task of one event loop": "without asyncio. Any thread",
    r"\ban `async with`": "a `with`",
    r"for item in page\.data:\n +yield item": "yield from page.data",
    r"Awaitable\[(\w+)\]": r"\1",
    r"\b(?:async|await) ": "",
    r"\b__a(enter|exit|iter)__": r"__\1__",
    r"\baclose\b": "close",
    r"\bAsync(\w+)": r"\1",
    r"\b_async": "_sync",
}


def generated() -> dict[Path, str]:
    """The text of each synchronous module, formatted like the rest of the tree."""
    return dict(map(_generate, CLIENT.glob("_async*.py")))


def _generate(source: Path) -> tuple[Path, str]:
    text = source.read_text("utf-8")
    for pattern, replacement in RULES.items():
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    target = source.with_name(source.name.replace("_async", "_sync"))
    for arguments in (["check", "--fix", "--exit-zero"], ["format"]):
        command = [sys.executable, "-m", "ruff", *arguments, "-q", "--stdin-filename", str(target)]
        text = subprocess.run(
            [*command, "-"], input=text, cwd=ROOT, capture_output=True, encoding="utf-8", check=True
        ).stdout
    return target, HEADER.format(source.name) + text


if __name__ == "__main__":
    for path, fresh in generated().items():
        if "--check" not in sys.argv:
            path.write_text(fresh, "utf-8")
        elif path.read_text("utf-8") != fresh:
            sys.exit(f"{path.name} differs from its source: run `make docs`")
