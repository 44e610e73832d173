"""Prometheus: the metrics of this process, counted at once in `prometheus_client`'s own numbers.

They are counted in the thread of the run, not in the background: a child may be killed a moment later. With
`PROMETHEUS_MULTIPROC_DIR` each process has its numbers in a file, and a file outlives the process that is
killed, https://prometheus.github.io/client_python/multiprocess/.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from celery import Celery

from ..engine.threads import exists
from ..errors import ConfigurationError
from ..events import ChildDied
from .metric_settings import PROMETHEUS, hold_buckets_of, is_wanted, label, package_of, port_of
from .metrics import COUNTER, GAUGE, HISTOGRAM, HOLD, METRICS, UP_DOWN, Metric, feeds_of

#: Where `prometheus_client` keeps the numbers of several processes.
DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

#: What is called with the amount, for each kind.
_METHODS = {COUNTER: "inc", UP_DOWN: "inc", HISTOGRAM: "observe", GAUGE: "set"}

#: Held while anything is counted, and while this process forks. `prometheus_client` has a mutex for all its
#: numbers: a child that was forked while another thread had it could never count, nor go on.
_counting = threading.Lock()
os.register_at_fork(
    before=_counting.acquire, after_in_parent=_counting.release, after_in_child=_counting.release
)


class _Methods(dict[tuple[str, ...], Any]):
    """From the values of the labels to the method that is called with an amount; each is looked up once."""

    def __init__(self, metric: Metric, family: Any) -> None:
        super().__init__()
        self._metric, self._family = metric, family

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        series = self._family.labels(*labels) if labels else self._family
        method = self[labels] = getattr(series, _METHODS[self._metric.kind])
        return method


class Counts:
    """All metrics of events, registered with `prometheus_client`.

    A fork inherits them: each number finds the file of its process by itself.

    Args:
        package: `prometheus_client`.
        hold_buckets: Upper bounds of the histogram of hold times, seconds.
    """

    def __init__(self, package: Any, hold_buckets: tuple[float, ...]) -> None:
        # The numbers of several processes are read from their files, not from a registry.
        registry = package.CollectorRegistry() if counts_in_files() else package.REGISTRY
        methods = {
            metric: _Methods(metric, _family(package, metric, hold_buckets, registry))
            for metric in METRICS
            if metric.feeds
        }
        kinds = {kind for metric in methods for kind in metric.feeds}
        self._fed_by = {kind: [(feed, methods[metric]) for metric, feed in feeds_of(kind)] for kind in kinds}

    def hear(self, event: Any) -> None:
        """Count an event in each metric that it feeds."""
        with _counting:
            for feed, methods in self._fed_by.get(type(event), ()):
                sample = feed(event)
                if sample is not None:
                    labels, amount = sample
                    methods[labels](amount)
        if type(event) is ChildDied:
            forget(event.pid)

    def close(self) -> None:
        """Nothing is left: all is counted at once."""


def _family(package: Any, metric: Metric, hold_buckets: tuple[float, ...], registry: Any) -> Any:
    said = (metric.name, metric.help, metric.labels)
    if metric.kind == COUNTER:
        return package.Counter(*said, registry=registry)
    if metric.kind == HISTOGRAM:
        buckets = hold_buckets if metric is HOLD else metric.buckets
        return package.Histogram(*said, registry=registry, buckets=buckets)
    return package.Gauge(*said, registry=registry, multiprocess_mode=metric.merged)


#: For all apps of the process: two numbers of one name would overwrite each other in its file.
_counts: Counts | None = None


def destination_of(app: Celery) -> Counts | None:
    """Return what counts the events of an app, if `redislock_metrics` has "prometheus".

    Raises:
        ConfigurationError: A setting is wrong, `prometheus_client` is not installed, or its directory for
            the numbers of several processes is none.
    """
    global _counts
    if not is_wanted(app, PROMETHEUS):
        return None
    package = package_of(app, PROMETHEUS)
    hold_buckets, _ = hold_buckets_of(app), port_of(app)
    if _counts is None:
        if counts_in_files():
            refuse_without_directory(app)
        _counts = Counts(package, hold_buckets)
    return _counts


def counts_in_files() -> bool:
    """Whether the numbers of this process are in a file. `prometheus_client` decides when it is imported."""
    from prometheus_client import values

    return bool(values.ValueClass._multiprocess)


def refuse_without_directory(app: Celery) -> None:
    """Refuse to count in several processes without the directory for their files.

    Raises:
        ConfigurationError: The variable that names it was not set when `prometheus_client` was imported, or
            it names no directory.
    """
    if not counts_in_files() or not os.path.isdir(os.environ.get(DIRECTORY, "")):
        raise ConfigurationError(
            f'{label(app, "redislock_metrics")} has "prometheus", so a worker with child processes needs the '
            f"environment variable {DIRECTORY}: set it, before the worker starts, to an empty directory of "
            "this worker's own"
        )


def source(package: Any) -> Any:
    """Return what has the numbers: the files of all processes of a worker, or the registry of this one.

    Args:
        package: `prometheus_client`.
    """
    if not counts_in_files():
        return package.REGISTRY
    from prometheus_client.multiprocess import MultiProcessCollector

    return MultiProcessCollector(None)  # type: ignore[no-untyped-call]


def forget(pid: int) -> None:
    """Have the numbers of a dead process that only hold while it lives not count any more."""
    if counts_in_files():
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(pid)  # type: ignore[no-untyped-call]


def forget_the_dead() -> None:
    """Do so for each process that has left such numbers and does not exist any more.

    It may have died without anyone knowing, with the whole worker for example, and a later process may get
    its number.
    """
    if _counts is None or not counts_in_files():
        return
    for name in os.listdir(os.environ[DIRECTORY]):
        kind, _, pid = name.removesuffix(".db").rpartition("_")
        if kind.startswith("gauge_live") and pid.isdecimal() and not exists(int(pid)):
            forget(int(pid))
