"""Rate limits without Redis: fixed windows in one process, and the headers that report them."""

import pytest

from finpay.gate import rate_limits
from finpay.gate.rate_limits import LimitState, LocalLimits, Tier, exhausted, format_headers
from finpay.settings import RateLimit

NOW = 1_000.0


def tier(name: str, count: int, window_s: int = 900) -> Tier:
    return Tier(name, f"key-of-{name}", RateLimit(count, window_s))


def left(limits: tuple[LimitState, ...]) -> list[tuple[int, int]]:
    return [(budget.remaining, budget.reset_s) for budget in limits]


@pytest.mark.parametrize(("workers", "limit", "share"), [(1, 5, 5), (2, 5, 2), (4, 3, 1)])
def test_a_process_admits_its_share_and_at_least_one(workers: int, limit: int, share: int) -> None:
    local = LocalLimits(workers)
    admitted = [local.count([tier("a", limit)], NOW)[0] for _ in range(share + 3)]
    assert admitted == [True] * share + [False] * 3


def test_all_tiers_are_counted_or_none() -> None:
    local = LocalLimits(1)
    wide, narrow = tier("wide", 5), tier("narrow", 1)
    assert local.count([wide, narrow], NOW) == (
        True,
        (LimitState(wide, 4, 900), LimitState(narrow, 0, 900)),
    )
    for _ in range(3):
        fits, limits = local.count([narrow, wide], NOW)
        assert (fits, left(limits)) == (False, [(0, 900), (4, 900)])
    assert left(local.count([wide], NOW)[1]) == [(3, 900)]


def test_a_window_begins_with_the_first_counted_request_and_is_not_extended() -> None:
    local, short = LocalLimits(1), tier("short", 2, 60)
    results = [local.count([short], NOW + at) for at in (0, 59.2, 59.3, 59.9, 60, 61)]
    assert [fits for fits, _ in results] == [True, True, False, False, True, True]
    assert [left(limits) for _, limits in results] == [
        [(1, 60)], [(0, 1)], [(0, 1)], [(0, 1)], [(1, 60)], [(0, 59)],
    ]  # fmt: skip


def test_a_refused_request_begins_no_window() -> None:
    local, full, fresh = LocalLimits(1), tier("full", 1), tier("fresh", 5, 60)
    local.count([full], NOW)
    assert not local.count([full, fresh], NOW)[0]
    assert left(local.count([fresh], NOW + 59)[1]) == [(4, 60)]


def test_a_reset_tier_admits_requests() -> None:
    local, short = LocalLimits(1), tier("short", 1)
    local.count([short], NOW)
    local.reset(short.key)
    local.reset("a key that was never counted")
    assert local.count([short], NOW)[0]


def test_the_memory_of_windows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest window is dropped first, even if its key had an earlier window."""
    monkeypatch.setattr(rate_limits, "MAX_LOCAL_WINDOWS", 3)
    local = LocalLimits(1)
    for at, name in enumerate("abcad"):
        local.count([tier(name, 5, 3)], NOW + at)
    assert [*local._windows] == [f"key-of-{name}" for name in "cad"]


@pytest.mark.contract("1.7.4")
def test_headers_have_limit_window_remaining_and_reset_of_each_tier() -> None:
    limits = (
        LimitState(tier("global", 100), 99, 899),
        LimitState(tier("transaction", 20, 60), 0, 7),
    )
    assert format_headers(limits) == (
        '"global";q=100;w=900, "transaction";q=20;w=60',
        '"global";r=99;t=899, "transaction";r=0;t=7',
    )


def test_the_exhausted_tier_with_the_latest_reset_is_reported() -> None:
    used_up = [
        LimitState(tier(name, 5), 0, reset_s) for name, reset_s in (("a", 5), ("b", 9), ("c", 7))
    ]
    assert exhausted([*used_up, LimitState(tier("left", 5), 1, 99)]).tier.name == "b"
