"""Redelivery: which run may have the lock itself that it meets, and which counts as any other."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from celery import Celery

from celery_redislock import RedisLock, events
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
    # A copy: a run takes headers away.
    facts = {"headers": {}, **deepcopy(facts)}
    task.push_request(**{"id": "mine", "args": (), "kwargs": {}, "is_eager": False, **facts})
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


@pytest.fixture
def orphaned(task: Any) -> Iterator[list[events.Orphaned]]:
    """Give what is told of locks that were left behind."""
    # Other tests have ended a task of this id, in the memory of this process.
    task.backend.forget("mine")
    told: list[events.Orphaned] = []
    listener = told.append
    events.listen(events.Orphaned, listener)
    yield told
    events.unlisten(events.Orphaned, listener)
    task.backend.forget("mine")


def test_a_copy_tells_that_the_lease_of_the_first_run_has_ended(
    task: Any, orphaned: list[events.Orphaned]
) -> None:
    holding(task, "mine", expire=0.3).acquire()
    begin(task, delivery_info={"redelivered": True})

    (told,) = orphaned
    assert (told.task.name, told.task_id, told.lock_name, told.by) == ("t", "mine", task.lock_name(), "lease")


@pytest.mark.parametrize("case", ["a copy that comes again", "put off before"])
def test_what_was_put_off_tells_it_when_it_gets_the_lock(
    task: Any, case: str, orphaned: list[events.Orphaned]
) -> None:
    begin(task, **ITS_OWN[case][0])

    assert [told.by for told in orphaned] == ["lease"]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"delivery_info": {"redelivered": True}},
        {"headers": {OUTAGE_HEADER: attempts_value(1, 20.0)}},
        {"headers": {COPY_HEADER: attempts_value(1, 0.0)}},
    ],
    ids=["a first delivery", "a copy that did not wait", "after an outage", "lost before it began"],
)
def test_what_did_not_wait_for_its_own_lock_tells_nothing(
    task: Any, facts: dict[str, Any], orphaned: list[events.Orphaned]
) -> None:
    begin(task, **facts)

    assert orphaned == []


def test_a_copy_whose_task_has_ended_meanwhile_tells_nothing(
    task: Any, orphaned: list[events.Orphaned]
) -> None:
    """Another run was under the lock since, so the lock does not remember it; the result does."""
    task.backend.store_result("mine", ValueError("it failed"), "FAILURE")
    begin(task, headers={COPY_HEADER: attempts_value(1, 20.0)})

    assert orphaned == []


def holding(task: Any, task_id: str, expire: float = 30) -> RedisLock:
    """Return the lock of the task as a run of this id has it."""
    lock: RedisLock = task.lock_for()
    return RedisLock(lock.redis_client, lock.name, expire=expire, metadata={"task": "t", "id": task_id})
