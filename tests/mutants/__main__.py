"""python -m tests.mutants [name …]: plants each bug in a copy, and prints whether a test fails."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tests.mutants.apply import copied_tree, replace_once
from tests.mutants.mutant import Mutant
from tests.mutants.mutations import MUTANTS

AT_ONCE: Final = int(os.environ.get("WORKERS", "2"))
LIMIT_S: Final = 300


def noticed(mutant: Mutant) -> bool:
    """Whether the tests fail on a copy of the tree that has this bug."""
    with copied_tree() as copy:
        replace_once(mutant.name, copy / mutant.path, mutant.old, mutant.new)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": f"{copy / 'src'}:{copy}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        # 1: tests failed. Other codes (collection, usage) don't show that a test noticed the bug.
        if done.returncode not in (0, 1):
            raise SystemExit(f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout}")
        return done.returncode == 1


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
