"""How many one process lets in, where they all come in one turn of its loop."""

import json
from types import SimpleNamespace
from typing import Any, Final

import pytest

from finpay import settings
from finpay.edge.load_shedding import MAX_BYTES
from finpay.edge.pipeline import MAX_UNDER_WAY, Pipeline
from finpay.edge.request.model import Request

GET: Final = b"GET /api/v1/accounts HTTP/1.1\r\nHost: finpay.test\r\n\r\n"
POST: Final = (
    b"POST /api/v1/transactions HTTP/1.1\r\nHost: finpay.test\r\nContent-Length: 2\r\n\r\n{}"
)


def opened(probe: SimpleNamespace | None = None) -> Pipeline:
    services: Any = SimpleNamespace(
        settings=settings.read({}), probe=probe or SimpleNamespace(draining=False)
    )
    return Pipeline(services)


def filled(pipeline: Pipeline) -> Pipeline:
    for _ in range(MAX_UNDER_WAY):
        assert pipeline.refuse_unread(GET) is None
        assert pipeline.refuse(Request("GET", "/api/v1/accounts", b"", {}, "127.0.0.1")) is None
    return pipeline


def parts(answer: bytes) -> tuple[list[bytes], dict[str, Any]]:
    """Its head without what differs from answer to answer, and its body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert f"content-length: {len(body)}".encode() in lines
    told = json.loads(body)
    assert f"x-request-id: {told.pop('request_id')}".encode() in lines
    return [line for line in lines if not line.startswith((b"x-request-id", b"date"))], told


async def test_who_is_let_in_counts_at_once() -> None:
    """None of them has been answered yet, and no task of theirs has run."""
    pipeline = opened()

    def let_in(path: str) -> bool:
        return pipeline.refuse(Request("GET", path, b"", {}, "127.0.0.1")) is None

    came = [let_in("/api/v1/accounts") for _ in range(MAX_UNDER_WAY + 5)]
    assert came == [True] * MAX_UNDER_WAY + [False] * 5
    assert let_in("/readyz")
    assert let_in("/api/v1/health")
    # Whoever is answered makes room.
    for _ in range(3):
        await pipeline.respond(Request("GET", "/nothing", b"", {}, "127.0.0.1"))
    assert [let_in("/api/v1/accounts") for _ in range(2)] == [True, False]


async def test_unread_is_answered_as_read_with_an_id_of_its_own() -> None:
    pipeline = filled(opened())
    read = pipeline.refuse(Request("GET", "/api/v1/accounts", b"", {}, "127.0.0.1"))
    unread = [pipeline.refuse_unread(data) for data in (GET, POST, GET, POST)]
    assert read is not None
    assert read.startswith(b"HTTP/1.1 503 ")
    for answer in unread:
        assert answer is not None
        assert parts(answer) == parts(read)
    assert len({*unread}) == 4


@pytest.mark.parametrize(
    "data",
    [
        GET[:-1],
        GET + b"G",
        GET + GET,
        POST[:-1],
        POST + b"}",
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"accounts", b"health"),
        GET.replace(b"/api/v1/accounts", b"/readyz"),
        GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GET.replace(b"Host", b"Connection: close\r\nHost"),
        GET.replace(b"Host", b"X-REQUEST-ID: mine\r\nHost"),
        GET.replace(b"Host", b"origin: https://shop.test\r\nHost"),
        GET.replace(b"Host", b"Upgrade: h2c\r\nConnection: upgrade\r\nHost"),
        GET.replace(b"Host:", b"Host"),
        POST.replace(b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        GET.replace(b"Host", b"X: " + b"x" * MAX_BYTES + b"\r\nHost"),
    ],
)
async def test_what_is_not_one_plain_request_has_to_be_read(data: bytes) -> None:
    """And the look at it leaves nothing behind for the next."""
    pipeline = filled(opened())
    for _ in range(2):
        assert pipeline.refuse_unread(data) is None
        assert pipeline.refuse_unread(POST) is not None


async def test_whoever_drains_says_goodbye_to_each() -> None:
    probe = SimpleNamespace(draining=False)
    pipeline = filled(opened(probe))
    assert pipeline.refuse_unread(GET) is not None
    probe.draining = True
    assert pipeline.refuse_unread(GET) is None
    read = pipeline.refuse(Request("GET", "/api/v1/accounts", b"", {}, "127.0.0.1"))
    assert read is not None
    assert b"\r\nconnection: close\r\n" in read
