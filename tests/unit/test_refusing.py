"""How many one process lets in, where they all come in one turn of its loop."""

from types import SimpleNamespace
from typing import Any

from finpay import settings
from finpay.edge.pipeline import MAX_UNDER_WAY, Pipeline
from finpay.edge.request import Request


async def test_who_is_let_in_counts_at_once() -> None:
    """None of them has been answered yet, and no task of theirs has run."""
    services: Any = SimpleNamespace(
        settings=settings.read({}), probe=SimpleNamespace(draining=False)
    )
    pipeline = Pipeline(services)

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
