"""The environment of a FinPay process that a test, a benchmark or the fault harness starts."""

import os
from typing import Final

LIMITS_OFF: Final = {
    f"FINPAY_RATE_LIMIT_{tier}": "off" for tier in ("GLOBAL", "AUTH", "OPERATOR", "TRANSACTION")
}
LOOPBACK_WEBHOOKS: Final = {"FINPAY_WEBHOOK_ALLOWED_CIDRS": "127.0.0.0/8,::1/128"}
# The first finds programs, the others a changed copy of the tree and the coverage of children.
_INHERITED: Final = ("PATH", "PYTHONPATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


def clean_environment(**settings: str) -> dict[str, str]:
    """`settings`, and nothing of the caller's own settings of FinPay."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | settings
