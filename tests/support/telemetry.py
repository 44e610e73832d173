"""Telemetry: OpenTelemetry's own SDK with what it would export kept in memory, for one test."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from celery_redislock.observing.background import background_here


class Recorded:
    """What OpenTelemetry has recorded in this process.

    Args:
        patch: Has the API give these providers: it would set one up for the whole process only.
        exporter: Of the spans; None: they are kept in memory.
    """

    def __init__(self, patch: pytest.MonkeyPatch, exporter: SpanExporter | None = None) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(exporter or self._kept))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider([self._reader])
        self.tracer = self.provider.get_tracer("of a test")
        patch.setattr(trace, "get_tracer", self.provider.get_tracer)
        patch.setattr(metrics, "get_meter", self._meters.get_meter)

    def spans(self, name: str) -> list[ReadableSpan]:
        """Return the spans of this name that have ended, the oldest first."""
        assert background_here().flush(10)
        return [span for span in self._kept.get_finished_spans() if span.name == name]

    def span(self, name: str) -> ReadableSpan:
        """Return the only one."""
        (span,) = self.spans(name)
        return span

    def points(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """Return the data points of a metric, each by its attributes."""
        assert background_here().flush(10)
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            tuple(sorted((point.attributes or {}).items())): point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        }

    def values(self, name: str) -> dict[tuple[tuple[str, Any], ...], Any]:
        """Return the values of a counter or a gauge, each by its attributes."""
        return {attributes: point.value for attributes, point in self.points(name).items()}

    def collected(self) -> dict[str, dict[tuple[tuple[str, Any], ...], Any]]:
        """Return the values of all gauges and counters, as one collection finds them, by their names."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: {
                tuple((point.attributes or {}).items()): point.value for point in metric.data.data_points
            }
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def close(self) -> None:
        """Have all that was seen recorded here, and end the providers."""
        background_here().flush(10)
        self.provider.shutdown()
        self._meters.shutdown()
