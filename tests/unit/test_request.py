"""Request: what a worker tells of the runs that it has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from celery import Celery

from celery_redislock import LockedRequest

from .applications import locked


def view(task: Any, *args: Any) -> dict[str, Any]:
    """Return what the request of this call would tell."""
    request: Any = SimpleNamespace(
        task=task,
        args=args,
        kwargs={},
        name=task.name,
        id="an id",
        worker_pid=1,
        time_start=2.0,
        _request_dict={},
    )
    return LockedRequest.lock_view(request)


def test_a_worker_tells_which_lock_a_run_has(app: Celery) -> None:
    task = locked(app, lambda: None, name="t")

    assert view(task) == {"lock": "redislock:t", "task": "t", "id": "an id", "pid": 1, "since": 2.0}


def test_a_run_whose_arguments_give_no_name_does_not_hide_the_others(app: Celery) -> None:
    def no_name(number: int) -> str:
        raise ZeroDivisionError

    task = locked(app, lambda number: None, name="t", lock_key=no_name)

    assert view(task, 1)["lock"] is None
    assert view(task)["lock"] is None
