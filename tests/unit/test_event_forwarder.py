"""The loop of `finpay webhooks listen`: each event once, whoever is away meanwhile."""

import asyncio
import json
from typing import Final

import pytest

from finpay.client import ApiError, ConnectionFailed
from finpay.client.webhooks import Event
from finpay.dev import event_forwarder
from finpay.dev.event_forwarder import Forwarded, Receiver, listen, pause_s
from finpay.errors import Code

AWAY: Final = ConnectionFailed("nobody there", sent=False)
BUSY: Final = ApiError(Code.RATE_LIMITED, "too many", retryable=True, retry_after_s=0)
REFUSED: Final = ApiError(Code.UNAUTHENTICATED, "log in", retryable=False)


class Scripted:
    """A source that answers and fails in order, and then has no more to say."""

    pause_s: Final = 0.0

    def __init__(self, latest: int, *answers: list[int] | Exception) -> None:
        self.asked: list[int] = []
        self.over = asyncio.Event()
        self._latest = latest
        self._answers = list(answers)

    async def latest(self) -> int:
        return self._latest

    async def after(self, sequence: int) -> list[bytes]:
        self.asked.append(sequence)
        if not self._answers:
            self.over.set()
            await asyncio.sleep(3_600)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [json.dumps({"id": f"evt_{n}", "sequence": n}).encode() for n in answer]


async def heard(
    source: Scripted, *, after: int | None, receiver: Receiver | None = None
) -> tuple[list[int], list[str]]:
    """The events that were told, and the complaints."""
    told: list[int] = []
    complaints: list[str] = []

    def tell(event: Event, _: Forwarded | None) -> None:
        told.append(event.sequence)

    task = asyncio.create_task(
        listen(source, receiver, after=after, tell=tell, complain=complaints.append)
    )
    over = asyncio.create_task(source.over.wait())
    await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED, timeout=10)
    over.cancel()
    task.cancel()
    await asyncio.gather(task, over, return_exceptions=True)
    if not task.cancelled():
        task.result()
    return told, complaints


async def test_it_begins_now_and_asks_for_what_comes_next() -> None:
    source = Scripted(7, [], [8, 9], [], [10])
    assert await heard(source, after=None) == ([8, 9, 10], [])
    assert source.asked == [7, 7, 9, 9, 10]


async def test_it_begins_where_it_is_told_to() -> None:
    source = Scripted(7, [4, 5])
    assert await heard(source, after=3) == ([4, 5], [])
    assert source.asked == [3, 5]


async def test_whoever_is_away_is_waited_for_and_nothing_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_forwarder, "RETRY_S", 0)
    source = Scripted(0, [1], AWAY, AWAY, [2], BUSY, [3])
    told, complaints = await heard(source, after=0)
    assert told == [1, 2, 3]
    assert complaints == [
        "FinPay is away, and waited for: nobody there",
        "FinPay is back.",
        "FinPay says: too many",
    ]
    assert source.asked == [0, 1, 1, 1, 2, 2, 3]


async def test_a_refusal_ends_it() -> None:
    with pytest.raises(ApiError, match="log in"):
        await heard(Scripted(0, [1], REFUSED), after=0)


async def test_a_receiver_that_is_nowhere_is_an_answer() -> None:
    for url in ("http://127.0.0.1:1/", "nonsense", "http://"):
        receiver = Receiver(url, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        said = await receiver.send("evt_1", b"{}")
        await receiver.close()
        assert said.status is None
        assert said.error is not None


@pytest.mark.parametrize(
    ("left", "least_s", "most_s"),
    [
        ("", 0.5, 0.5),
        ('"transaction";r=1;t=60', 0.5, 0.5),
        ('"global";r=99;t=900', 15, 16),
        ('"global";r=99;t=10, "transaction";r=20;t=60', 0.5, 0.5),
        ('"global";r=1;t=900', 60, 60),
    ],
)
def test_it_leaves_room_for_others_in_the_rate_limit(
    left: str, least_s: float, most_s: float
) -> None:
    assert least_s <= pause_s(left) <= most_s


def test_a_window_lasts() -> None:
    """Whoever follows what it says has requests left when the window ends."""
    left, window_s = 99, 900.0
    while window_s > 0:
        window_s -= pause_s(f'"global";r={left};t={int(window_s)}')
        left -= 1
    assert left >= event_forwarder.RESERVED_REQUESTS - 5
