"""Operators' commands that are refused, and withdrawals for them to end."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

import pytest

from finpay.errors import FinPayError
from finpay.ledger.operator_commands import CommandResult
from tests.sql.ledger_fixtures import Bank, Holder, fresh_key, operation

Command: TypeAlias = Callable[[str], Awaitable[CommandResult]]


async def refusal(command: Command, key: str | None = None) -> FinPayError:
    """The error of a command under a key, a new one unless it is given."""
    with pytest.raises(FinPayError) as refused:
        await command(key or fresh_key())
    return refused.value


async def withdrawal(bank: Bank, owner: Holder, amount: int = 100) -> UUID:
    """A pending withdrawal."""
    made = operation("withdrawal", owner, amount=amount, metadata='{"iban":"ZA1"}')
    assert await bank.outcome(made) == "completed"
    return made.id
