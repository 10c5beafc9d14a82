"""The Markdown of docs/performance.md's measured part."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.ratios import GOALS

Results = Mapping[str, Mapping[str, Any]]  # the newest result of each section

_GROWTH: Final = re.compile(r"growth-(\d+)")
_KINDS: Final = {
    "transfers": "transfers, uniform",
    "hot_receiver": "transfers to one receiver",
    "hot_sender": "transfers from one sender",
    "balance": "balance, cached",
    "history": "history, cached",
    "after_write": "balance just after a write (half are writes)",
    "mix": "80 % reads, 20 % transfers",
    "login": "logins",
    "replays": "replays of used keys",
    "transfer_batches": "transfer batches",
}
_RATIOS: Final = {
    "http / direct": "HTTP over direct calls with the same batch sizes",
    "http / naive http": "over the naive API (FastAPI, SQLAlchemy), over HTTP",
    "http / lean naive http": "over a lean naive API (Starlette, asyncpg), over HTTP",
    "http / naive sql": "over the naive transfer as bare SQL",
    "http / tpcb": "over pgbench's TPC-B-like run",
    "http 512 / naive http": "with 512 connections over the naive API with 64 or 512",
    "http 512 / naive sql": "with 512 connections over the naive transfer as bare SQL (32 clients)",
    "http 512 / tpcb": "with 512 connections over pgbench's TPC-B-like run (32 clients)",
    "hot receiver / uniform": "hot receiver over uniform",
}
_ROUND_HEAD: Final = (
    "| workload | connections | requests/s | transfers/s | p50 | p99 | p99.9 | errors | others "
    "| CPU µs: API, PostgreSQL, Valkey, wrk | WAL per transfer |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)


def page(found: Results) -> str:
    """Every section with a result, with its machine and commit."""
    parts = [
        _rounds(found, "connections", "Transfers, 200 users", ("throughput", "latency")),
        _rounds(found, "many_users", "10 000 users", ()),
        _rounds(found, "workloads", "Reads, mixes, replays, logins; 200 users", ()),
        _rounds(found, "transfer_batches", "Transfer batches", ("batches",)),
        _ratios(found),
        _growth(found),
        _overload(found),
        _start(found),
        _soak(found),
    ]
    return "\n".join(part for part in parts if part)


def grown(found: Results) -> dict[int, Mapping[str, Any]]:
    """The results of grown ledgers, by their number of transactions."""
    sizes = {name: _GROWTH.fullmatch(name) for name in found}
    return {int(match[1]): found[name] for name, match in sizes.items() if match is not None}


def _rounds(found: Results, section: str, title: str, plots: Sequence[str]) -> str:
    if section not in found:
        return ""
    result = found[section]
    lines = "".join(_round(one) for one in result["rounds"])
    pictures = "".join(f"\n![{title}: {name}](performance/{name}.svg)\n" for name in plots)
    peaks = result["rounds"][-1]["peak_mib"]
    names = {"api": "API", "postgres": "PostgreSQL", "valkey": "Valkey"}
    most = ", ".join(f"{names[kind]} {peak:.0f} MiB" for kind, peak in peaks.items())
    note = f"\nPeak memory of the biggest process: {most}. {_verified(result)}\n"
    return f"## {title}\n\n{_source(result)}\n\n{_ROUND_HEAD}{lines}{note}{pictures}"


def _round(one: Mapping[str, Any]) -> str:
    cpu = ", ".join(f"{value:,.0f}" for value in one["cpu_us_per_request"].values())
    name = _KINDS[one["workload"]]
    if one["batch_size"]:
        name += f" of {one['batch_size']}" + ", atomic" * (one["batch_mode"] == "atomic")
    wal = f"{one['wal_bytes_per_transfer']:,}" if one["transfers"] else ""
    transfers = f"{one['transfers_per_second']:,.0f}" if one["transfers"] else ""
    return (
        f"| {name} | {one['connections']} | {one['requests_per_second']:,.0f} | {transfers} "
        f"| {_ms(one['p50_ms'])} | {_ms(one['p99_ms'])} | {_ms(one['p999_ms'])} | {one['errors']} "
        f"| {one['others_share']:.0%} | {cpu} | {wal} |\n"
    )


def _ratios(found: Results) -> str:
    if "ratios" not in found:
        return ""
    result = found["ratios"]
    compared = result["comparison"]
    lines = "".join(
        f"| {_RATIOS[name]} | {compared['ratios'][name]:g} | {must:g} | {aim:g} |\n"
        for name, (must, aim) in GOALS.items()
        if name in compared["ratios"]
    )
    speeds = "".join(
        f"| {name} | {value:,.0f} |\n"
        for name, value in compared["per_second"].items()
        if name != "mean batch"
    )
    batch = compared["per_second"]["mean batch"]
    return (
        f"## Ratios, taken in one run\n\n{_source(result)}\n\n"
        f"| ratio | measured | must | aim |\n|---|--:|--:|--:|\n{lines}\n"
        f"Medians of {len(compared['repetitions'])} repetitions; 64 connections over HTTP, "
        "32 clients in "
        f"pgbench; {batch:g} transfers shared a commit. {_verified(result)}\n\n"
        f"| baseline | transfers/s |\n|---|--:|\n{speeds}"
    )


def _growth(found: Results) -> str:
    parts = []
    for size, result in sorted(grown(found).items()):
        lines = "".join(
            f"| {_KINDS[one['workload']]} | {one['connections']} "
            f"| {one['requests_per_second']['empty']:,.0f} "
            f"| {one['requests_per_second']['grown']:,.0f} | {one['kept']:.2f} "
            f"| {one['kept_by_cpu']:.2f} |\n"
            for one in result["kept"]
        )
        parts.append(
            f"### {size:,} transactions\n\n{_source(result)}\n\n"
            "| workload | connections | empty, requests/s | grown, requests/s | kept "
            f"| kept, by CPU per request |\n|---|--:|--:|--:|--:|--:|\n{lines}"
            f"{_pages(result)}{_growth_verified(result)}"
        )
    if not parts:
        return ""
    return "## Growth\n\n![Speed kept by a grown ledger](performance/growth.svg)\n\n" + "\n".join(
        parts
    )


def _pages(result: Mapping[str, Any]) -> str:
    pages = result.get("pages", [])
    if not pages:
        return ""
    lines = "".join(
        f"| {one['query']} | {one['page']} | {one['rows']} | {one['buffers']} "
        f"| {one['milliseconds']:g} |\n"
        for one in pages
    )
    return (
        f"\nPages of an account with {pages[0]['of_entries']:,} entries, as EXPLAIN (ANALYZE, "
        f"BUFFERS) shows:\n\n"
        f"| query | page | rows | buffers | ms |\n|---|---|--:|--:|--:|\n{lines}"
    )


def _growth_verified(result: Mapping[str, Any]) -> str:
    proof = result["verify"]
    return (
        f"\n`ledger verify`: {'clean' if proof['clean'] else 'VIOLATIONS'} after "
        f"{proof['seconds']:,.0f} s; at most {proof['client_mib']:.0f} MiB in the command and "
        f"{proof['server_mib']:.0f} MiB in PostgreSQL.\n"
    )


def _overload(found: Results) -> str:
    if "overload" not in found:
        return ""
    figures = found["overload"]["overload"]
    return (
        f"## Overload\n\n{_source(found['overload'])}\n\n"
        f"At its peak it did {figures['peak_per_second']:,.0f} transfers/s. Offered "
        f"{figures['offered_per_second']:,.0f} requests/s over {figures['connections']:,} "
        f"connections it did {figures['transfers_per_second']:,.0f}, {figures['kept']:.0%} of the "
        f"peak before and after ("
        f"median of {', '.join(f'{kept:.0%}' for kept in figures['kept_per_repetition'])}), "
        "and refused "
        f"{figures['refused']:,} with 503"
        f"{' and Retry-After' if figures['all_with_retry_after'] else ''}: half of the refusals "
        f"within {figures['refused_p50_ms']:g} ms, 99 % within {figures['refused_p99_ms']:g} ms, "
        f"measured with a new connection each. {_verified(found['overload'])}\n"
    )


def _start(found: Results) -> str:
    if "start" not in found:
        return ""
    figures = found["start"]["startup"]
    seconds = ", ".join(f"{value:.2f}" for value in figures["seconds"])
    return (
        f"## Start\n\n{_source(found['start'])}\n\n"
        f"From `finpay serve` to the first 200 of /readyz: {figures['median_s']:.2f} s "
        f"(median of {seconds}; {figures['workers']} processes).\n"
    )


def _soak(found: Results) -> str:
    if "soak" not in found:
        return ""
    figures = found["soak"]["soak"]
    minutes = figures["round"]["seconds"] / 60
    return (
        f"## Memory\n\n{_source(found['soak'])}\n\n{minutes:.0f} minutes of the mixed load, "
        f"{figures['round']['requests']:,} requests: the biggest API process had "
        f"{figures['steady_mib']:g} MiB after the warm-up and {figures['last_mib']:g} MiB at the "
        f"end ({figures['growth_percent']:+g} %). {_verified(found['soak'])}\n\n"
        "![Memory over time](performance/memory.svg)\n"
    )


def _source(result: Mapping[str, Any]) -> str:
    machine, settings = result["machine"], result["settings"]
    varied = "".join(
        f", {name}={value}"
        for name, value in {**settings["environment"], **settings["postgresql"]}.items()
        if name != "durability"
    )
    return (
        f"*{result['measured_at'][:10]}, commit {result['commit']}; {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']:g} GiB, Python {machine['python']}; "
        f"{settings['workers']} API processes, rounds of "
        f"{settings['seconds_per_round']:g} s{varied}*"
    )


def _verified(result: Mapping[str, Any]) -> str:
    return "`ledger verify` was clean." if result["verify"]["clean"] else "VIOLATIONS were found."


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"
