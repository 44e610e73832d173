"""An application with Sentry and OpenTelemetry, set up as the page of OpenTelemetry says.

What both would send is written to the file ``EXPORTED``. Further environment: ``TRACED_STORE`` (broker and
results), ``TRACED_LOCKS`` (locks).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from celery import Celery

from celery_redislock import locked_task

from ...docs.pages import blocks
from ...support.exported import EXPORTED
from ...support.places import DOCS

STORE = os.environ["TRACED_STORE"]

app = Celery("traced", broker=STORE, backend=STORE, set_as_current=False)
app.conf.redislock_url = os.environ["TRACED_LOCKS"]
app.conf.redislock_traces = True
app.conf.redislock_metrics = ["opentelemetry"]
app.conf.redislock_retry_for = 3
app.conf.redislock_retry_delay = (0.2, 0.5)
app.conf.broker_connection_retry_on_startup = True


@locked_task(app=app, shared=False, name="busy", lock_args=(), lock_on_conflict="fail")
def busy() -> None:
    """Fail if it is busy."""


@locked_task(app=app, shared=False, name="nameless", lock_key="{order.id}")
def nameless(order: Any) -> None:
    """Have no name where the order has no id."""


@locked_task(app=app, shared=False, name="away", lock_args=(), lock_on_error="fail")
def away() -> None:
    """Fail where Redis is away."""


@locked_task(app=app, shared=False, name="retried", lock_args=(), lock_on_conflict="retry", lock_retry_for=60)
def retried() -> None:
    """Come again if it is busy."""


@locked_task(app=app, shared=False, name="holds", lock_key="holds:{number}", lock_ttl=5)
def holds(number: int, until: str) -> None:
    """Run until a file is there; skip if it is busy."""
    _wait_for(until)


@locked_task(app=app, shared=False, name="coalesced", lock_args=(), lock_on_conflict="coalesce")
def coalesced(until: str) -> None:
    """Run until a file is there; run once more for all that met it."""
    _wait_for(until)


def _wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.02)


def watch() -> None:
    """Set up Sentry, and OpenTelemetry by the page's module, with what writes to the file."""
    import sentry_sdk
    from sentry_sdk.integrations.celery import CeleryIntegration

    from ...support import exporters

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=exporters.SentryToFile,
        integrations=[CeleryIntegration()],
    )
    for name, exporter in (
        ("metric_exporter", {"OTLPMetricExporter": exporters.NumbersToFile}),
        ("trace_exporter", {"OTLPSpanExporter": exporters.SpansToFile}),
    ):
        module = ModuleType(name)
        vars(module).update(exporter)
        sys.modules[f"opentelemetry.exporter.otlp.proto.http.{name}"] = module
    page = blocks(DOCS / "howto" / "opentelemetry.md")
    (block,) = (each for each in page if "# shop/telemetry.py" in each.code)
    exec(compile(block.code, str(block), "exec"), {})


if EXPORTED in os.environ:
    # Only in the worker.
    watch()
