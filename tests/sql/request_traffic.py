"""Payment requests and schedules among the traffic that the proof is tried on."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

from finpay.ledger import payment_requests
from finpay.ledger.changes import ChangeOrigin
from tests.sql.ledger_fixtures import Bank, Holder, fresh_key, payment
from tests.sql.schedule_fixtures import ask, change, origin, plan, run_due


async def request_traffic(bank: Bank, alice: Holder, bob: Holder) -> dict[str, UUID]:
    """Requests and schedules in each state, refused and repeated ones too."""
    paid, open_, declined = [await ask(bank, alice, bob, amount=5) for _ in range(3)]
    without_payer, too_much = await ask(bank, bob, None), await ask(bank, bob, alice, amount=10**6)
    canceled = await ask(bank, alice, bob)
    payment = await pay(bank, bob, paid)
    for payer, request in ((alice, without_payer), (alice, too_much), (bob, without_payer)):
        await pay(bank, payer, request)
    await pay(bank, alice, canceled)  # forbidden
    await payment_requests.end(bank.app, origin(bob), declined, "declined", None)
    await payment_requests.end(bank.app, origin(alice), canceled, "canceled", None)
    await pay(bank, bob, canceled)  # request_not_open
    keyed = ChangeOrigin(bob.user_id, "req_test", None, fresh_key(), b"fingerprint")
    for currency in (None, "USD"):
        for _ in range(2):
            await _ask_with_key(bank, keyed, currency)
        keyed = ChangeOrigin(bob.user_id, "req_test", None, fresh_key(), b"fingerprint")
    due = datetime.now(UTC) + timedelta(hours=1)
    scheduled = await plan(bank, alice, bob, amount=2, start_at=due, due_days=1.5)
    broke = await plan(bank, bob, alice, amount=10**7, due_days=0.5)
    await plan(bank, alice, bob, amount=1, every=None)
    later = await plan(bank, alice, bob, due_days=-1)
    await change(bank, alice, later, "pause")
    await change(bank, alice, later, "resume")
    await run_due(bank)
    return {
        "paid": paid,
        "open": open_,
        "declined": declined,
        "payment": payment,
        "scheduled": scheduled,
        "broke": broke,
    }


async def pay(bank: Bank, payer: Holder, request: UUID) -> UUID:
    """Tries to; the id of its transaction."""
    paying = payment(payer, request)
    for _ in range(2):  # the second is a duplicate
        await bank.post(paying)
    return paying.id


async def _ask_with_key(bank: Bank, keyed: ChangeOrigin, currency: str | None) -> None:
    new = payment_requests.NewRequest([3], [None], currency, None, "{}", 60, is_split=False)
    result = await payment_requests.create(bank.app, keyed, new, None, ["{}", "{}"])
    assert json.loads(result.answer or "") is not None
