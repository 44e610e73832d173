"""Request: what a worker tells of the runs that it has."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery
from celery.worker.request import Request

from celery_redislock import LockedRequest
from celery_redislock.messages.headers import TOKEN_HEADER
from celery_redislock.pending import replacement

from ...support.applications import locked


def request_of(task: Any, *args: Any) -> Any:
    """Return the request of a call, as the worker's parent has it while it runs."""
    request: Any = LockedRequest.__new__(LockedRequest)
    request._task, request._args, request._kwargs = task, args, {}
    request.name, request.id = task.name, "an id"
    request._request_dict = {TOKEN_HEADER: "a token"}
    request.time_start, request.worker_pid, request._apply_result = 2.0, 1, None
    return request


def view(task: Any, *args: Any) -> dict[str, Any]:
    """Return what the request of this call tells."""
    told: dict[str, Any] = request_of(task, *args).lock_view()
    return told


def test_a_worker_tells_which_lock_a_run_has(app: Celery) -> None:
    task = locked(app, lambda: None, name="t")

    facts = {"task": "t", "id": "an id", "pid": 1, "since": 2.0}
    assert view(task) == {"lock": "redislock:t", "locks": ["redislock:t"], **facts}


def test_a_run_whose_arguments_give_no_name_does_not_hide_the_others(app: Celery) -> None:
    def no_name(number: int) -> str:
        raise ZeroDivisionError

    task = locked(app, lambda number: None, name="t", lock_key=no_name)

    assert view(task, 1)["lock"] is None
    assert view(task)["lock"] is None


def test_a_terminated_run_names_its_successor_though_that_has_begun_by_then(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the pool waits for the end of a run, its lock is free and taken before the end is announced."""
    asked_to_stop, announced = ["superseded by another"], []
    monkeypatch.setattr(replacement, "reason_to_stop", lambda *_: asked_to_stop[0])
    monkeypatch.setattr(Request, "_announce_revoked", lambda self, reason, *_: announced.append(reason))

    class Pool:
        def terminate_job(self, pid: int, signal: Any) -> None:
            asked_to_stop[0] = ""

    request_of(locked(app, lambda: None, name="t")).terminate(Pool())

    assert announced == ["superseded by another"]
