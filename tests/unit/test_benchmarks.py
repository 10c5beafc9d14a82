"""The calculations of the benchmarks: an error in them would go unnoticed."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import compare, growth, ratios, resource_usage, results, soak, wrk
from benchmarks.overload import Probe, Repetition, percentile, summary
from benchmarks.report import goals, page
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


def test_result_of_wrk_is_read_in_its_units() -> None:
    sent = wrk.parse(
        "requests=300 duration_us=2000000 transport_errors=1 refusals=2 bytes=9 "
        "p50_us=1500 p99_us=20000 p999_us=30500 max_us=31000"
    )
    assert sent.per_second == 150
    assert (sent.p50_ms, sent.p99_ms, sent.p999_ms, sent.max_ms) == (1.5, 20, 30.5, 31)
    assert (sent.transport_errors, sent.refusals) == (1, 2)


def test_missing_wrk_is_an_error_that_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BenchError, match="apt install wrk"):
        wrk.check_installed()


def test_processor_time_is_divided_by_the_requests() -> None:
    assert per_request({"api": 2.0}, 1_000) == {"api": 2_000.0}
    assert per_request({"api": 2.0}, 0) == {"api": 2_000_000.0}, "nothing to divide by"


def test_time_of_other_processes_is_a_share_of_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert others_share(busy_s=10, measured_s=9, seconds=5) == 0.1
    assert others_share(busy_s=9.9, measured_s=10, seconds=5) == 0, "clocks differ"


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (0.999, 100), (1, 100)])
def test_percentile_is_one_of_the_values(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == expected
    assert percentile([7.0], share) == 7
    assert percentile([], share) == 0


def test_overload_separates_refusals_from_answers() -> None:
    probes = [Probe(503, 0.02, retry_after=True), Probe(503, 0.04, retry_after=True)]
    probes += [Probe(201, 1.0, retry_after=False)]
    other = Repetition((400, 600), a_round(statuses={503: 1}), [])
    found = summary([Repetition((900, 1_100), a_round(statuses={503: 9}), probes), other, other])
    assert (found.kept, found.kept_per_repetition, found.refused) == (1, [0.5, 1, 1], 11)
    assert (found.refused_p50_ms, found.refused_max_ms, found.accepted_p99_ms) == (20, 40, 1_000)
    assert found.all_with_retry_after
    assert found.probes == {503: 2, 201: 1}
    without = [Probe(503, 0.02, retry_after=False)]
    assert not summary([Repetition((1_000, 1_000), a_round(), without)]).all_with_retry_after


def test_ratios_have_a_value_for_each_goal() -> None:
    speeds = {"http uniform": 4_000, "http hot receiver": 3_800, "direct": 8_000}
    speeds |= {
        "http 512": 4_800,
        "naive http": 400,
        "naive http 512": 480,
        "lean naive http": 800,
        "naive sql": 1_600,
        "tpcb": 2_000,
    }
    assert ratios.ratios(speeds) == {
        "http / direct": 0.5,
        "http / naive http": 10,
        "http / lean naive http": 5,
        "http / naive sql": 2.5,
        "http / tpcb": 2,
        "http 512 / naive http": 10,
        "http 512 / naive sql": 3,
        "http 512 / tpcb": 2.4,
        "hot receiver / uniform": 0.95,
    }


def test_growth_compares_rounds_of_the_same_number() -> None:
    other = a_round(connections=32, requests_per_second=1.0)
    rounds = {
        "empty": [a_round(requests_per_second=speed) for speed in (100.0, 10.0, 200.0)] + [other],
        "grown": [a_round(requests_per_second=speed) for speed in (92.0, 9.0, 192.0)] + [other],
    }
    found = growth.kept(rounds, "transfers", 64)
    assert found["requests_per_second"] == {"empty": 100, "grown": 92}
    assert found["kept"] == 0.92
    assert found["kept_by_cpu"] == 1


def test_soak_growth_is_that_of_the_biggest_process_after_the_warm_up() -> None:
    flat = [{"second": n, "resident_mib": [90.0, 100.0]} for n in range(10)]
    assert soak.growth(flat)["growth_percent"] == 0
    leaking = [{"second": n, "resident_mib": [100.0 + 10 * n]} for n in range(10)]
    assert soak.growth(leaking) == {
        "steady_mib": 120.0,
        "last_mib": 190.0,
        "peak_mib": 190.0,
        "growth_percent": 58.3,
    }


def test_result_file_has_time_commit_and_machine(tmp_path: Path) -> None:
    path = results.write("quick", {"rounds": results.rounds_as_json([a_round()])}, tmp_path)
    written = json.loads(path.read_text())
    assert written["machine"]["cores"] >= 1
    assert written["commit"]
    assert written["measured_at"].endswith("+00:00")
    assert written["rounds"][0]["memory_mib"][0]["peak"] == 60
    assert set(page.newest(tmp_path)) == {"quick"}


def test_newest_result_of_a_section_is_used(tmp_path: Path) -> None:
    for stamp in ("20260102-000000", "20260101-235959"):
        (tmp_path / f"growth-1000-{stamp}.json").write_text(json.dumps({"from": stamp}))
    assert page.newest(tmp_path) == {"growth-1000": {"from": "20260102-000000"}}


def test_plot_is_svg_with_its_text_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    plot = Plot("Title", "across", "up", {"a line": [(1, 2), (10, 4)]}, {1: "one", 10: "ten"})
    draw(plot, tmp_path / "first.svg")
    draw(plot, tmp_path / "second.svg")
    text = (tmp_path / "first.svg").read_text()
    root = ET.fromstring(text)  # noqa: S314  a trusted file
    assert root.tag == SVG
    for word in ("Title", "across", "up", "a line", "one", "ten"):
        assert word in text
    assert text == (tmp_path / "second.svg").read_text()


def test_page_replaces_the_text_between_its_marks(tmp_path: Path) -> None:
    docs, found = tmp_path / "docs", tmp_path / "results"
    docs.mkdir()
    (docs / "performance.md").write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    rounds = [a_round(connections=count) for count in (32, 64)]
    figures = {
        "rounds": results.rounds_as_json(rounds),
        "verify": {"clean": True},
        "settings": {
            "environment": {},
            "postgresql": {"durability": "on"},
            "workers": 2,
            "seconds_per_round": 8,
        },
    }
    results.write("connections", figures, found)
    page.write(found, docs)
    text = (docs / "performance.md").read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| transfers, uniform | 32 | 500 | 500 | 1.5 ms | 12 ms | 30 ms | 0 | 2% |" in text
    plot = docs / "performance" / "throughput.svg"
    assert ET.parse(plot).getroot().tag == SVG  # noqa: S314  a trusted file
    page.write(found, docs)
    assert (docs / "performance.md").read_text() == text


def test_comparison_ratio_is_the_median_of_the_repetitions_ratios() -> None:
    measured = [
        {"base": {"transfers/s": base}, "head": {"transfers/s": head}}
        for base, head in ((100.0, 90.0), (10.0, 8.0), (200.0, 190.0))
    ]
    assert compare.rows_of(measured) == [compare.Row("transfers/s", 100.0, 90.0, 0.9)]


def test_result_file_replaces_the_older_one_of_its_section(tmp_path: Path) -> None:
    (tmp_path / "start-20260101-000000.json").write_text("{}")
    other = tmp_path / "start-quick-20260101-000000.json"
    other.write_text("{}")
    path = results.write("start", {}, tmp_path)
    assert set(tmp_path.iterdir()) == {path, other}


@pytest.fixture(scope="module")
def synthetic() -> dict[str, list[list[str]]]:
    """The rows of a small history, as COPY reads them, by table."""
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


def test_synthetic_history_has_every_row_and_column(synthetic: dict[str, list[list[str]]]) -> None:
    counts = Counter({table: len(rows) for table, rows in synthetic.items()})
    failed = counts["ledger.failed_transactions"]
    assert 20 < failed < 40
    assert counts["ledger.transactions"] == counts["ledger.idempotency_keys"] == 3_020
    assert counts["audit.log"] == 3_020
    assert counts["ledger.entries"] == 2 * (3_020 - failed)
    assert counts["outbox.events"] == 2 * (3_000 - failed) + failed + 20
    for table, rows in synthetic.items():
        columns = COLUMNS.get(table, ACCOUNT_COLUMNS).split(", ")
        assert {len(row) for row in rows} == {len(columns)}, table


def test_synthetic_history_is_balanced(synthetic: dict[str, list[list[str]]]) -> None:
    balances: dict[str, int] = defaultdict(int)
    versions: dict[str, int] = defaultdict(int)
    for account, _, version, _, amount, after, _ in synthetic["ledger.entries"]:
        balances[account] += int(amount)
        versions[account] += 1
        assert (versions[account], balances[account]) == (int(version), int(after))
    assert sum(balances.values()) == 0
    assert balances[str(SYSTEM)] == -20 * OPENING_BALANCE
    for account, _, balance, version, *_ in synthetic["ledger.accounts"]:
        assert (balances[account], versions[account]) == (int(balance), int(version))
    big = synthetic["ledger.accounts"][1][0]
    assert 280 < versions[big] <= 301


def test_synthetic_history_of_the_same_seed_is_the_same() -> None:
    plan = Plan(transactions=200, accounts=5, big_entries=20)
    assert rows_of(plan) == rows_of(plan)
    assert rows_of(plan) != rows_of(Plan(200, 5, 20, seed=2))


def test_goals_are_reached_by_their_values() -> None:
    ratios = {"http / direct": 0.45, "http / naive http": 9.99, "http / tpcb": 2.0}
    grown = {"workload": "transfer_batches", "connections": 16}
    found: dict[str, Any] = {
        "ratios": {"comparison": {"ratios": ratios}},
        "start": {"startup": {"median_s": 1.2}},
        "growth-10000000": {"kept": [grown | {"kept": 0.96}]},
    }
    reached = {
        line.split(" | ")[0].removeprefix("| "): line.rstrip(" |").split(" | ")[-2:]
        for line in goals.table(found).splitlines()[4:]
    }
    assert reached == {
        "the same over direct calls": ["0.45", "must"],
        "over the naive API, 64 connections each": ["9.99", "**no**"],
        "over pgbench's TPC-B, 64 connections": ["2", "aim"],
        "ready after": ["1.2 s", "must"],
        "10 million rows over an empty ledger, the least of all workloads": ["0.96", "aim"],
    }


def test_goals_without_results_are_empty() -> None:
    assert goals.table({}) == ""
