"""The handler of /metrics: merging the files of many processes holds up no other request."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, Final

import pytest

from finpay import settings
from finpay.edge.handlers import metrics as handler
from finpay.edge.request.model import Context
from finpay.telemetry import metrics

MERGE_S: Final = 0.3
MAX_HOLD_S: Final = 0.1


def slow_exposition(_: str | None) -> bytes:
    time.sleep(MERGE_S)
    return b"finpay_info 1\n"


async def test_other_requests_go_on_while_metrics_are_merged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "exposition", slow_exposition)
    services: Any = SimpleNamespace(settings=settings.read({}), metrics_folder=None)
    scrape = asyncio.create_task(handler.retrieve(services, Context("req_1", "192.0.2.1")))
    holds = []
    while not scrape.done():
        started_s = time.monotonic()
        await asyncio.sleep(0)
        holds.append(time.monotonic() - started_s)
    assert max(holds) < MAX_HOLD_S
    assert (await scrape).body == b"finpay_info 1\n"
