"""python -m tests.mutants.torture [name …]: plants bugs in a copy of the tree for torture.

A harness that can't fail proves nothing. Each planted bug runs with the faults that expose it; the
table at the end goes into docs/reliability.md.
"""

import json
import os
import subprocess
import sys
from typing import Any, Final

from tests.mutants.apply import copied_tree, replace_once
from tests.mutants.torture_mutations import PLANTS, Plant
from torture.run import Options, run

SEED: Final = 11
WINDOW_S: Final = 4.0  # short: only one bug shows in the figures, and that one stops the service
EVERY_MS: Final = 900
LIMIT_S: Final = 400
_INSIDE: Final = "--inside"


def found_by_harness(plant: Plant) -> set[str]:
    """The counts that are not zero on a copy of the tree with this bug."""
    with copied_tree() as copy:
        for edit in plant.edits:
            replace_once(plant.name, copy / edit.path, edit.old, edit.new)
        done = subprocess.run(
            [sys.executable, "-m", "tests.mutants.torture", _INSIDE, plant.name],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": f"{copy / 'src'}:{copy}"},
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    if done.returncode != 0:
        raise SystemExit(f"{plant.name}: the harness failed")
    report: dict[str, Any] = json.loads(done.stdout)
    if os.environ.get("SHOW"):
        print(json.dumps(report, indent=1), file=sys.stderr)
    broken = {name for name, count in report["counts"].items() if count}
    return broken | ({"liveness"} if report["liveness"]["faults"] else set())


def run_in_copy(plant: Plant) -> int:
    """One run in the copy; prints its report as JSON."""
    options = Options(
        SEED,
        plant.minutes,
        every_ms=EVERY_MS,
        faults=plant.faults,
        window_s=WINDOW_S,
        think_s=plant.think_s,
    )
    print(json.dumps(run(options, progress=lambda _: None).as_json()))
    return 0


def main() -> int:
    if sys.argv[1:2] == [_INSIDE]:
        return run_in_copy(next(plant for plant in PLANTS if plant.name == sys.argv[2]))
    chosen = [plant for plant in PLANTS if not sys.argv[1:] or plant.name in sys.argv[1:]]
    survivors = []
    for plant in chosen:
        found = found_by_harness(plant)
        caught = found & set(plant.noticed_by)
        names = ", ".join(sorted(caught)) + "".join(f", ({n})" for n in sorted(found - caught))
        print(f"{'caught  ' if caught else 'SURVIVED'}  {plant.name:<40}{names}", flush=True)
        if not caught:
            survivors.append(plant.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
