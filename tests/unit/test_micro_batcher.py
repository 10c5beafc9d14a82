"""The gatherer: what waits together travels together, bounded, and every passenger is told."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import pytest

from finpay.concurrency import micro_batcher
from finpay.concurrency.micro_batcher import MAX_LINGER_S, Gatherer
from finpay.errors import Code, FinPayError

Results: TypeAlias = Sequence[int | Exception]


class Flights:
    """Flights that land when the test says so; each item comes back ten times as big."""

    def __init__(
        self,
        *,
        flights: int = 1,
        size: int = 100,
        queue: int = 100,
        load: int | None = None,
        linger: int = 1,
    ) -> None:
        self.taken_off: list[list[int]] = []
        self.most_at_once = 0
        self._landings: list[asyncio.Future[None]] = []
        self._in_the_air = 0
        weight: dict[str, Any] = {} if load is None else {"weigh": lambda item: item, "load": load}
        self.gatherer: Gatherer[int, int] = Gatherer(
            self._fly, flights=flights, size=size, queue=queue, linger=linger, **weight
        )

    async def _fly(self, items: Sequence[int]) -> Results:
        self.taken_off.append(list(items))
        self._in_the_air += 1
        self.most_at_once = max(self.most_at_once, self._in_the_air)
        landing = asyncio.get_running_loop().create_future()
        self._landings.append(landing)
        await landing
        self._in_the_air -= 1
        return [item * 10 for item in items]

    async def land_next(self) -> None:
        self._landings.pop(0).set_result(None)
        await settle()

    async def land_all(self) -> None:
        while self._landings:
            await self.land_next()

    def carry(self, *items: int) -> list[asyncio.Task[int]]:
        return [asyncio.ensure_future(self.gatherer.carry(item)) for item in items]


async def settle() -> None:
    """Everything that can happen by itself has happened."""
    for _ in range(10):
        await asyncio.sleep(0)


def flying(fly: Callable[[Sequence[int]], Awaitable[Results]]) -> Gatherer[int, int]:
    return Gatherer(fly, flights=1, size=10, queue=10)


async def test_a_lone_item_leaves_at_once() -> None:
    flights = Flights()
    (one,) = flights.carry(1)
    await settle()
    assert flights.taken_off == [[1]]
    await flights.land_all()
    assert await one == 10


async def test_what_comes_in_one_turn_travels_together_in_order() -> None:
    flights = Flights()
    tasks = flights.carry(3, 1, 2)
    await settle()
    assert flights.taken_off == [[3, 1, 2]]
    await flights.land_all()
    assert await asyncio.gather(*tasks) == [30, 10, 20]


async def test_while_one_flies_the_next_gathers() -> None:
    flights = Flights()
    tasks = flights.carry(1)
    await settle()
    for item in (2, 3, 4):
        tasks += flights.carry(item)
        await settle()
    assert flights.taken_off == [[1]]
    await flights.land_next()
    assert flights.taken_off == [[1], [2, 3, 4]]
    await flights.land_all()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]


async def test_what_the_turns_before_boarding_bring_comes_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(micro_batcher, "MAX_LINGER_S", 60.0)  # however slow a turn of the test is
    flights = Flights(linger=3)
    tasks = flights.carry(1)
    for item in (2, 3, 4, 5, 6):  # each comes in a turn of its own, 1 in the first
        await asyncio.sleep(0)
        tasks += flights.carry(item)
    await settle()
    assert flights.taken_off == [[1, 2, 3]]
    await flights.land_all()
    assert flights.taken_off == [[1, 2, 3], [4, 5, 6]]
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50, 60]


async def test_nobody_waits_for_company_for_long() -> None:
    flights = Flights(linger=10**9)
    (one,) = flights.carry(1)
    await asyncio.sleep(20 * MAX_LINGER_S)
    assert flights.taken_off == [[1]]
    await flights.land_all()
    assert await one == 10


@pytest.mark.parametrize("most", [1, 2, 3])
async def test_no_more_are_in_the_air_than_allowed(most: int) -> None:
    flights = Flights(flights=most, size=2)
    tasks = []
    for item in range(20):
        tasks += flights.carry(item)
        await settle()
    assert flights.most_at_once == most
    await flights.land_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(20)]
    assert flights.most_at_once == most


async def test_a_flight_has_a_size() -> None:
    flights = Flights(size=3)
    tasks = flights.carry(*range(8))
    await settle()
    await flights.land_all()
    assert flights.taken_off == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(8)]


async def test_what_does_not_fit_takes_another_flight_at_once_if_one_may_leave() -> None:
    flights = Flights(flights=2, size=3)
    tasks = flights.carry(*range(8))
    await settle()
    assert flights.taken_off == [[0, 1, 2], [3, 4, 5]]
    await flights.land_all()
    assert await asyncio.gather(*tasks) == [item * 10 for item in range(8)]


async def test_a_full_queue_refuses_and_does_nothing() -> None:
    flights = Flights(queue=2)
    tasks = flights.carry(0)
    await settle()
    tasks += flights.carry(1, 2)
    await settle()
    with pytest.raises(FinPayError) as refused:
        await asyncio.wait_for(flights.gatherer.carry(3), 1)
    assert refused.value.code is Code.OVERLOADED
    assert refused.value.headers["Retry-After"] == "1"
    await flights.land_all()
    assert await asyncio.gather(*tasks) == [0, 10, 20]
    assert flights.taken_off == [[0], [1, 2]]
    (late,) = flights.carry(4)
    await settle()
    await flights.land_all()
    assert await late == 40


async def test_heavy_items_share_a_flight_where_they_fit_and_none_overtakes() -> None:
    flights = Flights(size=10, load=100)
    flights.carry(4, 6, 5, 30, 1, 9, 1)
    await settle()
    await flights.land_all()
    assert flights.taken_off == [[4, 6], [5], [30], [1, 9], [1]]


async def test_a_heavy_queue_refuses_and_remembers_who_left() -> None:
    flights = Flights(size=10, load=20)
    tasks = flights.carry(1)
    await settle()
    tasks += flights.carry(15, 5)
    await settle()
    with pytest.raises(FinPayError) as refused:
        await flights.gatherer.carry(1)
    assert refused.value.code is Code.OVERLOADED
    await flights.land_all()
    assert await asyncio.gather(*tasks) == [10, 150, 50]
    tasks = flights.carry(20)
    await settle()
    await flights.land_all()
    assert await asyncio.gather(*tasks) == [200]


async def test_who_is_cancelled_before_take_off_stays_behind() -> None:
    flights = Flights()
    tasks = flights.carry(1)
    await settle()
    waiting = flights.carry(2, 3, 4)
    await settle()
    waiting[1].cancel()
    await settle()
    await flights.land_all()
    assert flights.taken_off == [[1], [2, 4]]
    assert await asyncio.gather(*tasks, waiting[0], waiting[2]) == [10, 20, 40]
    assert waiting[1].cancelled()


async def test_who_is_cancelled_in_the_air_is_carried_all_the_same() -> None:
    flights = Flights()
    tasks = flights.carry(1, 2)
    await settle()
    tasks[0].cancel()
    await settle()
    await flights.land_all()
    assert flights.taken_off == [[1, 2]]
    assert await tasks[1] == 20
    assert tasks[0].cancelled()


async def test_if_all_who_wait_are_gone_nothing_flies_and_the_next_does() -> None:
    flights = Flights()
    tasks = flights.carry(1)
    await settle()
    for task in flights.carry(2, 3):
        await settle()
        task.cancel()
    await settle()
    await flights.land_all()
    (last,) = flights.carry(4)
    await settle()
    await flights.land_all()
    assert flights.taken_off == [[1], [4]]
    assert await asyncio.gather(*tasks, last) == [10, 40]


async def test_an_item_may_fail_without_its_neighbours() -> None:
    async def fly(items: Sequence[int]) -> Results:
        return [KeyError(item) if item == 2 else item for item in items]

    gatherer = flying(fly)
    results = await asyncio.gather(*map(gatherer.carry, (1, 2, 3)), return_exceptions=True)
    assert (results[0], results[2]) == (1, 3)
    assert isinstance(results[1], KeyError)


async def test_a_flight_that_fails_is_told_to_all_and_the_next_one_flies() -> None:
    async def fly(items: Sequence[int]) -> Results:
        if 1 in items:
            raise OSError("lost")
        return list(items)

    gatherer = flying(fly)
    results = await asyncio.gather(*map(gatherer.carry, (1, 2)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError, OSError]
    assert await gatherer.carry(3) == 3


@pytest.mark.parametrize(("carried", "told"), [(30, [12, 12, 6]), (90, [30, 30, 30])])
async def test_results_are_told_in_turns(carried: int, told: list[int]) -> None:
    flights = Flights()
    seats = [flights.gatherer.board(item) for item in range(carried)]
    await settle()
    landing = asyncio.ensure_future(flights.land_next())
    known = [0]
    while known[-1] < carried:
        await asyncio.sleep(0)
        known.append(sum(seat.done() for seat in seats))
    steps = [after - before for before, after in itertools.pairwise(known)]
    assert [step for step in steps if step] == told
    await landing


async def test_landing_waits_for_all_that_fly_and_all_that_wait() -> None:
    flights = Flights(size=1)
    tasks = flights.carry(1, 2, 3)
    await settle()
    landed = asyncio.ensure_future(flights.gatherer.land())
    for _ in range(3):
        await settle()
        assert not landed.done()
        await flights.land_next()
    await settle()
    assert landed.done()
    assert [task.result() for task in tasks] == [10, 20, 30]
