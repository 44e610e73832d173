"""Signals: what a receiver raises stays there; what interrupts the run meanwhile does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded

from celery_redislock import LockLost, RedisLock, events
from celery_redislock.signals import lock_acquired, lock_conflict, lock_released

from ..support.applications import busy, locked


@contextmanager
def received_by(signal: Any, receiver: Callable[..., object]) -> Iterator[None]:
    """Have a receiver connected."""
    signal.connect(receiver, weak=False)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def raising(error: Exception) -> Callable[..., object]:
    """Return a receiver in which an error is raised."""

    def receiver(**_: Any) -> None:
        raise error

    return receiver


@pytest.mark.parametrize("error", [ValueError("it is broken"), LockLost("another", "it is not held")])
def test_what_a_receiver_raises_does_not_reach_the_run(app: Celery, error: Exception) -> None:
    task = locked(app, lambda: "done", name="t")

    with received_by(lock_acquired, raising(error)), received_by(lock_released, raising(error)):
        assert task.apply().get() == "done"


def test_a_soft_time_limit_that_strikes_in_a_receiver_ends_the_run(app: Celery) -> None:
    ran: list[str] = []
    task = locked(app, lambda: ran.append("body"), name="t")

    with received_by(lock_acquired, raising(SoftTimeLimitExceeded())):
        ended = task.apply()

    assert isinstance(ended.result, SoftTimeLimitExceeded)
    assert ran == []
    assert not task.lock_for().locked()


def test_a_soft_time_limit_that_strikes_after_the_body_is_too_late(app: Celery) -> None:
    task = locked(app, lambda: "done", name="t")

    with received_by(lock_released, raising(SoftTimeLimitExceeded())):
        assert task.apply().get() == "done"

    assert not task.lock_for().locked()


def test_a_soft_time_limit_that_strikes_while_a_conflict_is_told_ends_the_call(app: Celery) -> None:
    task = locked(app, lambda: "done", name="t", lock_mode="shadow")

    with busy(task), received_by(lock_conflict, raising(SoftTimeLimitExceeded())):
        assert isinstance(task.apply().result, SoftTimeLimitExceeded)


def test_a_loss_that_strikes_in_a_listener_ends_the_body(app: Celery) -> None:
    went_on: list[str] = []
    is_slow = events.Renewed("renewed", 0.0)

    def body(self: Any) -> None:
        RedisLock(self.lock.redis_client, self.lock.name).force_release()
        events.tell(is_slow)
        went_on.append("body")

    def slow(event: events.Renewed) -> None:
        if event is is_slow:
            time.sleep(20)

    task = locked(app, body, name="t", bind=True, lock_ttl=0.6)
    events.listen(events.Renewed, slow)
    try:
        ended = task.apply()
    finally:
        events.unlisten(events.Renewed, slow)

    assert isinstance(ended.result, LockLost)
    assert went_on == []
