"""Marked messages: a process listens to `task_postrun` from the first one on."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer

from celery_redislock.config.provider import provider_of
from celery_redislock.messages.headers import TICKET_HEADER, ticket_value
from celery_redislock.publish_lock.record import PublishLock
from celery_redislock.worker import marked_messages

from ...support.applications import locked

TICKET = ticket_value("an id", "redislock:other", "7" * 32)


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Give what is called after each run, in a process that has met no marked message."""
    receivers = signals.task_postrun.receivers
    before = list(receivers)
    receivers[:] = []
    monkeypatch.setattr(marked_messages, "_listens", False)
    yield receivers
    receivers[:] = before


def run_by_worker(task: Any, **headers: Any) -> None:
    """Run the message of a task as a worker's process does."""
    request = {"id": "an id", "delivery_info": {}, "args": [], "kwargs": {}, **headers}
    build_tracer(task.name, task, app=task.app)("an id", (), {}, request)


def body() -> None:
    pass


def plain(app: Celery) -> Any:
    task = app.task(body, name="plain", lazy=False, shared=False)
    marked_messages.watch(type(task))
    return task


@pytest.mark.parametrize("options", [None, {}, {"lock_mode": "off"}])
def test_other_runs_call_nothing_at_their_end(
    app: Celery, unheard: list[Any], options: dict[str, Any] | None
) -> None:
    task = plain(app) if options is None else locked(app, body, name="t", **options)

    run_by_worker(task, redislock_name="redislock:t", redislock_named="t an id")

    assert unheard == []


@pytest.mark.parametrize("options", [None, {}, {"lock_mode": "off"}])
def test_the_first_with_a_publish_lock_gives_it_back(
    app: Celery, unheard: list[Any], options: dict[str, Any] | None
) -> None:
    task = plain(app) if options is None else locked(app, body, name="t", **options)
    publish_lock = PublishLock(provider_of(app).client, "redislock:other")
    publish_lock.take(TICKET["token"], "an id", 60_000)
    assert publish_lock.waiting() is not None

    run_by_worker(task, **{TICKET_HEADER: TICKET})

    assert publish_lock.waiting() is None
    assert unheard


def test_a_hook_looks_once() -> None:
    class Task:
        request = SimpleNamespace(headers=None)

        def before_start(self, *_: Any) -> str:
            return "own"

    assert marked_messages.watch(Task)
    assert not marked_messages.watch(Task)
    assert Task().before_start("an id", (), {}) == "own"
