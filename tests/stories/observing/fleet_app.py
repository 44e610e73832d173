"""The application as an exporter for OpenTelemetry has it: what exports is set up, and nothing else is.

What would be sent is written to the file ``EXPORTED``.
"""

from __future__ import annotations

from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from ...support.exporters import NumbersToFile
from .metered_app import app

__all__ = ["app"]

app.conf.redislock_metrics = []
reader = PeriodicExportingMetricReader(NumbersToFile(), export_interval_millis=300)
metrics.set_meter_provider(MeterProvider([reader]))
