"""Random runs of everything that a wallet can do, in SQL and in the model."""

import os
from collections.abc import Callable
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.test_state_machine import Environment
from tests.model.wallet_machine import WalletMachine

# Some twenty seconds; MODEL_RUNS=2000 takes half an hour.
RUNS: Final = int(os.environ.get("MODEL_RUNS", "30"))
STEPS: Final = 30


def test_random_operations_of_wallets_have_the_results_of_the_model(
    fresh_database: Callable[[], str],
) -> None:
    environment = Environment(fresh_database())
    try:
        run_state_machine_as_test(
            type("WalletMachine", (WalletMachine,), {"environment": environment}),
            settings=settings(
                max_examples=RUNS,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        # The rarest outcomes may be missing, but runs without these would test too little.
        assert set(environment.seen) >= {
            "hold completed", "capture completed", "capture hold_not_open", "void completed",
            "refund completed", "withdrawal completed", "cancel completed", "schedule run",
            "request expired", "pay completed", "pay request_not_open",
        }  # fmt: skip
    finally:
        environment.close()
