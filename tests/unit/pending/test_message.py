"""Message: a call that is kept in Redis is the same call when it is taken out."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import ContentDisallowed

from celery_redislock.pending.message import run_of_signature, signature_of
from celery_redislock.pending.runs import PendingRun

from ...support.applications import locked


@pytest.fixture
def task(app: Celery) -> Any:
    return locked(app, lambda a, b: None, name="t")


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_call_comes_back_as_it_was(app: Celery, task: Any, serializer: str) -> None:
    app.conf.accept_content = ["json", "pickle"]
    options = {"task_id": "a", "priority": 3, "headers": {"tenant": "acme"}, "serializer": serializer}
    call = task.s("x", b="ü").set(**options)

    run = PendingRun.of_entry(run_of_signature(task, call, 7).entry())

    assert (run.task, run.id, run.triggered_us, run.expires) == ("t", "a", 7, False)
    again = signature_of(task, run)
    assert (again.task, list(again.args), again.kwargs) == ("t", ["x"], {"b": "ü"})
    assert again.options == options


@pytest.mark.parametrize(("of_the_task", "of_the_call"), [(60, {}), (None, {"expires": 5})])
def test_a_run_that_may_expire_says_so(
    app: Celery, of_the_task: int | None, of_the_call: dict[str, Any]
) -> None:
    task = locked(app, lambda: None, name="t", expires=of_the_task)

    assert run_of_signature(task, task.s().set(task_id="a", **of_the_call)).expires


def test_a_call_without_an_expiry_lasts_though_its_task_has_one(app: Celery) -> None:
    task = locked(app, lambda: None, name="t", expires=60)

    assert not run_of_signature(task, task.s().set(task_id="a", expires=None)).expires


def test_what_this_app_does_not_accept_is_not_read(app: Celery, task: Any) -> None:
    moment = datetime(2026, 11, 30, tzinfo=timezone.utc)
    run = run_of_signature(task, task.s(moment, 1).set(task_id="a", serializer="pickle"))
    app.conf.accept_content = ["json"]

    with pytest.raises(ContentDisallowed):
        signature_of(task, run)
