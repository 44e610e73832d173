"""What becomes of a batch that a worker publishes later, when that goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from celery.result import AsyncResult

from celery_redislock import RedisLock

from ...support.deadlines import eventually
from . import batch_app
from .batch_app import batch_of, one, shapes
from .conftest import QUEUE, BatchStage, recorded_starts

# Celery's own, with redis-py 8, where a result is stored.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")


def start_of(stage: BatchStage, key: str, **options: Any) -> tuple[AsyncResult[Any], list[Any]]:
    """Have a batch of three meet its lock; return its result, and what `start_batch` is called with."""
    lock = RedisLock(stage.locks, stage.key(key), expire=60)
    assert lock.acquire()
    with recorded_starts() as starts:
        result = batch_of(key, shapes(key)["chain"], lock_on_conflict="retry").apply_async(**options)
    assert lock.release()
    return result, starts[0]


def start(arguments: list[Any]) -> AsyncResult[Any]:
    return batch_app.app.tasks["celery_redislock.start_batch"].apply_async(arguments, queue=QUEUE)


def test_a_start_that_cannot_reach_the_lock_comes_again_until_it_can(stage: BatchStage) -> None:
    result, arguments = start_of(stage, "away")
    stage.locks.rpush(stage.key("away"), "Redis refuses to take this for a lock")

    sent = start(arguments)
    stage.worker.wait_for_log(f"celery_redislock.start_batch[{sent.id}] is published again, to run in")
    stage.locks.delete(stage.key("away"))

    assert result.get(timeout=20) is not None
    stage.is_freed("away")


def test_a_grant_that_nobody_knows_of_delays_the_batch_and_does_not_lose_it(stage: BatchStage) -> None:
    """The reply to an earlier start was lost, or its worker was killed before it published anything."""
    result, arguments = start_of(stage, "unknown")
    granted = RedisLock(stage.locks, stage.key("unknown"), expire=1.5, metadata={"id": str(result.id)})
    assert granted.acquire()

    start(arguments)

    assert result.get(timeout=20) is not None
    assert len(stage.journal.entries("begun", batch="unknown")) == 3
    stage.is_freed("unknown")


def test_a_batch_that_cannot_be_published_ends_as_failed_and_gives_the_lock_back(stage: BatchStage) -> None:
    result, arguments = start_of(stage, "unpublishable", serializer="no such serializer")

    start(arguments)

    eventually(lambda: result.state == "FAILURE", 20, "no result of it may stay PENDING")
    assert "no such serializer" in str(result.result)
    stage.is_freed("unpublishable")


def test_one_task_that_is_started_later_runs_too(stage: BatchStage) -> None:
    lock = RedisLock(stage.locks, stage.key("single"), expire=60)
    assert lock.acquire()
    result = batch_of("single", one("single", ["give", 1]), lock_on_conflict="retry").delay()
    assert lock.release()

    assert result.get(timeout=20) == 1
    stage.is_freed("single")
