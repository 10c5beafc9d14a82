"""Arguments of ledger.post_transfers that no caller of FinPay makes: none moves money."""

from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import asyncpg
import pytest

from finpay import ids
from tests.sql.ledger_fixtures import REFUSALS, Bank, Holder

POST: Final = f"SELECT * FROM ledger.post_transfers({', '.join(f'${n}' for n in range(1, 24))})"


@pytest.fixture
async def bank(database_url: str) -> AsyncIterator[Bank]:
    bank = Bank(database_url)
    yield bank
    await bank.close()


def arguments_of(a: Holder, b: Holder) -> dict[str, Any]:
    """Three transfers of 1 from `a` to `b`."""
    return {
        "accounts": [a.account_id, b.account_id],
        "senders": [1, 1, 1],
        "keys": ["k1", "k2", "k3"],
        "fingerprints": [b"f"] * 3,
        "request_ids": ["req_1"] * 3,
        "addresses": [None] * 3,
        "modes": ["transfer"] * 3,
        "sizes": [1, 1, 1],
        "targets": None,
        "expiries": None,
        "finals": None,
        "if_versions": None,
        "if_balances": None,
        "ids": [ids.new_uuid() for _ in range(3)],
        "receivers": [2, 2, 2],
        "emails": None,
        "amounts": [1, 1, 1],
        "currencies": [None] * 3,
        "descriptions": [None] * 3,
        "metadata": ["{}"] * 3,
        "replies": ["{}"] * 3,
        "refusals": REFUSALS,
        "public_url": None,
    }


CHEATS: Final[tuple[dict[str, Any], ...]] = (
    # The call that once made 10^12 units.
    {
        "sizes": [1, -1, 1],
        "ids": [None],
        "receivers": [99],
        "amounts": [-(10**12)],
        "currencies": ["ZAR"],
        "descriptions": [None],
        "metadata": ["{}"],
        "replies": ["{}"],
    },
    {"sizes": [1, -1, 3]},
    {"sizes": [3, 0, 0]},
    {"sizes": [1, 1, 2]},
    {"sizes": [1, 1, 0]},
    {"sizes": [1, 1, None]},
    {"sizes": [2**31 - 1, 2**31 - 1, 5]},
    {"sizes": [1, 1]},
    {"sizes": None},
    {"sizes": [2, 1], "modes": ["transfer", "transfer"], "keys": ["k1", "k2"]},
    {"modes": ["transfer", "transfer", "both"]},
    {"modes": ["transfer", "transfer", "TRANSFER"]},
    {"modes": ["transfer", "transfer", None]},
    {"amounts": [-(10**12), 1, 1]},
    {"amounts": [0, 1, 1]},
    {"amounts": [2**53, 1, 1]},
    {"amounts": [2**63 - 1, 2**63 - 1, 2]},
    {"amounts": [None, 1, 1]},
    {"amounts": [1, 1, 1, 1]},
    {"amounts": [[1, 1, 1]]},
    {"amounts": []},
    {"senders": [1, 1, 3]},
    {"senders": [1, 1, 0]},
    {"senders": [1, 1, None]},
    {"receivers": [2, 2, 99]},
    {"receivers": [2, 2, -1]},
    {"receivers": [2, 2, None]},
    {"ids": [UUID(int=1), UUID(int=2), None]},
    {"ids": [UUID(int=0), UUID(int=1), UUID(int=2)]},
    {"accounts": None},
    {"accounts": []},
    {"accounts": [[UUID(int=1), UUID(int=2)]]},
    # Operations.
    {"modes": ["hold"] * 3},
    {"modes": ["hold"] * 3, "expiries": [600, 600, 59]},
    {"modes": ["hold"] * 3, "expiries": [600, 600, None]},
    {"modes": ["hold"] * 3, "expiries": [600]},
    {"modes": ["hold"] * 3, "expiries": [600] * 3, "targets": [UUID(int=1)] * 3},
    {"modes": ["hold"] * 3, "expiries": [600] * 3, "amounts": [None, 1, 1]},
    {"modes": ["capture"] * 3, "receivers": [None] * 3},
    {"modes": ["capture"] * 3, "receivers": [None] * 3, "targets": [None] * 3},
    {"modes": ["capture"] * 3, "receivers": [None] * 3, "targets": [UUID(int=1)]},
    {"modes": ["capture"] * 3, "receivers": [None] * 3, "targets": []},
    {"modes": ["capture"] * 3, "targets": [UUID(int=1)] * 3},
    {
        "modes": ["capture"] * 3,
        "receivers": [None] * 3,
        "targets": [UUID(int=1)] * 3,
        "amounts": [-1, 1, 1],
    },
    {"modes": ["void"] * 3, "receivers": [None] * 3, "targets": [UUID(int=1)] * 3},
    {
        "modes": ["refund"] * 3,
        "receivers": [None] * 3,
        "targets": [UUID(int=1)] * 3,
        "if_versions": [1] * 3,
    },
    {"modes": ["withdrawal"] * 3},
    {"modes": ["pay"] * 3, "receivers": [None] * 3, "amounts": [None] * 3},
    {
        "modes": ["pay"] * 3,
        "receivers": [None] * 3,
        "amounts": [None] * 3,
        "targets": [UUID(int=1), UUID(int=1), None],
    },
    {"modes": ["pay"] * 3, "receivers": [None] * 3, "targets": [UUID(int=1)] * 3},
    {"modes": ["pay"] * 3, "amounts": [None] * 3, "targets": [UUID(int=1)] * 3},
    {
        "modes": ["pay"] * 3,
        "receivers": [None] * 3,
        "amounts": [None] * 3,
        "targets": [UUID(int=1)] * 3,
        "if_balances": [1] * 3,
    },
    {
        "modes": ["independent", "capture"],
        "sizes": [1, 2],
        "keys": ["k1", "k2"],
        "targets": [None, UUID(int=1)],
    },
    {"targets": [None] * 3, "amounts": [1, None, 1]},
    {"targets": [None] * 3, "receivers": [2, None, 2]},
    {"targets": [UUID(int=1)] * 3},
    {"targets": [None] * 3, "modes": ["independent"] * 3, "if_versions": [1] * 3},
    {"targets": [[UUID(int=1)] * 3]},
    {"finals": [True]},
    {"if_balances": [[1, 1, 1]]},
    {"keys": ["k1", "k2", None]},
    {"keys": ["k1", "k2", ""]},
    {"keys": ["k1", "k2", "a b"]},
    {"keys": ["k1", "k2", "k" * 256]},
    {"fingerprints": [b"f", b"f", None]},
    {"fingerprints": [b"f", b"f", b"f" * 65]},
    {"request_ids": ["r", "r", "r" * 129]},
    {"addresses": [None, None, "a" * 65]},
    {"emails": ["a@example.com"]},
    {"descriptions": [None, None, "d" * 501]},
    {"metadata": ["{}", "{}", "[]"]},
    {"metadata": ["{}", "{}", None]},
    {"metadata": ["{}", "{}", '{"a":1}']},
    {"metadata": ["{}", "{}", '{"a":"' + "b" * 4_096 + '"}']},
    {"replies": ["{}", "{}", None]},
    {"replies": ["{}", "{}", "r" * 16_385]},
    {"replies": ["{}", "{}", "%1$70000000s"]},
    {"refusals": REFUSALS[:-1]},
    {"refusals": [*REFUSALS[:-1], None]},
    {"public_url": "u" * 2_049},
    {"refusals": None},
)


@pytest.mark.fault("M1")
@pytest.mark.contract("2.1.1", "2.3.2")
@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: str(cheat)[:60])
async def test_impossible_arguments_of_a_transfer_change_nothing(
    bank: Bank, cheat: dict[str, Any]
) -> None:
    a, b = await bank.open(100), await bank.open()
    with pytest.raises(asyncpg.DataError):
        await bank.app.fetch(POST, *(arguments_of(a, b) | cheat).values())
    assert (await bank.balance(a), await bank.balance(b)) == (100, 0)
    results = await bank.app.fetch(POST, *arguments_of(a, b).values())
    assert results[0]["outcomes"] == ["completed"] * 3  # without the cheat
