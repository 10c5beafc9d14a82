"""Runs a state machine of hypothesis as a test: how often, and how many steps a run has."""

import os
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

STEPS: Final = 30


def run(machine: type[RuleBasedStateMachine], runs: int) -> None:
    """`runs` random runs; MODEL_RUNS replaces the number: 2000 take ten minutes or more."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("MODEL_RUNS", runs)),
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
