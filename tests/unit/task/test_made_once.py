"""A call with lock options of its own has one plan where it is published, one in each process of a worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery

from celery_redislock import LockedRequest
from celery_redislock.config.plan import Plan
from celery_redislock.engine import RedisLock

from ...support.applications import locked

OWN = {"ttl": 5}


@contextmanager
def plans_made() -> Iterator[list[str]]:
    """Give a list of the tasks for which a plan is made in this thread meanwhile."""
    made: list[str] = []
    here, complete = threading.get_ident(), Plan.__post_init__

    def counted(plan: Plan) -> None:
        if threading.get_ident() == here:
            made.append(plan.naming.task_name)
        complete(plan)

    # Not by a profile: Python 3.11 hangs in one while an exception is on its way to another thread.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "__post_init__", counted)
        yield made


def body(self: Any, number: int) -> int:
    return number


def retries(self: Any, number: int) -> None:
    raise self.retry(countdown=0)


def declared(app: Celery, function: Any = body, **options: Any) -> Any:
    return locked(app, function, name="t", bind=True, **options)


def received(app: Celery, task: Any) -> Any:
    """Take the message that waits, as a worker does, and return its request."""
    with app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
        message = queue.get_nowait()
        message.ack()
        return LockedRequest(message, app=app, task=task, hostname="a worker")


@pytest.mark.parametrize("scope", ["run", "queue", "task"])
def test_a_call_is_published_by_one_plan(app: Celery, scope: str) -> None:
    task = declared(app, lock_scope=scope)

    with plans_made() as made:
        task.apply_async((1,), lock=OWN)

    assert len(made) == 1, made


@pytest.mark.parametrize("scope", ["run", "queue", "task"])
def test_a_call_without_options_of_its_own_needs_no_other_plan_than_its_tasks(
    app: Celery, scope: str
) -> None:
    task = declared(app, lock_scope=scope)
    task.delay(0)
    received(app, task)

    with plans_made() as made:
        task.delay(1)
        received(app, task).execute()

    assert made == []


@pytest.mark.parametrize("scope", ["run", "queue", "task"])
def test_a_child_runs_a_message_by_one_plan(app: Celery, scope: str) -> None:
    task = declared(app, lock_scope=scope)
    task.apply_async((1,), lock=OWN)
    request = received(app, task)

    with plans_made() as made:
        request.execute()

    assert len(made) == 1, made


@pytest.mark.parametrize("scope", ["run", "queue", "task"])
def test_a_retry_needs_one_more_to_be_published(app: Celery, scope: str) -> None:
    task = declared(app, retries, lock_scope=scope)
    task.apply_async((1,), lock=OWN)
    request = received(app, task)

    with plans_made() as made:
        request.execute()

    assert received(app, task).id == request.id
    assert len(made) == 2, made


def test_so_does_what_comes_again_after_a_conflict(app: Celery) -> None:
    task = declared(app, lock_on_conflict="retry")
    task.apply_async((1,), lock=OWN)
    request = received(app, task)
    lock = task.lock_for(1)

    with RedisLock(lock.redis_client, lock.name), plans_made() as made:
        request.execute()

    assert received(app, task).id == request.id
    assert len(made) == 2, made


def test_the_parent_needs_none_until_somebody_asks_which_lock_a_run_has(app: Celery) -> None:
    task = declared(app)
    task.apply_async((1,), lock=OWN)

    with plans_made() as made:
        received(app, task)

    assert made == []


def test_then_one_serves_all_who_ask_and_the_release_for_a_dead_child(app: Celery) -> None:
    task = declared(app)
    task.apply_async((1,), lock=OWN)
    request = received(app, task)
    lock = task.lock_for(1)
    lock.attempt(token=request._request_dict["redislock_token"])

    with plans_made() as made:
        assert request.lock_view()["lock"] == request.lock_view()["lock"] == lock.name
        request._announce_revoked("terminated", True, "SIGKILL", False)
        request._release_orphan()

    assert not lock.redis_client.exists(lock.name)
    assert len(made) == 1, made
