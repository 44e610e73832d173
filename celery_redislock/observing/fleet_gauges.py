"""Fleet gauges: the locks of all workers together, as OpenTelemetry observes them in one process.

Each process that observed them would report the same locks once more. So no worker does:
``celery -A APP locks exporter --opentelemetry`` is the one process.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..engine import now
from .fleet import METRICS, Fleet
from .metrics import Metric

#: The gauges are asked one after the other. What was found less than this before is one look's, seconds.
ONE_COLLECTION_S = 0.5


def has_provider(api: Any) -> bool:
    """Whether anything in this process records metrics: without a provider OpenTelemetry's API drops all.

    Args:
        api: ``opentelemetry.metrics``.
    """
    return not type(api.get_meter_provider()).__module__.startswith(api.__name__)


class FleetGauges:
    """Gauges that look at the locks in Redis when they are collected.

    Args:
        api: ``opentelemetry.metrics``.
        fleet: Looks.
    """

    def __init__(self, api: Any, fleet: Fleet) -> None:
        self._fleet, self._observation = fleet, api.Observation
        self._values: dict[Metric, dict[tuple[str, ...], float]] = {}
        self._until = 0.0
        meter = api.get_meter("celery_redislock")
        for metric in METRICS:
            observe = [partial(self._observe, metric)]
            meter.create_observable_gauge(metric.otel_name, observe, metric.unit, metric.help)

    def _observe(self, metric: Metric, _: Any) -> list[Any]:
        """Return the values of a gauge; none while Redis is away, but of the one that says so."""
        values = self._now().get(metric, {})
        return [
            self._observation(value, dict(zip(metric.labels, labels, strict=True)))
            for labels, value in values.items()
        ]

    def _now(self) -> dict[Metric, dict[tuple[str, ...], float]]:
        if now() >= self._until:
            self._values = dict(self._fleet.values())
            self._until = now() + ONE_COLLECTION_S
        return self._values
