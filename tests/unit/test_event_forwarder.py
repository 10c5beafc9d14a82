"""The loop of `finpay webhooks listen`: each event once, also while FinPay is unavailable."""

import asyncio
import json
from typing import Final

import pytest

from finpay.client import ApiError, ConnectionFailed
from finpay.client.webhooks import Event
from finpay.dev import event_forwarder
from finpay.dev.event_forwarder import Forwarded, HistoryRestarted, Receiver, listen, pause_s
from finpay.errors import Code

UNAVAILABLE: Final = ConnectionFailed("connection refused", sent=False)
BUSY: Final = ApiError(Code.RATE_LIMITED, "too many", retryable=True, retry_after_s=0)
REFUSED: Final = ApiError(Code.UNAUTHENTICATED, "log in", retryable=False)


class Scripted:
    """A source that answers and fails in the given order, then blocks."""

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


async def listened(
    source: Scripted, *, after: int | None, receiver: Receiver | None = None
) -> tuple[list[int], list[str]]:
    """The sequences that were reported, and the warnings."""
    sequences: list[int] = []
    warnings: list[str] = []

    def on_event(event: Event, _: Forwarded | None) -> None:
        sequences.append(event.sequence)

    task = asyncio.create_task(
        listen(source, receiver, after=after, on_event=on_event, warn=warnings.append)
    )
    over = asyncio.create_task(source.over.wait())
    await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED, timeout=10)
    over.cancel()
    task.cancel()
    await asyncio.gather(task, over, return_exceptions=True)
    if not task.cancelled():
        task.result()
    return sequences, warnings


async def test_listening_without_a_sequence_starts_with_the_next_event() -> None:
    source = Scripted(7, [], [8, 9], [], [10])
    assert await listened(source, after=None) == ([8, 9, 10], [])
    assert source.asked == [7, 7, 9, 9, 10]


async def test_listening_after_a_sequence_starts_behind_it() -> None:
    source = Scripted(7, [4, 5])
    assert await listened(source, after=3) == ([4, 5], [])
    assert source.asked == [3, 5]


async def test_unavailable_source_is_retried_without_missing_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_forwarder, "RETRY_S", 0)
    source = Scripted(0, [1], UNAVAILABLE, UNAVAILABLE, [2], BUSY, [3])
    sequences, warnings = await listened(source, after=0)
    assert sequences == [1, 2, 3]
    assert warnings == [
        "FinPay is unavailable, retrying: connection refused",
        "FinPay is available again.",
        "FinPay says: too many",
    ]
    assert source.asked == [0, 1, 1, 1, 2, 2, 3]


@pytest.mark.fault("W3")
async def test_database_created_anew_is_listened_to_from_its_first_event() -> None:
    source = Scripted(7, [8], HistoryRestarted(), [1, 2])
    assert await listened(source, after=None) == (
        [8, 1, 2],
        ["The database was created anew: starting with its first event."],
    )
    assert source.asked == [7, 8, 0, 2]


async def test_refused_login_ends_listening() -> None:
    with pytest.raises(ApiError, match="log in"):
        await listened(Scripted(0, [1], REFUSED), after=0)


async def test_unreachable_receiver_is_reported_as_an_error() -> None:
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
def test_pause_leaves_requests_for_other_clients(left: str, least_s: float, most_s: float) -> None:
    assert least_s <= pause_s(left) <= most_s


def test_pauses_last_until_the_rate_limit_window_ends() -> None:
    left, window_s = 99, 900.0
    while window_s > 0:
        window_s -= pause_s(f'"global";r={left};t={int(window_s)}')
        left -= 1
    assert left >= event_forwarder.RESERVED_REQUESTS - 5
