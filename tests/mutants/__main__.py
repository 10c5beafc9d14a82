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
LIMIT_S: Final = 600
CAUGHT: Final = "caught"
PYTEST: Final = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider")


def result_of(mutant: Mutant) -> str:
    """What the tests say of a copy of the tree that has this bug."""
    with copied_tree() as copy:
        replace_once(mutant.name, copy / mutant.path, mutant.old, mutant.new)
        try:
            done = subprocess.run(
                [*PYTEST, mutant.tests],
                cwd=copy,
                env=os.environ | {"PYTHONPATH": f"{copy / 'src'}:{copy}"},
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "NO END"
        # 1: tests failed. Other codes (collection, usage) don't show that a test noticed the bug.
        if done.returncode not in (0, 1):
            raise SystemExit(f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout}")
        return CAUGHT if done.returncode == 1 else "SURVIVED"


def main() -> int:
    chosen = [mutant for mutant in MUTANTS if not sys.argv[1:] or mutant.name in sys.argv[1:]]
    caught = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for mutant, said in zip(chosen, pool.map(result_of, chosen), strict=True):
            print(f"{said:<8}  {mutant.name}", flush=True)
            caught += said == CAUGHT
    print(f"{caught} of {len(chosen)} caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
