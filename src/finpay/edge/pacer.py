"""While some requests are refused, few of the others begin at once.

A refusal is made in the turn of the event loop in which its bytes are read. Where a hundred others
begin in one turn, it takes so long that whoever comes meanwhile is refused late.
"""

import asyncio
from collections import deque
from typing import Final

EACH: Final = 32  # in one turn of the loop: with 12 refusals are quicker still, transfers fewer
CALM_S: Final = 0.5  # after the last refusal; many who come at once and fit all begin at once


class Pacer:
    """One per process: nobody waits in it unless somebody was refused a moment ago."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._busy_until_s = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def refused(self) -> None:
        """There was one too many: from now on the others take turns."""
        self._busy_until_s = self._loop.time() + CALM_S

    async def pass_through(self) -> None:
        """At once, or, while it is busy, in the order of those who came."""
        if not self._waiting:
            if self._loop.time() >= self._busy_until_s:
                return
            self._loop.call_soon(self._turn)
        seat = self._loop.create_future()
        self._waiting.append(seat)
        await seat

    def _turn(self) -> None:
        for _ in range(min(EACH, len(self._waiting))):
            seat = self._waiting.popleft()
            if not seat.done():
                seat.set_result(None)
        if self._waiting:
            self._loop.call_soon(self._turn)
