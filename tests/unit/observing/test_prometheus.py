"""Prometheus: events are counted at once, zeros are shown, and nothing is imported unless it is asked for."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import prometheus_client
import pytest
from celery import Celery
from celery.concurrency.prefork import TaskPool as Prefork
from celery.concurrency.solo import TaskPool as Solo

from celery_redislock import ConfigurationError, events
from celery_redislock.observing import destinations, prometheus, receivers, serving, zeros
from celery_redislock.observing.metrics import HOLD_S
from celery_redislock.observing.prometheus import Counts
from celery_redislock.worker.start import MetricsStep

from ...support.applications import application, locked, shared_tasks_forgotten, with_own_tasks
from ...support.places import ROOT

NOWHERE = "redis://localhost:1"


def body() -> None: ...


@pytest.fixture
def app() -> Iterator[Celery]:
    """Give an app that wants metrics, with two locked tasks."""
    with shared_tasks_forgotten():
        app = with_own_tasks(application(NOWHERE, redislock_metrics=["prometheus"]))
        locked(app, body, name="a")
        locked(app, body, name="off", lock_mode="off")
        app.task(body, name="plain", shared=False)
        app.finalize()
        yield app


@pytest.fixture
def client() -> SimpleNamespace:
    """Give `prometheus_client` with a registry for this test alone."""
    return SimpleNamespace(**{**vars(prometheus_client), "REGISTRY": prometheus_client.CollectorRegistry()})


def told(counts: Counts, app: Celery) -> None:
    """Tell of a run that had its lock for a minute, and of one that still has it."""
    task = app.tasks["a"]
    for _ in range(2):
        counts.hear(events.Acquired(task, "id", None, "at_once", 0.001))
    counts.hear(events.Released(task, "id", None, 60.0, is_free=True))
    counts.hear(events.Conflicted(task, "id", "redislock:a", "skip", None, "busy"))


def test_events_are_counted_at_once(client: SimpleNamespace, app: Celery) -> None:
    told(Counts(client, HOLD_S), app)

    value = client.REGISTRY.get_sample_value
    assert value("redislock_acquired_total", {"task": "a", "how": "at_once"}) == 2
    assert value("redislock_running", {"task": "a"}) == 1
    assert value("redislock_wait_seconds_count", {"task": "a"}) == 2
    assert value("redislock_hold_seconds_sum", {"task": "a"}) == 60
    assert value("redislock_hold_seconds_bucket", {"task": "a", "le": "30.0"}) == 0
    assert value("redislock_hold_seconds_bucket", {"task": "a", "le": "60.0"}) == 1
    assert value("redislock_conflicts_total", {"task": "a", "action": "skip", "shadow": "false"}) == 1


def shown_by(client: SimpleNamespace, app: Celery, expected: zeros.Expected) -> dict[Any, float]:
    """Return the value of each series, with the name and the labels."""
    families = zeros.WithZeros(client.REGISTRY, app, expected, HOLD_S).collect()
    samples = [sample for family in families for sample in family.samples]
    assert len({(each.name, *each.labels.items()) for each in samples}) == len(samples), "one is shown twice"
    return {(each.name, *each.labels.values()): each.value for each in samples}


def test_what_has_not_happened_is_shown_as_zero_for_each_locked_task(
    client: SimpleNamespace, app: Celery
) -> None:
    shown = shown_by(client, app, zeros.of_worker)

    assert set(shown.values()) == {0}
    assert {key[1] for key in shown if "renewal" not in key[0]} == {"a"}
    assert ("redislock_lost_total", "a", "forced") in shown
    assert ("redislock_conflicts_total", "a", "coalesce", "true") in shown
    assert ("redislock_hold_seconds_bucket", "a", "+Inf") in shown
    assert ("redislock_renewals_total", "failed") in shown


def test_what_has_happened_is_shown_once(client: SimpleNamespace, app: Celery) -> None:
    before = shown_by(client, app, zeros.of_worker)
    told(Counts(client, HOLD_S), app)
    after = shown_by(client, app, zeros.of_worker)

    assert before.keys() <= after.keys()
    assert after["redislock_acquired_total", "a", "at_once"] == 2
    assert after["redislock_acquired_total", "a", "waited"] == 0


def test_a_beat_shows_its_entries(client: SimpleNamespace, app: Celery) -> None:
    app.conf.beat_schedule = {"hourly": {"task": "a", "schedule": 3600}}

    shown = shown_by(client, app, zeros.of_beat)

    assert shown["redislock_beat_ticks_total", "hourly", "sent"] == 0
    assert not any(key[0] == "redislock_acquired_total" for key in shown)


def test_all_apps_of_a_process_count_in_one_place(app: Celery) -> None:
    other = application(NOWHERE, redislock_metrics=["prometheus"])

    destinations.destinations_of(app)
    destinations.destinations_of(other)

    def renewed() -> float:
        labels = {"result": "renewed"}
        return prometheus_client.REGISTRY.get_sample_value("redislock_renewals_total", labels) or 0

    before = renewed()
    receivers.hear_of_the_engine(events.Renewed("renewed", 0.0))

    assert renewed() == before + 1


def test_without_the_setting_nothing_is_counted() -> None:
    assert prometheus.destination_of(application(NOWHERE)) is None


WITHOUT = """
import sys
import redis
from celery import Celery

# redis-py imports what it finds of OpenTelemetry.
redis.Redis.from_url("redis://localhost:1")
before = set(sys.modules)
from celery_redislock import locked_task
from celery_redislock.observing import destinations, serving
from celery_redislock.worker import start

app = Celery("app", broker="memory://", backend="cache+memory://")
app.conf.redislock_url = "redis://localhost:1"

@locked_task(app=app)
def task(): ...

destinations.destinations_of(app)
serving.serve_worker(app)
print([name for name in set(sys.modules) - before if name.startswith(("prometheus", "opentelemetry"))])
"""


def test_without_the_setting_nothing_is_imported() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert ran.stdout.strip() == "[]"


# -- a worker's start


def start(app: Celery, pool: type[Any]) -> MetricsStep:
    return MetricsStep(SimpleNamespace(app=app, pool_cls=pool))


def test_a_worker_with_children_needs_the_directory(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="PROMETHEUS_MULTIPROC_DIR"):
        start(app, Prefork)


def test_a_worker_without_children_needs_none(app: Celery) -> None:
    start(app, Solo)


def test_a_worker_without_metrics_needs_none() -> None:
    start(application(NOWHERE), Prefork)


def test_a_directory_that_was_named_too_late_is_none(
    app: Celery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(prometheus.DIRECTORY, str(tmp_path))

    with pytest.raises(ConfigurationError, match="before the worker starts"):
        start(app, Prefork)


@pytest.mark.parametrize(
    "setting",
    [{"redislock_metrics": ["x"]}, {"redislock_metrics_port": "x"}, {"redislock_events": "x"}],
    ids=str,
)
def test_a_wrong_setting_stops_a_worker(app: Celery, setting: dict[str, Any]) -> None:
    app.conf.update(setting)

    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        start(app, Solo)


# -- the numbers of the dead


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, app: Celery) -> Callable[[int], Path]:
    """Have the numbers in files, as in a worker with children; make the file of a process."""
    prometheus.destination_of(app)
    monkeypatch.setattr(prometheus, "counts_in_files", lambda: True)
    monkeypatch.setenv(prometheus.DIRECTORY, str(tmp_path))

    def file_of(pid: int) -> Path:
        (tmp_path / f"counter_{pid}.db").touch()
        path = tmp_path / f"gauge_livesum_{pid}.db"
        path.touch()
        return path

    return file_of


def test_the_numbers_of_a_child_that_has_died_are_forgotten(
    in_files: Callable[[int], Path], app: Celery
) -> None:
    dead, alive = in_files(11), in_files(os.getpid())

    counts = prometheus.destination_of(app)
    assert counts is not None
    counts.hear(events.ChildDied(app, 11))

    assert not dead.exists()
    assert alive.exists()


def test_those_of_a_worker_that_ended_unnoticed_are_forgotten_too(in_files: Callable[[int], Path]) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    dead, alive = in_files(ended.pid), in_files(os.getpid())

    prometheus.forget_the_dead()

    assert not dead.exists()
    assert alive.exists()
    assert (dead.parent / f"counter_{ended.pid}.db").exists(), "what it counted stays"


# -- serving


@pytest.fixture
def _served_no_more() -> Iterator[None]:
    yield
    serving.end()


def scrape() -> str:
    port = serving._servers[-1].server_address[1]
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read(), "utf-8")


@pytest.mark.usefixtures("_served_no_more")
def test_a_worker_without_children_serves_its_own(app: Celery) -> None:
    app.conf.redislock_metrics_port = 0
    (counts,) = (each for each in destinations.destinations_of(app) if isinstance(each, Counts))

    serving.serve_worker(app)
    counts.hear(events.Lost(app.tasks["a"], "id", None, "forced", "by hand"))

    lines = scrape().splitlines()
    assert 'redislock_lost_total{reason="forced",task="a"} 1.0' in lines or (
        'redislock_lost_total{task="a",reason="forced"} 1.0' in lines
    )
    assert 'redislock_running{task="a"} 0.0' in lines


@pytest.mark.usefixtures("_served_no_more")
def test_a_beat_serves_its_ticks(app: Celery) -> None:
    app.conf.redislock_metrics_port = 0
    (counts,) = (each for each in destinations.destinations_of(app) if isinstance(each, Counts))
    serving.serve_beat(SimpleNamespace(app=app))

    counts.hear(events.Led(app, "beat", leads=True))
    counts.hear(events.Ticked(app, "minutely", "a", "2026-01-01T00:00:00+00:00", "sent", 60.0))

    lines = scrape().splitlines()
    assert 'redislock_beat_leader{beat="beat"} 1.0' in lines
    assert 'redislock_beat_ticks_total{entry="minutely",result="sent"} 1.0' in lines
    assert 'redislock_schedule_interval_seconds{entry="minutely",task="a"} 60.0' in lines


@pytest.mark.usefixtures("_served_no_more")
def test_a_port_that_is_taken_is_said_in_one_line(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        app.conf.redislock_metrics_port = other.getsockname()[1]
        with caplog.at_level(logging.WARNING):
            serving.serve_worker(app)

    (said,) = caplog.messages
    assert said.startswith(
        f"locks: no metrics are served: port {app.conf.redislock_metrics_port} cannot be had"
    )
    assert serving._servers == []


@pytest.mark.usefixtures("_served_no_more")
def test_without_a_port_nothing_is_served(app: Celery) -> None:
    serving.serve_worker(app)

    assert serving._servers == []
