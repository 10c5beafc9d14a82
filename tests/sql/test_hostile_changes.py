"""Functions of payment requests and schedules refuse arguments that no caller of ours sends.

They are called as finpay_app, as a thief of its login would. What they accept keeps the
books right; everything else is 22023 before a row is touched.
"""

from typing import Final

import asyncpg
import pytest

from finpay import ids
from finpay.ledger import schedules
from finpay.ledger.schedules import DueRun
from finpay.ledger.verify import verify
from tests.sql.ledger_fixtures import REFUSALS, Bank, payment
from tests.sql.schedule_fixtures import ask, plan, schedule

ORIGIN: Final = "ROW({user}, 'req', '192.0.2.1', {key}, {fingerprint})::ledger.change_origin"
CREATE_REQUESTS: Final = (
    "SELECT ledger.create_payment_requests({origin}, {amounts}, {emails}, {currency}, "
    "{description}, {metadata}, {expires}, {split}, {url}, {refusals})"
)
REQUEST: Final = {
    "amounts": "'{{1}}'", "emails": "'{{a@b.c}}'", "currency": "NULL", "description": "NULL",
    "metadata": "'{{}}'", "expires": "60", "split": "false", "url": "NULL",
    "refusals": "ARRAY['x', 'y']",
}  # fmt: skip
CREATE_SCHEDULE: Final = (
    "SELECT ledger.create_schedule({origin}, {receiver}, {email}, {amount}, "
    "{currency}, {description}, {metadata}, {start}, {count}, {unit}, {zone}, {until}, "
    "{occurrences}, {refusals})"
)
SCHEDULE: Final = {
    "receiver": "gen_random_uuid()", "email": "NULL", "amount": "1", "currency": "NULL",
    "description": "NULL", "metadata": "'{{}}'", "start": "now() + interval '1 day'",
    "count": "1", "unit": "'day'", "zone": "'UTC'", "until": "NULL", "occurrences": "NULL",
    "refusals": "ARRAY['a', 'b', 'c', 'd']",
}  # fmt: skip
BAD_ORIGINS: Final = (
    {"user": "NULL"},
    {"key": "'a b'", "fingerprint": "'x'"},
    {"key": "repeat('k', 256)", "fingerprint": "'x'"},
    {"key": "'k'"},
    {"fingerprint": "'x'"},
    {"key": "'k'", "fingerprint": "decode(repeat('ff', 65), 'hex')"},
)
BAD_REQUESTS: Final = (
    {"amounts": "NULL"}, {"amounts": "'{{}}'", "emails": "'{{}}'"}, {"amounts": "'{{0}}'"},
    {"amounts": "'{{NULL}}'"}, {"amounts": "'{{9007199254740992}}'"}, {"amounts": "'{{1,2}}'"},
    {"amounts": "'[0:0]={{1}}'"}, {"amounts": "'{{{{1}}}}'", "emails": "'{{{{a}}}}'"},
    {"amounts": "'{{1,1}}'", "emails": "'{{a,a}}'", "split": "true"},
    {"amounts": "array_fill(1::bigint, ARRAY[51])", "split": "true",
     "emails": "ARRAY(SELECT n::text FROM generate_series(1, 51) n)"},
    {"emails": "NULL"}, {"emails": "ARRAY[repeat('e', 60000)]"}, {"currency": "'zar'"},
    {"description": "repeat('d', 501)"}, {"metadata": "NULL"}, {"metadata": "'[]'"},
    {"metadata": "'{{\"a\":1}}'"}, {"metadata": "'{{\"a\":\"' || repeat('m', 5000) || '\"}}'"},
    {"expires": "59"}, {"expires": "NULL"}, {"expires": "31536001"}, {"split": "NULL"},
    {"url": "repeat('u', 3000)"}, {"refusals": "NULL"}, {"refusals": "ARRAY['x']"},
)  # fmt: skip
BAD_SCHEDULES: Final = (
    {"receiver": "NULL"}, {"email": "'a@b.c'"}, {"amount": "0"}, {"amount": "NULL"},
    {"amount": "9007199254740992"}, {"currency": "''"}, {"description": "repeat('d', 501)"},
    {"metadata": "'1'"}, {"start": "NULL"}, {"start": "'infinity'"}, {"until": "'-infinity'"},
    {"count": "0"}, {"count": "366"}, {"count": "NULL"}, {"unit": "NULL"}, {"unit": "'hour'"},
    {"zone": "NULL"}, {"zone": "'Nowhere/City'"}, {"zone": "repeat('z', 99)"},
    {"zone": "'UTC; DROP'"}, {"until": "now()", "occurrences": "1"}, {"occurrences": "0"},
    {"count": "NULL", "unit": "NULL", "occurrences": "2"}, {"refusals": "'{{}}'"},
)  # fmt: skip
OTHERS: Final = (
    "SELECT ledger.end_payment_request({origin}, NULL, 'canceled', NULL)",
    "SELECT ledger.end_payment_request({origin}, gen_random_uuid(), 'paid', NULL)",
    "SELECT ledger.end_payment_request({origin}, gen_random_uuid(), NULL, NULL)",
    "SELECT ledger.expire_payment_requests(0, NULL)",
    "SELECT ledger.expire_payment_requests(NULL, NULL)",
    "SELECT ledger.expire_payment_requests(1001, NULL)",
    "SELECT ledger.change_schedule({origin}, gen_random_uuid(), 'delete')",
    "SELECT ledger.change_schedule({origin}, NULL, 'pause')",
    "SELECT ledger.lease_schedules(1001, 1)",
    "SELECT ledger.lease_schedules(1, 61)",
    "SELECT ledger.lease_schedules(NULL, 1)",
    "SELECT ledger.run_schedules('{{}}', '{{}}', '{{}}', '{{}}', NULL)",
    "SELECT ledger.run_schedules(NULL, NULL, NULL, NULL, NULL)",
    (
        "SELECT ledger.run_schedules(ARRAY[gen_random_uuid()], ARRAY[gen_random_uuid()], "
        "'{{0,1}}', "
        "ARRAY[gen_random_uuid()], NULL)"
    ),
    (
        "SELECT ledger.run_schedules(ARRAY[gen_random_uuid()], ARRAY[gen_random_uuid()], '{{0}}', "
        "ARRAY[NULL::uuid], NULL)"
    ),
)


def _statement(template: str, members: dict[str, str], changes: dict[str, str]) -> str:
    origin = {"user": "'{user}'", "key": "NULL", "fingerprint": "NULL"} | changes
    filled = template.replace("{origin}", ORIGIN.format(**origin))
    for name, value in (members | changes).items():
        filled = filled.replace("{" + name + "}", value)
    return filled


STATEMENTS: Final = [
    *(_statement(CREATE_REQUESTS, REQUEST, bad) for bad in (*BAD_REQUESTS, *BAD_ORIGINS)),
    *(_statement(CREATE_SCHEDULE, SCHEDULE, bad) for bad in (*BAD_SCHEDULES, *BAD_ORIGINS)),
    *(_statement(statement, {}, {}) for statement in OTHERS),
]


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_bad_arguments_are_refused(bank: Bank, statement: str) -> None:
    alice = await bank.open()
    with pytest.raises(
        (asyncpg.InvalidParameterValueError, asyncpg.InvalidTextRepresentationError)
    ):
        await bank.app.execute(statement.format(user=alice.user_id))


@pytest.mark.parametrize(
    ("template", "members"), [(CREATE_REQUESTS, REQUEST), (CREATE_SCHEDULE, SCHEDULE)]
)
async def test_the_plain_arguments_are_accepted(
    bank: Bank, template: str, members: dict[str, str]
) -> None:
    """Otherwise the table above would prove nothing."""
    alice = await bank.open()
    await bank.app.execute(_statement(template, members, {}).format(user=alice.user_id))


async def test_runs_that_are_made_up_change_nothing(bank: Bank) -> None:
    alice, bob = await bank.open(1_000), await bank.open()
    due, later = await plan(bank, alice, bob), await plan(bank, alice, bob, due_days=-0.5)
    new = ids.new_uuid
    for run in (
        DueRun(alice.account_id, later, 0, new()),  # not due
        DueRun(alice.account_id, due, 1, new()),  # not the next one
        DueRun(alice.account_id, due, -1, new()),
        DueRun(bob.account_id, due, 0, new()),  # of another account
        DueRun(alice.account_id, new(), 0, new()),
        DueRun(new(), due, 0, new()),
    ):
        assert await schedules.run(bank.app, [run], REFUSALS) == 0
    right = DueRun(alice.account_id, due, 0, new())
    twice = [right, DueRun(alice.account_id, due, 0, new())]
    assert await schedules.run(bank.app, twice, REFUSALS) == 1
    assert (await schedule(bank, due))["runs"] == 1
    assert await bank.balance(bob) == 10


async def test_a_payment_with_a_transaction_that_exists_is_refused_whole(bank: Bank) -> None:
    alice, bob = await bank.open(), await bank.open(1_000)
    first, second = await ask(bank, alice, bob), await ask(bank, alice, bob)
    paying = payment(bob, first)
    assert await bank.outcome(paying) == "completed"
    with pytest.raises(Exception, match="transactions_pkey"):
        await bank.post(payment(bob, second, id=paying.id))
    assert await bank.balance(alice) == 10


async def test_what_was_tried_left_the_books_right(bank: Bank) -> None:
    report = await verify(bank.owner)
    assert report.ok, [check for check in report.checks if not check.ok]
