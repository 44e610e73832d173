"""Scheduled runs: plain tasks of the schedule tell how long they took; no other task is touched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, Task, signals

from celery_redislock.events import Ran, listen, unlisten
from celery_redislock.worker.scheduled_runs import watch, watch_scheduled

from ...support.applications import locked, with_own_tasks


@pytest.fixture
def ran() -> Iterator[list[Ran]]:
    """Give the runs that are told."""
    told: list[Ran] = []
    listen(Ran, told.append)
    yield told
    unlisten(Ran, told.append)


def plain(app: Celery, name: str, body: Any, **options: Any) -> Any:
    """Return a task without a lock."""
    body.__name__ = "body"  # Celery writes a function of this name
    return app.task(body, name=name, shared=False, lazy=False, **options)


def fail() -> None:
    raise ValueError("as some do")


@pytest.fixture
def scheduled(app: Celery) -> Celery:
    """Give an app with a locked task, and a schedule."""
    locked(app, lambda: None, name="locked")
    names = ("plain", "failing", "hooked", "locked", "unknown")
    app.conf.beat_schedule = {name: {"task": name, "schedule": 60} for name in names}
    return app


def test_a_plain_task_of_the_schedule_tells_its_runs(scheduled: Celery, ran: list[Ran]) -> None:
    tasks = [plain(scheduled, "plain", lambda: "done"), plain(scheduled, "failing", fail)]
    watch(scheduled)

    for task in tasks:
        task.apply(task_id="an-id")

    assert [(event.task.name, event.task_id, event.state) for event in ran] == [
        ("plain", "an-id", "returned"),
        ("failing", "an-id", "failed"),
    ]
    assert all(event.run_s >= 0 for event in ran)


def test_hooks_of_its_own_are_called_as_before(scheduled: Celery, ran: list[Ran]) -> None:
    called: list[str] = []

    class Hooked(Task):  # type: ignore[type-arg]
        def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
            called.append("before")

        def after_return(self, status: str, retval: Any, task_id: str, *args: Any) -> None:
            called.append(f"after {status} {retval}")

    task = plain(scheduled, "hooked", lambda: "done", base=Hooked)
    watch(scheduled)

    task.apply()

    assert called == ["before", "after SUCCESS done"]
    assert len(ran) == 1


def test_a_task_in_no_schedule_pays_nothing(scheduled: Celery, ran: list[Ran]) -> None:
    before = {name: list(getattr(signals, name).receivers) for name in ("task_prerun", "task_postrun")}
    task = plain(scheduled, "other", lambda: None)

    watch(scheduled)
    task.apply()

    assert ran == []
    assert type(task).before_start is Task.before_start
    assert type(task).after_return is Task.after_return
    assert before == {name: list(getattr(signals, name).receivers) for name in before}


def test_a_locked_task_is_counted_by_its_lock(scheduled: Celery, ran: list[Ran]) -> None:
    watch(scheduled)

    scheduled.tasks["locked"].apply()

    assert ran == []


def test_an_app_without_a_locked_task_is_left_alone(app: Celery, ran: list[Ran]) -> None:
    """There the package is only installed."""
    app = with_own_tasks(app)
    app.conf.beat_schedule = {"plain": {"task": "plain", "schedule": 60}}
    task = plain(app, "plain", lambda: None)

    watch(app)

    assert type(task).before_start is Task.before_start


def test_who_is_watched_twice_tells_once(scheduled: Celery, ran: list[Ran]) -> None:
    task = plain(scheduled, "plain", lambda: None)
    for _ in range(2):
        watch(scheduled)

    task.apply()

    assert len(ran) == 1


def test_a_worker_watches_before_celery_looks_at_the_hooks() -> None:
    connected = [receiver[1] for receiver in signals.celeryd_after_setup.receivers]

    assert watch_scheduled in connected
