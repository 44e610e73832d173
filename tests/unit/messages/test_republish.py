"""Republish: a task that comes again is published once, and its next run has the last word."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery
from celery.app.trace import build_tracer
from celery.signals import before_task_publish

from celery_redislock.messages.headers import COPY_HEADER, attempts_value

from ...support.applications import busy, locked
from ...support.servers import free_port


class Published:
    """What is published while a test runs; `then` is done at each publication, with the task's id."""

    def __init__(self) -> None:
        self.headers: list[dict[str, Any]] = []
        self.then: Any = lambda task_id: None

    def __call__(self, headers: dict[str, Any], **_: Any) -> None:
        self.headers.append(headers)
        self.then(headers["id"])


@pytest.fixture
def published() -> Iterator[Published]:
    """Listen to what is published."""
    listener = Published()
    before_task_publish.connect(listener)
    yield listener
    before_task_publish.disconnect(listener)


def deliver(task: Any) -> str:
    """Run the task as the child of a worker does; return its id."""
    task_id = uuid4().hex
    request = {
        "id": task_id,
        "ignore_result": task.ignore_result,
        "delivery_info": {"exchange": "", "routing_key": "celery"},
    }
    build_tracer(task.name, task, app=task.app)(task_id, (), {}, request)
    return task_id


def test_the_state_retry_is_stored_before_the_message_goes_out(app: Celery, published: Published) -> None:
    task = locked(app, lambda: None, name="t", lock_on_conflict="retry")
    states: list[str] = []
    published.then = lambda task_id: states.append(app.AsyncResult(task_id).state)

    with busy(task):
        deliver(task)

    assert states == ["RETRY"]


def test_a_quick_second_run_has_the_last_word_after_a_conflict(app: Celery, published: Published) -> None:
    """It ends, here even before its publication has returned: its result must not become RETRY again."""
    task = locked(app, lambda: None, name="t", lock_on_conflict="retry")
    published.then = lambda task_id: app.backend.mark_as_failure(task_id, ValueError("the second run"))

    with busy(task):
        task_id = deliver(task)

    assert app.AsyncResult(task_id).state == "FAILURE"


def test_a_quick_second_run_has_the_last_word_after_an_outage(app: Celery, published: Published) -> None:
    app.conf.redislock_url = f"redis://127.0.0.1:{free_port()}/0"
    task = locked(app, lambda: None, name="t")
    published.then = lambda task_id: app.backend.mark_as_failure(task_id, ValueError("the second run"))

    task_id = deliver(task)

    assert len(published.headers) == 1
    assert app.AsyncResult(task_id).state == "FAILURE"


def test_results_that_cannot_be_stored_do_not_lose_the_task(
    app: Celery, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no result backend")

    task = locked(app, lambda: None, name="t", lock_on_conflict="retry")
    monkeypatch.setattr(app.backend, "mark_as_retry", refuse)

    with busy(task):
        deliver(task)

    assert len(published.headers) == 1


def test_a_task_that_ignores_results_stores_no_retry(app: Celery, published: Published) -> None:
    task = locked(app, lambda: None, name="t", lock_on_conflict="retry", ignore_result=True)

    with busy(task):
        task_id = deliver(task)

    assert len(published.headers) == 1
    assert app.AsyncResult(task_id).state == "PENDING"


def test_a_lock_lost_before_the_body_begins_brings_the_task_again(
    app: Celery, client: redis.Redis, published: Published
) -> None:
    """Nothing was done yet, so nothing has failed."""
    ran: list[str] = []

    def lose_it(self: Any, *_: object) -> None:
        client.delete(self.lock.name)
        assert not self.lock.renew()

    task = locked(app, lambda: ran.append("body"), name="t", before_start=lose_it)

    task_id = deliver(task)

    assert ran == []
    assert [headers["id"] for headers in published.headers] == [task_id]
    assert published.headers[0][COPY_HEADER] == attempts_value(1, 0)
    assert app.AsyncResult(task_id).state == "PENDING"
    assert not client.exists("redislock:t")
