"""Several keys: however a run with two locks ends, both are free, and not before."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from celery import chain

from celery_redislock import RedisLock, locked_batch

from ...support.deadlines import eventually
from .stage import Stage, new_key, stage_with_worker
from .test_deaths import LOST_WORKER, NOTICED


@pytest.fixture(scope="module")
def stage(store: str) -> Iterator[Stage]:
    """Give a worker for this module."""
    with stage_with_worker(store, "several-keys", concurrency=6) as stage:
        yield stage


def names(stage: Stage, key: str) -> tuple[str, str]:
    """Return the Redis keys of both locks."""
    first, second = stage.app.tasks["two"].lock_names(key)
    return first, second


def are_free(stage: Stage, key: str, within: float) -> None:
    """Return when nobody has one of the locks."""
    eventually(lambda: not stage.locks.exists(*names(stage, key)), within, "both locks should be free")


def are_held(stage: Stage, key: str) -> None:
    """Compare both locks with those of a run that goes on."""
    assert stage.locks.exists(*names(stage, key)) == 2, "a lock of the run is missing"


@pytest.mark.parametrize("way", ["SIGKILL", "os._exit"])
def test_both_locks_of_a_dead_child_are_free_soon(stage: Stage, way: str) -> None:
    key = new_key()
    if way == "SIGKILL":
        result = stage.hold("two", key, ["beat", 60])
        are_held(stage, key)
        os.kill(stage.begun(key, result)["pid"], signal.SIGKILL)
    else:
        result = stage.hold("two", key, ["die", way])

    are_free(stage, key, NOTICED)

    stage.runs_equal("two", key)
    assert stage.state_of(result, 20) == LOST_WORKER
    assert stage.journal.overlaps(key) == 0


def test_a_child_that_dies_while_it_waits_for_the_second_lock_leaves_the_first_and_the_line(
    stage: Stage, store: str
) -> None:
    key = new_key()
    first, second = names(stage, key)
    other = RedisLock(stage.locks, second, 60)
    assert other.acquire()
    stage.send("two", key, ["give", 1], lock={"wait": 60})
    line = f"redislock.waiters:{{{second}}}"
    eventually(lambda: stage.locks.zcard(line) == 1, 20, "the run should wait")
    holder = RedisLock(stage.locks, first).holder()
    assert holder is not None

    os.kill(int(holder.metadata["pid"]), signal.SIGKILL)

    eventually(lambda: not stage.locks.exists(first), NOTICED, "the first lock should be free")
    eventually(lambda: stage.locks.zcard(line) == 0, NOTICED, "nobody should wait")
    assert other.release()
    stage.runs_equal("two", key)


def test_both_locks_of_a_terminated_run_are_free_when_it_has_ended(stage: Stage) -> None:
    key = new_key()
    result = stage.hold("two", key, ["beat", 60])

    stage.app.control.revoke(result.id, terminate=True)

    are_free(stage, key, NOTICED)
    stage.runs_equal("two", key)


@pytest.mark.parametrize(("step", "state"), [(["give", 1], "SUCCESS"), (["raise"], "FAILURE")])
def test_both_locks_are_free_when_a_run_has_ended(stage: Stage, step: list[Any], state: str) -> None:
    key = new_key()
    result = stage.send("two", key, step)

    eventually(lambda: result.state == state, 20)

    are_free(stage, key, 2)


def test_a_message_that_is_delivered_again_runs_beside_no_lock_of_its_first_run(stage: Stage) -> None:
    """It is put off while the first run lives, and dropped when that has ended."""
    key = new_key()
    result = stage.hold("late_two", key, ["beat", 3], ["give", 7], lock={"ttl": 2})

    stage.deliver_again(stage.message_of(result))
    stage.journal.wait_for(key, "ended", id=result.id)

    assert result.get(timeout=20) == 7
    eventually(lambda: "had finished: dropped" in stage.worker.log(), 20, "the copy should be dropped")
    assert len(stage.journal.entries(key, "begun")) == 1
    are_free(stage, key, 2)


def test_the_member_of_a_batch_takes_the_lock_that_the_batch_does_not_hold(stage: Stage) -> None:
    key = new_key()
    of_batch = f"two:{key}:a"
    member = stage.sig("two", key, ["beat", 0.5], ["give", 3])

    result = locked_batch(chain(member), lock_key=of_batch).apply_async()
    stage.journal.wait_for(key, "begun")
    are_held(stage, key)

    assert result.get(timeout=20) == 3
    are_free(stage, key, 5)
