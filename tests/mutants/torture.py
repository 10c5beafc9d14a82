"""python -m tests.mutants.torture [name …]: plants bugs in a copy that the fault harness judges.

A harness that can't fail proves nothing. Each plant runs with the faults that bring it to light;
the table at the end goes into docs/reliability.md.
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
WINDOW_S: Final = 4.0  # short: the figures matter to one plant, and that one stops it all
EVERY_MS: Final = 900
LIMIT_S: Final = 400
_INSIDE: Final = "--inside"


def noticed(plant: Plant) -> set[str]:
    """What the harness found on a copy of the tree that has this bug: names of counts."""
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
        raise SystemExit(f"{plant.name}: the harness could not run")
    report: dict[str, Any] = json.loads(done.stdout)
    if os.environ.get("SHOW"):
        print(json.dumps(report, indent=1), file=sys.stderr)
    broken = {name for name, count in report["counts"].items() if count}
    return broken | ({"liveness"} if report["liveness"]["faults"] else set())


def inside(plant: Plant) -> int:
    """In the copy: one run, its report as JSON."""
    options = Options(
        SEED,
        plant.minutes,
        every_ms=EVERY_MS,
        faults=plant.faults,
        window_s=WINDOW_S,
        think_s=plant.think_s,
    )
    print(json.dumps(run(options, say=lambda _: None).as_json()))
    return 0


def main() -> int:
    if sys.argv[1:2] == [_INSIDE]:
        return inside(next(plant for plant in PLANTS if plant.name == sys.argv[2]))
    chosen = [plant for plant in PLANTS if not sys.argv[1:] or plant.name in sys.argv[1:]]
    survivors = []
    for plant in chosen:
        found = noticed(plant)
        caught = found & set(plant.noticed_by)
        names = ", ".join(sorted(caught)) + "".join(f", ({n})" for n in sorted(found - caught))
        print(f"{'caught  ' if caught else 'SURVIVED'}  {plant.name:<40}{names}", flush=True)
        if not caught:
            survivors.append(plant.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
