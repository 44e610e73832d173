"""The application whose locks are seen by all at once: every setting that shows something of them is on.

What OpenTelemetry would send is written to the file ``EXPORTED``.
"""

from __future__ import annotations

import os
from typing import Any

from celery.signals import worker_process_init, worker_process_shutdown
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from ...support.exporters import NumbersToFile, SpansToFile
from .metered_app import app

__all__ = ["app"]

app.conf.redislock_metrics = ["prometheus", "opentelemetry"]
app.conf.redislock_traces = True
app.conf.redislock_events = "all"


@worker_process_init.connect(weak=False)
def set_up(**_: Any) -> None:
    """Set up a child, as the page of OpenTelemetry says."""
    resource = Resource.create({"service.instance.id": str(os.getpid())})
    reader = PeriodicExportingMetricReader(NumbersToFile(), export_interval_millis=300)
    metrics.set_meter_provider(MeterProvider([reader], resource=resource))
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(SimpleSpanProcessor(SpansToFile()))
    trace.set_tracer_provider(traces)


@worker_process_shutdown.connect(weak=False)
def shut_down(**_: Any) -> None:
    """Export what is left."""
    for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
        provider.shutdown()  # type: ignore[union-attr]
