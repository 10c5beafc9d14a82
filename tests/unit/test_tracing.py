"""When spans are made, and which ids they have."""

import sys

import pytest

from finpay import ids
from finpay.app import instrumentation
from finpay.concurrency.batch_observer import NO_OBSERVER
from finpay.db.pool import Database
from finpay.gate.gate import Gate
from finpay.telemetry import tracing

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_tracing_is_off_without_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert tracing.start("finpay-api") is None
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.start("finpay-api") is None


def test_tracing_is_off_without_the_extra(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert tracing.start("finpay-api") is None
    assert "finpay[otel]" in caplog.text


def test_components_are_the_plain_classes_when_tracing_is_off() -> None:
    """So a request has no check whether tracing is on."""
    parts = instrumentation.components(None)
    assert (parts.database, parts.gate) == (Database, Gate)
    assert parts.transfer_observer is parts.read_observer is NO_OBSERVER


def test_span_ids_are_derived_from_own_request_ids_only() -> None:
    generator = tracing.RequestIdGenerator()
    ours = ids.new_request_id()
    made = []
    for request_id in (ours, ours, "chosen-by-a-client", "chosen-by-a-client"):
        generator.use_request_id(request_id)
        made.append((generator.generate_trace_id(), generator.generate_span_id()))
        made.append((generator.generate_trace_id(), generator.generate_span_id()))
    assert made[0] == made[2]
    assert len(set(made)) == len(made) - 1
    assert all(trace.bit_length() <= 128 and span.bit_length() <= 64 for trace, span in made)


def test_low_bits_of_trace_ids_are_uniform() -> None:
    """Samplers read them. In a request id two of them are always the same."""
    generator = tracing.RequestIdGenerator()
    quarters = [0] * 4
    for _ in range(2_000):
        generator.use_request_id(ids.new_request_id())
        quarters[(generator.generate_trace_id() & (2**64 - 1)) >> 62] += 1
        generator.generate_span_id()
    assert min(quarters) > 350
