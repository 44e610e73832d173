"""OpenTelemetry metrics: each event is recorded on the instruments of the table, away from the run.

Only the API of OpenTelemetry is used: the application sets up what exports the numbers, in each process, and
a process without that records nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery

from .background import background_here
from .metric_settings import OPENTELEMETRY, hold_buckets_of, is_wanted, package_of
from .metrics import COUNTER, GAUGE, HISTOGRAM, HOLD, METRICS, UP_DOWN, Feed, Metric, feeds_of

__all__ = ["Instruments", "destination_of"]

#: Labels that have another name in OpenTelemetry's conventions.
_NAMED = {"error_type": "error.type"}

#: What each kind of event feeds.
_FEEDS: dict[type[Any], tuple[tuple[Metric, Feed], ...]] = {
    kind: feeds_of(kind) for metric in METRICS for kind in metric.feeds
}

#: Records an amount with its attributes.
Recorder = Callable[[float, dict[str, str]], object]


def destination_of(app: Celery) -> Instruments | None:
    """Return what records an app's events, or None where `redislock_metrics` has no "opentelemetry".

    Raises:
        ConfigurationError: A setting is wrong, or OpenTelemetry is not installed.
    """
    if not is_wanted(app, OPENTELEMETRY):
        return None
    return Instruments(package_of(app, OPENTELEMETRY), hold_buckets_of(app))


class Instruments:
    """Records events on instruments, each of which is made when it is needed first.

    Args:
        api: ``opentelemetry.metrics``.
        hold_buckets: Upper bounds of the times for which locks are held, seconds.
    """

    def __init__(self, api: Any, hold_buckets: tuple[float, ...]) -> None:
        self._api = api
        self._hold_buckets = hold_buckets
        self._recorders: dict[Metric, Recorder] = {}

    def hear(self, event: Any) -> None:
        """Leave the samples of an event to the background; an event itself would keep its lock alive."""
        feeds = _FEEDS.get(type(event), ())
        samples = [(metric, sample) for metric, feed in feeds if (sample := feed(event)) is not None]
        if samples:
            background_here().put(partial(self._record, samples))

    def close(self) -> None:
        """Nothing is left: the application ends its provider."""

    def _record(self, samples: list[Any]) -> None:
        for metric, (labels, amount) in samples:
            recorder = self._recorders.get(metric)
            if recorder is None:
                recorder = self._recorders[metric] = self._made(metric)
            names = (_NAMED.get(label, label) for label in metric.labels)
            recorder(amount, dict(zip(names, labels, strict=True)))

    def _made(self, metric: Metric) -> Recorder:
        meter = self._api.get_meter("celery_redislock")
        about = {"name": metric.otel_name, "unit": metric.unit, "description": metric.help}
        recorders: dict[str, Callable[[], Recorder]] = {
            COUNTER: lambda: meter.create_counter(**about).add,
            UP_DOWN: lambda: meter.create_up_down_counter(**about).add,
            GAUGE: lambda: meter.create_gauge(**about).set,
            HISTOGRAM: lambda: (
                meter.create_histogram(
                    **about, explicit_bucket_boundaries_advisory=self._buckets_of(metric)
                ).record
            ),
        }
        return recorders[metric.kind]()

    def _buckets_of(self, metric: Metric) -> tuple[float, ...]:
        return self._hold_buckets if metric is HOLD else metric.buckets
