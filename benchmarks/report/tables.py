"""The Markdown of docs/performance.md's measured part."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.comparison import GOALS

Found = Mapping[str, Mapping[str, Any]]  # what was measured, by section

_GROWTH: Final = re.compile(r"growth-(\w+)-(\d+)")
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
    "bulk": "bulk",
}
_RATIOS: Final = {
    "http / direct": "HTTP over direct calls with the same batch sizes",
    "http / naive http": "over the naive API (FastAPI, SQLAlchemy), over HTTP",
    "http / lean naive http": "over a lean naive API (Starlette, asyncpg), over HTTP",
    "http / naive sql": "over the naive transfer as bare SQL",
    "http / tpcb": "over pgbench's TPC-B-like run",
    "crowd / naive http": "with 512 connections over the naive API with 64 or 512",
    "crowd / naive sql": "with 512 connections over the naive transfer as bare SQL (32 clients)",
    "crowd / tpcb": "with 512 connections over pgbench's TPC-B-like run (32 clients)",
    "hot receiver / uniform": "hot receiver over uniform",
}
_ROUND_HEAD: Final = (
    "| workload | connections | requests/s | transfers/s | p50 | p99 | p99.9 | errors | others "
    "| CPU µs: API, PostgreSQL, Valkey, wrk | WAL per transfer |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)


def page(found: Found) -> str:
    """Every section that was measured, with its machine and commit."""
    parts = [
        _rounds(found, "connections", "Transfers, 200 users", ("throughput", "latency")),
        _rounds(found, "crowd", "10 000 users", ()),
        _rounds(found, "workloads", "Reads, mixes, replays, logins; 200 users", ()),
        _rounds(found, "bulk", "TransferBatch", ("batches",)),
        _ratios(found),
        _growth(found),
        _overload(found),
        _start(found),
        _soak(found),
    ]
    return "\n".join(part for part in parts if part)


def grown(found: Found) -> dict[int, dict[str, Any]]:
    """What was measured of grown ledgers, parts put together, by their size."""
    sizes: dict[int, dict[str, Any]] = {}
    for name, told in found.items():
        if (match := _GROWTH.fullmatch(name)) is None:
            continue
        size = sizes.setdefault(int(match[2]), {"kept": []})
        for member, value in told.items():
            size[member] = _newer(size["kept"], value) if member == "kept" else value
            size[f"source of {member}"] = told
    return {size: told for size, told in sizes.items() if told["kept"]}


def _newer(before: Sequence[Any], after: Sequence[Any]) -> list[Any]:
    """Rounds that were repeated stand once."""
    told = {(one["workload"], one["connections"]): one for one in [*before, *after]}
    return list(told.values())


def _rounds(found: Found, section: str, title: str, plots: Sequence[str]) -> str:
    if section not in found:
        return ""
    told = found[section]
    lines = "".join(_round(one) for one in told["rounds"])
    pictures = "".join(f"\n![{title}: {name}](performance/{name}.svg)\n" for name in plots)
    peaks = told["rounds"][-1]["peak_mib"]
    names = {"api": "API", "postgres": "PostgreSQL", "valkey": "Valkey"}
    most = ", ".join(f"{names[kind]} {peak:.0f} MiB" for kind, peak in peaks.items())
    note = f"\nPeak memory of the biggest process: {most}. {_proof(told)}\n"
    return f"## {title}\n\n{_where(told)}\n\n{_ROUND_HEAD}{lines}{note}{pictures}"


def _round(one: Mapping[str, Any]) -> str:
    cpu = ", ".join(f"{value:,.0f}" for value in one["cpu_us_per_request"].values())
    name = _KINDS[one["workload"]]
    if one["bulk_size"]:
        name += f", {one['bulk_size']} a call" + ", atomic" * (one["bulk_mode"] == "atomic")
    wal = f"{one['wal_bytes_per_transfer']:,}" if one["transfers"] else ""
    transfers = f"{one['transfers_per_second']:,.0f}" if one["transfers"] else ""
    return (
        f"| {name} | {one['connections']} | {one['requests_per_second']:,.0f} | {transfers} "
        f"| {_ms(one['p50_ms'])} | {_ms(one['p99_ms'])} | {_ms(one['p999_ms'])} | {one['errors']} "
        f"| {one['others_share']:.0%} | {cpu} | {wal} |\n"
    )


def _ratios(found: Found) -> str:
    if "ratios" not in found:
        return ""
    told = found["ratios"]
    compared = told["comparison"]
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
        f"## Ratios, taken in one run\n\n{_where(told)}\n\n"
        f"| ratio | measured | must | aim |\n|---|--:|--:|--:|\n{lines}\n"
        f"Medians of {len(compared['turns'])} turns; 64 connections over HTTP, 32 clients in "
        f"pgbench; {batch:g} transfers shared a commit. {_proof(told)}\n\n"
        f"| contestant | transfers/s |\n|---|--:|\n{speeds}"
    )


def _growth(found: Found) -> str:
    parts = []
    for size, told in sorted(grown(found).items()):
        lines = "".join(
            f"| {_KINDS[one['workload']]} | {one['connections']} "
            f"| {one['requests_per_second']['empty']:,.0f} "
            f"| {one['requests_per_second']['grown']:,.0f} | {one['kept']:.2f} "
            f"| {one['kept_by_cpu']:.2f} |\n"
            for one in told["kept"]
        )
        parts.append(
            f"### {size:,} transactions\n\n{_where(told['source of kept'])}\n\n"
            "| workload | connections | empty, requests/s | grown, requests/s | kept "
            f"| kept, by CPU per request |\n|---|--:|--:|--:|--:|--:|\n{lines}"
            f"{_pages(told)}{_verified(told)}"
        )
    if not parts:
        return ""
    return "## Growth\n\n![What growth leaves](performance/growth.svg)\n\n" + "\n".join(parts)


def _pages(told: Mapping[str, Any]) -> str:
    pages = told.get("pages", [])
    if not pages:
        return ""
    lines = "".join(
        f"| {one['query']} | {one['page']} | {one['rows']} | {one['buffers']} "
        f"| {one['milliseconds']:g} |\n"
        for one in pages
    )
    return (
        f"\nPages of an account with {pages[0]['of_entries']:,} entries, as EXPLAIN (ANALYZE, "
        f"BUFFERS) tells:\n\n{_where(told['source of pages'])}\n\n"
        f"| query | page | rows | buffers | ms |\n|---|---|--:|--:|--:|\n{lines}"
    )


def _verified(told: Mapping[str, Any]) -> str:
    if "verify" not in told:
        return ""
    proof = told["verify"]
    return (
        f"\n`ledger verify`: {'clean' if proof['clean'] else 'VIOLATIONS'} after "
        f"{proof['seconds']:,.0f} s; at most {proof['client_mib']:.0f} MiB in the command and "
        f"{proof['server_mib']:.0f} MiB in PostgreSQL.\n\n{_where(told['source of verify'])}\n"
    )


def _overload(found: Found) -> str:
    if "overload" not in found:
        return ""
    told = found["overload"]["overload"]
    return (
        f"## Overload\n\n{_where(found['overload'])}\n\n"
        f"At its peak it did {told['peak_per_second']:,.0f} transfers/s. Offered "
        f"{told['offered_per_second']:,.0f} requests/s over {told['connections']:,} connections it "
        f"did {told['transfers_per_second']:,.0f}, {told['kept']:.0%} of the peak before and after "
        f"(median of {', '.join(f'{kept:.0%}' for kept in told['kept_in_turns'])}), and refused "
        f"{told['refused']:,} with 503"
        f"{' and Retry-After' if told['all_patient'] else ''}: half of the refusals within "
        f"{told['refused_p50_ms']:g} ms, 99 % within {told['refused_p99_ms']:g} ms, measured with "
        f"a new connection each. {_proof(found['overload'])}\n"
    )


def _start(found: Found) -> str:
    if "start" not in found:
        return ""
    told = found["start"]["startup"]
    seconds = ", ".join(f"{value:.2f}" for value in told["seconds"])
    return (
        f"## Start\n\n{_where(found['start'])}\n\nFrom `finpay serve` to the first 200 of /readyz: "
        f"{told['median_s']:.2f} s (median of {seconds}; {told['workers']} processes).\n"
    )


def _soak(found: Found) -> str:
    if "soak" not in found:
        return ""
    told = found["soak"]["soak"]
    minutes = told["round"]["seconds"] / 60
    return (
        f"## Memory\n\n{_where(found['soak'])}\n\n{minutes:.0f} minutes of the mixed load, "
        f"{told['round']['requests']:,} requests: the biggest API process had "
        f"{told['settled_mib']:g} MiB once settled and {told['last_mib']:g} MiB at the end "
        f"({told['growth_percent']:+g} %). {_proof(found['soak'])}\n\n"
        "![Memory over time](performance/memory.svg)\n"
    )


def _where(told: Mapping[str, Any]) -> str:
    machine, settings = told["machine"], told["settings"]
    varied = "".join(
        f", {name}={value}"
        for name, value in {**settings["environment"], **settings["postgresql"]}.items()
        if name != "durability"
    )
    return (
        f"*{told['measured_at'][:10]}, commit {told['commit']}; {machine['cores']} cores "
        f"({machine['processor']}), {machine['memory_gib']:g} GiB, Python {machine['python']}; "
        f"{settings['workers']} API processes, rounds of "
        f"{settings['seconds_per_round']:g} s{varied}*"
    )


def _proof(told: Mapping[str, Any]) -> str:
    return "`ledger verify` was clean." if told["verify"]["clean"] else "VIOLATIONS were found."


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 10 else f"{value:,.0f} ms"
