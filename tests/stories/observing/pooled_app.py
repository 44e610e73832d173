"""The application whose locks Prometheus and OpenTelemetry count, in pools without children.

What OpenTelemetry would send is written to the file ``EXPORTED``.
"""

from __future__ import annotations

from typing import Any

from celery.signals import worker_init, worker_shutdown
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

from ...support.exporters import NumbersToFile
from .metered_app import app

__all__ = ["app"]

app.conf.redislock_metrics = ["prometheus", "opentelemetry"]


@worker_init.connect(weak=False)
def set_up(**_: Any) -> None:
    """Set up the process, as the page of OpenTelemetry says of these pools."""
    reader = PeriodicExportingMetricReader(NumbersToFile(), export_interval_millis=300)
    metrics.set_meter_provider(MeterProvider([reader]))


@worker_shutdown.connect(weak=False)
def shut_down(**_: Any) -> None:
    """Export what is left."""
    metrics.get_meter_provider().shutdown()  # type: ignore[attr-defined]
