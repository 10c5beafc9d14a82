"""Random runs of everything that a wallet can do, in SQL and in the model."""

from collections.abc import Callable
from typing import Final

from tests.model import random_runs
from tests.model.test_state_machine import Environment
from tests.model.wallet_machine import WalletMachine

RUNS: Final = 60  # some forty seconds; with 30 an outcome was missing now and then


def test_random_operations_of_wallets_have_the_results_of_the_model(
    fresh_database: Callable[[], str],
) -> None:
    environment = Environment(fresh_database())
    try:
        machine = type("WalletMachine", (WalletMachine,), {"environment": environment})
        random_runs.run(machine, RUNS)
        # The rarest outcomes may be missing, but runs without these would test too little.
        assert set(environment.seen) >= {
            "hold completed", "capture completed", "capture hold_not_open", "void completed",
            "refund completed", "withdrawal completed", "cancel completed", "schedule run",
            "request expired", "pay completed", "pay request_not_open",
        }  # fmt: skip
    finally:
        environment.close()
