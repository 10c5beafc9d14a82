"""When traces are made, and which ids they get."""

import sys

import pytest

from finpay import ids
from finpay.app import instrumentation
from finpay.db.pool import Database
from finpay.gate.gate import Gate
from finpay.ledger.batcher import Batcher
from finpay.telemetry import tracing

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_it_is_off_unless_somebody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert tracing.start("finpay-api") is None
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.start("finpay-api") is None


def test_it_is_off_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert tracing.start("finpay-api") is None
    assert "finpay[otel]" in caplog.text


def test_off_costs_nothing() -> None:
    """The parts are the plain ones: not even a check per request is left."""
    parts = instrumentation.components(None)
    assert (parts.database, parts.gate, parts.batcher) == (Database, Gate, Batcher)


def test_the_ids_of_a_request_follow_from_its_own_and_no_other() -> None:
    numbers = tracing.RequestIdGenerator()
    ours = ids.new_request_id()
    made = []
    for request_id in (ours, ours, "chosen-by-a-client", "chosen-by-a-client"):
        numbers.follow(request_id)
        made.append((numbers.generate_trace_id(), numbers.generate_span_id()))
        made.append((numbers.generate_trace_id(), numbers.generate_span_id()))
    assert made[0] == made[2]
    assert len(set(made)) == len(made) - 1
    assert all(trace.bit_length() <= 128 and span.bit_length() <= 64 for trace, span in made)


def test_low_bits_are_spread_for_samplers() -> None:
    """A request id itself would not do: its low half always begins with the same two bits."""
    numbers = tracing.RequestIdGenerator()
    quarters = [0] * 4
    for _ in range(2_000):
        numbers.follow(ids.new_request_id())
        quarters[(numbers.generate_trace_id() & (2**64 - 1)) >> 62] += 1
        numbers.generate_span_id()
    assert min(quarters) > 350
