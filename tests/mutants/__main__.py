"""python -m tests.mutants [name …]: plants each bug in a copy and says who noticed."""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.mutants.planted import MUTANTS, Mutant

ROOT: Final = Path(__file__).parents[2]
AT_ONCE: Final = int(os.environ.get("WORKERS", "2"))
LIMIT_S: Final = 300


def noticed(mutant: Mutant) -> bool:
    """Whether the tests fail on a copy of the tree that has this bug."""
    with tempfile.TemporaryDirectory(prefix="finpay-mutant-") as folder:
        copy = Path(folder)
        copy.chmod(0o755)
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, copy / name)
        shutil.copy(ROOT / "pyproject.toml", copy)
        plant(mutant, copy / mutant.path)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": f"{copy / 'src'}:{copy}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        # 1: tests failed. Anything else (collection, usage) is no proof of anything.
        if done.returncode not in (0, 1):
            raise SystemExit(f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout}")
        return done.returncode == 1


def plant(mutant: Mutant, path: Path) -> None:
    text = path.read_text("utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.name}: its place stands {text.count(mutant.old)} times")
    path.write_text(text.replace(mutant.old, mutant.new), "utf-8")


def main() -> int:
    chosen = [mutant for mutant in MUTANTS if not sys.argv[1:] or mutant.name in sys.argv[1:]]
    survivors = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for mutant, caught in zip(chosen, pool.map(noticed, chosen), strict=True):
            print(f"{'caught  ' if caught else 'SURVIVED'}  {mutant.name}", flush=True)
            if not caught:
                survivors.append(mutant.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
