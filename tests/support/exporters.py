"""Exporters: what a monitor would send is appended to the file ``EXPORTED``, as lines of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from .exported import EXPORTED

__all__ = ["NumbersToFile", "SentryToFile", "SpansToFile"]


def _append(kind: str, item: dict[str, Any]) -> None:
    line = json.dumps({**item, "type": kind}, default=str)
    with open(os.environ[EXPORTED], "a") as file:  # appended in one piece, by any process
        file.write(line + "\n")


class SentryToFile(Transport):
    """Appends each item of an envelope."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Write it down, here and now."""
        for item in envelope.items:
            if item.payload.json is not None:
                _append(item.type, item.payload.json)


class SpansToFile(SpanExporter):
    """Appends each span."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write them down."""
        for span in spans:
            _append("span", json.loads(span.to_json()))
        return SpanExportResult.SUCCESS


class NumbersToFile(MetricExporter):
    """Appends what is exported of metrics at one time."""

    def export(self, metrics_data: MetricsData, timeout_millis: float = 0, **_: Any) -> MetricExportResult:
        """Write it down."""
        _append("metrics", json.loads(metrics_data.to_json()))
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        """Nothing is left."""
        return True

    def shutdown(self, timeout_millis: float = 0, **_: Any) -> None:
        """Nothing is left."""
