"""Reading a body costs time in proportion to its length, whatever it has in it."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

import pytest

from finpay.edge.parse import LARGE_BODY_BYTES, ParsedRequest, parse
from finpay.edge.request.model import Message, Request
from finpay.edge.router import Route
from finpay.edge.routes import ROUTES
from tests.hostile.json_shapes import SHAPES

SIZES: Final = (64 * 1024, 256 * 1024, 1024 * 1024)
MAX_RATIO: Final = 2.0  # of the time per byte, from one size to the next
MAX_PARSE_S: Final = 0.060  # of 1 MiB
MAX_HOLD_S: Final = 0.030  # of the event loop, for a body of any size
RUNS: Final = 5  # the fastest counts: the others were interrupted
TRIES: Final = 4  # a busy machine slows one size and not the other
SMALL_S: Final = 0.002  # below this the time of a run is mostly noise

BATCH: Final = next(route for route in ROUTES if route.max_body_bytes == SIZES[-1])


@pytest.fixture(autouse=True)
def collector_as_in_production() -> Iterator[None]:
    gc.collect()
    gc.freeze()
    thresholds = gc.get_threshold()
    gc.set_threshold(50_000)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def parsed(body: bytes, route: Route = BATCH) -> ParsedRequest:
    """As the pipeline does it, with the body in one message."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"application/json"), (b"x-idempotency-key", b"k")]
    scope: Message = {
        "method": "POST", "path": route.path, "query_string": b"", "headers": headers,
    }  # fmt: skip
    loop = asyncio.new_event_loop()  # asyncio.run would also format the result, for Ctrl-C
    try:
        return loop.run_until_complete(parse(Request(scope, receive), route, None, 1_000))
    finally:
        loop.close()


def fastest_s(body: bytes, clock: Callable[[], float] = time.process_time) -> float:
    times = []
    for _ in range(RUNS):
        started = clock()
        parsed(body)
        times.append(clock() - started)
    return min(times)


def ratio(shape: str) -> float:
    """How much more a byte costs in a larger body; 1 where the larger one costs nearly nothing."""
    spent = [(size, fastest_s(SHAPES[shape](size))) for size in SIZES]
    return max(
        (later_s / larger) / (max(earlier_s, SMALL_S * smaller / larger) / smaller)
        for (smaller, earlier_s), (larger, later_s) in pairwise(spent)
    )


@pytest.mark.fault("D1")
@pytest.mark.contract("1.8.4")
@pytest.mark.parametrize("shape", SHAPES)
def test_time_per_byte_does_not_grow_with_the_body(shape: str) -> None:
    assert any(ratio(shape) <= MAX_RATIO for _ in range(TRIES))


@pytest.mark.fault("D1")
@pytest.mark.parametrize("shape", SHAPES)
def test_1_mib_is_parsed_in_60_ms(shape: str) -> None:
    body = SHAPES[shape](SIZES[-1])
    assert any(fastest_s(body) < MAX_PARSE_S for _ in range(TRIES))


@pytest.mark.fault("D1")
@pytest.mark.parametrize("size", [LARGE_BODY_BYTES, SIZES[-1]])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_body_holds_the_event_loop_for_30_ms(shape: str, size: int) -> None:
    body = SHAPES[shape](size)
    assert any(fastest_s(body, time.thread_time) < MAX_HOLD_S for _ in range(TRIES))


@pytest.mark.fault("D1")
def test_shapes_reach_every_outcome() -> None:
    """Some are accepted, some are 400, some 422: the time of each kind of refusal is measured."""
    outcomes = {
        found.error.status if found.error else 200
        for found in (parsed(make(SIZES[0])) for make in SHAPES.values())
    }
    assert outcomes == {200, 400, 422}
