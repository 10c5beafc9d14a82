"""A list of some types of events reads 10 000 of them for a page: pages may be empty."""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from asyncpg import connect

from finpay import ids
from finpay.client import AsyncFinPay
from finpay.dev.event_forwarder import ApiSource, DatabaseSource
from tests.api_process import PASSWORD, Api, User

MOST: Final = 10_000
OTHERS: Final = 10_500
VOIDED: Final = (
    "UPDATE outbox.events SET type = 'hold.voided' WHERE account_id = $1 AND sequence = $2"
)
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


@pytest.mark.parametrize("kind", ["database", "api"])
async def test_webhooks_listen_goes_on_behind_what_it_read(
    api: Api, alice: User, kind: str
) -> None:
    """One page for each poll, as polls share the rate limit; an empty one is not read again."""
    client = AsyncFinPay(api.url)
    source: DatabaseSource | ApiSource = (
        DatabaseSource(lambda: api.database_url, alice.email, ["hold.voided"])
        if kind == "database"
        else ApiSource(client, (alice.email, PASSWORD), "hold.voided")
    )
    superuser = await connect(api.database_url)
    await superuser.execute("SET session_replication_role = replica")
    account_id = ids.decode("acc", alice.account_id)
    assert [await source.after(0), await source.after(0)] == [[], []]
    await superuser.execute(VOIDED, account_id, MOST - 1)
    assert await source.after(0) == [], "it was no such event when these were read"
    await superuser.execute(VOIDED, account_id, MOST + 1)
    assert len(await source.after(0)) == 1
    await superuser.close()
    await client.close()
    if isinstance(source, DatabaseSource):
        await source.close()
