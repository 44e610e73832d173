"""Runs: how a call that was published under a publish lock begins, waits, comes again and ends."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError
from celery.result import AsyncResult

from celery_redislock import LockBusy, RedisLock

from ...support.deadlines import eventually
from ...support.versions import not_with_5_4
from ..ends.stage import Stage, new_key, stage_with_worker

#: Celery's Redis backend stores with a command that redis-py calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

TASK = {"scope": "task"}
QUEUE = {"scope": "queue"}
SOON = {"scope": "task", "retry_delay": [0.05, 0.2]}


def queued(stage: Stage, key: str, task: str = "plain") -> str:
    """Return the Redis key of the publish lock of a call."""
    return f"redislock.reservation:{{{stage.lock_name(task, key)}}}"


def is_free(stage: Stage, key: str, task: str = "plain", within: float = 10.0) -> None:
    """Return when nothing waits or runs."""
    keys = (stage.lock_name(task, key), queued(stage, key, task))
    eventually(lambda: not stage.locks.exists(*keys), within, f"{keys} should be free")


def sig(stage: Stage, key: str, *steps: Any, lock: Any = TASK, task: str = "plain") -> Any:
    """Return a signature with a scope."""
    return stage.sig(task, key, *steps).set(lock=lock)


def runs_of(stage: Stage, key: str, result: AsyncResult[Any]) -> int:
    return len(stage.journal.entries(key, "begun", id=result.id))


# ---- scope "task": the publish lock ends where the lock begins


def test_the_publish_lock_ends_when_the_lock_is_taken(stage: Stage) -> None:
    key = new_key()
    first = stage.hold("plain", key, ["gate", key], lock=TASK)

    assert not stage.locks.exists(queued(stage, key))
    assert stage.is_held("plain", key)
    assert stage.send("plain", key, lock=TASK).id == first.id

    stage.journal.open(key)
    first.get(timeout=20)
    is_free(stage, key)


def test_whoever_read_the_result_is_never_answered_with_it(stage: Stage) -> None:
    """Celery stores the result before the lock is given back."""
    key, ids = new_key(), set()
    for number in range(100):
        result = stage.send("plain", key, ["give", number], lock=SOON)
        assert result.get(timeout=20) == number
        ids.add(result.id)

    assert len(ids) == 100
    is_free(stage, key)


def test_a_call_that_was_published_is_not_dropped_when_it_meets_a_busy_lock(stage: Stage) -> None:
    key = new_key()
    other: RedisLock = stage.app.tasks["plain"].lock_for(key)
    first = stage.send("plain", key, ["give", 1], lock=SOON, countdown=0.5)
    with other:
        eventually(lambda: first.state == "RETRY")

        assert stage.locks.exists(queued(stage, key)), "it still waits"
        assert stage.send("plain", key, lock=SOON).id == first.id

    assert first.get(timeout=20) == 1
    is_free(stage, key)


def test_a_call_whose_publish_lock_ran_out_is_not_dropped_either(stage: Stage) -> None:
    key = new_key()
    first = stage.send("plain", key, ["give", 1], lock=SOON, countdown=1)
    assert stage.locks.delete(queued(stage, key)) == 1
    second = stage.hold("plain", key, ["gate", key], lock=SOON)
    assert second.id != first.id

    eventually(lambda: first.state == "RETRY")
    stage.journal.open(key)

    assert second.get(timeout=20) is None
    assert first.get(timeout=20) == 1
    assert stage.journal.overlaps(key) == 0
    is_free(stage, key)


def test_fail_does_not_fail_a_call_that_was_published(stage: Stage) -> None:
    key, lock = new_key(), {**SOON, "on_conflict": "fail"}
    first = stage.send("plain", key, ["give", 1], lock=lock, countdown=0.5)
    with stage.app.tasks["plain"].lock_for(key):
        eventually(lambda: first.state == "RETRY")

    assert first.get(timeout=20) == 1


def test_send_task_takes_no_publish_lock_and_follows_the_policy(stage: Stage) -> None:
    key = new_key()
    first = stage.hold("plain", key, ["gate", key], lock=TASK)

    second = stage.app.send_task("plain", (key,), queue=stage.queue, headers={"redislock": TASK})

    with pytest.raises(TaskRevokedError, match=first.id):
        second.get(timeout=20)
    stage.journal.open(key)
    first.get(timeout=20)


# ---- scope "queue": one waits, any number run


def test_scope_queue_lets_runs_overlap_and_one_wait(stage: Stage) -> None:
    key = new_key()
    running = [stage.hold("plain", key, ["gate", key], lock=QUEUE) for _ in range(3)]
    assert len({result.id for result in running}) == 3
    assert not stage.locks.exists(queued(stage, key))
    assert not stage.is_held("plain", key)

    waiting = [stage.send("plain", key, ["gate", key], lock=QUEUE, countdown=1) for _ in range(3)]

    assert len({result.id for result in waiting}) == 1
    for _ in range(4):
        stage.journal.open(key)
    for result in [*running, waiting[0]]:
        result.get(timeout=20)
    is_free(stage, key)


def test_a_waiting_retry_of_scope_queue_counts_as_waiting(stage: Stage) -> None:
    key = new_key()
    first = stage.send("plain", key, ["retry at first", 1.0], lock=QUEUE)
    eventually(lambda: first.state == "RETRY")

    assert stage.send("plain", key, lock=QUEUE).id == first.id

    first.get(timeout=20)
    is_free(stage, key)


# ---- what comes again


@pytest.mark.parametrize("scope", ["queue", "task"])
@pytest.mark.parametrize("step", ["retry at first", "fail at first"])
def test_a_task_does_not_meet_itself_in_its_retry(stage: Stage, step: str, scope: str) -> None:
    key, task = new_key(), "auto" if step == "fail at first" else "plain"

    result = stage.send(task, key, [step], ["give", 1], lock={"scope": scope})

    assert result.get(timeout=20) == 1
    assert runs_of(stage, key, result) == 2
    assert not stage.journal.entries(stage.lock_name(task, key), "conflict")
    is_free(stage, key, task)


def test_nothing_comes_between_a_run_and_its_retry(stage: Stage) -> None:
    """While one retries without a delay, a publisher that tries all the time never gets its place."""
    key = new_key()
    first = stage.hold("plain", key, ["gate", key], ["retry at first", 1.0], lock=TASK)
    stage.journal.open(key)

    ids = set()
    while first.state != "RETRY":
        ids.add(stage.send("plain", key, lock=TASK).id)

    assert ids <= {first.id}
    stage.journal.open(key)
    first.get(timeout=20)


def test_a_retry_without_tries_left_frees_all(stage: Stage) -> None:
    key = new_key()
    result = stage.send("auto", key, ["raise"], lock=TASK)

    assert stage.state_of(result, 20) == "FAILURE (Failure)"
    assert runs_of(stage, key, result) == 4
    is_free(stage, key, "auto")


def test_a_waiting_retry_keeps_its_publish_lock_when_its_child_is_replaced(store: str) -> None:
    """The parent cleans up after each child that ends; the retry of its last run is not left over."""
    with stage_with_worker(store, "one-each", concurrency=1, args=("--max-tasks-per-child", "1")) as stage:
        key = new_key()
        first = stage.send("plain", key, ["retry at first", 3.0], lock=TASK)
        child = stage.begun(key, first)["pid"]
        eventually(lambda: child not in stage.worker.children(), 20)
        eventually(lambda: first.state == "RETRY")

        assert stage.send("plain", key, lock=TASK).id == first.id
        first.get(timeout=30)
        is_free(stage, key)


def test_a_child_that_dies_while_its_task_waits_for_the_lock_frees_the_publish_lock(stage: Stage) -> None:
    key = new_key()
    first = stage.send("plain", key, lock={**TASK, "wait": 30}, countdown=0.5)
    with stage.app.tasks["plain"].lock_for(key):
        waiters = f"redislock.waiters:{{{stage.lock_name('plain', key)}}}"
        eventually(lambda: stage.locks.exists(waiters))
        pid = next(entry["pid"] for entry in _inspected(stage) if entry["id"] == first.id)
        os.kill(pid, signal.SIGKILL)

        eventually(lambda: not stage.locks.exists(queued(stage, key)))


def _inspected(stage: Stage) -> list[dict[str, Any]]:
    (told,) = (stage.app.control.inspect(timeout=10, limit=1)._request("locks") or {}).values()
    return list(told)


def test_a_copy_that_was_put_off_does_not_stand_for_a_task_that_is_done(stage: Stage) -> None:
    """Whoever publishes after the end must not be answered with the end's result."""
    key = new_key()
    first = stage.hold("late", key, ["gate", key], lock={**TASK, "ttl": 4})
    stage.deliver_again(stage.message_of(first))
    stage.worker.wait_for_log(f"Task late[{first.id}] was delivered again while it holds")
    stage.journal.open(key)
    assert first.get(timeout=20) is None
    is_free(stage, key, "late")

    second = stage.send("late", key, ["give", 2], lock=TASK)

    assert second.id != first.id
    assert second.get(timeout=20) == 2
    is_free(stage, key, "late", within=20)


# ---- canvases


def test_a_chain_of_equal_steps_runs_to_its_end(stage: Stage) -> None:
    key = new_key()

    last = chain(*(sig(stage, key, ["give", n], lock=SOON) for n in range(4))).apply_async()

    assert last.get(timeout=30) == 3
    assert stage.journal.overlaps(key) == 0
    is_free(stage, key)


def test_a_chain_ends_with_a_later_step_that_is_a_duplicate(stage: Stage) -> None:
    key, busy_key = new_key(), new_key()
    holder = stage.hold("plain", busy_key, ["gate", busy_key], lock=TASK)

    last = chain(
        sig(stage, key, ["give", 1]), sig(stage, busy_key), sig(stage, key, ["give", 3])
    ).apply_async()

    with pytest.raises(TaskRevokedError, match=holder.id):
        last.get(timeout=20)
    assert last.parent.state == "REVOKED"
    assert last.parent.parent.get(timeout=20) == 1
    stage.journal.open(busy_key)
    holder.get(timeout=20)


def test_fail_in_a_later_step_fails_that_step_and_not_the_one_before(stage: Stage) -> None:
    key, busy_key = new_key(), new_key()
    holder = stage.hold("plain", busy_key, ["gate", busy_key], lock=TASK)
    fail = {**TASK, "on_conflict": "fail"}

    last = chain(sig(stage, key, ["give", 1]), sig(stage, busy_key, lock=fail)).apply_async()

    with pytest.raises(LockBusy):
        last.get(timeout=20)
    assert last.parent.get(timeout=20) == 1
    assert last.parent.state == "SUCCESS"
    stage.journal.open(busy_key)
    holder.get(timeout=20)


def test_a_chord_ends_with_a_member_that_is_a_duplicate(stage: Stage) -> None:
    keys = [new_key() for _ in range(3)]
    holder = stage.hold("plain", keys[1], ["gate", keys[1]], lock=TASK)

    result = chord([sig(stage, key, ["give", 1]) for key in keys])(sig(stage, new_key(), ["give", 2]))

    with pytest.raises((ChordError, TaskRevokedError), match="is busy"):
        result.get(timeout=20)
    stage.journal.open(keys[1])
    holder.get(timeout=20)


def test_a_chord_ends_when_its_body_is_a_duplicate(stage: Stage) -> None:
    key = new_key()
    holder = stage.hold("plain", key, ["gate", key], lock=TASK)

    result = chord([sig(stage, new_key(), ["give", 1]) for _ in range(2)])(sig(stage, key, ["give", 2]))

    with pytest.raises(TaskRevokedError, match=holder.id):
        result.get(timeout=20)
    stage.journal.open(key)
    holder.get(timeout=20)


@not_with_5_4("who waits for an id is not told when another object of it was dropped")
def test_a_group_gives_what_ran_and_tells_its_duplicates(stage: Stage) -> None:
    key, other = new_key(), new_key()
    twice = sig(stage, key, ["gate", key], ["give", 1])

    result = group(twice, twice.clone(), sig(stage, other, ["give", 2])).apply_async()
    stage.journal.open(key)

    first, second, third = result.get(timeout=20, propagate=False)
    assert (first, third) == (1, 2)
    assert isinstance(second, TaskRevokedError)


# ---- what never begins


def test_a_revoked_call_frees_its_publish_lock(stage: Stage) -> None:
    key = new_key()
    first = stage.send("plain", key, lock=TASK, countdown=1.5)
    stage.app.control.revoke(first.id, reply=True, limit=1, timeout=10)

    assert stage.state_of(first, 20) == "REVOKED"
    is_free(stage, key)
    assert stage.send("plain", key, ["give", 1], lock=TASK).get(timeout=20) == 1


def test_a_revoked_call_leaves_the_publish_lock_of_another(stage: Stage) -> None:
    key = new_key()
    first = stage.send("plain", key, lock=TASK, countdown=1.5)
    stage.locks.delete(queued(stage, key))
    second = stage.send("plain", key, lock=TASK, countdown=30)
    stage.app.control.revoke([first.id, second.id], reply=True, limit=1, timeout=10)

    assert stage.state_of(first, 20) == "REVOKED"

    assert stage.locks.get(queued(stage, key)).endswith(second.id)
    stage.locks.delete(queued(stage, key))
