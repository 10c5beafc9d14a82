"""`finpay webhooks listen` beside a development system that is started again on other ports."""

import pytest

from finpay.db.pool import Unavailable
from finpay.dev.child_process import free_port
from finpay.dev.event_forwarder import FromDatabase
from tests.sql.ledger_fixtures import Bank


async def test_a_database_that_came_back_elsewhere_is_found(bank: Bank) -> None:
    alice = await bank.open(5)
    gone = f"postgresql://postgres@127.0.0.1:{free_port()}/finpay"
    written: list[str | None] = [bank.url]
    source = FromDatabase(lambda: written[-1], alice.email, None)
    before = await source.latest()
    written.append(gone)
    with pytest.raises(Unavailable):
        await source.latest()
    written.append(None)  # its last file is gone, and the next is not written yet
    with pytest.raises(Unavailable):
        await source.latest()
    written.append(bank.url)
    await bank.fund(alice, 1)
    assert len(await source.after(before)) == 1
    await source.close()
