"""Withdrawal: every way in which a pending run can end before it begins lets the next one be pending."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery
from celery.signals import task_rejected, task_revoked, task_unknown

from celery_redislock import StoreUnavailable
from celery_redislock.messages.headers import PENDING_HEADER
from celery_redislock.pending.publish import publish_pending
from celery_redislock.pending.runs import PendingRuns
from celery_redislock.pending.withdrawal import withdraw_apart
from celery_redislock.worker import orphaned_locks

from ...support.applications import busy, locked
from ...support.deadlines import eventually

KEY = "redislock.pending:{redislock:t}"


class Consumer:
    """As much of Celery's as its signals need."""

    def __init__(self, app: Celery) -> None:
        self.app = app


class Line:
    """A run was published, and another stands back behind it."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.task = locked(
            app, lambda number: number, name="t", lock_args=(), lock_on_conflict="coalesce", lock_ttl=60
        )
        with busy(self.task, 1):
            self.back, self.published = self.task.apply((1,)), self.task.apply((2,))
        publish_pending(app, "redislock:t")
        self.message = self._message()
        assert self.message.headers["id"] == self.published.id

    @property
    def note(self) -> dict[str, Any]:
        return {PENDING_HEADER: self.message.headers[PENDING_HEADER]}

    def run(self, **lock: Any) -> Any:
        return self.task.apply((2,), task_id=self.published.id, headers=self.note, lock=lock or None)

    def moves_up(self) -> None:
        """The one that stood back is pending; while the lock is busy it is not published."""
        eventually(lambda: self.app_client.hexists(KEY, "next t"), message="it should be pending")
        assert not self.app_client.hexists(KEY, f"back t {self.back.id}")

    @property
    def app_client(self) -> Any:
        return self.task.lock_for(1).redis_client

    def _message(self) -> Any:
        with self.app.connection_for_read() as connection, connection.SimpleQueue("celery") as queue:
            message = queue.get(timeout=1)
            message.ack()
            return message


@pytest.fixture
def line(app: Celery, client: redis.Redis) -> Line:
    return Line(app)


def told_by_the_parent(line: Line, signal: Any) -> None:
    """Send what Celery sends of a message whose task does not begin."""
    headers = line.message.headers
    if signal is task_revoked:
        signal.send(sender=line.task, request=SimpleNamespace(**headers, args=(2,), kwargs={}))
    else:
        signal.send(sender=Consumer(line.app), message=line.message)


@pytest.mark.parametrize("signal", [task_revoked, task_unknown, task_rejected])
def test_a_message_that_the_worker_throws_away(line: Line, signal: Any) -> None:
    with busy(line.task, 1):
        told_by_the_parent(line, signal)
        line.moves_up()


def test_a_child_that_dies_before_it_has_its_lock(line: Line) -> None:
    with busy(line.task, 1):
        orphaned_locks.free_what_it_waited_with(line.app, line.message.headers)
        line.moves_up()


@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_run_that_ends_because_of_another_conflict(line: Line, policy: str) -> None:
    with busy(line.task, 1):
        assert line.run(on_conflict=policy).state == {"fail": "FAILURE", "skip": "REVOKED"}[policy]
        line.moves_up()


def test_a_run_that_begins_leaves_nobody_behind_and_is_not_withdrawn_by_its_failure(line: Line) -> None:
    line.task.run = lambda number: 1 // 0

    assert line.run().state == "FAILURE"

    assert line.app.AsyncResult(line.back.id).state == "REVOKED"
    assert not line.app_client.hexists(KEY, "next t")


def test_a_run_that_comes_again_is_not_withdrawn(line: Line) -> None:
    with busy(line.task, 1):
        assert line.run().state == "RETRY"

        assert line.app_client.hexists(KEY, f"back t {line.back.id}")


def test_redis_may_be_away_for_a_while(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    really, tried = PendingRuns.withdraw, []

    def away_at_first(self: PendingRuns, *args: Any) -> bool:
        tried.append(args)
        if len(tried) < 3:
            raise StoreUnavailable("redislock:t", "gone")
        return really(self, *args)

    monkeypatch.setattr(PendingRuns, "withdraw", away_at_first)
    with busy(line.task, 1):
        withdraw_apart(line.app, line.message.headers, pause_s=0.01)
        line.moves_up()


def test_a_message_of_ours_that_was_never_pending_asks_nothing_of_redis(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PendingRuns, "withdraw", lambda *_: pytest.fail("it asked"))
    headers = {name: value for name, value in line.message.headers.items() if name != PENDING_HEADER}

    task_unknown.send(sender=Consumer(line.app), message=SimpleNamespace(headers=headers))
    task_rejected.send(sender=Consumer(line.app), message=SimpleNamespace(headers=None))
