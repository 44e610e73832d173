"""Instrumentations: Sentry's and OpenTelemetry's own for Celery see each error once, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import TaskRevokedError

from celery_redislock import LockBusy, LockKeyError, StoreUnavailable
from celery_redislock.messages.headers import COPY_HEADER, attempts_value

from ...support.deadlines import eventually
from .traced import Traced


def errors_in(span: dict[str, Any]) -> list[str]:
    """Return the names of the errors in a span."""
    events = [event for event in span["events"] if event["name"] == "exception"]
    return [event["attributes"]["exception.type"].rpartition(".")[2] for event in events]


def is_one_error_in_both(traced: Traced, result: Any, error: type[Exception]) -> None:
    """Check that both were told of one error in a run, whose end was waited for."""
    (run,) = traced.runs(result.id)

    assert run["status"]["status_code"] == "ERROR"
    assert errors_in(run) == [error.__name__]
    assert eventually(lambda: traced.sentry_events(result.id)) == [error.__name__]


def is_no_error_in_either(traced: Traced, task_id: str, at_least: int = 1) -> list[dict[str, Any]]:
    """Check that nobody was told of an error in the runs of a task, and return their spans, in order."""
    spans = traced.runs(task_id, at_least)

    assert {span["status"]["status_code"] for span in spans} == {"UNSET"}
    assert [error for span in spans for error in errors_in(span)] == []
    # Sentry sends in the thread of the run, before OpenTelemetry ends its span.
    assert traced.sentry_events(task_id) == []
    return spans


def outcome(span: dict[str, Any]) -> Any:
    return span["attributes"].get("redislock.outcome")


def test_a_busy_lock_that_fails_a_run_is_one_error_in_both(traced: Traced) -> None:
    task = traced.task("busy")
    with task.lock_for():
        result = task.delay()
        with pytest.raises(LockBusy):
            result.get(timeout=20)

    is_one_error_in_both(traced, result, LockBusy)
    assert outcome(traced.runs(result.id)[0]) == "fail"


def test_a_call_without_a_name_is_one_error_in_both(traced: Traced) -> None:
    result = traced.task("nameless").delay({"no": "id"})
    with pytest.raises(LockKeyError):
        result.get(timeout=20)

    is_one_error_in_both(traced, result, LockKeyError)


def test_a_skip_is_no_error_in_either(traced: Traced, tmp_path: Path) -> None:
    task = traced.task("holds")
    with task.lock_for(1, ""):
        result = task.delay(1, "")
        with pytest.raises(TaskRevokedError):
            result.get(timeout=20)

    assert [outcome(run) for run in is_no_error_in_either(traced, result.id)] == ["skip"]


def test_a_retry_after_a_conflict_is_no_error_in_either(traced: Traced) -> None:
    task = traced.task("retried")
    with task.lock_for():
        result = task.delay()
        traced.runs(result.id)
    result.get(timeout=20)

    met, *_, ran = is_no_error_in_either(traced, result.id, at_least=2)
    assert (outcome(met), outcome(ran)) == ("retry", "at_once")


def test_a_copy_that_is_put_off_is_no_error_in_either(traced: Traced, tmp_path: Path) -> None:
    until = tmp_path / "until"
    task = traced.task("holds")
    first = task.delay(2, str(until))
    eventually(lambda: task.lock_for(2, "").locked())
    task.apply_async((2, str(until)), task_id=first.id, headers={COPY_HEADER: attempts_value(1, 0.0)})
    (put_off,) = traced.runs(first.id)
    until.touch()
    first.get(timeout=20)

    assert outcome(put_off) == "put_off"
    is_no_error_in_either(traced, first.id, at_least=2)


def test_a_redis_that_is_away_is_one_error_in_both(traced: Traced) -> None:
    traced.locks.kill()
    try:
        result = traced.task("away").delay()
        with pytest.raises(StoreUnavailable):
            result.get(timeout=20)
    finally:
        traced.locks.start()
        traced.find_the_locks_again()

    is_one_error_in_both(traced, result, StoreUnavailable)
