"""The nemesis' plan: the same for a seed, another for another, and as hard as it says."""

from itertools import pairwise
from typing import Final

import pytest

from torture import nemesis
from torture.fault_plan import KILLS, Fault, draw

FIRST_OF_SEED_1: Final = [
    (1012, "black_hole_postgres", 0, 3998),
    (2128, "pause_valkey", 0, 4414),
    (3278, "kill_api", 1, 0),
    (4148, "kill_worker", 1, 0),
    (5436, "cut_clients", 1, 0),
]


def test_a_seed_replays_its_plan() -> None:
    assert draw(7, 4) == draw(7, 4)
    assert draw(7, 4) != draw(8, 4)


def test_a_plan_is_the_same_on_every_machine() -> None:
    """Written down once: a change of the generator is a change of what every old seed means."""
    told = [(s.at_ms, s.fault.value, s.target, s.hold_ms) for s in draw(1, 0.1)]
    assert told == FIRST_OF_SEED_1


@pytest.mark.parametrize("seed", range(20))
def test_half_of_the_faults_are_kills(seed: int) -> None:
    kills = [sum(strike.fault in KILLS for strike in draw(seed, minutes)) for minutes in (1, 5)]
    assert kills[0] >= 20
    assert kills[1] >= 110


@pytest.mark.parametrize("seed", range(20))
def test_a_few_minutes_meet_every_kind(seed: int) -> None:
    assert {strike.fault for strike in draw(seed, 2)} == set(Fault)


@pytest.mark.parametrize("seed", range(20))
def test_no_server_is_harmed_twice_at_a_time(seed: int) -> None:
    by_area: dict[str, list[tuple[int, int]]] = {}
    for strike in draw(seed, 5):
        by_area.setdefault(strike.area, []).append((strike.at_ms, strike.at_ms + strike.hold_ms))
    for strikes in by_area.values():
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(strikes))


def test_a_plan_may_be_of_one_kind() -> None:
    strikes = draw(3, 1, faults=[Fault.FLUSH_VALKEY])
    assert {strike.fault for strike in strikes} == {Fault.FLUSH_VALKEY}
    assert len(strikes) > 15


def test_the_nemesis_can_do_all_that_a_plan_may_ask() -> None:
    assert not nemesis.unable()
