"""The command line: its texts, JSON and exit codes."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from finpay.dev.postgres import Cluster
from finpay.dev.seed import seed
from tests.servers import drop_database
from tests.sql.finpay_command import Finpay

NOWHERE: Final = "postgresql://127.0.0.1:1/finpay"
ALICE: Final = "alice@finpay.dev"


@pytest.fixture
def finpay(fresh_database: Callable[[], str]) -> Finpay:
    """With a seeded database."""
    url = fresh_database()
    asyncio.run(seed(url))
    return Finpay(url)


@pytest.fixture
def unreachable() -> Finpay:
    """With a DATABASE_URL where no server listens."""
    return Finpay(NOWHERE)


@pytest.mark.contract("4.1.6")
def test_help_lists_every_command() -> None:
    said = Finpay("")("--help")
    for command in ("dev", "serve", "migrate", "seed", "openapi", "ledger", "account"):
        assert f"  {command} " in said.out


@pytest.mark.parametrize(
    "program", [[sys.executable, "-m", "finpay"], [str(Path(sys.executable).with_name("finpay"))]]
)
def test_module_and_program_are_the_same(program: list[str]) -> None:
    done = subprocess.run(
        [*program, "ledger", "verify"],
        env={"DATABASE_URL": NOWHERE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("finpay: can't use PostgreSQL: ")


@pytest.mark.contract("4.1.6")
@pytest.mark.parametrize(
    "command",
    [
        *("dev", "serve", "migrate", "seed", "openapi", "ledger verify"),
        *("account fund", "account freeze", "account unfreeze"),
    ],
)
def test_command_has_help(command: str) -> None:
    said = Finpay("")(*command.split(), "--help")
    assert "Usage: finpay" in said.out
    assert len(said.out.splitlines()) > 5


@pytest.mark.parametrize(
    "words", ["", "nope", "ledger nope", "account fund", f"account fund {ALICE} 1.5"]
)
def test_wrong_usage_exits_with_2(words: str) -> None:
    Finpay("")(*words.split(), code=2)


def test_importing_the_cli_loads_no_driver_and_no_server() -> None:
    code = "import sys, finpay.cli; print(*{'asyncpg', 'redis', 'uvicorn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_verify_prints_each_check(finpay: Finpay) -> None:
    lines = finpay("ledger", "verify").out.splitlines()
    assert lines[-1] == "25 of 25 checks hold."
    assert lines[0] == "ok      totals"
    assert len(lines) == 26


@pytest.mark.contract("2.4.2")
def test_verify_prints_json(finpay: Finpay) -> None:
    report = finpay("ledger", "verify", "--json").json
    assert report["ok"] is True
    assert {"name": "totals", "ok": True, "violations": []} in report["checks"]


@pytest.mark.contract("2.4.2")
def test_verify_prints_a_violation_and_exits_with_1(
    finpay: Finpay, postgres_server: Cluster
) -> None:
    database = finpay.environ["DATABASE_URL"].rpartition("/")[2]
    postgres_server.sql(
        "UPDATE ledger.accounts SET balance = balance + 1 WHERE balance = 500000", database
    )
    said = finpay("ledger", "verify", code=1)
    assert "FAILED  totals  1 violations" in said.out
    assert "        The balances in ZAR sum to 1, not to 0." in said.out
    assert said.out.endswith("23 of 25 checks hold.\n")
    report = finpay("ledger", "verify", "--json", code=1).json
    failed = {check["name"] for check in report["checks"] if not check["ok"]}
    assert (report["ok"], failed) == (False, {"totals", "balances"})


@pytest.mark.contract("2.4.2")
def test_verify_without_a_database_exits_with_2(unreachable: Finpay) -> None:
    said = unreachable("ledger", "verify", code=2)
    assert said.out == ""
    assert said.err.startswith("finpay: can't use PostgreSQL: ")


def test_database_without_migrations_is_refused(postgres_server: Cluster, worker_id: str) -> None:
    name = f"unmigrated_{worker_id}"
    postgres_server.sql(f"CREATE DATABASE {name}")
    finpay = Finpay(postgres_server.url(name))
    for words in ("ledger verify", "seed", f"account fund {ALICE} 1"):
        assert "run `finpay migrate` first" in finpay(*words.split(), code=2).err
    assert "applied  20" in finpay("migrate").out
    assert finpay("migrate").out == "The database is up to date.\n"
    assert finpay("ledger", "verify").out.endswith("25 of 25 checks hold.\n")
    drop_database(postgres_server, name)


def test_seed_prints_existing_users(finpay: Finpay) -> None:
    said = finpay("seed")
    assert [line.split()[0] for line in said.out.splitlines()] == [ALICE, "bob@finpay.dev"]
    assert said.out.count("exists") == 2


def test_funding_is_printed(finpay: Finpay) -> None:
    said = finpay("account", "fund", ALICE, "250000")
    assert "ZAR 2,500.00" in said.out
    assert "ZAR 12,500.00" in said.out
    assert "cli-" in said.out


def test_funding_is_printed_as_json_once_per_key(finpay: Finpay) -> None:
    first = finpay("account", "fund", ALICE, "5", "--key", "k1", "--json").json
    second = finpay("account", "fund", ALICE, "5", "--key", "k1", "--json").json
    assert first.pop("repeated") is False
    assert second.pop("repeated") is True
    assert first == second
    assert first.pop("transaction_id").startswith("txn_")
    assert first.pop("account_id").startswith("acc_")
    assert first == {"amount": 5, "currency": "ZAR", "balance": 1_000_005, "key": "k1"}
    assert "nothing was done now" in finpay("account", "fund", ALICE, "5", "--key", "k1").out


@pytest.mark.parametrize(
    ("words", "exit_code", "error"),
    [
        (f"fund {ALICE} 5 --key seed-alice", 1, "idempotency_key_reuse"),
        ("fund nobody@example.com 5", 1, "not_found"),
        (f"fund {ALICE} 9007199254740991", 1, "balance_limit"),
        (f"fund {ALICE} 9007199254740992", 2, "validation_failed"),
        (f"fund {ALICE} 0", 2, "validation_failed"),
        ("fund alice 5", 2, "validation_failed"),
        ("freeze nobody@example.com --reason x", 1, "not_found"),
    ],
)
def test_refusal_is_a_sentence_or_json(
    finpay: Finpay, words: str, exit_code: int, error: str
) -> None:
    said = finpay("account", *words.split(), code=exit_code)
    assert said.out == ""
    assert said.err.startswith("finpay: ")
    refused = finpay("account", *words.split(), "--json", code=exit_code).json
    assert refused["code"] == error
    assert said.err == f"finpay: {refused['detail']}\n"


@pytest.mark.contract("4.1.7")
def test_account_is_frozen_and_unfrozen(finpay: Finpay) -> None:
    frozen = finpay("account", "freeze", ALICE, "--reason", "a test", "--json").json
    assert (frozen["status"], frozen["previous"]) == ("frozen", "active")
    assert "unfreeze it first" in finpay("account", "fund", ALICE, "1", code=1).err
    assert "active" in finpay("account", "unfreeze", ALICE, "--reason", "a test").out
    assert finpay("ledger", "verify", "--json").json["ok"]


def test_operator_command_without_a_database_exits_with_2(unreachable: Finpay) -> None:
    said = unreachable("account", "fund", ALICE, "1", code=2)
    assert "can't use PostgreSQL" in said.err


def test_invalid_setting_is_named(unreachable: Finpay) -> None:
    unreachable.environ["FINPAY_WROKERS"] = "2"
    for words in ("ledger verify", "serve", "migrate", "seed", "dev"):
        said = unreachable(*words.split(), code=2)
        assert (
            said.err == "finpay: FINPAY_WROKERS is not a setting of FinPay; see docs/settings.md\n"
        )


def test_hint_without_database_url_names_the_running_dev_or_how_to_start_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finpay = Finpay("")
    del finpay.environ["DATABASE_URL"]
    finpay.environ["FINPAY_DATABASE_OWNER_URL"] = NOWHERE
    assert "make dev" in finpay("account", "fund", ALICE, "1", code=2).err
    (tmp_path / ".finpay").mkdir()
    (tmp_path / ".finpay/env").write_text(f"DATABASE_URL={NOWHERE}\n")
    assert ". .finpay/env" in finpay("account", "fund", ALICE, "1", code=2).err


@pytest.mark.fault("O6")
@pytest.mark.parametrize(
    "amount",
    [
        *(
            "1_000",
            "+5",
            " 5",
            "5 ",
            "5\n",
            "1e3",
            "1E3",
            "0x10",
            "0b1",
            "1,000",
            "10.00",
            "10.",
            ".5",
        ),
        *("٣", "５", "²", "", "five", "1" * 20, "1" * 5_000, "0.0", "1/2", "R5", "5c"),
    ],
)
def test_amount_that_is_not_all_digits_is_refused(unreachable: Finpay, amount: str) -> None:
    """The parser refuses it, so the database is never asked."""
    said = unreachable("account", "fund", ALICE, amount, code=2)
    assert "digits only" in said.err
    assert "PostgreSQL" not in said.err


def test_negative_amount_is_refused(unreachable: Finpay) -> None:
    assert "PostgreSQL" not in unreachable("account", "fund", ALICE, "-5", code=2).err
    assert "digits only" in unreachable("account", "fund", ALICE, "--", "-5", code=2).err


def test_account_is_found_by_any_form_of_its_email(finpay: Finpay) -> None:
    for form in ("ALICE@FinPay.dev", " alice@finpay.dev", "alice＠finpay.dev", "alice@ｆinpay.dev"):
        assert finpay("account", "fund", form, "1", "--json").json["amount"] == 1
    refused = finpay("account", "fund", "ali\u200bce@finpay.dev", "1", "--json", code=2).json
    assert (refused["code"], "invisible" in refused["detail"]) == ("validation_failed", True)


def test_parameters_of_other_drivers_in_the_url_are_ignored(finpay: Finpay) -> None:
    finpay.environ["DATABASE_URL"] += "?channel_binding=prefer&schema=public&connect_timeout=5"
    assert finpay("migrate").out == "The database is up to date.\n"
    assert finpay("account", "fund", ALICE, "1", "--json").json["amount"] == 1
    assert finpay("ledger", "verify", "--json").json["ok"]


def test_openapi_is_json() -> None:
    assert Finpay("")("openapi").json["openapi"].startswith("3.1")
