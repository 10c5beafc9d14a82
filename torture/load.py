"""The clients: closed loops that write down what they ask before they ask it."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from torture import allowed_answers
from torture.history import Intent, Journal, Read, Told
from torture.raw_http import Answer, Line, NoAnswer
from torture.workload import Mix, Wallet

CLIENTS: Final = 32
# 32 clients make about 200 requests/s: faults are met in flight, and what is measured is the
# system and not a queue before two busy cores.
THINK_S: Final = 0.15
BROKEN_PAUSE_S: Final = 0.1  # before a connection that broke is replaced
MAX_OPEN: Final = 64  # requests without a final answer: enough to know that something is wrong
RETRY_PAUSE_S: Final = 0.2  # between two tries of a request whose outcome is open


@dataclass(slots=True)
class Crowd:
    """All clients of a run. `ports` are those of the API processes."""

    seed: int
    wallets: tuple[Wallet, ...]
    ports: Sequence[int]
    journal: Journal
    total: int
    think_s: float = THINK_S
    cuts_due: int = 0  # connections to cut when the answer to a money POST begins
    cuts: int = 0
    _stopping: bool = False
    _keys: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    async def run(self) -> None:
        """Until `stop`. Every request that was begun gets its answer, or its end."""
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._live(number))

    def stop(self) -> None:
        self._stopping = True

    async def resolve(self, limit_s: float) -> list[Intent]:
        """Sends every intent again until its answer is final, each for `limit_s` at most.

        Those that stayed open. When there are MAX_OPEN of them, the rest is not tried any more.
        """
        still_open: list[Intent] = []
        todo = iter(list(self.journal.intents))
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(self._resolve(number, todo, still_open, limit_s))
        return [*still_open, *todo]

    async def _resolve(
        self, number: int, todo: Iterator[Intent], still_open: list[Intent], limit_s: float
    ) -> None:
        line = Line(self.ports, number % len(self.ports))
        while len(still_open) < MAX_OPEN and (intent := next(todo, None)) is not None:
            until = time.monotonic() + limit_s
            while not await self._is_final(line, intent):
                if time.monotonic() > until:
                    still_open.append(intent)
                    break
                await asyncio.sleep(RETRY_PAUSE_S)
        line.drop()

    async def _is_final(self, line: Line, intent: Intent) -> bool:
        answer = await self._send(line, intent)
        return answer is not None and allowed_answers.is_final(answer)

    async def _live(self, number: int) -> None:
        own = number % len(self.wallets)
        line = Line(self.ports, number // len(self.wallets) % len(self.ports))
        dice = Random(f"pace {self.seed} {number}")  # noqa: S311
        mix = Mix(self.seed, number, own, self.wallets, self.journal, self._keys[own])
        while not self._stopping:
            asked = mix.draw()
            if isinstance(asked, Read):
                answer = await self._read(line, asked)
            else:
                if not asked.journalled:
                    self.journal.intend(asked)
                answer = await self._send(line, asked)
            pause_s = self.think_s if answer else BROKEN_PAUSE_S
            await asyncio.sleep(pause_s * dice.uniform(0.5, 1.5))
        line.drop()

    async def _send(self, line: Line, intent: Intent) -> Answer | None:
        headers = self._headers(intent.wallet) | {"X-Idempotency-Key": intent.key}
        started = time.monotonic()
        answer, why = None, ""
        try:
            answer = await line.ask("POST", intent.path, headers, intent.body, cut=self._may_be_cut)
        except NoAnswer as silence:
            why = str(silence)
        self.journal.tell(intent, Told(started, time.monotonic() - started, answer, why))
        if answer is not None and (fault := allowed_answers.fault_of(intent, answer)):
            self.journal.strange.append(fault)
        return answer

    async def _read(self, line: Line, read: Read) -> Answer | None:
        started = time.monotonic()
        answer, why = None, ""
        try:
            answer = await line.ask("GET", read.path, self._headers(read.wallet))
        except NoAnswer as silence:
            why = str(silence)
        self.journal.sample(Told(started, time.monotonic() - started, answer, why))
        if answer is not None:
            if fault := allowed_answers.fault_of_read(read, answer):
                self.journal.strange.append(fault)
            self.journal.impossible += allowed_answers.impossible(answer, self.total)
        return answer

    def _headers(self, wallet: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.wallets[wallet].token}"}

    def _may_be_cut(self) -> bool:
        if self.cuts_due <= 0:
            return False
        self.cuts_due -= 1
        self.cuts += 1
        return True
