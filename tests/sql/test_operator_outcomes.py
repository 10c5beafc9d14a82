"""The refusals of operators' commands: each alone, which of two comes first, once for each key."""

from itertools import combinations
from typing import Final

import pytest

from finpay.errors import Code
from finpay.ledger.outcome import OPERATOR_REFUSALS, Outcome
from tests.sql.ledger_fixtures import Bank, fresh_key
from tests.sql.operator_cases import OUTCOMES, Case, Complete, Deposit, Refund, Reject, Void
from tests.sql.operator_fixtures import Command, refusal

CASES: Final[dict[str, type[Case]]] = {
    "deposit": Deposit, "complete": Complete, "reject": Reject, "refund": Refund, "void": Void,
}  # fmt: skip
# The command line has the rights of the owner and needs no approval.
REFUSALS: Final = {
    name: [each for each in OUTCOMES[name] if each in set(OPERATOR_REFUSALS) - {Outcome.FORBIDDEN}]
    for name in CASES
}
PAIRS: Final = [
    (name, *pair) for name, refusals in REFUSALS.items() for pair in combinations(refusals, 2)
]


async def _prepared(bank: Bank, name: str, *wrongs: Outcome) -> Command:
    case = CASES[name](bank)
    await case.prepare()
    await case.spoil(set(wrongs))
    return case.command()


def code_of(outcome: Outcome) -> Code:
    return OPERATOR_REFUSALS[outcome][0]


@pytest.mark.contract("10.4.6")
@pytest.mark.parametrize(("name", "first", "second"), PAIRS)
async def test_a_command_wrong_in_two_ways_gets_the_first(
    bank: Bank, name: str, first: Outcome, second: Outcome
) -> None:
    assert (await refusal(await _prepared(bank, name, first, second))).code is code_of(first)


@pytest.mark.contract("10.4.6")
@pytest.mark.parametrize(
    ("name", "outcome"), [(name, each) for name, refusals in REFUSALS.items() for each in refusals]
)
async def test_every_refusal_is_final_for_its_key(bank: Bank, name: str, outcome: Outcome) -> None:
    command, key = await _prepared(bank, name, outcome), fresh_key()
    for _ in range(2):
        assert (await refusal(command, key)).code is code_of(outcome)
    # Without a currency there is no account whose key it could be.
    if outcome not in {Outcome.NOT_FOUND, Outcome.RECEIVER_NOT_FOUND}:
        assert await bank.count("ledger.idempotency_keys", "key = $1", key) == 1
        assert await bank.count("audit.log", "request_id = $1", f"operator:{key}") == 1


@pytest.mark.contract("10.4.6")
@pytest.mark.parametrize("name", CASES)
async def test_a_command_is_done_once_for_its_key(bank: Bank, name: str) -> None:
    command, key = await _prepared(bank, name), fresh_key()
    first, repeated = await command(key), await command(key)
    assert (first.repeated, repeated.repeated) == (False, True)
    assert first.members == repeated.members
    assert await bank.count("audit.log", "request_id = $1", f"operator:{key}") == 1
    other = await _prepared(bank, name)
    assert (await refusal(other, key)).code is Code.IDEMPOTENCY_KEY_REUSE
