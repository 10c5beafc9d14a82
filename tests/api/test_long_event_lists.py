"""A list of some types of events reads 10 000 of them for a page: pages may be empty."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from asyncpg import connect

from finpay import ids
from finpay.dev.event_forwarder import DatabaseSource
from tests.api_process import Api, User

OTHERS: Final = 10_500
FILL: Final = """
INSERT INTO outbox.events (account_id, sequence, created_at, type, data)
SELECT $1, $2 + n, now(), 'hold.captured', '{}' FROM generate_series(1, $3::integer) n
"""


@pytest.fixture
async def alice(api: Api) -> AsyncIterator[User]:
    """Her only other events are the first ones: more than 10 000 of one type came after them."""
    alice = api.user(1_000)
    account_id = ids.decode("acc", alice.account_id)
    superuser = await connect(api.database_url)
    move = "UPDATE ledger.accounts SET sequence = sequence + $2 WHERE id = $1 RETURNING sequence"
    last = await superuser.fetchval(move, account_id, OTHERS) - OTHERS
    await superuser.execute(FILL, account_id, last, OTHERS)
    yield alice
    await superuser.execute("SET session_replication_role = replica")
    await superuser.execute(
        "DELETE FROM outbox.events WHERE account_id = $1 AND sequence > $2", account_id, last
    )
    await superuser.execute(move, account_id, -OTHERS)
    await superuser.close()
    api.verify()


@pytest.mark.contract("1.3.4")
@pytest.mark.parametrize("order", [{}, {"after_sequence": 0}])
def test_empty_pages_lead_to_the_event(alice: User, order: dict[str, int]) -> None:
    query: dict[str, Any] = {"type": "transaction.completed", "limit": 5, **order}
    first = alice.get("/events", **query).json()
    second = alice.get("/events", **query, cursor=first["next_cursor"]).json()
    types = [[event["type"] for event in page["data"]] for page in (first, second)]
    assert sorted(types) == [[], ["transaction.completed"]]
    assert (first["has_more"], second["has_more"]) == (True, False)


async def test_webhooks_listen_finds_it(api: Api, alice: User) -> None:
    source = DatabaseSource(lambda: api.database_url, alice.email, ["account.updated"])
    assert await source.after(0) == []
    source = DatabaseSource(lambda: api.database_url, alice.email, ["hold.captured"])
    assert len(await source.after(0)) == 100
    assert await source.after(await source.latest()) == []
    await source.close()
