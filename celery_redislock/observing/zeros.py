"""Zeros: what has not happened yet is shown as 0, so that the first time it happens is seen.

Prometheus sees no increase where a counter appears with the value 1. The zeros are added when the metrics are
asked for: no process counts them, and no child has a file full of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any, TypeAlias

from celery import Celery

from ..config.plan import Planned
from ..errors import ConfigurationError
from . import prometheus
from .metrics import BEAT_TICKS, COUNTER, HISTOGRAM, HOLD, METRICS, Metric

#: A metric, and a value for each of its labels.
Series: TypeAlias = tuple[Metric, tuple[str, ...]]
#: From an app to the series that are shown in any case.
Expected: TypeAlias = Callable[[Celery], Iterable[Series]]

#: Of the rest the values of a label are not known before: the class of an error, the name of an entry.
_OF_WORKERS = tuple(
    metric
    for metric in METRICS
    if metric.feeds
    and not {"entry", "beat"} & {*metric.labels}
    and {*metric.labels} <= {"task", *metric.words}
)


class WithZeros:
    """A collector of `prometheus_client`: what another one has, and a 0 for what has not happened yet.

    Args:
        source: The other one.
        app: Whose tasks there are.
        expected: Which series are shown in any case.
        hold_buckets: Upper bounds of the histogram of hold times, seconds.
    """

    def __init__(self, source: Any, app: Celery, expected: Expected, hold_buckets: tuple[float, ...]) -> None:
        self._source, self._app, self._expected = source, app, expected
        self._hold_buckets = hold_buckets

    def collect(self) -> Iterable[Any]:
        """Return the families of samples."""
        prometheus.forget_the_dead()
        families = {family.name: family for family in self._source.collect()}
        for family in families.values():
            if family.name.startswith("redislock_"):
                # When a counter was made tells nothing, and only some processes have it.
                family.samples = [each for each in family.samples if not each.name.endswith("_created")]
        for metric, missing in self._missing(families).items():
            zeros = self._zeros(metric, missing)
            family = families.setdefault(zeros.name, zeros)
            if family is not zeros:
                family.samples.extend(zeros.samples)
        return families.values()

    def _missing(self, families: dict[str, Any]) -> dict[Metric, list[tuple[str, ...]]]:
        seen = {metric: _labels_in(families.get(_family_name(metric)), metric) for metric in METRICS}
        missing: dict[Metric, list[tuple[str, ...]]] = {}
        for metric, labels in self._expected(self._app):
            if labels not in seen[metric]:
                missing.setdefault(metric, []).append(labels)
        return missing

    def _zeros(self, metric: Metric, missing: list[tuple[str, ...]]) -> Any:
        from prometheus_client import core, utils

        as_text: Any = utils.floatToGoString
        name = _family_name(metric)
        if metric.kind == HISTOGRAM:
            bounds = (*(self._hold_buckets if metric is HOLD else metric.buckets), float("inf"))
            histogram = core.HistogramMetricFamily(name, metric.help, labels=metric.labels)
            for labels in missing:
                histogram.add_metric(labels, [(as_text(bound), 0) for bound in bounds], 0)
            return histogram
        kind: Any = core.CounterMetricFamily if metric.kind == COUNTER else core.GaugeMetricFamily
        family = kind(name, metric.help, labels=metric.labels)
        for labels in missing:
            family.add_metric(labels, 0)
        return family


def of_worker(app: Celery) -> Iterator[Series]:
    """Return the series of a worker's locked tasks."""
    tasks = tuple(locked_tasks(app))
    for metric in _OF_WORKERS:
        for labels in product(*({"task": tasks, **metric.words}[label] for label in metric.labels)):
            yield metric, labels


def of_beat(app: Celery) -> Iterator[Series]:
    """Return the series of the entries that the settings name; a database may have others."""
    for labels in product(map(str, app.conf.beat_schedule or ()), BEAT_TICKS.words["result"]):
        yield BEAT_TICKS, labels


def locked_tasks(app: Celery) -> Iterator[str]:
    """Return the names of an app's tasks that take locks."""
    for name, task in sorted(app.tasks.items()):
        if isinstance(task, Planned) and _is_locked(task):
            yield name


def _is_locked(task: Planned) -> bool:
    try:
        return task.plan_for().options.mode != "off"
    except ConfigurationError:
        # A setting was changed while the worker runs: each run says so.
        return False


def _family_name(metric: Metric) -> str:
    return metric.name.removesuffix("_total") if metric.kind == COUNTER else metric.name


def _labels_in(family: Any, metric: Metric) -> set[tuple[str, ...]]:
    samples = () if family is None else family.samples
    return {tuple(sample.labels.get(label, "") for label in metric.labels) for sample in samples}
