"""The batch is the unit of work: what waits together travels together.

While the flights of a `Gatherer` are in the air the next one gathers; when one lands, everything
that waits takes off. A lone item leaves at once, a crowd shares the cost of one round trip.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from finpay.errors import overloaded

TOLD: Final = 12  # in one turn of the loop: they go on, and others are heard, meanwhile …
TURNS: Final = 3  # … but all of a batch within so many, however long a turn is
MAX_LINGER_S: Final = 0.004  # turns that take so long bring company enough

Item = TypeVar("Item")
Result = TypeVar("Result")


class Gatherer(Generic[Item, Result]):
    """Carries items in batches through `fly`, which answers one result or exception per item.

    `flights` batches may be in the air at once, `size` items fit in one, `queue` may wait; beyond
    that `overloaded` is raised and nothing was done. With `weigh` an item takes as many places as
    it says, one heavier than `size` flies alone, and those that wait weigh `load` at most. A flight
    boards after `linger` turns of the event loop, or after MAX_LINGER_S. A caller that is cancelled
    before take-off leaves the queue; after it, the item is carried all the same.
    """

    def __init__(
        self,
        fly: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        flights: int,
        size: int,
        queue: int,
        weigh: Callable[[Item], int] = lambda _: 1,
        load: int | None = None,
        linger: int = 1,
    ) -> None:
        self._fly = fly
        self._flights = flights
        self._size = size
        self._queue = queue
        self._load = load or queue
        self._weigh = weigh
        self._linger = linger
        self._waiting: deque[tuple[Item, int, asyncio.Future[Result]]] = deque()
        self._weight = 0  # of all that wait
        self._in_the_air: set[asyncio.Task[None]] = set()
        self._boarding = False

    async def carry(self, item: Item) -> Result:
        """The result of this item; raises what its flight raised for it."""
        return await self.board(item)

    def board(self, item: Item) -> asyncio.Future[Result]:
        """Like `carry`, without waiting: the future ends with the item's flight."""
        weight = self._weigh(item)
        if len(self._waiting) >= self._queue or self._weight + weight > self._load:
            raise overloaded("Too many requests wait already. Try again in a moment.")
        seat: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, weight, seat))
        self._weight += weight
        self._take_off()
        return seat

    async def land(self) -> None:
        """Waits until nothing is waiting or in the air."""
        while self._in_the_air:
            await asyncio.wait(self._in_the_air)

    def _take_off(self) -> None:
        """One more flight, if somebody waits for it and it may leave."""
        if not self._waiting or self._boarding or len(self._in_the_air) >= self._flights:
            return
        self._boarding = True
        flight = asyncio.get_running_loop().create_task(self._flight())
        self._in_the_air.add(flight)
        flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._in_the_air.discard(flight)
        self._take_off()

    async def _flight(self) -> None:
        # Whatever these turns of the loop still bring comes along. The first is the task's own.
        time = asyncio.get_running_loop().time
        until_s = time() + MAX_LINGER_S
        for _ in range(1, self._linger):
            await asyncio.sleep(0)
            if time() > until_s:
                break
        self._boarding = False
        boarded = self._board()
        self._take_off()  # for those who did not fit
        if not boarded:
            return
        try:
            results = await self._fly([item for item, _ in boarded])
        except Exception as error:  # noqa: BLE001  every passenger is told, whatever it was
            results = [error] * len(boarded)
        told = max(TOLD, -(-len(boarded) // TURNS))
        for at, ((_, seat), result) in enumerate(zip(boarded, results, strict=True), 1):
            if seat.done():
                continue
            if isinstance(result, Exception):
                seat.set_exception(result)
            else:
                seat.set_result(result)
            if at % told == 0:
                await asyncio.sleep(0)

    def _board(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """In the order of the queue: the first that does not fit waits, and all behind it."""
        boarded: list[tuple[Item, asyncio.Future[Result]]] = []
        room = self._size
        while self._waiting and room > 0:
            item, weight, seat = self._waiting[0]
            if boarded and weight > room:
                break
            self._waiting.popleft()
            self._weight -= weight
            if not seat.done():
                boarded.append((item, seat))
                room -= weight
        return boarded
