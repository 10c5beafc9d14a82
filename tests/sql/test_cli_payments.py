"""The operators' commands about money: what they print for people and for programs, exit codes."""

import asyncio
from collections.abc import Callable
from typing import Final

import pytest

from finpay import ids
from finpay.dev.seed import seed
from tests.sql.finpay_command import Finpay
from tests.sql.ledger_fixtures import Bank, Holder, operation, transfer

ALICE: Final = "alice@finpay.dev"
ABSENT: Final = "01h455vb4pex5vsknk084sn02q"


@pytest.fixture
def finpay(fresh_database: Callable[[], str]) -> Finpay:
    """With a seeded database."""
    url = fresh_database()
    asyncio.run(seed(url))
    return Finpay(url)


def made(finpay: Finpay, kind: str) -> str:
    """The id of a pending withdrawal of 200.00, of an open hold of 7.00, or of a transfer."""

    async def make() -> str:
        bank = Bank(finpay.environ["DATABASE_URL"])
        alice, bob = await bank.open(50_000), await bank.open()
        try:
            return await _made(bank, alice, bob, kind)
        finally:
            await bank.close()

    return asyncio.run(make())


async def _made(bank: Bank, alice: Holder, bob: Holder, kind: str) -> str:
    if kind == "withdrawal":
        metadata = '{"bank":"Example Bank","account":"62001234567"}'
        asked = operation("withdrawal", alice, amount=20_000, metadata=metadata)
        assert await bank.outcome(asked) == "completed"
        return ids.encode("wdr", asked.id)
    if kind == "hold":
        return ids.encode("hld", (await bank.hold(alice, bob, 700)).id)
    paid = transfer(alice, bob, 1_000)
    assert await bank.outcome(paid) == "completed"
    return ids.encode("txn", paid.id)


async def _claimed(url: str) -> Holder:
    bank = Bank(url)
    try:
        return await bank.open()
    finally:
        await bank.close()


@pytest.mark.contract("12.6.2")
@pytest.mark.parametrize(
    "command",
    [
        "deposit TARGET 5000 --reference TARGET",
        "account fund TARGET 5000",
        "account show TARGET",
        "account freeze TARGET --reason fraud",
    ],
)
def test_address_that_is_not_verified_names_no_account(finpay: Finpay, command: str) -> None:
    """Where mails are sent: the account of who only claims it is named by its id."""
    finpay.environ |= {
        "FINPAY_SMTP_URL": "smtp://127.0.0.1:1",
        "FINPAY_MAIL_FROM": "FinPay <no-reply@pay.example>",
        "FINPAY_PUBLIC_URL": "https://pay.example",
    }
    claimed = asyncio.run(_claimed(finpay.environ["DATABASE_URL"]))
    refused = finpay(*command.replace("TARGET", claimed.email).split(), code=1)
    assert "There is no user account for" in refused.err
    finpay(*command.replace("TARGET", ids.encode("acc", claimed.account_id)).split())
    finpay(*command.replace("TARGET", ALICE).split())  # who has verified it


@pytest.mark.contract("10.4.1", "10.4.8")
def test_a_deposit_is_printed_for_people_and_for_programs(finpay: Finpay) -> None:
    words = ("deposit", ALICE, "5000", "--reference", "EFT 1", "--key", "one")
    said = finpay(*words)
    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines())
    assert (lines["type"], lines["amount"]) == ("deposit", "ZAR 50.00")
    assert (lines["reference"], lines["key"]) == ("EFT 1", "one")
    assert "None" not in said.out
    assert finpay(*words).out == (
        f"{said.out}The key was used before: nothing was done now, this is the first result.\n"
    )
    members = finpay(*words, "--json").json
    assert (members["amount"], members["repeated"], members["key"]) == (5_000, True, "one")
    assert members["id"] == lines["id"]
    taken = finpay("deposit", ALICE, "6000", "--reference", "EFT 1", "--json", code=1).json
    assert (taken["code"], taken["transaction_id"]) == ("reference_taken", members["id"])
    reused = finpay("deposit", ALICE, "6000", "--reference", "EFT 2", "--key", "one", code=1)
    assert reused.err.startswith("finpay: The key was used before, with another command")
    assert finpay("ledger", "verify", "--json").json["ok"]


@pytest.mark.contract("10.4.3", "10.4.4", "10.4.8")
def test_withdrawals_are_listed_and_ended(finpay: Finpay) -> None:
    assert finpay("withdrawal", "list").out == "There are no pending withdrawals.\n"
    first, second = made(finpay, "withdrawal"), made(finpay, "withdrawal")
    lines = finpay("withdrawal", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == [f"id={second}", f"id={first}"]
    assert "amount=ZAR 200.00" in lines[0]
    assert "destination=bank: Example Bank, account: 62001234567" in lines[0]
    paid = finpay("withdrawal", "complete", first, "--reference", "PAY 1", "--json").json
    assert (paid["type"], paid["origin"]) == ("withdrawal", first)
    second_time = finpay(
        "withdrawal", "complete", first, "--reference", "PAY 2", "--json", code=1
    ).json
    assert (second_time["code"], second_time["status_now"]) == (
        "withdrawal_not_pending",
        "completed",
    )
    rejected = finpay("withdrawal", "reject", second, "--reason", "Unknown bank.", "--json").json
    assert (rejected["status"], rejected["reason"]) == ("rejected", "Unknown bank.")
    listed = finpay("withdrawal", "list", "--status", "all", "--json").json
    assert [each["status"] for each in listed] == ["rejected", "completed"]
    assert finpay("withdrawal", "list", "--status", "completed").out.startswith(f"id={first}")
    wrong = finpay("withdrawal", "list", "--status", "open", code=2)
    assert "not one of pending, completed, rejected, canceled, all" in wrong.err


@pytest.mark.contract("10.4.5", "10.4.7", "10.4.8")
def test_a_transaction_is_refunded_and_a_hold_voided(finpay: Finpay) -> None:
    paid, hold = made(finpay, "transfer"), made(finpay, "hold")
    part = ("transaction", "refund", paid, "--amount", "400", "--description", "Sent twice")
    said = finpay(*part).out
    assert "amount           ZAR 4.00\n" in said
    assert "description      Sent twice\n" in said
    too_much = finpay("transaction", "refund", paid, "--amount", "601", code=1)
    assert too_much.err == (
        "finpay: The amount is more than what is left. Nothing was done. left: 600.\n"
    )
    assert finpay("transaction", "refund", paid, "--json").json["amount"] == 600
    voided = finpay("hold", "void", hold).out
    assert "status           voided\n" in voided
    assert "remaining        ZAR 0.00\n" in voided
    closed = finpay("hold", "void", hold, "--json", code=1).json
    assert (closed["code"], closed["status_now"]) == ("hold_not_open", "voided")
    assert finpay("ledger", "verify", "--json").json["ok"]


@pytest.mark.contract("10.4.8", "7.8.3")
def test_an_account_is_shown_with_its_limits_and_entries(finpay: Finpay) -> None:
    said = finpay("account", "show", ALICE).out
    assert "balance         ZAR 10,000.00\n" in said
    assert "single limit    none\n" in said
    assert finpay("account", "show", ALICE, "--json").json["limits"]["single"] is None
    limits = ("account", "limits", ALICE, "--single", "500000", "--daily", "none")
    assert "single limit    ZAR 5,000.00\n" in finpay(*limits).out
    changed = finpay(*limits, "--json").json
    assert (changed["limits"]["single"], changed["limits"]["daily"]) == (500_000, None)
    missing = finpay("account", "limits", ALICE, "--single", "1", code=2)
    assert "give both --single and --daily, each as minor units or as the word none" in missing.err
    (line,) = finpay("account", "entries", ALICE).out.splitlines()
    assert "amount=ZAR 10,000.00  balance_after=ZAR 10,000.00  version=1" in line
    (entry,) = finpay("account", "entries", ALICE, "--json").json
    assert (entry["amount"], entry["currency"]) == (1_000_000, "ZAR")


@pytest.mark.contract("10.4.6", "10.4.8")
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        ("deposit nobody@finpay.dev 1 --reference r", 1, "There is no user account for"),
        ("deposit alice@finpay.dev 0 --reference r", 2, "The amount has to be 1 to"),
        ("deposit alice@finpay.dev 1.50 --reference r", 2, "write digits only"),
        ("deposit alice@finpay.dev 1", 2, "Missing option '--reference'"),
        (f"withdrawal complete wdr_{ABSENT} --reference r", 1, "There is nothing with this id."),
        (f"withdrawal reject wdr_{ABSENT} --reason r", 1, "There is nothing with this id."),
        (f"withdrawal reject txn_{ABSENT} --reason r", 2, "expected an id like wdr_… with 26"),
        (f"hold void hld_{ABSENT}", 1, "There is nothing with this id."),
        ("hold void hld_x", 2, "hld_x is not valid: expected an id like hld_…"),
        (f"transaction refund txn_{ABSENT}", 1, "There is nothing with this id."),
        (f"transaction refund txn_{ABSENT} --amount x", 2, "'x' is not an amount in minor units"),
        ("account show nobody@finpay.dev", 1, "There is no user account for nobody@finpay.dev."),
        ("account entries acc_x", 2, "acc_x is not valid: expected an id like acc_…"),
    ],
)
def test_what_can_not_be_done_is_a_sentence(
    finpay: Finpay, words: str, code: int, sentence: str
) -> None:
    said = finpay(*words.split(), code=code)
    assert sentence in said.err
    assert said.out == ""
