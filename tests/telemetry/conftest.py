"""Where the spans of a test go. The provider of OpenTelemetry is set for one test, and taken away after it."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal as metrics_api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once

from a2a_grpc.telemetry.spans import ATTRIBUTES, SPANS


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def names(self) -> list[str]:
        return sorted(shown(span) for span in self.all)

    def of(self, kind: str, name: str) -> Any:
        """The only span of a kind with a name."""
        [found] = [span for span in self.all if shown(span) == f"{kind} {name}"]
        return found

    def clear(self) -> None:
        self._exporter.clear()


def shown(span: ReadableSpan) -> str:
    return f"{span.kind.name.lower()} {span.name}"


def check_table(spans: Spans) -> None:
    """The page of names has each attribute of each span."""
    allowed = {(span.kind, name) for span in SPANS for name in span.attributes}
    assert {(span.kind.name, name) for span in spans.all for name in span.attributes or {}} <= allowed
    assert {name for _, name in allowed} == ATTRIBUTES.keys()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    spans = Spans()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    trace.set_tracer_provider(spans.provider)
    yield spans
    spans.provider.shutdown()


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemoryMetricReader]:
    """Reads the metrics of a provider that is set for one test."""
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    monkeypatch.setattr(metrics_api, "_METER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(metrics_api, "_METER_PROVIDER", None)
    metrics.set_meter_provider(provider)
    yield reader
    provider.shutdown()
