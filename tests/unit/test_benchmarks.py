"""The parts of the benchmark that figures pass through: a wrong one would be believed."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from benchmarks import comparison, growth, resource_usage, results, soak, wrk
from benchmarks.overload import Probed, Turn, percentile, summary
from benchmarks.report import goals, page, tables
from benchmarks.report.plots import Plot, draw
from benchmarks.rounds import Round, others_share, per_request
from benchmarks.stack import BenchError
from benchmarks.synthetic_ledger import ACCOUNT_COLUMNS, COLUMNS, SYSTEM, History, Plan
from benchmarks.users import OPENING_BALANCE

SVG = "{http://www.w3.org/2000/svg}svg"


def a_round(**changed: Any) -> Round:
    members: dict[str, Any] = {
        "workload": "transfers",
        "connections": 64,
        "users": 200,
        "seconds": 2.0,
        "requests": 1_000,
        "requests_per_second": 500.0,
        "transfers": 1_000,
        "transfers_per_second": 500.0,
        "p50_ms": 1.5,
        "p99_ms": 12.25,
        "p999_ms": 30.0,
        "max_ms": 31.0,
        "errors": 0,
        "statuses": {},
        "cpu_s": {"api": 1.0, "postgres": 0.5},
        "cpu_us_per_request": {"api": 1_000.0, "postgres": 500.0},
        "others_share": 0.02,
        "wal_bytes_per_transfer": 2_500,
        "mean_batch": 12.5,
        "memory_mib": [resource_usage.Memory(60.0, 59.0, 40.0, 38.0)],
        "peak_mib": {"api": 60.0, "postgres": 120.0, "valkey": 30.0},
    }
    return Round(**{**members, **changed})


def test_the_load_generators_line_is_read_in_its_units() -> None:
    sent = wrk.parsed(
        "requests=300 duration_us=2000000 transport_errors=1 refusals=2 bytes=9 "
        "p50_us=1500 p99_us=20000 p999_us=30500 max_us=31000"
    )
    assert sent.per_second == 150
    assert (sent.p50_ms, sent.p99_ms, sent.p999_ms, sent.max_ms) == (1.5, 20, 30.5, 31)
    assert (sent.transport_errors, sent.refusals) == (1, 2)


def test_without_wrk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchError, match="apt install wrk"):
        wrk.check_installed()


def test_processor_time_is_per_request() -> None:
    assert per_request({"api": 2.0}, 1_000) == {"api": 2_000.0}
    assert per_request({"api": 2.0}, 0) == {"api": 2_000_000.0}, "nothing to divide by"


def test_what_others_took_is_a_share_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert others_share(busy_s=10, ours_s=9, seconds=5) == 0.1
    assert others_share(busy_s=9.9, ours_s=10, seconds=5) == 0, "clocks tick apart"


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1, 100)])
def test_percentiles_are_values_that_were_seen(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == expected
    assert percentile([7.0], share) == 7
    assert percentile([], share) == 0


def test_refusals_are_told_apart_from_answers() -> None:
    probed = [Probed(503, 0.02, patient=True), Probed(503, 0.04, patient=True)]
    probed += [Probed(201, 1.0, patient=False)]
    other = Turn((400, 600), a_round(statuses={503: 1}), [])
    found = summary([Turn((900, 1_100), a_round(statuses={503: 9}), probed), other, other])
    assert (found.kept, found.kept_in_turns, found.refused) == (1, [0.5, 1, 1], 11)
    assert (found.refused_p50_ms, found.refused_max_ms, found.accepted_p99_ms) == (20, 40, 1_000)
    assert found.all_patient
    assert found.probes == {503: 2, 201: 1}
    hasty = [Probed(503, 0.02, patient=False)]
    assert not summary([Turn((1_000, 1_000), a_round(), hasty)]).all_patient


def test_every_goal_has_its_ratio() -> None:
    speeds = {"http uniform": 4_000, "http hot receiver": 3_800, "direct": 8_000}
    speeds |= {
        "http crowd": 4_800,
        "naive http": 400,
        "naive http crowd": 480,
        "lean naive http": 800,
        "naive sql": 1_600,
        "tpcb": 2_000,
    }
    assert comparison.ratios(speeds) == {
        "http / direct": 0.5,
        "http / naive http": 10,
        "http / lean naive http": 5,
        "http / naive sql": 2.5,
        "http / tpcb": 2,
        "crowd / naive http": 10,
        "crowd / naive sql": 3,
        "crowd / tpcb": 2.4,
        "hot receiver / uniform": 0.95,
    }


def test_growth_compares_rounds_of_the_same_turn() -> None:
    other = a_round(connections=32, requests_per_second=1.0)
    rounds = {
        "empty": [a_round(requests_per_second=speed) for speed in (100.0, 10.0, 200.0)] + [other],
        "grown": [a_round(requests_per_second=speed) for speed in (92.0, 9.0, 192.0)] + [other],
    }
    found = growth.kept(rounds, "transfers", 64)
    assert found["requests_per_second"] == {"empty": 100, "grown": 92}
    assert found["kept"] == 0.92
    assert found["kept_by_cpu"] == 1


def test_memory_that_grows_is_told() -> None:
    flat = [{"second": n, "resident_mib": [90.0, 100.0]} for n in range(10)]
    assert soak.growth(flat)["growth_percent"] == 0
    leaking = [{"second": n, "resident_mib": [100.0 + 10 * n]} for n in range(10)]
    assert soak.growth(leaking) == {
        "settled_mib": 120.0,
        "last_mib": 190.0,
        "peak_mib": 190.0,
        "growth_percent": 58.3,
    }


def test_a_result_says_where_and_when(tmp_path: Path) -> None:
    path = results.write("quick", {"rounds": results.rounds_as_json([a_round()])}, tmp_path)
    told = json.loads(path.read_text())
    assert told["machine"]["cores"] >= 1
    assert told["commit"]
    assert told["measured_at"].endswith("+00:00")
    assert told["rounds"][0]["memory_mib"][0]["peak"] == 60
    assert set(page.newest(tmp_path)) == {"quick"}


def test_the_newest_result_of_a_section_counts(tmp_path: Path) -> None:
    for stamp in ("20260102-000000", "20260101-235959"):
        (tmp_path / f"growth-all-1000-{stamp}.json").write_text(json.dumps({"from": stamp}))
    assert page.newest(tmp_path) == {"growth-all-1000": {"from": "20260102-000000"}}


def test_a_plot_is_svg_with_its_words_in_it_and_the_same_each_time(tmp_path: Path) -> None:
    plot = Plot("Title", "across", "up", {"a line": [(1, 2), (10, 4)]}, {1: "one", 10: "ten"})
    draw(plot, tmp_path / "first.svg")
    draw(plot, tmp_path / "second.svg")
    text = (tmp_path / "first.svg").read_text()
    root = ET.fromstring(text)  # noqa: S314  our own
    assert root.tag == SVG
    for word in ("Title", "across", "up", "a line", "one", "ten"):
        assert word in text
    assert text == (tmp_path / "second.svg").read_text()


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    docs, found = tmp_path / "docs", tmp_path / "results"
    docs.mkdir()
    (docs / "performance.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    rounds = [a_round(connections=count) for count in (32, 64)]
    told = {
        "rounds": results.rounds_as_json(rounds),
        "verify": {"clean": True},
        "settings": {
            "environment": {},
            "postgresql": {"durability": "on"},
            "workers": 2,
            "seconds_per_round": 8,
        },
    }
    results.write("connections", told, found)
    page.write(found, docs)
    text = (docs / "performance.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| transfers, uniform | 32 | 500 | 500 | 1.5 ms | 12 ms | 30 ms | 0 | 2% |" in text
    plot = docs / "performance" / "throughput.svg"
    assert ET.parse(plot).getroot().tag == SVG  # noqa: S314  our own
    page.write(found, docs)
    assert (docs / "performance.md").read_text() == text


def test_parts_of_a_growth_run_come_together_and_the_newer_round_stands() -> None:
    old = {"workload": "mix", "connections": 64, "kept": 0.5}
    new = {**old, "kept": 0.9}
    other = {**old, "workload": "bulk"}
    found: dict[str, Any] = {
        "growth-all-1000": {"kept": [old, other]},
        "growth-rounds-1000": {"kept": [new]},
        "growth-verify-1000": {"verify": {"clean": True}},
        "growth-verify-5": {"verify": {"clean": True}},
    }
    assert tables.grown(found) == {
        1_000: {
            "kept": [new, other],
            "source of kept": found["growth-rounds-1000"],
            "verify": {"clean": True},
            "source of verify": found["growth-verify-1000"],
        }
    }


@pytest.fixture(scope="module")
def made_up() -> dict[str, list[list[str]]]:
    """A small history, as COPY would read it, with the accounts at its end."""
    return rows_of(Plan(transactions=3_000, accounts=20, big_entries=300))


def rows_of(plan: Plan) -> dict[str, list[list[str]]]:
    history = History(plan)
    rows: dict[str, list[list[str]]] = defaultdict(list)
    for piece in history.pieces():
        for table, text in piece.items():
            rows[table] += [line.split("\t") for line in text.decode().splitlines()]
    rows["ledger.accounts"] = [
        line.split("\t") for line in history.accounts().decode().splitlines()
    ]
    return rows


def test_a_made_up_history_has_every_row_and_column(made_up: dict[str, list[list[str]]]) -> None:
    counts = Counter({table: len(rows) for table, rows in made_up.items()})
    failed = counts["ledger.failed_transactions"]
    assert 20 < failed < 40
    assert counts["ledger.transactions"] == counts["ledger.idempotency_keys"] == 3_020
    assert counts["audit.log"] == 3_020
    assert counts["ledger.entries"] == 2 * (3_020 - failed)
    assert counts["outbox.events"] == 2 * (3_000 - failed) + failed + 20
    for table, rows in made_up.items():
        columns = COLUMNS.get(table, ACCOUNT_COLUMNS).split(", ")
        assert {len(row) for row in rows} == {len(columns)}, table


def test_a_made_up_history_is_right_to_the_entry(made_up: dict[str, list[list[str]]]) -> None:
    """As far as rows alone can tell; `ledger verify` tells the rest where it is loaded."""
    balances: dict[str, int] = defaultdict(int)
    versions: dict[str, int] = defaultdict(int)
    for account, _, version, _, amount, after, _ in made_up["ledger.entries"]:
        balances[account] += int(amount)
        versions[account] += 1
        assert (versions[account], balances[account]) == (int(version), int(after))
    assert sum(balances.values()) == 0
    assert balances[str(SYSTEM)] == -20 * OPENING_BALANCE
    for account, _, balance, version, *_ in made_up["ledger.accounts"]:
        assert (balances[account], versions[account]) == (int(balance), int(version))
    big = made_up["ledger.accounts"][1][0]
    assert 280 < versions[big] <= 301


def test_the_same_seed_makes_the_same_history() -> None:
    plan = Plan(transactions=200, accounts=5, big_entries=20)
    assert rows_of(plan) == rows_of(plan)
    assert rows_of(plan) != rows_of(Plan(200, 5, 20, seed=2))


def test_the_table_of_goals_says_what_was_reached() -> None:
    ratios = {"http / direct": 0.45, "http / naive http": 9.99, "http / tpcb": 2.0}
    grown = {"workload": "bulk", "connections": 16}
    found: dict[str, Any] = {
        "ratios": {"comparison": {"ratios": ratios}},
        "start": {"startup": {"median_s": 1.2}},
        "growth-rounds-10000000": {"kept": [grown | {"kept": 0.7}]},
        "growth-rounds_bulk-10000000": {"kept": [grown | {"kept": 0.96}]},
    }
    told = {
        line.split(" | ")[0].removeprefix("| "): line.rstrip(" |").split(" | ")[-2:]
        for line in goals.table(found).splitlines()[4:]
    }
    assert told == {
        "the same over direct calls": ["0.45", "must"],
        "over the naive API, 64 connections each": ["9.99", "**no**"],
        "over pgbench's TPC-B, 64 connections": ["2", "aim"],
        "ready after": ["1.2 s", "must"],
        "10 million rows over an empty ledger, the least of all workloads": ["0.96", "aim"],
    }


def test_nothing_measured_has_no_goals() -> None:
    assert goals.table({}) == ""
