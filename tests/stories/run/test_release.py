"""Release: however a run ends, its lock is free within a bound, and the next call runs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from ...support.deadlines import eventually
from . import tasks_app
from .stage import Stage

skip = tasks_app.skip

#: Seconds from the last thing that the body does until its lock must be free.
BOUND = 2.0

TASKS = [skip, tasks_app.late]


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def task(request: pytest.FixtureRequest) -> Any:
    return request.param


def is_free_and_runs_again(stage: Stage, task: Any) -> None:
    stage.is_free(task, "a", within=BOUND)
    stage.runs(task, "a")


@pytest.mark.parametrize("end", ["give", "raise", "ignore", "reject", "exit"])
def test_the_lock_is_free_after_every_end_of_a_body(end: str, task: Any, stage: Stage) -> None:
    stage.send(task, "a", ["report", "begun"], [end, *([1] if end == "give" else [])])
    stage.journal.wait_for("begun")

    is_free_and_runs_again(stage, task)
    stage.journal.wait_for("released", times=2)


def test_the_lock_is_free_after_the_last_retry_failed(task: Any, stage: Stage) -> None:
    result = stage.send(task, "a", ["retry", 2], ["raise"])

    result.get(timeout=10, propagate=False)

    is_free_and_runs_again(stage, task)
    assert len(stage.journal.entries("try")) == 3


def test_the_lock_is_free_while_a_retry_waits_for_its_time(task: Any, stage: Stage) -> None:
    result = stage.send(task, "a", ["retry", 1, 60])
    stage.journal.wait_for("try")

    is_free_and_runs_again(stage, task)
    assert result.state == "RETRY"
    result.revoke()


def test_the_lock_is_free_after_a_soft_time_limit(task: Any, stage: Stage) -> None:
    result = stage.send(task, "a", ["run on"], soft_time_limit=0.3)

    result.get(timeout=10, propagate=False)

    assert type(result.result).__name__ == "SoftTimeLimitExceeded"
    is_free_and_runs_again(stage, task)


def test_a_body_that_catches_its_soft_time_limit_keeps_the_lock_until_it_ends(stage: Stage) -> None:
    result = stage.send(skip, "a", ["catch limit"], ["wait", "end"], soft_time_limit=0.3)
    stage.journal.wait_for("caught")
    stage.journal.wait_for("begun", times=2)

    assert stage.locks.exists(skip.lock_name("a"))

    stage.journal.open("end")
    result.get(timeout=10)
    is_free_and_runs_again(stage, skip)


def test_a_soft_time_limit_while_waiting_for_the_lock_leaves_the_line(stage: Stage) -> None:
    with stage.held(tasks_app.wait, "a"):
        waiting = stage.send(tasks_app.wait, "a", soft_time_limit=0.3)

        waiting.get(timeout=10, propagate=False)

        assert type(waiting.result).__name__ == "SoftTimeLimitExceeded"
        waiters = f"redislock.waiters:{{{tasks_app.wait.lock_name('a')}}}"
        eventually(lambda: not stage.locks.exists(waiters), BOUND, "nobody should stand in line")


def test_the_lock_is_free_after_a_revocation_that_terminates(task: Any, stage: Stage) -> None:
    result = stage.hold(task, "a")

    stage.app.control.revoke(result.id, terminate=True, signal="SIGTERM")

    is_free_and_runs_again(stage, task)
    eventually(lambda: result.state == "REVOKED", 10)


def test_a_task_replaced_by_itself_is_neither_skipped_nor_stuck(task: Any, stage: Stage) -> None:
    result = stage.send(task, "a", ["replace", ["give", 9]])

    assert result.get(timeout=10) == 9
    assert not stage.journal.entries("conflict")
    is_free_and_runs_again(stage, task)


def test_an_eager_call_of_the_same_task_in_its_own_body_runs_under_the_same_lock(
    task: Any, stage: Stage
) -> None:
    result = stage.send(task, "a", ["apply", ["describe"]], ["wait", "end"], ["describe"])
    outer = stage.journal.wait_for("begun")
    assert outer["id"] == result.id
    assert stage.locks.exists(task.lock_name("a")), "the inner call freed the lock of the outer"

    stage.journal.open("end")

    assert result.get(timeout=10)["name"] == task.lock_name("a")
    assert not stage.journal.entries("conflict")
    is_free_and_runs_again(stage, task)


def test_a_lock_is_not_freed_by_a_task_that_was_revoked_before_it_ran(stage: Stage) -> None:
    with stage.held(skip, "a"):
        waiting = stage.send(skip, "a", ["report", "ran"], countdown=0.5)
        waiting.revoke()
        eventually(lambda: waiting.state == "REVOKED", 10)

        assert stage.locks.exists(skip.lock_name("a"))
    assert not stage.journal.entries("ran")


def test_the_lease_is_renewed_for_as_long_as_the_body_runs(stage: Stage) -> None:
    """The task's lease is a second: without renewals it would be over in the midst of the body."""
    result = stage.hold(tasks_app.short, "a")
    name = tasks_app.short.lock_name("a")
    token = stage.locks.get(name)
    left = [stage.locks.pttl(name)]

    def renewed() -> bool:
        left.append(stage.locks.pttl(name))
        return sum(after > before for before, after in pairwise(left)) >= 4

    eventually(renewed, 10, "the lease should be renewed every third of a second")
    assert stage.locks.get(name) == token
    assert min(left) > 0
    stage.journal.open("hold")
    result.get(timeout=10)
    stage.is_free(tasks_app.short, "a")


def test_a_lock_taken_by_force_is_reported_as_lost_and_left_to_its_new_holder(stage: Stage) -> None:
    result = stage.hold(tasks_app.short, "a", lock={"on_lost": "continue"})
    outside = tasks_app.short.lock_for("a")

    assert outside.force_release()
    assert outside.acquire()

    lost = stage.journal.wait_for("lost")
    stage.journal.open("hold")
    result.get(timeout=10)
    assert lost["lock"] == outside.name
    assert lost["reason"]
    assert outside.owned(), "the former holder freed the lock of the next"
    assert not stage.journal.entries("released", id=result.id)
    assert outside.release()
