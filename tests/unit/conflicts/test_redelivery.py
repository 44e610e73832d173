"""Redelivery: which run may have the lock itself that it meets, and which counts as any other."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celery_redislock import RedisLock
from celery_redislock.messages.celery_exceptions import Done, PutOff, Skipped
from celery_redislock.messages.headers import (
    COPY_HEADER,
    OUTAGE_HEADER,
    PUT_OFF_HEADER,
    attempts_in,
    attempts_value,
)
from celery_redislock.task.run import finish

from ...support.applications import locked


class Published:
    """What a task publishes again."""

    def __init__(self, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.headers: list[dict[str, Any]] = []
        monkeypatch.setattr(
            type(task), "apply_async", lambda *_, **options: self.headers.append(options["headers"])
        )


def begin(task: Any, **facts: Any) -> None:
    """Begin a run of this request."""
    task.push_request(**{"id": "mine", "args": (), "kwargs": {}, "headers": {}, "is_eager": False, **facts})
    try:
        task.before_start("mine", (), {})
    finally:
        finish(task)
        task.pop_request()


#: What is delivered -> under which header it is put off.
ITS_OWN: dict[str, tuple[dict[str, Any], str]] = {
    "redelivered": ({"delivery_info": {"redelivered": True}}, COPY_HEADER),
    "a copy that comes again": ({"headers": {COPY_HEADER: attempts_value(3, 40.5)}}, COPY_HEADER),
    "a retry": ({"retries": 1}, PUT_OFF_HEADER),
    "a replacement": ({"replaced_task_nesting": 1}, PUT_OFF_HEADER),
    "after an outage": ({"headers": {OUTAGE_HEADER: {"count": 1}}}, PUT_OFF_HEADER),
    "put off before": ({"headers": {PUT_OFF_HEADER: attempts_value(1, 20.0)}}, PUT_OFF_HEADER),
}


@pytest.fixture
def task(app: Celery) -> Any:
    return locked(app, lambda: None, name="t")


@pytest.mark.parametrize("case", ITS_OWN)
def test_what_may_meet_its_own_lock_is_put_off(
    app: Celery, task: Any, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, header = ITS_OWN[case]
    published = Published(task, monkeypatch)
    with holding(task, "mine"), pytest.raises(PutOff):
        begin(task, **facts)

    count, waited_s = attempts_in(facts.get("headers"), header)
    again, waited_again_s = attempts_in(published.headers[0], header)
    assert again == count + 1
    assert 29 < waited_again_s - waited_s < 31
    assert len({COPY_HEADER, PUT_OFF_HEADER} & published.headers[0].keys()) == 1


@pytest.mark.parametrize(
    "headers", [{}, {"redislock_retry": {"count": 1}}, {"redislock_pending": {"triggered_us": 1}}]
)
def test_another_call_with_the_same_id_follows_the_policy(task: Any, headers: dict[str, Any]) -> None:
    with holding(task, "mine"), pytest.raises(Skipped):
        begin(task, headers=headers)


@pytest.mark.parametrize("case", ITS_OWN)
def test_only_a_copy_is_dropped_when_its_id_was_finished(task: Any, case: str) -> None:
    facts, header = ITS_OWN[case]
    lock = holding(task, "mine")
    assert lock.acquire()
    assert lock.release(done="mine")

    if header == COPY_HEADER:
        with pytest.raises(Done):
            begin(task, **facts)
    else:
        begin(task, **facts)


def test_a_copy_stays_one_when_it_meets_another_lock_and_comes_again(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = locked(app, lambda: None, name="t", lock_on_conflict="retry")
    published = Published(task, monkeypatch)
    with holding(task, "another"), pytest.raises(Exception, match="busy"):
        begin(task, delivery_info={"redelivered": True})

    assert COPY_HEADER in published.headers[0]


def holding(task: Any, task_id: str) -> RedisLock:
    """Return the lock of the task as a run of this id has it."""
    lock: RedisLock = task.lock_for()
    return RedisLock(lock.redis_client, lock.name, expire=30, metadata={"task": "t", "id": task_id})
