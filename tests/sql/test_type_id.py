"""The ids that SQL spells, in stored answers and account rows, are those that Python spells."""

from random import Random
from uuid import UUID

from finpay import ids
from tests.sql.ledger_fixtures import Bank


async def test_sql_and_python_spell_every_id_alike(bank: Bank) -> None:
    chance = Random(26)
    bounds = [0, 1, 31, 32, 2**64 - 1, 2**64, 2**127, 2**128 - 1]
    uuids = [
        UUID(int=number) for number in [*bounds, *(chance.getrandbits(128) for _ in range(500))]
    ]
    rows = await bank.app.fetch(
        "SELECT id, ledger.type_id('acc', id) AS text FROM unnest($1::uuid[]) AS u (id)", uuids
    )
    assert [row["text"] for row in rows] == [ids.encode("acc", row["id"]) for row in rows]
    assert len(rows) == len(uuids)
