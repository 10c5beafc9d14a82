"""`finpay webhooks listen` with a development database that moves or is created anew."""

from collections.abc import Callable

import pytest

from finpay.db.pool import Unavailable
from finpay.dev.child_process import free_port
from finpay.dev.event_forwarder import DatabaseSource, HistoryRestarted
from tests.sql.ledger_fixtures import Bank


async def test_database_at_another_port_is_found(bank: Bank) -> None:
    alice = await bank.open(5)
    gone = f"postgresql://postgres@127.0.0.1:{free_port()}/finpay"
    written: list[str | None] = [bank.url]
    source = DatabaseSource(lambda: written[-1], alice.email, None)
    before = await source.latest()
    written.append(gone)
    with pytest.raises(Unavailable):
        await source.latest()
    written.append(None)  # `finpay dev` has stopped and not started again
    with pytest.raises(Unavailable):
        await source.latest()
    written.append(bank.url)
    await bank.fund(alice, 1)
    assert len(await source.after(before)) == 1
    await source.close()


@pytest.mark.fault("W3")
async def test_database_created_anew_restarts_the_history(
    bank: Bank, fresh_database: Callable[[], str]
) -> None:
    """Also where the new account has more events than the old one had."""
    alice = await bank.open(5)
    urls = [bank.url]
    source = DatabaseSource(lambda: urls[-1], alice.email, None)
    reached = await source.latest()
    anew = Bank(fresh_database())
    other = await anew.open(5)
    await anew.fund(other, 1)
    await anew.owner.execute(
        "UPDATE identity.users SET email = $1 WHERE id = $2", alice.email, other.user_id
    )
    urls.append(anew.url)
    with pytest.raises(HistoryRestarted):
        await source.after(reached)
    assert len(await source.after(0)) == 2
    await source.close()
    await anew.close()
